"""Tables of decisions that were made by several definitions of a data set.

A definition may have gained, lost or renamed an attribute since a decision was made. Its table has
the columns that are asked for; what the decision does not have is null.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BEFORE, BEHIND
from credit_risk.storage.documents import Document

_WHOLE = r"^-?[0-9]{1,18}$"
_NUMBER = r"^-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?$"
_LONGEST = 2**63  # of the whole numbers that Arrow holds
# Up to here floats hold every whole number.
_EXACT = 2.0**53
_NO_ATTRIBUTES = frozenset([*BEFORE.names, *BEHIND.names])


def attribute_names(names: Iterable[str]) -> list[str]:
    """Return the columns of a table of decisions, or the keys of one, that are attributes."""
    return [name for name in names if name not in _NO_ATTRIBUTES]


def with_others(schema: pa.Schema, others: Iterable[pa.Field]) -> pa.Schema:
    """Return the schema of decisions with further attributes, behind those that it has."""
    taken = _NO_ATTRIBUTES.union(schema.names)
    further: dict[str, pa.Field] = {}
    for field in others:
        if field.name not in taken:
            known = further.get(field.name)
            further[field.name] = field if known is None else wider(known, field)
    fields, end = list(schema), len(schema) - len(BEHIND)
    return pa.schema([*fields[:end], *further.values(), *fields[end:]])


def wider(one: pa.Field, other: pa.Field) -> pa.Field:
    """Return the field that holds the values of both: text where nothing else does."""
    if one.type == other.type:
        return one
    schemas = [pa.schema([one]), pa.schema([other])]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.field(one.name, pa.string())


def fields_of(rows: Sequence[Document], schema: pa.Schema) -> list[pa.Field]:
    """Return the fields of one batch's decisions that a schema lacks, by the first decision."""
    if not rows:
        return []
    known = _NO_ATTRIBUTES.union(schema.names)
    names = [name for name in rows[0] if name not in known]
    return [pa.field(name, pa.array([row.get(name) for row in rows]).type) for name in names]


def table_of(rows: Sequence[Document], schema: pa.Schema) -> pa.Table:
    """Return decisions as a table with the columns of a schema."""
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table that was read from a file with the columns of a schema."""
    columns = [
        _cast(table[field.name], field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    # Asked for whole numbers, Arrow would cut decimals off.
    if not pa.types.is_integer(kind) or not any(isinstance(value, float) for value in values):
        try:
            return pa.array(values, kind)
        except OverflowError:
            values = [None if isinstance(v, int) and abs(v) >= _LONGEST else v for v in values]
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # an attribute has become another kind, such as a number a category
    return _cast(pa.array(values), kind)


def _cast(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return a column as another kind, with null for each value that cannot be of that kind."""
    if column.type == kind:
        return column
    if pa.types.is_dictionary(kind):
        return _cast(column, kind.value_type).cast(kind)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_number(kind) and pa.types.is_string(column.type):
        pattern = _WHOLE if pa.types.is_integer(kind) else _NUMBER
        column = _where(pc.match_substring_regex(column, pattern), column)
    elif pa.types.is_integer(kind) and pa.types.is_floating(column.type):
        is_whole = pc.equal(pc.floor(column), column)
        column = _where(pc.and_(is_whole, pc.less(pc.abs(column), _EXACT)), column)
    elif pa.types.is_floating(kind) and pa.types.is_integer(column.type):
        return column.cast(kind, safe=False)  # beyond 2^53, to the nearest
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), kind)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _where(keep: pa.Array, column: pa.Array) -> pa.Array:
    return pc.if_else(keep, column, pa.scalar(None, column.type))
