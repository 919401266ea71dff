"""A batch, and what was rejected of it, as files that people open in a spreadsheet."""

import base64
import io
import os
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import IO, Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from credit_risk.decision_log.batch import PART_ROWS, Batch
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import CLIENT_ID, LABEL, NAMES
from credit_risk.schema.csv_reader import Data, Sheet
from credit_risk.schema.formulas import harmless
from model_deployment.files.formats import Upload

WRONG = "what_is_wrong"
# A workbook takes a hundred times as long as a CSV: about 10 seconds for these.
MAX_EXCEL_ROWS = 20_000
# Nobody waits for what was rejected: so many take two seconds.
_MAX_REJECTED_CELLS = 100_000

# What people know by another name.
_CALLED = {"label": LABEL, "id": "decision_id"}


def result_csv(batch: Batch) -> bytes:
    """Return the decisions of a batch as CSV; see `write_result`."""
    sink = io.BytesIO()
    write_result(batch, sink)
    return sink.getvalue()


def write_result(batch: Batch, sink: IO[bytes]) -> None:
    """Write the decisions of a batch as CSV (UTF-8, comma): prediction, risk and confidence first, then the inputs.

    Columns of the upload that are no part of an application follow as they came, but for cells that a spreadsheet
    would run as formulas: these get an apostrophe in front, which makes a text of them.
    """
    applications = batch.applications
    names = ["prediction", "risk", "confidence", *NAMES, "warnings", "model_version", "id"]
    if any(applications.label):
        names.insert(names.index("warnings"), "label")
    if any(applications.client_id):
        names.insert(3, CLIENT_ID)
    header = [_CALLED.get(name, name) for name in names]
    for name in applications.extra.column_names:
        header.append(unlike(name, header))
    decisions = batch.table.select(names)

    def part(start: int) -> pa.Buffer:
        columns = [_cell(*named) for named in zip(names, decisions.slice(start, PART_ROWS).columns, strict=True)]
        columns += [harmless(column) for column in applications.extra.slice(start, PART_ROWS).columns]
        text = pa.BufferOutputStream()
        # All at once: begun anew for each 1,024 rows, as Arrow does by itself, they take a fifth more time.
        options = pa.csv.WriteOptions(include_header=start == 0, batch_size=PART_ROWS)
        pa.csv.write_csv(pa.table(columns, names=safe), text, options)
        return text.getvalue()

    safe = harmless(pa.array(header)).to_pylist()
    # Some at a time, for what is ready waits in memory.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: deque[Future[pa.Buffer]] = deque()
        for start in range(0, len(applications), PART_ROWS):
            waiting.append(pool.submit(part, start))
            if len(waiting) > 4:
                sink.write(waiting.popleft().result())
        for rest in waiting:
            sink.write(rest.result())


def _cell(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if name in ("risk", "confidence"):
        return pc.round(column, 6)
    if name == "warnings":
        return pc.binary_join(column, "; ")
    return harmless(column) if name == CLIENT_ID else column


def rejected_rows(sent: Upload, applications: Applications) -> dict[str, str | None]:
    """Return the rejected rows of a file in its own form, to be mended there and sent again.

    They stand as they came, with what is wrong as a last column. Rows that have more or fewer values than the header
    are left out: what stands in which column is not known.

    Returns
    -------
    dict
        `rejected_csv`, separated as the file was, for a spreadsheet splits columns only at the separator of its
        country; or, of a workbook that is not too large for one, `rejected_xlsx`, in base64. None, where there is none.
    """
    none: dict[str, str | None] = {"rejected_csv": None, "rejected_xlsx": None}
    if not applications.n_rejected:
        return none
    table, separator = _rejected(sent.csv, applications)
    if sent.is_workbook and table.num_rows * table.num_columns <= _MAX_REJECTED_CELLS:
        return none | {"rejected_xlsx": base64.b64encode(excel(table, "Rejected")).decode()}
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink, pa.csv.WriteOptions(delimiter=separator))
    return none | {"rejected_csv": sink.getvalue().decode()}


def _rejected(data: Data, applications: Applications) -> tuple[pa.Table, str]:
    sheet = Sheet(data, (*NAMES, LABEL, CLIENT_ID))
    rejected = ~np.isin(sheet.numbers, applications.rows)
    wrong: dict[int, list[str]] = {}
    for fault in applications.faults:
        if fault.row is not None:
            wrong.setdefault(fault.row, []).append(fault.message)
    texts = ["; ".join(wrong.get(number, [])) for number in sheet.numbers[rejected].tolist()]
    columns = sheet.table.filter(pa.array(rejected)).columns
    # What was wrong with a row before is of no use.
    kept = [place for place, name in enumerate(sheet.header) if name != WRONG]
    names = harmless(pa.array([*(sheet.header[place] for place in kept), WRONG])).to_pylist()
    cells = [harmless(columns[place]) for place in kept]
    return pa.table([*cells, pa.array(texts, pa.string())], names=names), sheet.separator


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
    cell.data_type = "s"  # or what looks like a formula would become one
    return cell


def unlike(name: str, names: Collection[str]) -> str:
    """Return a name that none of these has: an earlier result, uploaded again, has a risk of its own."""
    while name in names:
        name += " (uploaded)"
    return name
