"""Client ids: read alike from every format, and anything that may spoil them is reported."""

import pyarrow as pa
import pytest

from credit_risk.schema.spelling import ids
from tests.support.clients import CLIENT, as_csv
from tests.support.german_credit import Validator


def doors(*ids):
    """Return clients with these ids as JSON and as CSV have them."""
    rows = [CLIENT | {"client_id": id} for id in ids]
    return {"json": Validator().rows(rows), "csv": Validator().csv(as_csv(*rows))}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (1952489, "1952489"),
        (1952489.0, "1952489"),
        ("1952489.0", "1952489"),
        ("0001952489.00", "0001952489"),
        ("1952489,0", "1952489"),
        (-5.0, "-5"),
        (1e15, "1000000000000000"),
        # An id in its own right.
        ("0001952489", "0001952489"),
        ("1.000", "1.000"),
        ("12.5", "12.5"),
        (12.5, "12.5"),
        ("A.0", "A.0"),
        ("3.1.0", "3.1.0"),
        ("'quoted'", "'quoted'"),
        # Our own downloads make these harmless.
        ("'+49 30 1234", "+49 30 1234"),
        ("'=1+1", "=1+1"),
        ("'Neill", "'Neill"),
    ],
)
def test_id_is_read_alike_from_every_format(sent, kept):
    for name, found in doors(sent, "C-1").items():
        assert found.client_id == [kept, "C-1"], name
    many = doors(*[f"C-{i}" for i in range(5)], sent)
    assert many["csv"].client_id == many["json"].client_id


def test_characters_removed_from_an_id_are_reported():
    for found in doors("7.0", "8.0", "C-1", "'@x").values():
        assert found.warnings == [
            "client_id: 2 values like '7.0' taken without the zeros behind the mark",
            'client_id: "\'@x" taken without the apostrophe before it',
        ]
    assert doors(7.0)["json"].warnings == ["client_id: 7.0 taken without the zeros behind the mark"]


@pytest.mark.parametrize(
    "id", ["1,95249E+09", "1.95249E+09", "1.952489e+09", "1.952489E9", "2E+15", 1.2345e20]
)
def test_id_in_scientific_notation_is_reported(id):
    for found in doors(id, "C-1").values():
        (warning,) = found.warnings
        assert (
            "in scientific notation, which loses digits: give the column the format 0 or text"
            in warning
        )
        assert found.client_id == [str(id), "C-1"]


@pytest.mark.parametrize("id", ["5E12", "E+09", "12E+09", "1.E+09x", "2026-01-31", "1.5"])
def test_other_ids_are_not_reported_as_scientific_notation(id):
    for found in doors(id, "C-1").values():
        assert found.warnings == []


def test_repeated_ids_are_reported_with_their_rows():
    sent = ["A", "B", "A", " A", "C", "B", "", None, "D"]
    told = {name: found.warnings for name, found in doors(*sent).items()}
    said = (
        "client_id is the same in several rows: 'A' (3 times: {}), 'B' (2 times: {}); "
        "each is a decision of its own"
    )
    assert told["json"][0].startswith(said.format("row 0, 2, 3", "row 1, 5"))
    assert told["csv"][0].startswith(said.format("line 2, 4, 5", "line 3, 7"))
    assert [len(warnings) for warnings in told.values()] == [1, 1]


def test_rejected_row_does_not_count_as_a_repeated_id():
    rows = [CLIENT | {"client_id": "A"}, CLIENT | {"client_id": "A", "purpose": "yacht"}]
    for found in (Validator().rows(rows), Validator().csv(as_csv(*rows))):
        assert found.warnings == []


def test_repeated_ids_are_counted_where_there_are_many():
    (warning,) = doors(*[f"C-{i % 700}" for i in range(3500)])["csv"].warnings
    assert "'C-4' (5 times: line 6, 706, 1406, ...) and 695 more; each" in warning
    assert len(warning) < 500


def test_plain_ids_are_recognized_as_a_whole():
    assert ids.are_plain(pa.array(["C-1", "0001952489", "a b/c", "12.5"]))
    for odd in ("12.0", "1,5E+09", " x", "NA", "'+1", "ü", "x" * 65, ""):
        assert not ids.are_plain(pa.array(["C-1", odd])), odd
