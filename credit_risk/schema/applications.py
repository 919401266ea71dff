"""The valid applications of one request or file, and the faults of the others."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import Kind, RowError, kinds

_NO_COLUMNS = pa.table({})  # immutable, so it can be shared


@dataclass
class Applications:
    """The valid applications of one request or file, and the faults of the others.

    Attributes
    ----------
    dataset : Dataset
        What they were validated by.
    codes : array of shape (n, n_attributes)
        The valid applications, encoded; NaN where a value is absent.
    rows : array of shape (n,)
        The data row of each in the source, from 0.
    outside : array of shape (n, n_attributes)
        Whether a number lies outside the range that the model saw in training.
    reasons : dict
        The number of faults for each (column, reason), over all rows.
    extra : pyarrow.Table
        The ignored columns of the valid rows, as text (empty for JSON).
    rejected : pyarrow.Table or None
        The other rows as they were read, with their `line` (of a CSV) or `row` (of a table), from
        1, and `faults`; None where the validator does not list them.
    """

    dataset: Dataset
    codes: Floats
    rows: NDArray[np.int64]
    client_id: list[str | None]
    label: list[str | None]
    outside: NDArray[np.bool_]
    n_rows: int
    domain: Domain | None = None
    faults: list[RowError] = field(default_factory=list)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    extra: pa.Table = field(default_factory=lambda: _NO_COLUMNS)
    rejected: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_rejected(self) -> int:
        """The number of rows that were rejected."""
        return self.n_rows - len(self.rows)

    @property
    def kinds(self) -> list[Kind]:
        """The faults of rows, by kind."""
        return kinds(self.faults, self.reasons)

    @cached_property
    def row_warnings(self) -> dict[int, list[str]]:
        """Warnings by position among the valid rows, without the positions that have none."""
        found: dict[int, list[str]] = {}
        if self.domain is not None and self.outside.any():
            names = self.dataset.names
            for position, column in np.argwhere(self.outside):
                text = self.domain.warning(names[column], self.codes[position, column])
                found.setdefault(int(position), []).append(text)
        return found

    def warning_lists(self) -> pa.ListArray:
        """Return the warnings of each valid row, as lists of text."""
        if self.domain is None or not self.outside.any():
            no_ends = pa.array(np.zeros(len(self) + 1, np.int32))
            return pa.ListArray.from_arrays(no_ends, pa.array([], pa.string()))

        ends = pa.array(np.concatenate([[0], np.cumsum(self.outside.sum(axis=1))]).astype(np.int32))
        rows, columns = np.nonzero(self.outside)
        pairs, which = np.unique(
            np.column_stack([columns, self.codes[rows, columns]]), axis=0, return_inverse=True
        )
        names = self.dataset.names
        texts = pa.array(
            [self.domain.warning(names[int(column)], value) for column, value in pairs]
        )

        return pa.ListArray.from_arrays(ends, texts.take(pa.array(which.ravel())))

    def only(self, keep: NDArray[np.bool_]) -> "Applications":
        """Return only those of the valid applications for which `keep` is true."""
        return replace(
            self,
            codes=self.codes[keep],
            rows=self.rows[keep],
            client_id=list(compress(self.client_id, keep)),
            label=list(compress(self.label, keep)),
            outside=self.outside[keep],
            extra=self.extra.filter(pa.array(keep)) if self.extra.num_columns else self.extra,
        )

    def part(self, start: int, stop: int) -> "Applications":
        """Return the valid applications from one place to before another."""
        rows = slice(start, stop)
        return replace(
            self,
            codes=self.codes[rows],
            rows=self.rows[rows],
            client_id=self.client_id[rows],
            label=self.label[rows],
            outside=self.outside[rows],
            extra=self.extra.slice(start, stop - start),
        )
