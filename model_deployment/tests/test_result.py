"""The result of a batch: what a clerk opens in a spreadsheet and a program reads."""

import csv
import io

import openpyxl
import pytest

from tests.support.german_credit import NAMES


@pytest.fixture
def result_of(client):
    """A function that uploads a file and returns the rows of its result."""

    def send(text):
        form = {"file": (io.BytesIO(text.encode()), "clients.csv")}
        answer = client.post("/api/v1/files", data=form, headers={"Accept": "text/csv"})
        assert answer.status_code == 200
        return list(csv.reader(io.StringIO(answer.get_data(as_text=True))))

    return send


COLUMNS = [
    *("prediction", "risk", "confidence"),
    *("override", "override_by", "override_reason", "override_time", "client_id"),
    *NAMES,
    *("reasons", "warnings", "model_version", "decision_id", "decided_at"),
]


def test_result_holds_the_decision_its_override_the_inputs_and_what_decided(
    result_of, client_rows, as_csv
):
    header, *rows = result_of(as_csv(client_rows[:5]))
    assert header == COLUMNS
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["purpose"] for row in found] == [client["purpose"] for client in client_rows[:5]]
    assert {row["prediction"] for row in found} <= {"green", "red"}
    assert {(row["override"], row["reasons"]) for row in found} == {("", "")}


def test_result_is_the_same_from_the_api_as_csv_from_the_page_and_as_workbook(
    client, client_rows, as_csv
):
    rows = [
        row | {"client_id": f"=C-{i}", "class": "good", "note": f"=n{i}", "risk": "mine"}
        for i, row in enumerate(client_rows[:40])
    ]
    rows[3]["purpose"] = "yacht"
    rows[4]["credit_amount"] = 9_000_000
    data = as_csv(rows).encode()

    def sent_to(path, **more):
        form = {"file": (io.BytesIO(data), "clients.csv")}
        answer = client.post(f"/api/v1/{path}", data=form, **more)
        assert answer.status_code == 200
        return answer

    at_once = sent_to("files?reasons=true", headers={"Accept": "text/csv"})
    batch = at_once.headers["Batch"]
    from_the_log = sent_to(f"batches/{batch}.csv")
    assert from_the_log.get_data() == b"\xef\xbb\xbf" + at_once.get_data()

    workbook = openpyxl.load_workbook(io.BytesIO(sent_to(f"batches/{batch}.xlsx").get_data()))
    header, *cells = workbook.active.iter_rows(values_only=True)
    names, *expected = csv.reader(io.StringIO(at_once.get_data(as_text=True)))
    assert list(header) == names
    numbers = {names.index("risk"), names.index("confidence")}
    for row, wanted in zip(cells, expected, strict=True):
        for place, (value, text) in enumerate(zip(row, wanted, strict=True)):
            if place in numbers:
                assert value == pytest.approx(float(text))
            else:
                assert ("" if value is None else str(value)) == text


def test_reasons_are_the_sentences_that_json_gives(client, client_rows, as_csv):
    form = {"file": (io.BytesIO(as_csv(client_rows[:3]).encode()), "clients.csv")}
    answer = client.post("/api/v1/files?reasons=1", data=form, headers={"Accept": "text/csv"})
    found = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    json = client.post("/api/v1/score?reasons=1", json=client_rows[:3]).get_json()
    for row, decision in zip(found, json["decisions"], strict=True):
        side = "raising" if decision["prediction"] == "red" else "lowering"
        assert row["reasons"] == "; ".join(r["text"] for r in decision["reasons"][side])


def test_ignored_columns_come_back_unchanged_with_their_rows(result_of, client_rows, as_csv):
    notes = [" a ", "", 'say "x", y', "zwei\nZeilen", "-5", "Ünïcödé 💶"]
    rows = [
        row | {"client_id": f"C-{i}", "class": "good", "note": notes[i]}
        for i, row in enumerate(client_rows[:6])
    ]
    rows[1]["purpose"] = "yacht"
    header, *found = result_of(as_csv(rows))
    assert header[-1] == "note"
    place = header.index("client_id")
    assert {row[place]: row[-1] for row in found} == {
        f"C-{i}": note for i, note in enumerate(notes) if i != 1
    }
    assert {row[header.index("class")] for row in found} == {"good"}


def test_cells_that_a_spreadsheet_would_run_are_escaped(result_of, client_rows, as_csv):
    plain = ["-5", "+1.5", "3", "a=b", "-1,5"]
    formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "＝1"]
    rows = [
        row | {"client_id": f"={i}", "=note": cell}
        for i, (row, cell) in enumerate(zip(client_rows, plain + formulas, strict=False))
    ]
    header, *found = result_of(as_csv(rows))
    assert header[-1] == "'=note"
    escaped = ["'" + formula.replace("\t=", "\t'=") for formula in formulas]
    assert [row[-1] for row in found] == plain + escaped
    place = header.index("client_id")
    assert [row[place] for row in found] == [f"'={i}" for i in range(len(rows))]


def test_a_result_can_be_uploaded_again(result_of, client_rows, as_csv):
    def again(header, rows):
        return result_of(as_csv([dict(zip(header, row, strict=True)) for row in rows]))

    header, *rows = again(*_parts(result_of(as_csv(client_rows[:3]))))
    assert len(rows) == 3
    assert len(set(header)) == len(header)
    assert "risk (uploaded)" in header
    assert "risk (uploaded) (uploaded)" in again(header, rows)[0]


def _parts(rows):
    return rows[0], rows[1:]


def test_warnings_travel_with_their_row(result_of, client_rows, as_csv):
    rows = [client_rows[0], client_rows[1] | {"credit_amount": 9_000_000}]
    header, *found = result_of(as_csv(rows))
    place = header.index("warnings")
    assert found[0][place] == ""
    assert "outside" in found[1][place]
