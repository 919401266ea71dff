"""The cells of each feature: counts in them are all that the drift tests and the PSI need.

A category is a cell. A measured feature has one cell for each value in the reference and one for
each gap between two of them: however the window's values lie within a gap, the two distribution
functions are farthest apart at its ends, so the Kolmogorov-Smirnov statistic of the counts is
exactly that of the values. Counts can be added and subtracted as decisions come and go; a million
decisions need not be read again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.schema.attributes import Attribute
from credit_risk.schema.dataset import Dataset
from monitoring.log_reader import places_in

RISK = "risk"
PSI_BINS = 10
# Integers up to this are placed by a table of all of them, which is faster than a search.
LISTED = 100_000

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Cells = NDArray[np.integer[Any]]


class NumericBins:
    """The cells of one measured feature.

    Attributes
    ----------
    size : int
        How many cells there are; `place` gives a missing value this number.
    bins : array of shape (size,)
        The bin of the PSI that each cell lies in: a tenth of the reference, or the cell itself
        where the reference has hardly a value. Edges are values of the reference, so that no cell
        lies in two.
    """

    def __init__(self, reference: Floats) -> None:
        self.values = np.unique(reference)
        self.size = 2 * len(self.values) + 1
        self._of_integers = _of_integers(self.values, self._search)
        self.bins = np.arange(self.size)
        if len(self.values) <= PSI_BINS:
            return
        inner = np.linspace(0, 1, PSI_BINS + 1)[1:-1]
        edges = np.unique(np.quantile(reference, inner, method="inverted_cdf"))
        self.bins[0] = 0
        self.bins[1::2] = np.searchsorted(edges, self.values, side="left")
        self.bins[2::2] = np.searchsorted(edges, self.values, side="right")

    def place(self, column: pa.ChunkedArray) -> Cells:
        """Return the cell of each value: odd for the reference's values, even for the gaps."""
        if self._of_integers is not None and pa.types.is_integer(column.type):
            return _looked_up(self._of_integers, column, self.size)
        return self._search(_numbers(column))

    def counts(self, numbers: Floats) -> Counts:
        """Return how many numbers, none missing, lie in each bin of the PSI."""
        cells = np.bincount(self._search(numbers), minlength=self.size)
        return np.bincount(self.bins, weights=cells).astype(np.int64)

    def _search(self, numbers: Floats) -> Counts:
        after = np.searchsorted(self.values, numbers, side="right")
        found = (after > 0) & (np.append(self.values, np.nan)[after - 1] == numbers)
        return np.where(np.isnan(numbers), self.size, 2 * after - found)


class CategoryBins:
    """The cells of one counted feature: the categories, or the codes of the classes."""

    def __init__(self, attribute: Attribute) -> None:
        self._categories = attribute.categories
        self._minimum = int(attribute.minimum)
        self.size = len(attribute.categories) or len(attribute.classes)
        self.bins = np.arange(self.size)

    def place(self, column: pa.ChunkedArray) -> Cells:
        """Return the cell of each value: its place in the schema."""
        if self._categories:
            return places_in(self._categories, column)
        numbers = _numbers(column) - self._minimum
        inside = (numbers >= 0) & (numbers < self.size)
        return np.where(inside, numbers, self.size).astype(np.int64)


