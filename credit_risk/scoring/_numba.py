"""The inner loops of scoring, compiled by numba when they are first called.

Compiling takes a few seconds. It is done once for all processes if a cache directory is writable:
`NUMBA_CACHE_DIR`, else beside this file, else the user's own.
"""

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from credit_risk.schema.attributes import Floats

# Rows per block. A block goes through all the trees, and its data stay in the processor's caches.
BLOCK = 1024
# LightGBM takes values that are no farther from 0 than this for 0.
TINY = float(np.float32(1e-35))

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Splits(NamedTuple):
    """The splits of T trees over C columns.

    A column is an attribute together with the values that replace its missing ones.

    Attributes
    ----------
    attribute : array of shape (C,)
        Which column of the codes.
    at_nan, at_zero : array of shape (C,)
        The values that replace NaN and 0.
    first : array of shape (C + 1,)
        Where each column's thresholds begin.
    thresholds : array
        Ascending within each column. A value's bin is the number of thresholds that it exceeds; NaN
        counts as exceeding all.
    column, cut : array of shape (T, 7)
        Split i of a tree goes right where the column's bin is greater than the cut.
    """

    attribute: Numbers
    at_nan: Floats
    at_zero: Floats
    first: Numbers
    thresholds: Floats
    column: Numbers
    cut: Bytes


class Tables(NamedTuple):
    """What each tree adds to which sum, by the pattern of its splits.

    Bit i of a pattern is set where split i goes right.

    Attributes
    ----------
    first : array of shape (T + 1,)
        Where each tree's tables begin.
    target : array of shape (n_tables,)
        Which sum a table adds to.
    values : array of shape (n_tables, 128)
    """

    first: Numbers
    target: Numbers
    values: Floats


def _compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no cache directory is writable
        return njit(nogil=True)(function)


@_compiled
def add_up(codes: Floats, splits: Splits, tables: Tables, sums: Floats) -> None:
    """Write the sums of the trees' table values for encoded applications.

    As in QuickScorer, all splits of a tree are evaluated whatever the path, so that nothing
    branches, and a block of rows goes through one tree at a time. At most 7 splits have so few
    outcomes that these can index a table.

    Parameters
    ----------
    codes : array of shape (n, 20)
    splits : Splits
    tables : Tables
    sums : array of shape (n, n_sums)
        Written in place. Each is added up tree by tree, as LightGBM does, so that the result is the
        same to the last bit.

    References
    ----------
    Lucchese et al., QuickScorer: a fast algorithm to rank documents with additive ensembles of
    regression trees, SIGIR 2015.
    """
    n, n_sums = sums.shape
    n_columns, n_trees = len(splits.attribute), len(splits.column)
    size = min(BLOCK, n)
    value = np.empty(size)
    bins = np.empty((max(n_columns, 1), size), np.uint8)
    pattern = np.empty(size, np.uint8)
    block = np.empty((n_sums, size))

    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)

        for c in range(n_columns):
            for i in range(m):
                v = codes[start + i, splits.attribute[c]]
                if v != v:
                    v = splits.at_nan[c]
                elif abs(v) <= TINY:
                    v = splits.at_zero[c]
                value[i] = v

            row = bins[c]
            row[:m] = 0
            for threshold in splits.thresholds[splits.first[c] : splits.first[c + 1]]:
                for i in range(m):
                    row[i] += np.uint8(not value[i] <= threshold)

        block[:] = 0.0
        for t in range(n_trees):
            at, cut = splits.column[t], splits.cut[t]
            # Written out, so that the compiler can vectorise over the rows.
            b0, b1, b2, b3 = bins[at[0]], bins[at[1]], bins[at[2]], bins[at[3]]
            b4, b5, b6 = bins[at[4]], bins[at[5]], bins[at[6]]
            for i in range(m):
                pattern[i] = (
                    np.uint8(b0[i] > cut[0])
                    | np.uint8(b1[i] > cut[1]) << 1
                    | np.uint8(b2[i] > cut[2]) << 2
                    | np.uint8(b3[i] > cut[3]) << 3
                    | np.uint8(b4[i] > cut[4]) << 4
                    | np.uint8(b5[i] > cut[5]) << 5
                    | np.uint8(b6[i] > cut[6]) << 6
                )

            for k in range(tables.first[t], tables.first[t + 1]):
                values, total = tables.values[k], block[tables.target[k]]
                for i in range(m):
                    total[i] += values[pattern[i]]

        for i in range(m):
            for j in range(n_sums):
                sums[start + i, j] = block[j, i]
