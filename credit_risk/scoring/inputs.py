"""What the trees see of an application: its scored attributes, nominal ones by their bad rate.

Trees split numbers. The values of a category without a natural order would be split in an order
that means nothing, so they are ranked by how many of the training clients with each turned bad,
smoothed towards the share of all. They are ranked anew in each training fold, or a fold's own
outcomes would leak into the figures about it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Dataset

# Clients with the bad share of all that each value is given beside its own.
SMOOTHING = 10


class Inputs:
    """The columns that trees see.

    Parameters
    ----------
    dataset : Dataset
    ranks : mapping
        For each attribute whose values are ordered by bad rate, the rank of each.
    """

    def __init__(self, dataset: Dataset, ranks: Mapping[str, Sequence[float]]) -> None:
        self._dataset = dataset
        self.ranks = {name: list(ranks[name]) for name in ranks}

    @classmethod
    def fit(cls, dataset: Dataset, codes: Floats, bad: NDArray[np.bool_]) -> "Inputs":
        """Return the inputs of trees that learn from these clients.

        Parameters
        ----------
        codes : array of shape (n, n_attributes)
        bad : array of bool, shape (n,)

        References
        ----------
        Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, 2001.
        """
        ranks = {
            attribute.name: _ranks(codes[:, place], bad, len(attribute.categories))
            for place, attribute in enumerate(dataset.attributes)
            if attribute.categories and attribute.order == "bad rate" and not attribute.protected
        }
        return cls(dataset, ranks)

    def ranked(self, codes: Floats) -> Floats:
        """Return encoded applications, shape (n, n_attributes), with ranks in place of codes."""
        if not self.ranks:
            return codes

        found = codes.copy()
        for place, ranks in self._by_place.items():
            known = ~np.isnan(codes[:, place])
            found[known, place] = ranks[codes[known, place].astype(np.int64)]
        return found

    def of(self, codes: Floats) -> Floats:
        """Return what the trees see of encoded applications, shape (n, n_scored)."""
        return self.ranked(codes)[:, self._dataset.scored_columns]

    @cached_property
    def _by_place(self) -> dict[int, Floats]:
        names = self._dataset.names
        return {names.index(name): np.array(ranks) for name, ranks in self.ranks.items()}


def _ranks(column: Floats, bad: NDArray[np.bool_], n_values: int) -> list[float]:
    """Return the rank of each value by its smoothed bad rate, from 0; ties as they are listed."""
    known = ~np.isnan(column)
    values = column[known].astype(np.int64)
    n = np.bincount(values, minlength=n_values)
    n_bad = np.bincount(values, weights=bad[known], minlength=n_values)

    rates = (n_bad + SMOOTHING * np.mean(bad)) / (n + SMOOTHING)
    ranks = np.empty(n_values)
    ranks[np.argsort(rates, kind="stable")] = np.arange(n_values)
    return ranks.tolist()
