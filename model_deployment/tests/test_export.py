"""The result as a CSV: what a clerk opens in a spreadsheet."""

import csv
import io

import pytest

from credit_risk.schema.attributes import NAMES


@pytest.fixture
def result_of(client):
    """A function that uploads a file and returns the rows of its result."""

    def send(text):
        form = {"file": (io.BytesIO(text.encode()), "clients.csv")}
        answer = client.post("/api/v1/files", data=form, headers={"Accept": "text/csv"})
        assert answer.status_code == 200
        return list(csv.reader(io.StringIO(answer.get_data(as_text=True))))

    return send


def test_prediction_risk_and_confidence_come_first_then_the_inputs(result_of, clients, as_csv):
    header, *rows = result_of(as_csv(clients[:5]))
    assert header[:3] == ["prediction", "risk", "confidence"]
    assert header[3:23] == list(NAMES)
    assert header[23:] == ["warnings", "model_version", "decision_id"]
    assert [dict(zip(header, row, strict=True))["purpose"] for row in rows] == [c["purpose"] for c in clients[:5]]
    assert {row[0] for row in rows} <= {"green", "red"}


def test_ignored_columns_come_back_untouched_with_the_rows_that_they_belong_to(result_of, clients, as_csv):
    notes = [" a ", "", 'say "x", y', "zwei\nZeilen", "-5", "Ünïcödé 💶"]
    rows = [row | {"client_id": f"C-{i}", "class": "good", "note": notes[i]} for i, row in enumerate(clients[:6])]
    rows[1]["purpose"] = "yacht"
    header, *found = result_of(as_csv(rows))
    assert header[3] == "client_id"
    assert header[-1] == "note"
    by_client = {row[3]: row for row in found}
    assert {name: row[-1] for name, row in by_client.items()} == {
        f"C-{i}": note for i, note in enumerate(notes) if i != 1
    }
    assert {row[header.index("class")] for row in found} == {"good"}


def test_cells_that_a_spreadsheet_would_run_are_escaped(result_of, clients, as_csv):
    harmless = ["-5", "+1.5", "3", "a=b", "-1,5"]
    formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "＝1"]
    cells = harmless + formulas
    rows = [
        row | {"client_id": f"={i}", "=note": cell} for i, (row, cell) in enumerate(zip(clients, cells, strict=False))
    ]
    header, *found = result_of(as_csv(rows))
    assert header[-1] == "'=note"
    assert [row[-1] for row in found] == harmless + ["'" + f.replace("\t=", "\t'=") for f in formulas]
    assert [row[3] for row in found] == [f"'={i}" for i in range(len(cells))]


def test_a_result_can_be_uploaded_again(result_of, clients, as_csv):
    def again(header, rows):
        return result_of(as_csv([dict(zip(header, row, strict=True)) for row in rows]))

    header, *rows = again(*_parts(result_of(as_csv(clients[:3]))))
    assert len(rows) == 3
    assert len(set(header)) == len(header)
    assert "risk (uploaded)" in header
    assert "risk (uploaded) (uploaded)" in again(header, rows)[0]


def _parts(rows):
    return rows[0], rows[1:]


def test_warnings_travel_with_their_row(result_of, clients, as_csv):
    rows = [clients[0], clients[1] | {"credit_amount": 9_000_000}]
    header, *found = result_of(as_csv(rows))
    place = header.index("warnings")
    assert found[0][place] == ""
    assert "outside" in found[1][place]
