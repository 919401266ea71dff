"""Reads an Arrow table, such as a part of a Parquet file, as columns of text."""

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.schema.spelling.notes import renamed_columns
from credit_risk.schema.spelling.numerals import THREE_DECIMALS
from credit_risk.schema.spelling.words import named

# Beyond it floats do not have every whole number.
_EXACT = 2.0**53


class ArrowTable:
    """A table as text columns; see `Sheet`.

    Parameters
    ----------
    table : pyarrow.Table
        Its columns hold texts, numbers, dates or truth values, no lists or objects.
    known : mapping
        Names that columns may have (see `named`).
    repetitive : collection of str
        Columns with few distinct values, which are returned dictionary-encoded.
    rows_above : int
        How many more rows the file has above these, where they are a part of it.
    """

    unit = "row"

    def __init__(
        self,
        table: pa.Table,
        known: Mapping[str, str],
        repetitive: Collection[str] = (),
        rows_above: int = 0,
    ) -> None:
        self.header = named([name.strip() for name in table.column_names], known)
        pairs = zip(table.column_names, self.header, strict=True)
        self.notes = renamed_columns([pair for pair in pairs if pair[0] not in (pair[1], *known)])
        columns = [
            _repetitive(column) if name in repetitive else _text_column(column)
            for name, column in zip(self.header, table.columns, strict=True)
        ]
        self.table = pa.table(columns, names=table.column_names)
        self.numbers = np.arange(table.num_rows, dtype=np.int64)
        self.ragged: list[tuple[int, str]] = []
        self.n_rows = table.num_rows
        self._rows_above = rows_above

    def lines(self, numbers: Collection[int]) -> dict[int, int]:
        """Return the row of the file, from 1, of each of these rows."""
        return {number: number + 1 + self._rows_above for number in numbers}


def texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column as text, with whole numbers without a decimal point or an exponent."""
    as_text = column.cast(pa.string())
    if not _has_decimals(column.type):
        return as_text

    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    numbers = column.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(numbers), _EXACT))
    integers = pc.if_else(whole, numbers, 0.0).cast(pa.int64())
    return pc.if_else(whole, integers.cast(pa.string()), as_text)


def unmistakable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column as `texts` does, with no ambiguous number; see `numerals.unmistakable`."""
    as_text = texts(column)
    if not _has_decimals(column.type):
        return as_text
    return pc.replace_substring_regex(as_text, THREE_DECIMALS, r"\10")


def _has_decimals(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.fill_null(texts(column), "")


def _repetitive(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column dictionary-encoded: each distinct value is turned into text once."""
    return pa.chunked_array([_encoded(chunk) for chunk in column.chunks], _REPETITIVE)


_REPETITIVE = pa.dictionary(pa.int32(), pa.string())


def _encoded(chunk: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_dictionary(chunk.type):
        if not chunk.null_count and not chunk.dictionary.null_count:
            words = unmistakable(chunk.dictionary)
            return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), words)
        chunk = chunk.cast(chunk.type.value_type)
    encoded = pc.dictionary_encode(chunk, null_encoding="encode")
    words = pc.fill_null(unmistakable(encoded.dictionary), "")
    return pa.DictionaryArray.from_arrays(encoded.indices, words)
