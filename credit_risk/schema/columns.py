"""Parses the columns of a file of applications, each distinct value only once."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.faults import FIRSTS, MAX_FAULTS, InvalidValue
from credit_risk.schema.sheets.sheet import Sheet
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.notes import Form, Notes
from credit_risk.schema.values import Values

_ABSENT = (math.nan, False)

# A fault of a file: the number of its row, the place and name of its column, the value, and the
# error.
Located = tuple[int, int, str, object, InvalidValue]


class _Column(NamedTuple):
    """A parsed column of some rows.

    Attributes
    ----------
    values : pyarrow.Array
        The distinct values.
    results : list
        The result of parsing each of them.
    positions : array
        The place of each row's value among the distinct values.
    bad : array
        The rows with an invalid value.
    reasons : dict
        The number of invalid rows for each reason.
    texts : list of str or None
        The result of each row, where the column is not an attribute.
    firsts : list of (int, str)
        The first invalid rows for each reason, and the reason.
    forms : list
        What was accepted in another form than the contract's: form, value, number of rows.
    """

    values: pa.Array
    results: list[Any]
    positions: NDArray[np.int64]
    bad: NDArray[np.int64]
    reasons: dict[str, int]
    texts: list[str | None]
    firsts: list[tuple[int, str]]
    forms: list[tuple[Form, object, int]]


class Columns:
    """The known columns of a file, parsed.

    Parameters
    ----------
    sheet : Sheet
    places : mapping
        The place of each known column in the table.
    values : Values

    Attributes
    ----------
    codes : array of shape (n, n_attributes)
        Each row of the table, encoded.
    outside : array of shape (n, n_attributes)
        Whether a number lies outside the range that the model saw in training.
    bad : array of shape (n,)
        Whether a row has a value that is not allowed.
    """

    def __init__(self, sheet: Sheet, places: Mapping[str, int], values: Values) -> None:
        n, dataset = sheet.table.num_rows, values.dataset
        self._sheet = sheet
        self._values = values
        self._dataset = dataset
        self._place = {name: place for place, name in enumerate(dataset.columns)}

        # Each thread writes to the rows that it parses.
        self.codes = np.empty((n, len(dataset.names)))
        self.outside = np.zeros((n, len(dataset.names)), dtype=bool)
        self.bad = np.zeros(n, dtype=bool)

        self._names = [name for name in dataset.columns if name in places]
        known = sheet.table.select([places[name] for name in self._names])
        blocks = known.rename_columns(self._names).to_batches()
        self._starts = np.cumsum([0, *(len(block) for block in blocks)]).tolist()

        # New threads each time: a shared pool would not survive the fork that makes a server's
        # workers.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            self._blocks = list(pool.map(self._block, blocks, self._starts[:-1]))

    def reasons(self) -> dict[tuple[str, str], int]:
        """Return the number of faults for each (column, reason)."""
        counted: dict[tuple[str, str], int] = {}
        for name in self._names:
            for block in self._blocks:
                for reason, times in block[name].reasons.items():
                    counted[name, reason] = counted.get((name, reason), 0) + times
        return counted

    def notes(self) -> Notes:
        """Return notes about what was accepted in another form than the contract's."""
        notes = Notes()
        for name in self._names:
            for block in self._blocks:
                for form, value, times in block[name].forms:
                    notes.add(form, name, value, times, self._values.understood(name, value))
        return notes

    def texts(self, name: str) -> list[str | None]:
        """Return each row's client id or label."""
        if name not in self._names:
            return [None] * len(self.bad)
        return [text for block in self._blocks for text in block[name].texts]

    def first_faults(self) -> list[Located]:
        """Return the first thousand faults or more, and the first of each kind."""
        found: list[Located] = []
        seen: Counter[tuple[str, str]] = Counter()
        for start, block in zip(self._starts, self._blocks, strict=False):
            enough = len(found) >= MAX_FAULTS
            for name, column in block.items():
                rows = set() if enough else set(column.bad[:MAX_FAULTS].tolist())
                rows |= {row for row, reason in column.firsts if seen[name, reason] < FIRSTS}
                seen.update((name, reason) for _, reason in column.firsts)

                for k in rows:
                    row = int(self._sheet.numbers[start + k])
                    value = column.values[int(column.positions[k])].as_py()
                    error = self._values.error(name, value)
                    found.append((row, self._place[name], name, value, error))
        return found

    def messages(self) -> pa.Array:
        """Return what is wrong with each of the bad rows, as one text a row."""
        found = map(self._messages, pairwise(self._starts), self._blocks)
        return pa.concat_arrays([pa.array([], pa.string()), *found])

    def _messages(self, rows: tuple[int, int], block: Mapping[str, _Column]) -> pa.Array:
        bad = np.flatnonzero(self.bad[slice(*rows)])
        by_column = []
        for name, column in block.items():
            is_bad = np.isin(bad, column.bad)
            if not is_bad.any():
                continue
            distinct, which = np.unique(column.positions[bad[is_bad]], return_inverse=True)
            values = column.values.take(pa.array(distinct)).to_pylist()
            texts = pa.array([str(self._values.error(name, value)) for value in values])
            places = np.zeros(len(bad), dtype=np.int64)
            places[is_bad] = which
            by_column.append(texts.take(pa.array(places, mask=~is_bad)))
        if not by_column:
            return pa.array([], pa.string())
        return pc.binary_join_element_wise(*by_column, "; ", null_handling="skip")

    def _block(self, block: pa.RecordBatch, start: int) -> dict[str, _Column]:
        """Parse some rows of a file, and write their codes in place."""
        rows = slice(start, start + len(block))
        present = set(block.schema.names)
        absent = [self._place[name] for name in self._dataset.names if name not in present]
        self.codes[rows, absent] = np.nan

        columns: dict[str, _Column] = {}
        for name, cells in zip(block.schema.names, block.columns, strict=True):
            column = columns[name] = self._column(name, cells)
            self.bad[rows][column.bad] = True
            if name not in self._dataset.by_name:
                continue

            place = self._place[name]
            results = np.array(column.results, dtype=np.float64).reshape(-1, 2)
            self.codes[rows, place] = np.take(results[:, 0], column.positions)
            if results[:, 1].any():
                self.outside[rows, place] = np.take(results[:, 1] > 0, column.positions)
        return columns

    def _column(self, name: str, cells: pa.Array) -> _Column:
        """Parse each distinct value of a column once, and find the rows with an invalid one."""
        if name == CLIENT_ID and ids.are_plain(cells):
            # Ids are distinct, and in most files there is nothing to parse in them.
            none = np.empty(0, dtype=np.int64)
            return _Column(cells, [], none, none, {}, cells.to_pylist(), [], [])

        encoded = cells if pa.types.is_dictionary(cells.type) else pc.dictionary_encode(cells)
        positions = encoded.indices.to_numpy()
        # Arrow's values are not copies: only a part of a large file's distinct values is ever held
        # as Python objects.
        values = encoded.dictionary
        results, reasons, formed = self._results(name, values)

        invalid = np.fromiter(map(bool, reasons), bool, len(reasons))
        bad = np.flatnonzero(invalid[positions]) if invalid.any() else np.empty(0, dtype=np.int64)
        times = np.bincount(positions[bad], minlength=len(values))
        counted: dict[str, int] = {}
        for j in np.flatnonzero(times).tolist():
            counted[reasons[j]] = counted.get(reasons[j], 0) + int(times[j])

        texts = [] if name in self._dataset.by_name else [results[p] for p in positions]
        all_times = np.bincount(positions, minlength=len(values)) if formed else times
        forms = [
            (form, values[j].as_py(), int(all_times[j]))
            for j, form in formed.items()
            if all_times[j]
        ]
        firsts = _firsts(bad, positions[bad], reasons) if counted else []
        return _Column(values, results, positions, bad, counted, texts, firsts, forms)

    def _results(self, name: str, values: pa.Array) -> tuple[list[Any], list[str], dict[int, Form]]:
        """Return the result and the reason of each distinct value, and the places of other forms.

        The reason is empty for a valid value.
        """
        results: list[Any] = []
        reasons: list[str] = []
        forms: dict[int, Form] = {}
        attribute = self._dataset.by_name.get(name)
        if attribute is not None:
            for j, value in enumerate(values.to_pylist()):
                code, outside, reason, form = self._values.look(attribute, value)
                results.append(_ABSENT if reason else (code, outside))
                reasons.append(reason)
                if form:
                    forms[j] = form
            return results, reasons, forms

        for j, value in enumerate(values.to_pylist()):
            try:
                text, form = self._values.text(name, value)
                results.append(text)
                reasons.append("")
                if form:
                    forms[j] = form
            except InvalidValue as error:
                results.append(None)
                reasons.append(error.reason)
        return results, reasons, forms


def _firsts(
    bad: NDArray[np.int64], values: NDArray[np.int64], reasons: list[str]
) -> list[tuple[int, str]]:
    """Return the first invalid rows for each reason.

    `values` has the place of each row's value, and thereby of its reason.
    """
    distinct = sorted(set(reasons) - {""})
    numbers = np.array([distinct.index(reason) if reason else -1 for reason in reasons])[values]

    firsts: list[tuple[int, str]] = []
    for number, reason in enumerate(distinct):
        rows = bad[np.flatnonzero(numbers == number)[:FIRSTS]]
        firsts += [(int(row), reason) for row in rows]
    return firsts
