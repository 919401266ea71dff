"""Excel and Parquet files as the CSV that they would have been saved as, so that one reader gives one verdict."""

import csv
import io
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from credit_risk.sheet import MAX_COLUMNS, Unreadable

# A small archive may hold a sheet that fills the memory.
MAX_UNPACKED = 1_000_000_000
MAX_SHEET = 200_000_000


def as_csv(data: bytes) -> bytes:
    """Return a file as CSV: the first sheet of an Excel workbook, a Parquet file, or a CSV as it is.

    Raises
    ------
    Unreadable
        When it says that it is a workbook or a Parquet file, and is none that can be read.
    """
    if data.startswith(b"PK\x03\x04"):
        return _excel(data)
    if data.startswith(b"PAR1"):
        return _parquet(data)
    return data


def _excel(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_SHEET:
            raise Unreadable("the workbook is too large once it is unpacked; save the sheet as CSV (UTF-8)")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        # What a workbook says of its size may be wrong.
        sheet.reset_dimensions()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in sheet.iter_rows(values_only=True):
            writer.writerow([_cell(value) for value in row])
        return text.getvalue().encode()
    except Unreadable:
        raise
    # A damaged workbook raises whatever the part that stumbled over it raises.
    except Exception as error:
        why = "this is no Excel workbook that can be read"
        raise Unreadable(f"{why} ({type(error).__name__}); save the sheet as CSV (UTF-8) and upload that") from None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # A line break would make the rows after it look one line further down than they are.
    return " ".join(str(value).split("\n"))


def _parquet(data: bytes) -> bytes:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > MAX_UNPACKED or file.metadata.num_columns > MAX_COLUMNS:
            raise Unreadable("the Parquet file is too large once it is unpacked; send the clients in several files")
        sink = io.BytesIO()
        pa.csv.write_csv(_plain(file.read()), sink)
        return sink.getvalue()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("this is no Parquet file that can be read; send a CSV (UTF-8)") from None


def _plain(table: pa.Table) -> pa.Table:
    """Return a table whose columns are text, as a CSV has them."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            raise Unreadable(f"column {name!r} holds lists or objects; each value is to be a word or a number")
        columns.append(column.cast(pa.string()))
    return pa.table(columns, names=table.column_names)
