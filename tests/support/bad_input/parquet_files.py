"""Parquet files as they really come, and a few that were made on purpose."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tests.support.bad_input.cases import CLIENTS, DURATIONS, NAMES, NOON, fine, nothing, refused
from tests.support.files import parquet


def table(rows: list[dict[str, Any]] = CLIENTS, **columns: Any) -> pa.Table:
    found = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    for name, column in columns.items():
        at = found.schema.get_field_index(name)
        found = found.append_column(name, column) if at < 0 else found.set_column(at, name, column)
    return found


def of_type(
    name: str, type: pa.DataType, rows: list[dict[str, Any]] = CLIENTS
) -> Callable[[], bytes]:
    """Return a file one of whose columns has another type."""
    return lambda: parquet(table(rows, **{name: pa.array([row[name] for row in rows]).cast(type)}))


def with_column(
    name: str, values: list[Any], type: pa.DataType | None = None
) -> Callable[[], bytes]:
    return lambda: parquet(table(**{name: pa.array(values, type)}))


def texts_bomb() -> bytes:
    """Return a file of kilobytes whose texts are 2 GB once each row has its own."""
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int8()), ["x" * 1000])
    return parquet(pa.table(dict.fromkeys(NAMES, one)), compression="zstd")


PARQUET_FILES = [
    fine("Parquet", lambda: parquet(table())),
    fine(
        "Parquet of dictionaries",
        lambda: parquet(
            table(purpose=pa.array([c["purpose"] for c in CLIENTS]).dictionary_encode())
        ),
    ),
    fine("Parquet, large_string", of_type("purpose", pa.large_string())),
    fine("Parquet, string_view", of_type("purpose", pa.string_view())),
    fine("Parquet, binary", of_type("purpose", pa.binary())),
    fine("Parquet, int8", of_type("duration", pa.int8())),
    fine("Parquet, uint64", of_type("duration", pa.uint64())),
    fine("Parquet, float16", of_type("duration", pa.float16())),
    fine(
        "Parquet, decimals",
        with_column("duration", [Decimal(f"{duration}.00") for duration in DURATIONS]),
    ),
    fine("Parquet, spans of time in a note", with_column("note", [timedelta(1)] * 3)),
    fine(
        "Parquet, dictionaries of numbers",
        with_column("note", pa.array([7, 7, None]).dictionary_encode().to_pylist()),
    ),
    fine("Parquet, numbers as text", of_type("duration", pa.string())),
    fine(
        "Parquet, three zeros of decimals",
        with_column("duration", [Decimal(f"{d}.000") for d in DURATIONS]),
    ),
    fine(
        "Parquet, a number with a fraction",
        with_column("duration", [float(DURATIONS[0]), 6.125, 6.5]),
        0,
        rejected={(1, "duration"), (2, "duration")},
        says="duration '6.1250' is not a whole number",
    ),
    fine(
        "Parquet, three zeros in a text",
        with_column("duration", [str(DURATIONS[0]), f"{DURATIONS[1]}.000", str(DURATIONS[2])]),
        0,
        2,
        rejected={(1, "duration")},
        says=f"may be {DURATIONS[1]}000 or {DURATIONS[1]}",
    ),
    fine(
        "Parquet, a label nobody knows",
        with_column("class", [0, 1, 1]),
        says="left out: neither good nor bad",
    ),
    fine(
        "Parquet, words for no value",
        with_column("age", ["NA", "NaN", "None"]),
        says="taken as no value",
    ),
    fine(
        "Parquet, other names",
        lambda: parquet(table().rename_columns([n.title() for n in NAMES])),
        says="as purpose",
    ),
    fine(
        "Parquet, floats, as pandas has where a value is missing",
        lambda: parquet(
            table(
                duration=pa.array([float(d) if i != 1 else None for i, d in enumerate(DURATIONS)])
            )
        ),
        0,
        2,
        rejected={(1, "duration")},
    ),
    fine(
        "Parquet, NaN and infinity",
        with_column("duration", [DURATIONS[0] * 1.0, float("nan"), float("inf")]),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    fine(
        "Parquet, halves and minus",
        with_column("duration", [DURATIONS[0] * 1.0, 6.5, -6.0]),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    fine(
        "Parquet, huge numbers",
        with_column("duration", [DURATIONS[0], 2**64 - 1, 2**63], pa.uint64()),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    nothing(
        "Parquet, timestamps",
        with_column("duration", [NOON] * 3, pa.timestamp("ns", "Europe/Berlin")),
        *((i, "duration") for i in range(3)),
    ),
    nothing(
        "Parquet, dates",
        with_column("duration", [date(2026, 1, 6)] * 3),
        *((i, "duration") for i in range(3)),
    ),
    nothing(
        "Parquet, truths", with_column("duration", [True] * 3), *((i, "duration") for i in range(3))
    ),
    nothing(
        "Parquet, nulls",
        with_column("duration", [None] * 3, pa.null()),
        *((i, "duration") for i in range(3)),
    ),
    fine("Parquet, an optional column of nulls", with_column("age", [None] * 3, pa.null())),
    fine(
        "Parquet, a note with quotes and line breaks",
        with_column("note", ['a,"b"\n', "\r\n", None]),
    ),
    fine("Parquet, dates in a note", with_column("note", [date(2026, 1, 6)] * 3)),
    refused("Parquet, NUL", with_column("note", ["\0"] * 3), "NUL"),
    refused("Parquet, bytes that are no text", with_column("note", [b"\xff"] * 3), "Parquet"),
    refused("Parquet, lists", with_column("duration", [[1]] * 3), "lists or objects"),
    refused("Parquet, structs", with_column("duration", [{"a": 1}] * 3), "lists or objects"),
    refused(
        "Parquet, ids in lists",
        with_column("Client ID", [["a"]] * 3),
        "'Client ID' holds lists or objects",
    ),
    fine(
        "Parquet, maps",
        with_column("note", [[("a", 1)]] * 3, pa.map_(pa.string(), pa.int8())),
        says="'note' ignored: it holds lists or objects",
    ),
    fine(
        "Parquet, lists nobody needs",
        with_column("note", [[1, 2], [], None]),
        says="'note' ignored: it holds",
    ),
    fine(
        "Parquet, objects nobody needs",
        with_column("a", [{"b": {"c": 1}}] * 3),
        says="'a' ignored: it holds",
    ),
    fine(
        "Parquet, classes in lists",
        with_column("class", [["good"]] * 3),
        says="'class' ignored: it holds",
    ),
    nothing(
        "Parquet, a column twice",
        lambda: parquet(table().append_column("job", pa.array(["skilled"] * 3))),
        (None, "job"),
    ),
    nothing(
        "Parquet without a column", lambda: parquet(table().drop_columns(["job"])), (None, "job")
    ),
    nothing(
        "Parquet without rows",
        lambda: parquet(table().slice(0, 0)),
        (None, None),
        says="no clients",
    ),
    refused("Parquet without columns", lambda: parquet(pa.table({})), "empty"),
    refused(
        "Parquet of another table", lambda: parquet(pa.table({"a": [1]})), "must name the columns"
    ),
    refused(
        "Parquet of 10,000 columns",
        lambda: parquet(pa.table({f"c{i}": [1] for i in range(10_000)})),
        "10000 columns",
    ),
    refused("Parquet cut in the middle", lambda: parquet(table())[:-100], "no Parquet file"),
    refused(
        "Parquet whose data are another's",
        lambda: b"PAR1" + bytes(500) + parquet(table())[504:],
        "no Parquet file",
    ),
    refused("Parquet, encrypted", b"PARE" + bytes(100) + b"PARE", "NUL"),
    refused(
        "Parquet, a bomb of rows",
        lambda: parquet(pa.table({"duration": pa.nulls(20_000_000)})),
        "200,000 rows",
    ),
    refused("Parquet, a bomb of repeated texts", texts_bomb, "too large once it is unpacked"),
    refused("Arrow IPC", b"ARROW1\0\0" + bytes(100), "NUL"),
]
