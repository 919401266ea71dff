"""Rejected rows come back in the format of their file, to be corrected and sent again."""

import base64
import csv
import io

import openpyxl
import pytest

from model_deployment.files import export
from tests.support.bad_input.workbooks import saved


@pytest.fixture
def rows(client_rows):
    """Six clients, two of whom are rejected."""
    found = [
        row | {"client_id": f"{i:05}", "note": "Zoë; =1+1"} for i, row in enumerate(client_rows[:6])
    ]
    found[1]["credit_amount"], found[4]["purpose"] = "2.350", "yacht"
    return found


def mended(found):
    """Return the rejected rows corrected as in a spreadsheet, with the fault column left in."""
    return [
        row | {"credit_amount": "2350"} if "credit_amount" in row["what_is_wrong"] else row
        for row in found
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rejected_rows_of_a_csv_keep_its_separator(send_file, as_csv, rows, separator):
    answer = send_file("\ufeff" + as_csv(rows, separator), "c.csv", "?decisions=none").get_json()
    assert answer["rejected_xlsx"] is None
    found = list(csv.DictReader(io.StringIO(answer["rejected_csv"]), delimiter=separator))
    assert [(row["client_id"], row["credit_amount"]) for row in found] == [
        ("00001", "2.350"),
        ("00004", str(rows[4]["credit_amount"])),
    ]
    assert [row["what_is_wrong"][:8] for row in found] == ["line 3: ", "line 6: "]
    again = send_file(
        as_csv(mended(found), separator), "c-rejected.csv", "?decisions=none"
    ).get_json()
    assert (again["n_decided"], again["n_rejected"]) == (1, 1)
    (left,) = csv.DictReader(io.StringIO(again["rejected_csv"]), delimiter=separator)
    assert (left["client_id"], left["what_is_wrong"][:8]) == ("00004", "line 3: ")


def workbook_of(rows):
    book = openpyxl.Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    return saved(book)


def test_rejected_rows_of_a_workbook_come_as_a_workbook(send_file, rows):
    answer = send_file(workbook_of(rows), "c.xlsx", "?decisions=none").get_json()
    assert answer["rejected_csv"] is None
    sheet = openpyxl.load_workbook(io.BytesIO(base64.b64decode(answer["rejected_xlsx"]))).active
    header, *cells = sheet.iter_rows(values_only=True)
    found = [dict(zip(header, row, strict=True)) for row in cells]
    assert [(row["client_id"], row["credit_amount"]) for row in found] == [
        ("00001", "2.350"),
        ("00004", str(rows[4]["credit_amount"])),
    ]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}
    again = send_file(workbook_of(mended(found)), "c-rejected.xlsx").get_json()
    assert [d["client_id"] for d in again["decisions"]] == ["00001"]


def test_rejected_rows_of_a_large_workbook_come_as_csv(send_file, rows, monkeypatch):
    monkeypatch.setattr(export, "_MAX_REJECTED_CELLS", 20)
    answer = send_file(workbook_of(rows), "c.xlsx", "?decisions=none").get_json()
    assert (answer["rejected_xlsx"], "yacht" in answer["rejected_csv"]) == (None, True)


def test_rejected_rows_come_back_without_any_decision(send_file, as_csv, rows):
    body = send_file(as_csv([rows[4]], ";"), "c.csv", "?decisions=none").get_json(force=True)
    assert (body["status"], ";what_is_wrong" in body["rejected_csv"].replace('"', "")) == (
        422,
        True,
    )
    none = send_file(as_csv(rows[:1]), "c.csv", "?decisions=none").get_json()
    assert (none["rejected_csv"], none["rejected_xlsx"]) == (None, None)
