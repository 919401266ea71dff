"""Excel and Parquet files as the CSV that they would have been saved as, so that one reader gives one verdict."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable
from functools import cached_property

import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from credit_risk.sheet import MAX_COLUMNS, Data, Unreadable

# A small archive may hold a sheet that fills the memory; so may a small sheet, by naming one long text again and again.
MAX_UNPACKED = 1_000_000_000
MAX_SHEET = 200_000_000
MAX_TEXT = 300_000_000
MAX_SHEET_ROWS = 1_048_576  # as many as Excel has
_BATCH_ROWS = 10_000
_TOO_LARGE = "the Parquet file is too large once it is unpacked; send the clients in several files"


class Upload:
    """A file as it was sent; what it would be as CSV is found once, for a workbook takes seconds."""

    def __init__(self, data: Data, name: str | None = None) -> None:
        self.data = data
        self.name = name

    @cached_property
    def csv(self) -> Data:
        """See `as_csv`."""
        return as_csv(self.data)

    @cached_property
    def sha256(self) -> str:
        """The digest of what was sent, by which it is known again."""
        return hashlib.sha256(self.data).hexdigest()


def as_csv(data: Data) -> Data:
    """Return a file as CSV: the first sheet of an Excel workbook, a Parquet file, or a CSV as it is.

    Raises
    ------
    Unreadable
        When it says that it is a workbook or a Parquet file, and is none that can be read.
    """
    start = bytes(data[:4])
    if start == b"PK\x03\x04":
        return _excel(data)
    if start == b"PAR1":
        return _parquet(data)
    return data


def _excel(data: Data) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_SHEET:
            raise Unreadable("the workbook is too large once it is unpacked; save the sheet as CSV (UTF-8)")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        # What a workbook says of its size may be wrong.
        sheet.reset_dimensions()
        return _sheet(sheet.iter_rows(values_only=True))
    except Unreadable:
        raise
    # A damaged workbook raises whatever the part that stumbled over it raises.
    except Exception as error:
        why = "this is no Excel workbook that can be read"
        raise Unreadable(f"{why} ({type(error).__name__}); save the sheet as CSV (UTF-8) and upload that") from None


def _sheet(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width, room = 0, MAX_TEXT
    for number, row in enumerate(rows):
        if number == MAX_SHEET_ROWS:
            raise Unreadable(f"the sheet has more rows than Excel can have, {MAX_SHEET_ROWS:,}")
        if len(row) > MAX_COLUMNS:
            raise Unreadable(f"the sheet has {len(row)} columns; at most {MAX_COLUMNS} are read")
        cells: list[str] = []
        for value in row:
            cells.append(_cell(value))
            room -= len(cells[-1]) + 1
            if room < 0:
                raise Unreadable("the workbook is too large once it is unpacked; save the sheet as CSV (UTF-8)")
        # A workbook leaves out a row's last cells where they are blank, or has more of them, which are only formatted.
        while cells and not cells[-1]:
            cells.pop()
        width = width or len(cells)
        writer.writerow(cells + [""] * (width - len(cells)))
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # A line break would make the rows after it look one line further down than they are.
    return str(value).replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _parquet(data: Data) -> bytes:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        about = file.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if size > MAX_UNPACKED or about.num_columns > MAX_COLUMNS or 2 * about.num_rows * about.num_columns > MAX_TEXT:
            raise Unreadable(_TOO_LARGE)
        # Texts stay in dictionaries until it is known how long they get.
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
        sink = io.BytesIO()
        with pa.csv.CSVWriter(sink, pa.schema([(name, pa.string()) for name in file.schema_arrow.names])) as writer:
            for batch in file.iter_batches(_BATCH_ROWS):
                if sink.tell() + sum(map(_text_size, batch.columns)) > MAX_TEXT:
                    raise Unreadable(_TOO_LARGE)
                writer.write(_plain(batch))
        return sink.getvalue()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("this is no Parquet file that can be read; send a CSV (UTF-8)") from None


def _is_text(type: pa.DataType) -> bool:
    return any(is_one(type) for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _text_size(column: pa.Array) -> int:
    """Return how long a dictionary's values are once each row has its own."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return 0
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _plain(table: pa.RecordBatch) -> pa.Table:
    """Return a table whose columns are text, as a CSV has them."""
    columns = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            raise Unreadable(f"column {name!r} holds lists or objects; each value is to be a word or a number")
        columns.append(column.cast(pa.string()))
    return pa.table(columns, names=table.schema.names)
