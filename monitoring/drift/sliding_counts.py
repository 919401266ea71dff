"""Counts of a sliding window in each cell: decisions are added as they come, and subtracted later.

Only the cells of each decision are kept, some 80 bytes, so that a window of a million fits into the
memory of a small process, and moving it takes time for what moves and not for what stays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.bins import FeatureBins

Rows = NDArray[Any]


class SlidingCounts:
    """Counts over the newest decisions.

    Attributes
    ----------
    counts : array of shape (cells.size,)
        How many values of the window lie in each cell.
    """

    def __init__(self, cells: FeatureBins) -> None:
        self.counts = np.zeros(cells.size, np.int64)
        self._cells = cells
        columns: list[Any] = [
            ("time", "f8"),
            ("risk", "f8"),
            ("confidence", "f8"),
            ("green", "?"),
            ("shadow", "f8"),
            ("weight", "f8"),
        ]
        self._rows: Rows = np.empty(
            1024, [*columns, ("cells", cells.dtype, (len(cells.features),))]
        )
        self._first = self._start = self._end = 0  # of what is kept, of the window, of both

    @property
    def kept(self) -> Rows:
        """All decisions that are kept, the newest last: the window's and older ones."""
        return self._rows[self._first : self._end]

    @property
    def window(self) -> Rows:
        """The decisions of the window."""
        return self._rows[self._start : self._end]

    def append(self, placed: NDArray[Any], **columns: NDArray[Any]) -> None:
        """Add decisions to the window: cells, shape (n, n_features), and their other columns."""
        n = len(placed)
        self._make_room(n)
        rows = self._rows[self._end : self._end + n]
        rows["cells"] = placed
        for name, values in columns.items():
            rows[name] = values
        self._end += n
        self.counts += self._cells.count(placed)

    def move(self, n: int) -> int:
        """Make the newest n kept decisions the window.

        Returns
        -------
        int
            How many left it; negative where some came back.
        """
        start = self._end - n
        left = self._rows["cells"][self._start : start]
        back = self._rows["cells"][start : self._start]
        self.counts += self._cells.count(back) - self._cells.count(left)
        self._start, before = start, self._start
        return start - before

    def forget(self, n: int) -> None:
        """Keep the newest n decisions, and those of the window."""
        self._first = max(self._first, min(self._end - n, self._start))

    def _make_room(self, n: int) -> None:
        if self._end + n <= len(self._rows):
            return

        kept = self.kept
        # At least half of it is free after each copy, so that it is seldom copied.
        size = 2 * (len(kept) + n)
        target = self._rows if size <= len(self._rows) else np.empty(size, kept.dtype)
        target[: len(kept)] = kept
        self._rows = target
        self._first, self._start, self._end = 0, self._start - self._first, len(kept)
