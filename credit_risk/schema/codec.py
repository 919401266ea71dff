"""Applications as codes, the form that models take, and as the words and numbers that people have."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.schema.attributes import ATTRIBUTES, NAMES, SCORED, Floats
from credit_risk.schema.faults import Fault, Invalid, InvalidApplications

# So few cells are parsed one by one: for one client pandas takes ten times as long to find which are alike.
_FEW = 20


def decode(codes: Floats) -> pa.Table:
    """Return encoded applications, shape (n, 20), as the words and numbers that they stand for.

    Categories come as dictionary-encoded text, numbers as int64; absent values as null.
    """
    columns = []
    for attribute, column in zip(ATTRIBUTES, np.asarray(codes, np.float64).T, strict=True):
        absent = np.isnan(column)
        dtype = np.int8 if attribute.kind == "category" else np.int64
        if absent.any():
            values = pa.array(np.where(absent, 0, column).astype(dtype), mask=absent)
        else:  # as in most columns, in less time
            values = pa.array(column.astype(dtype))
        if attribute.kind == "category":
            values = pa.DictionaryArray.from_arrays(values, pa.array(attribute.categories))
        columns.append(values)
    return pa.table(columns, names=list(NAMES))


def codes_of(table: pa.Table) -> Floats:
    """Return what was decoded and stored as codes again, shape (n, 20); what the schema does not know becomes NaN."""
    codes = np.empty((table.num_rows, len(NAMES)))
    for place, attribute in enumerate(ATTRIBUTES):
        column = table[attribute.name]
        if attribute.kind == "category":
            column = pc.index_in(column.cast(pa.string()), value_set=pa.array(attribute.categories))
        codes[:, place] = column.cast(pa.float64()).to_numpy()
    return codes


def encode(frame: pd.DataFrame) -> Floats:
    """Return a frame's applications as codes, shape (n, 20); absent protected columns become NaN.

    Raises
    ------
    InvalidApplications
        When a column is missing or a cell is not valid.
    """
    missing = [name for name in SCORED if name not in frame.columns]
    if missing:
        raise InvalidApplications([Fault(None, n, None, f"column {n!r} is missing") for n in missing])
    codes = np.full((len(frame), len(NAMES)), np.nan)
    faults: list[Fault] = []
    for place, attribute in enumerate(ATTRIBUTES):
        if attribute.name not in frame.columns:
            continue
        column = frame[attribute.name]
        alike = pd.factorize(column, use_na_sentinel=False) if len(column) > _FEW else (np.arange(len(column)), column)
        positions, distinct = alike
        parsed = np.full(len(distinct), np.nan)
        for i, value in enumerate(distinct):
            value = value.item() if isinstance(value, np.generic) else value
            try:
                parsed[i] = attribute.parse(None if value is pd.NA else value)
            except Invalid as error:
                row = int(np.argmax(positions == i))
                faults.append(Fault.of(row, attribute.name, value, error, f"row {row}"))
        codes[:, place] = parsed[positions]
    if faults:
        raise InvalidApplications(sorted(faults, key=lambda f: f.row or 0))
    return codes