class FeatureBins:
    """The cells of all features, side by side; each feature's last cell is for missing values.

    Parameters
    ----------
    dataset : Dataset
        The serving version's.
    reference : DataFrame
        What the serving version was trained on: the attributes and `risk`; a column may be missing.

    Attributes
    ----------
    features : tuple of str
        The attributes and `risk`.
    measured : frozenset of str
        Features measured on a scale. The other numbers are codes of classes, and are counted like
        categories.
    reference : array of shape (size,)
        The counts of the reference.
    """

    def __init__(self, dataset: Dataset, reference: pd.DataFrame) -> None:
        self.dataset = dataset
        self.features = (*dataset.names, RISK)
        self.measured = frozenset((*dataset.quantities, RISK))
        table = self._table(reference)
        self._scales = [self._scale(feature, table[feature]) for feature in self.features]
        sizes = [scale.size + 1 for scale in self._scales]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.size = int(self._starts[-1])
        self.dtype = np.min_scalar_type(max(sizes))
        self.reference = self.count(self.place(table))

    def place(self, decisions: pa.Table | pd.DataFrame) -> NDArray[Any]:
        """Return the cell of each value, shape (n, n_features).

        An absent column is missing everywhere.
        """
        table = self._table(decisions) if isinstance(decisions, pd.DataFrame) else decisions
        placed = np.empty((table.num_rows, len(self.features)), self.dtype)
        for i, (feature, scale) in enumerate(zip(self.features, self._scales, strict=True)):
            placed[:, i] = scale.place(table[feature])
        return placed

    def count(self, placed: NDArray[Any]) -> Counts:
        """Return how many values lie in each cell, shape (size,)."""
        counts = np.empty(self.size, np.int64)
        for i, (start, end) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
            counts[start:end] = np.bincount(placed[:, i], minlength=end - start)
        return counts

    def of(self, feature: str, counts: Counts) -> Counts:
        """Return one feature's part of the counts, without the missing values."""
        i = self.features.index(feature)
        return counts[self._starts[i] : self._starts[i + 1] - 1]

    def rows(self, counts: Counts) -> int:
        """Return how many rows were counted."""
        return int(counts[: self._starts[1]].sum())

    def missing(self, counts: Counts) -> dict[str, int]:
        """Return how many values of each feature are missing."""
        return dict(zip(self.features, counts[self._starts[1:] - 1].tolist(), strict=True))

    def outside(self, counts: Counts) -> dict[str, int]:
        """Return how many values of each number lie below or above all values of the reference."""
        found = {}
        for attribute in self.dataset.attributes:
            if not attribute.categories:
                seen = np.flatnonzero(self.of(attribute.name, self.reference))
                values = self.of(attribute.name, counts)
                inside = values[seen[0] : seen[-1] + 1] if len(seen) else values
                found[attribute.name] = int(values.sum() - inside.sum())
        return found

    def binned(self, feature: str, counts: Counts) -> Counts:
        """Return one feature's counts in the bins of its PSI."""
        bins = self._scales[self.features.index(feature)].bins
        values = self.of(feature, counts)
        return np.bincount(bins, weights=values, minlength=int(bins[-1]) + 1).astype(np.int64)

    def _scale(self, feature: str, reference: pa.Array) -> NumericBins | CategoryBins:
        if feature not in self.measured:
            return CategoryBins(self.dataset.by_name[feature])

        numbers = _numbers(reference)
        return NumericBins(numbers[~np.isnan(numbers)])

    def _table(self, frame: pd.DataFrame) -> pa.Table:
        missing = pa.nulls(len(frame))
        columns = [
            pa.array(frame[feature], from_pandas=True) if feature in frame else missing
            for feature in self.features
        ]
        return pa.table(columns, names=list(self.features))


def _of_integers(values: Floats, search: Callable[[Floats], Counts]) -> Counts | None:
    """Return the cells of 0, 1, 2, ... up to beyond the values; None where they are not so few."""
    if not len(values) or values[0] <= 0 or values[-1] >= LISTED:
        return None
    return search(np.arange(np.floor(values[-1]) + 2))


def _looked_up(table: Counts, column: pa.ChunkedArray, missing: int) -> Counts:
    """Return the entry of each integer; one beyond either end of the table has that end's."""
    integers = column.fill_null(0).to_numpy()
    places: Counts = table[np.clip(integers, 0, len(table) - 1)]
    if column.null_count:
        places[column.is_null().to_numpy()] = missing
    return places


def _numbers(column: pa.Array) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
