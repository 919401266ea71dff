"""A batch as a CSV that people open in a spreadsheet."""

import io
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from credit_risk.application import CLIENT_ID, LABEL, NAMES, Applications
from credit_risk.decisions import GREEN, RED, Batch
from credit_risk.sheet import Sheet

WRONG = "what_is_wrong"

# A spreadsheet runs a cell that starts so. Plain numbers do too (-5, +1.5) and do no harm.
_FORMULA = r"^[=+\-@\t\r＝＋－＠]"
_NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"


def result_csv(batch: Batch) -> bytes:
    """Return the decisions of a batch as CSV (UTF-8, comma): prediction, risk and confidence first, then the inputs.

    Columns of the upload that are no part of an application follow as they came, but for cells that a spreadsheet
    would run as formulas: these get an apostrophe in front, which makes a text of them.
    """
    applications = batch.applications
    clients = applications.table()
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "prediction": pc.if_else(pa.array(batch.decided.red), RED, GREEN),
        "risk": pc.round(pa.array(batch.decided.risk), 6),
        "confidence": pc.round(pa.array(batch.decided.confidence), 6),
    }
    if any(applications.client_id):
        columns[CLIENT_ID] = harmless(clients[CLIENT_ID])
    columns |= {name: clients[name] for name in NAMES}
    if any(applications.label):
        columns[LABEL] = clients["label"]
    warnings = applications.row_warnings
    columns["warnings"] = pa.array(["; ".join(warnings.get(i, [])) for i in range(len(applications))], pa.string())
    columns["model_version"] = pa.repeat(batch.model_version, len(applications))
    columns["decision_id"] = pa.array([batch.decision_id(row) for row in applications.rows.tolist()], pa.string())
    names = list(columns)
    for name, column in zip(applications.extra.column_names, applications.extra.columns, strict=True):
        names.append(unlike(name, names))
        columns[f"extra {len(names)}"] = harmless(column)
    sink = io.BytesIO()
    header = harmless(pa.array(names)).to_pylist()
    pa.csv.write_csv(pa.table(list(columns.values()), names=header), sink)
    return sink.getvalue()


def rejected_csv(data: bytes, applications: Applications) -> bytes:
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
    runs = pc.and_(pc.match_substring_regex(texts, _FORMULA), pc.invert(pc.match_substring_regex(texts, _NUMBER)))
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)
