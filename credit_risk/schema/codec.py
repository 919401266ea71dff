"""Converts applications to codes, the form that models take, and back to words and numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.schema.attributes import Attribute, Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import InvalidApplications, InvalidValue, RowError

# Up to this many cells are parsed one by one: for a single client, pandas takes ten times as long
# to find which cells are alike.
_FEW = 20
# Codes of as many categories fit into eight bits.
_INT8 = 127


def decode(codes: Floats, dataset: Dataset) -> pa.Table:
    """Return encoded applications, shape (n, n_attributes), as the words and numbers they are.

    Categories become dictionary-encoded text, whole numbers int64, others float64, and absent
    values null.
    """
    pairs = zip(dataset.attributes, np.asarray(codes, np.float64).T, strict=True)
    columns = [_decoded(column, attribute) for attribute, column in pairs]
    return pa.table(columns, names=list(dataset.names))


def _decoded(column: Floats, attribute: Attribute) -> pa.Array:
    absent = np.isnan(column)
    dtype = _dtype(attribute)
    if absent.any():
        values = pa.array(np.where(absent, 0, column).astype(dtype), mask=absent)
    else:  # most columns; this is faster
        values = pa.array(column.astype(dtype))
    if attribute.categories:
        return pa.DictionaryArray.from_arrays(values, pa.array(attribute.categories))
    return values


def _dtype(attribute: Attribute) -> type[np.generic]:
    """Return the smallest type of a category's codes, or that of a number."""
    if attribute.categories:
        return np.int8 if len(attribute.categories) <= _INT8 else np.int16
    return np.float64 if attribute.decimals else np.int64


def arrow_type(attribute: Attribute) -> pa.DataType:
    """Return the type that an attribute's values have in tables."""
    if attribute.categories:
        return pa.string()
    return pa.float64() if attribute.decimals else pa.int64()


def codes_of(table: pa.Table, dataset: Dataset) -> Floats:
    """Return applications that were decoded and stored as codes again, shape (n, n_attributes).

    Values that the data set does not know become NaN, as those of columns that are not there.
    """
    codes = np.full((table.num_rows, len(dataset.attributes)), np.nan)
    for place, attribute in enumerate(dataset.attributes):
        if attribute.name not in table.column_names:
            continue
        column = table[attribute.name]
        if attribute.categories:
            column = pc.index_in(column.cast(pa.string()), value_set=pa.array(attribute.categories))
        codes[:, place] = column.cast(pa.float64()).to_numpy()
    return codes


def encode(frame: pd.DataFrame, dataset: Dataset) -> Floats:
    """Return a frame's applications as codes, shape (n, n_attributes).

    Absent protected columns become NaN.

    Raises
    ------
    InvalidApplications
        When a column is missing or a cell is not valid.
    """
    missing = [name for name in dataset.scored if name not in frame.columns]
    if missing:
        raise InvalidApplications(
            [RowError(None, n, None, f"column {n!r} is missing") for n in missing]
        )

    codes = np.full((len(frame), len(dataset.attributes)), np.nan)
    faults: list[RowError] = []
    for place, attribute in enumerate(dataset.attributes):
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
