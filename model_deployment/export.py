"""A batch as a CSV that people open in a spreadsheet."""

import io
import os
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from credit_risk.application import CLIENT_ID, LABEL, NAMES, Applications
from credit_risk.decisions import PART_ROWS, Batch
from credit_risk.sheet import Data, Sheet

WRONG = "what_is_wrong"

# What people know by another name.
_CALLED = {"label": LABEL, "id": "decision_id"}

# A spreadsheet runs a cell that starts so. Plain numbers do too (-5, +1.5) and do no harm.
_FORMULA = r"^[=+\-@\t\r＝＋－＠]"
_NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"


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


def rejected_csv(data: Data, applications: Applications) -> bytes:
    """Return the rejected rows of a CSV as they came, with what is wrong as a last column, to be mended and sent again.

    Rows that have more or fewer values than the header are left out: what stands in which column is not known.
    """
    sheet = Sheet(data, (*NAMES, LABEL, CLIENT_ID))
    rejected = ~np.isin(sheet.numbers, applications.rows)
    wrong: dict[int, list[str]] = {}
    for fault in applications.faults:
        if fault.row is not None:
            wrong.setdefault(fault.row, []).append(fault.message)
    texts = ["; ".join(wrong.get(int(number), [])) for number in sheet.numbers[rejected]]
    columns = [*sheet.table.filter(pa.array(rejected)).columns, pa.array(texts, pa.string())]
    sink = io.BytesIO()
    header = harmless(pa.array([*sheet.header, WRONG])).to_pylist()
    pa.csv.write_csv(pa.table([harmless(column) for column in columns], names=header), sink)
    return sink.getvalue()


def unlike(name: str, names: Collection[str]) -> str:
    """Return a name that none of these has: an earlier result, uploaded again, has a risk of its own."""
    while name in names:
        name += " (uploaded)"
    return name


def harmless(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return cells with an apostrophe in front of those that a spreadsheet would run as formulas."""
    runs = pc.match_substring_regex(texts, _FORMULA)
    if not pc.any(runs).as_py():  # as in most columns
        return texts
    runs = pc.and_(runs, pc.invert(pc.match_substring_regex(texts, _NUMBER)))
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)
