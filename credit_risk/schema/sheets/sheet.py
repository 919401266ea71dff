"""What the reader of each kind of file gives to validation."""

from collections.abc import Collection
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Sheet(Protocol):
    """Columns of text; rows are numbered from 0, without the blank ones.

    Attributes
    ----------
    header : list of str
        The column names; known names as the contract spells them.
    notes : list of str
        Messages about what was read although it is unusual.
    table : pyarrow.Table
        The rows that have as many values as the header; an absent value is an empty text.
    numbers : array
        The number of each of the table's rows.
    ragged : list of (int, str)
        The other rows: number, what is wrong.
    n_rows : int
        The number of rows of both kinds.
    unit : str
        What `lines` counts: `line` or `row`.
    """

    header: list[str]
    notes: list[str]
    table: pa.Table
    numbers: NDArray[np.int64]
    ragged: list[tuple[int, str]]
    n_rows: int
    unit: str

    def lines(self, numbers: Collection[int]) -> dict[int, int]:
        """Return the line or row of the file, from 1, on which each of these rows starts."""
