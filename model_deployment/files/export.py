"""Files that people open in a spreadsheet: workbooks, and the rejected rows of what they sent."""

import base64
import io
from itertools import chain
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.csv
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from credit_risk.schema.applications import Applications
from credit_risk.schema.formulas import escape_formulas
from credit_risk.schema.sheets.csv_table import CsvTable, Data
from credit_risk.schema.sheets.formats import Formats, Reading
from model_deployment.files.formats import UploadedFile

WRONG = "what_is_wrong"
# A workbook takes a hundred times as long as a CSV: about 10 seconds for these.
MAX_EXCEL_ROWS = 20_000
# Larger sets of rejected rows come as CSV; this many cells take two seconds.
_MAX_REJECTED_CELLS = 100_000


def rejected_rows(sent: UploadedFile, applications: Applications) -> dict[str, str | None]:
    """Return the rejected rows of a file in its own format, to be mended there and sent again.

    Their values are unchanged, and a last column says what is wrong. Rows that have more or fewer
    values than the header are left out: which value belongs to which column is not known. Of a file
    without column names, the rows get those of an application, and so its values.

    Returns
    -------
    dict
        `rejected_csv`, with the file's separator, because a spreadsheet splits columns only at the
        separator of its country; or, for a workbook that is not too large, `rejected_xlsx`, in
        base64. The other one is None.
    """
    none: dict[str, str | None] = {"rejected_csv": None, "rejected_xlsx": None}
    if not applications.n_rejected:
        return none

    table, separator = _rejected(sent.csv, applications)
    if sent.is_workbook and table.num_rows * table.num_columns <= _MAX_REJECTED_CELLS:
        workbook = excel(table, "Rejected")
        return {**none, "rejected_xlsx": base64.b64encode(workbook).decode()}

    sink = io.BytesIO()
    pa.csv.write_csv(table, sink, pa.csv.WriteOptions(delimiter=separator))
    return {**none, "rejected_csv": sink.getvalue().decode()}


def _rejected(data: Data, applications: Applications) -> tuple[pa.Table, str]:
    """Return the table of rejected rows, and the separator of the file."""
    dataset = applications.dataset
    sheet = CsvTable(data, dataset.headers, formats=Formats(dataset))
    rejected = ~np.isin(sheet.numbers, applications.rows)

    wrong: dict[int, list[str]] = {}
    for fault in applications.faults:
        if fault.row is not None:
            wrong.setdefault(fault.row, []).append(fault.message)
    texts = ["; ".join(wrong.get(number, [])) for number in sheet.numbers[rejected].tolist()]

    columns = sheet.table.filter(pa.array(rejected)).columns
    if sheet.reading is not None and not sheet.reading.written:
        columns = _in_our_words(columns, sheet.reading)
    header = names_in(sheet)
    # A column that says what was wrong with a row before is replaced.
    kept = [place for place, name in enumerate(header) if name != WRONG]
    names = [*(header[place] for place in kept), WRONG]
    cells = [*(escape_formulas(columns[place]) for place in kept), pa.array(texts, pa.string())]
    table = pa.table(cells, names=escape_formulas(pa.array(names)).to_pylist())
    # No spreadsheet splits columns at spaces.
    return table, "," if sheet.separator == " " else sheet.separator


def names_in(sheet: CsvTable) -> list[str]:
    """Return the names of a sheet's columns by which its values are understood again.

    They are the contract's; those of the file where it is in other words, since our names would
    give its values another meaning.
    """
    written = sheet.reading.written if sheet.reading is not None else ()
    return list(written[: len(sheet.header)]) or sheet.header


def _in_our_words(columns: list[pa.ChunkedArray], reading: Reading) -> list[pa.Array]:
    """Return the columns of a file without names as the definition has them, where it can."""
    return [
        pa.array([reading.meant(name, value)[0] for value in column.to_pylist()], pa.string())
        for name, column in zip(reading.header, columns, strict=True)
    ]


def excel(table: pa.Table, title: str = "Decisions") -> bytes:
    """Return a table as an Excel workbook; texts stay texts, whatever they look like."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"

    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    for row in chain([table.column_names], rows):
        sheet.append([_excel_cell(sheet, value) for value in row])

    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def _excel_cell(sheet: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
    cell.data_type = "s"  # otherwise a text that looks like a formula would become one
    return cell
