"""Converts applications to codes, the form that models take, and back to words and numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.schema.attributes import ATTRIBUTES, NAMES, SCORED, Floats
from credit_risk.schema.faults import InvalidApplications, InvalidValue, RowError

# Up to this many cells are parsed one by one: for a single client, pandas takes ten times as long
# to find which cells are alike.
_FEW = 20


def decode(codes: Floats) -> pa.Table:
    """Return encoded applications, shape (n, 20), as the words and numbers that they stand for.

    Categories become dictionary-encoded text, numbers int64, and absent values null.
    """
    columns = []
    for attribute, column in zip(ATTRIBUTES, np.asarray(codes, np.float64).T, strict=True):
        absent = np.isnan(column)
        dtype = np.int8 if attribute.kind == "category" else np.int64
        if absent.any():
            values = pa.array(np.where(absent, 0, column).astype(dtype), mask=absent)
        else:  # most columns; this is faster
            values = pa.array(column.astype(dtype))
        if attribute.kind == "category":
            values = pa.DictionaryArray.from_arrays(values, pa.array(attribute.categories))
        columns.append(values)
    return pa.table(columns, names=list(NAMES))


def codes_of(table: pa.Table) -> Floats:
    """Return applications that were decoded and stored as codes again, shape (n, 20).

    Values that the schema does not know become NaN.
    """
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
        raise InvalidApplications(
            [RowError(None, n, None, f"column {n!r} is missing") for n in missing]
        )

    codes = np.full((len(frame), len(NAMES)), np.nan)
    faults: list[RowError] = []
    for place, attribute in enumerate(ATTRIBUTES):
        if attribute.name not in frame.columns:
            continue

        column = frame[attribute.name]
        distinct: pd.Index | pd.Series = column
        positions = np.arange(len(column))
        if len(column) > _FEW:
            positions, distinct = pd.factorize(column, use_na_sentinel=False)

        parsed = np.full(len(distinct), np.nan)
        for i, value in enumerate(distinct):
            value = value.item() if isinstance(value, np.generic) else value
            try:
                parsed[i] = attribute.parse(None if value is pd.NA else value)
            except InvalidValue as error:
                row = int(np.argmax(positions == i))
                faults.append(RowError.of(row, attribute.name, value, error, f"row {row}"))
        codes[:, place] = parsed[positions]

    if faults:
        raise InvalidApplications(sorted(faults, key=lambda f: f.row or 0))
    return codes
