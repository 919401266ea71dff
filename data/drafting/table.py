"""A CSV of any lender, as columns of distinct values."""

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.schema.faults import MalformedFile, shown
from credit_risk.schema.sheets.csv_table import MAX_HEADER, CsvTable
from credit_risk.schema.spelling.encoding import utf8
from credit_risk.schema.spelling.words import normalised, only


class Refused(ValueError):
    """No definition can be written; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Column:
    """One column of a file.

    Attributes
    ----------
    header : str
        Its name in the file.
    values : tuple of str
        Its distinct values as validation reads them, in the order of their first row.
    codes : array of shape (n_rows,)
        The place of each row's value among these; -1 where a row has none.
    """

    header: str
    values: tuple[str, ...]
    codes: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many rows have each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def n_missing(self) -> int:
        """How many rows have no value."""
        return int((self.codes < 0).sum())

    @property
    def n_present(self) -> int:
        """How many rows have a value."""
        return len(self.codes) - self.n_missing

    def frequent(self) -> list[tuple[str, int]]:
        """Return the values and how many rows have each, the most frequent first."""
        order = np.argsort(-self.counts, kind="stable")
        return [(self.values[i], int(self.counts[i])) for i in order]


class Table:
    """A CSV; its separator (comma, semicolon or tab) is the one that yields most columns.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    file : str
        The path on one line, for messages.
    headers : list of str
    n_rows : int
    ragged : list of int
        The lines that have more or fewer values than the header; no row of `n_rows` is among them.

    Raises
    ------
    Refused
        When it cannot be read, is no CSV, or has no rows.
    """

    def __init__(self, path: Path) -> None:
        self.file = str(path) if str(path).isprintable() else repr(str(path))
        try:
            data = utf8(path.read_bytes())
            self._csv = CsvTable(data, only(_first_names(data)))
        except OSError as error:
            raise Refused(f"{self.file} cannot be read: {error.strerror or error}") from None
        except MalformedFile as error:
            raise Refused(f"{self.file}: {error}") from None
        if not self._csv.table.num_rows:
            no_row = (
                "no row has as many values" if self._csv.ragged else "has no clients below them"
            )
            raise Refused(f"{self.file} names columns, but {no_row}")

        self.headers = list(self._csv.header)
        self.n_rows = self._csv.table.num_rows
        self.ragged = sorted(self._csv.lines([row for row, _ in self._csv.ragged]).values())
        twice = [name for name in self.headers if self.headers.count(name) > 1]
        if twice:
            raise Refused(
                f"{self.file} has the column {shown(twice[0])} twice; rename or remove one"
            )

    def __iter__(self) -> Iterator[Column]:
        """Yield one column after the other: together they may not fit into memory."""
        for place in range(len(self.headers)):
            yield self.column(place)

    def column(self, place: int) -> Column:
        """Return a column."""
        cells = pa.concat_arrays(self._csv.table.column(place).chunks).dictionary_encode()
        values: dict[str, int] = {}
        meant = np.empty(len(cells.dictionary), dtype=np.int64)
        for i, cell in enumerate(cells.dictionary.to_pylist()):
            value = normalised(cell)
            meant[i] = values.setdefault(value, len(values)) if value else -1
        return Column(self.headers[place], tuple(values), meant[cells.indices.to_numpy()])

    def cells(self, place: int) -> list[str]:
        """Return the distinct cells of a column, as the file has them."""
        cells: list[str] = self._csv.table.column(place).unique().to_pylist()
        return cells


def _first_names(data: memoryview) -> list[str]:
    """Return what may be names of columns, whichever the separator is.

    The first line may only name the separator, so those of the second are added.
    """
    start = str(bytes(data[:MAX_HEADER]), "utf-8", "ignore")
    names = []
    for line in islice(filter(str.strip, re.split(r"[\r\n]+", start)), 2):
        for separator in ",;\t":
            with suppress(csv.Error, StopIteration):
                names += [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    return names
