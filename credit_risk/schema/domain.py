"""The domain of a model version: what it saw in training. Beyond that it can only guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_risk.schema.attributes import ATTRIBUTES, Floats


@dataclass(frozen=True)
class Domain:
    """What a model version saw in training: the range of numbers, the categories with a row."""

    ranges: Mapping[str, tuple[int, int]]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, codes: Floats) -> "Domain":
        """Return the domain of encoded applications, shape (n, 20)."""
        ranges: dict[str, tuple[int, int]] = {}
        categories: dict[str, tuple[str, ...]] = {}
        for attribute, column in zip(ATTRIBUTES, codes.T, strict=True):
            seen = np.unique(column[~np.isnan(column)])
            if not len(seen):
                continue

            if attribute.kind == "number":
                ranges[attribute.name] = (int(seen[0]), int(seen[-1]))
            else:
                categories[attribute.name] = tuple(attribute.categories[int(code)] for code in seen)
        return cls(ranges, categories)

    def as_dict(self) -> dict[str, Any]:
        """Return the domain as a dict for JSON; `from_dict` reads it back."""
        return {
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "categories": {name: list(seen) for name, seen in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, words: Mapping[str, Any]) -> "Domain":
        """Return the domain that `as_dict` wrote."""
        return cls(
            {name: (int(low), int(high)) for name, (low, high) in words["ranges"].items()},
            {name: tuple(seen) for name, seen in words["categories"].items()},
        )

    def warning(self, name: str, value: float) -> str:
        """Return the warning about a number outside the training range."""
        low, high = self.ranges[name]
        return f"{name} {int(value)} is outside {low} to {high}, the range seen in training"
