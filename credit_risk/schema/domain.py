"""The domain of a model version: what it saw in training. Beyond that it can only guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Dataset


@dataclass(frozen=True)
class Domain:
    """What a model version saw in training.

    Attributes
    ----------
    ranges : mapping
        The least and the greatest of each number.
    categories : mapping
        The categories with a row.
    missing : frozenset of str
        The attributes that had no value in a row.
    """

    ranges: Mapping[str, tuple[float, float]]
    categories: Mapping[str, tuple[str, ...]]
    missing: frozenset[str] = frozenset()

    @classmethod
    def of(cls, codes: Floats, dataset: Dataset) -> "Domain":
        """Return the domain of encoded applications, shape (n, n_attributes)."""
        ranges: dict[str, tuple[float, float]] = {}
        categories: dict[str, tuple[str, ...]] = {}
        missing: set[str] = set()
        for attribute, column in zip(dataset.attributes, codes.T, strict=True):
            absent = np.isnan(column)
            seen = np.unique(column[~absent])
            if absent.any() and not attribute.protected:
                missing.add(attribute.name)
            if not len(seen):
                continue

            if attribute.categories:
                categories[attribute.name] = tuple(attribute.categories[int(code)] for code in seen)
            else:
                number = float if attribute.decimals else int
                ranges[attribute.name] = (number(seen[0]), number(seen[-1]))
        return cls(ranges, categories, frozenset(missing))

    def as_dict(self) -> dict[str, Any]:
        """Return the domain as a dict for JSON; `from_dict` reads it back."""
        words: dict[str, Any] = {
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "categories": {name: list(seen) for name, seen in self.categories.items()},
        }
        # Left out where there is none, as in versions from before values could be missing.
        return words | ({"missing": sorted(self.missing)} if self.missing else {})

    @classmethod
    def from_dict(cls, words: Mapping[str, Any]) -> "Domain":
        """Return the domain that `as_dict` wrote."""
        return cls(
            {name: (low, high) for name, (low, high) in words["ranges"].items()},
            {name: tuple(seen) for name, seen in words["categories"].items()},
            frozenset(words.get("missing", ())),
        )

    def warning(self, name: str, value: float) -> str:
        """Return the warning about a number outside the training range."""
        if name not in self.ranges:
            return f"{name} {value:.15g}: no client had a value in training"
        low, high = self.ranges[name]
        return f"{name} {value:.15g} is outside {low} to {high}, the range seen in training"
