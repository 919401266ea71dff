"""A Parquet file as CSV; run as a separate process (see `limited`).

    python -m model_deployment.files.parquet < clients.parquet > clients.csv

The sizes in its footer may be wrong, and pages are unpacked before they can be checked: the limits
on the child are what holds.
"""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from credit_risk.schema.sheets.arrow_table import unmistakable
from model_deployment.files.limited import (
    MAX_COLUMNS,
    MAX_ROWS,
    MAX_TEXT,
    TOO_LARGE,
    TOO_MANY,
    FileRefused,
    Read,
    run,
)

_BATCH_ROWS = 10_000


def as_csv(data: bytes) -> Read:
    """Return a Parquet file as CSV, without its columns of lists or objects, which are named.

    Raises
    ------
    FileRefused
        When it is not a Parquet file, or has columns, rows or texts beyond the limits.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # the others set aside more than they use
    try:
        return _read(data)
    except (FileRefused, MemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError):
        raise FileRefused("this is no Parquet file that can be read; send a CSV (UTF-8)") from None


def _read(data: bytes) -> Read:
    file = pq.ParquetFile(pa.BufferReader(data))
    about = file.metadata
    if about.num_columns > MAX_COLUMNS:
        raise FileRefused(
            f"the file has {about.num_columns} columns; at most {MAX_COLUMNS} are read"
        )
    if about.num_rows > MAX_ROWS:
        raise FileRefused(TOO_MANY)

    # Texts stay in dictionaries until it is known how long they get.
    fields = list(file.schema_arrow)
    texts = [field.name for field in fields if _is_text(field.type)]
    nested = [field.name for field in fields if pa.types.is_nested(field.type)]
    flat = [field.name for field in fields if not pa.types.is_nested(field.type)]
    # Columns of one name are read together where some columns are left out.
    names = sorted(flat, key=flat.index) if nested else flat
    columns = list(dict.fromkeys(names)) if nested else None

    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    sink = io.BytesIO()
    with pa.csv.CSVWriter(sink, pa.schema([(name, pa.string()) for name in names])) as writer:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            if sink.tell() + sum(map(_text_size, batch.columns)) > MAX_TEXT:
                raise FileRefused(TOO_LARGE)
            writer.write(_text_table(batch))

    if sink.tell() > MAX_TEXT:
        raise FileRefused(TOO_LARGE)
    return Read(sink.getvalue(), {"nested": nested})


def _is_text(type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_binary(type)
    )


def _text_size(column: pa.Array) -> int:
    """Return the length of a dictionary's values once each row has its own."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return 0
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _text_table(table: pa.RecordBatch) -> pa.Table:
    """Return a table whose columns are text, as a CSV has them."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns.append(unmistakable(column))
    return pa.table(columns, names=table.schema.names)


if __name__ == "__main__":
    run(as_csv)
