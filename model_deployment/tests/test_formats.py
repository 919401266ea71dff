"""Excel and Parquet files get the verdict that their CSV gets."""

import contextlib
import io
from decimal import Decimal

import openpyxl
import pyarrow as pa
import pytest

from model_deployment.files import formats, workbook
from model_deployment.files import parquet as parquet_file
from model_deployment.files.formats import as_csv as read
from model_deployment.files.limited import FileRefused
from tests.support.files import parquet
from tests.support.problems import is_problem


def excel(rows):
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.create_sheet("another").append(["not", "read"])
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def verdict(answer):
    body = answer.get_json(force=True)
    kept = [(d["row"], d["prediction"], d["risk"]) for d in body["decisions"]]
    return answer.status_code, kept, body["rejected"], body["warnings"]


@pytest.fixture
def mixed(client_rows):
    rows = [dict(row, note=f"n{i}") for i, row in enumerate(client_rows[:20])]
    rows[3]["purpose"] = "yacht"
    rows[5]["duration"] = 0
    rows[7]["credit_amount"] = None
    rows[9]["age"] = 30.0
    return rows


def test_every_format_gets_the_same_verdict(send_file, as_csv, mixed):
    # Excel has one type of numbers and Parquet one type a column; a CSV has words.
    by_csv = verdict(send_file(as_csv(mixed)))
    assert len(by_csv[1]) == 17
    *of_sheet, warnings = verdict(send_file(excel(mixed), "clients.xlsx"))
    assert (tuple(of_sheet), warnings[1:]) == (by_csv[:-1], by_csv[-1])
    text = pa.table({name: pa.array([row[name] for row in mixed]) for name in mixed[0]})
    for name in ("purpose", "housing"):
        text = text.set_column(
            text.schema.get_field_index(name), name, text[name].dictionary_encode()
        )
    assert verdict(send_file(parquet(text), "clients.parquet"))[1] == by_csv[1]


def test_blank_rows_of_a_sheet_are_not_clients(client_rows, send_file):
    blank = dict.fromkeys(client_rows[0])
    body = send_file(excel([client_rows[0], blank, client_rows[1], blank])).get_json()
    assert (body["n_decided"], body["n_rejected"]) == (2, 0)


def lists():
    return parquet(pa.table({"duration": [[1], [2]]}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PK\x03\x04 and so on", "no Excel workbook"),
        (b"PAR1 and so on PAR1", "no Parquet file"),
        (b"PAR1", "no Parquet file"),
        (lists, "lists or objects"),
    ],
)
def test_unreadable_file_is_refused(send_file, data, why):
    body = is_problem(send_file(data if isinstance(data, bytes) else data(), "clients.xlsx"), 400)
    assert why in body["detail"]


def test_damaged_workbooks_and_files_are_unreadable_never_a_crash(client_rows):
    for whole, reader in (
        (excel(client_rows[:3]), workbook.as_csv),
        (parquet(pa.table({"duration": [1, 2, 3]})), parquet_file.as_csv),
    ):
        for at in range(8, len(whole), max(len(whole) // 60, 1)):
            for damaged in (whole[:at], whole[:at] + b"\xff\x00\xff" + whole[at + 3 :]):
                with contextlib.suppress(FileRefused):
                    reader(damaged)


def test_csv_is_passed_on_unchanged():
    assert read(b"duration;purpose\n") == (b"duration;purpose\n", {})


def test_a_workbook_is_read_once_for_its_decisions_and_its_rejected_rows(
    send_file, client_rows, monkeypatch
):
    found = []
    monkeypatch.setattr(
        formats, "_read", lambda *what, read=formats._read: found.append(what) or read(*what)
    )
    answer = send_file(
        excel([client_rows[0], client_rows[1] | {"purpose": "yacht"}]), "c.xlsx", "?decisions=none"
    )
    assert answer.get_json()["rejected_xlsx"]
    assert len(found) == 1


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1952489.0, 123456789012.0, None]),
        pa.array([Decimal("1952489.000"), Decimal("123456789012.000"), None]),
        pa.array([1952489, 123456789012, None]),
    ],
    ids=["floats", "decimals", "integers"],
)
def test_ids_of_a_column_of_numbers_are_whole(send_file, client_rows, ids):
    table = pa.Table.from_pylist(client_rows[:3]).append_column("client_id", ids)
    body = send_file(parquet(table), "clients.parquet").get_json()
    assert [d["client_id"] for d in body["decisions"]] == ["1952489", "123456789012", None]
    assert body["warnings"] == []


def test_fractional_numbers_are_unchanged():
    columns = {
        "a": pa.array([1.5, 2.0, float("nan")]),
        "b": pa.array([1e300, -0.25, 7.0], pa.float64()),
    }
    text = parquet_file.as_csv(parquet(pa.table(columns))).csv.decode()
    assert text.splitlines()[1:] == ['"1.5","1e+300"', '"2","-0.25"', '"nan","7"']
