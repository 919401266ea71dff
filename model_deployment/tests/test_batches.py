"""A batch as a file to keep."""

import csv
import io

import openpyxl
import pytest

from credit_risk.decision_log.overrides import override
from model_deployment.scoring import batches
from tests.support.german_credit import NAMES
from tests.support.problems import is_problem


@pytest.fixture
def sent(client_rows, as_csv):
    rows = [
        row | {"client_id": f"=C-{i}", "note": f"=n{i}", "risk": "mine"}
        for i, row in enumerate(client_rows[:30])
    ]
    rows[3]["purpose"] = "yacht"
    return as_csv(rows).encode()


@pytest.fixture
def batch(send_file, sent):
    return send_file(sent, "my clients.csv").get_json()


def table_of(answer):
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def with_file(client, url, data):
    return client.post(url, data={"file": (io.BytesIO(data), "clients.csv")})


def test_export_holds_decisions_inputs_reasons_version_and_id(client, batch, client_rows):
    answer = client.get(f"/api/v1/batches/{batch['batch']}.csv")
    assert answer.headers["Content-Disposition"].endswith('filename="my clients-result.csv"')
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = table_of(answer)
    assert len(rows) == 29
    for row, decision in zip(rows, batch["decisions"], strict=True):
        assert row["decision_id"] == decision["id"]
        assert row["prediction"] == decision["prediction"]
        assert float(row["risk"]) == pytest.approx(decision["risk"], abs=1e-6)
        assert row["client_id"] == f"'=C-{decision['row']}"
        assert {name: row[name] for name in NAMES} == {
            n: str(v) for n, v in client_rows[decision["row"]].items()
        }
        assert row["model_version"] == "1"
        assert row["override"] == ""
        assert "note" not in row, "the log does not keep it"


def test_exported_reasons_equal_those_of_the_api(client, batch, client_rows):
    rows = table_of(client.get(f"/api/v1/batches/{batch['batch']}.csv"))
    query = "/api/v1/score?reasons=true"
    for row, decision in zip(
        rows[:3], client.post(query, json=client_rows[:3]).get_json()["decisions"], strict=True
    ):
        side = "raising" if decision["prediction"] == "red" else "lowering"
        assert row["reasons"] == "; ".join(reason["text"] for reason in decision["reasons"][side])


def test_both_decisions_are_kept_after_an_override(client, batch, log):
    id = batch["decisions"][4]["id"]
    was = batch["decisions"][4]["prediction"]
    event = override(log, id, "green" if was == "red" else "red", "Ann", "=she knows")
    (row,) = [
        r for r in table_of(client.get(f"/api/v1/batches/{batch['batch']}.csv")) if r["override"]
    ]
    assert (row["decision_id"], row["prediction"]) == (id, was)
    assert (row["override"], row["override_by"]) == (event["prediction"], "Ann")
    assert (row["override_reason"], row["override_time"]) == ("'=she knows", event["time"])


def test_export_with_the_original_file_has_its_other_columns(client, batch, sent):
    rows = table_of(with_file(client, f"/api/v1/batches/{batch['batch']}.csv", sent))
    assert [row["note"] for row in rows] == [f"'=n{i}" for i in range(30) if i != 3]
    assert {row["risk (uploaded)"] for row in rows} == {"mine"}


def test_export_with_another_file_is_refused(client, batch, sent):
    answer = with_file(client, f"/api/v1/batches/{batch['batch']}.csv", sent + b"\n")
    assert "not the file" in is_problem(answer, 422)["detail"]


def test_excel_export_equals_the_csv_and_runs_no_formula(client, batch, sent):
    url = f"/api/v1/batches/{batch['batch']}"
    expected = table_of(with_file(client, url + ".csv", sent))
    answer = with_file(client, url + ".xlsx", sent)
    assert answer.mimetype.endswith("spreadsheetml.sheet")
    book = openpyxl.load_workbook(io.BytesIO(answer.get_data()))
    header, *rows = book.active.iter_rows()
    assert {cell.data_type for row in rows for cell in row} <= {"s", "inlineStr", "n"}, "no formula"
    names = [cell.value for cell in header]
    assert names == list(expected[0])
    for row, wanted in zip(rows, expected, strict=True):
        found = {
            name: "" if cell.value is None else cell.value
            for name, cell in zip(names, row, strict=True)
        }
        assert float(wanted.pop("risk")) == pytest.approx(found.pop("risk"))
        assert float(wanted.pop("confidence")) == pytest.approx(found.pop("confidence"))
        assert {name: str(value) for name, value in found.items()} == wanted


def test_excel_export_of_too_many_rows_is_refused_with_remedy(client, batch, monkeypatch):
    monkeypatch.setattr(batches, "MAX_EXCEL_ROWS", 10)
    assert (
        "Take the CSV"
        in is_problem(client.get(f"/api/v1/batches/{batch['batch']}.xlsx"), 413)["detail"]
    )


@pytest.mark.parametrize("address", ["01JZZZZZZZZZZZZZZZZZZZZZZZ.csv", "x.csv", "x.exe"])
def test_export_of_a_missing_batch_is_404(client, address):
    is_problem(client.get(f"/api/v1/batches/{address}"), 404)


def test_export_without_its_version_has_no_reasons(client, batch, registry, production, appoint):
    appoint("2")
    production.refresh()
    registry.tampered = {"1"}
    rows = table_of(client.get(f"/api/v1/batches/{batch['batch']}.csv"))
    assert {row["reasons"] for row in rows} == {"unavailable: version 1 is another file now"}


def test_a_result_can_be_uploaded_again(client, send_file, batch, sent):
    first = with_file(client, f"/api/v1/batches/{batch['batch']}.csv", sent).get_data()
    again = send_file(first).get_json()
    assert again["n_decided"] == 29
    rows = table_of(with_file(client, f"/api/v1/batches/{again['batch']}.csv", first))
    assert "risk (uploaded) (uploaded)" in rows[0]
