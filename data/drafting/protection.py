"""Groups for which fairness is measured, from the values of a protected attribute."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.drafting import names
from data.drafting.kinds import Kind
from data.drafting.table import Column

# Usual bands of age: up to 25, 26 to 59, 60 or older.
_YOUNG, _OLD = 25, 59


def groups_of(column: Column, name: str, kind: Kind) -> list[dict[str, Any]]:
    """Return the groups of a protected attribute: bands of a number, each value of a category."""
    if kind.numbers is None:
        return [{"attribute": name}]

    step = 10.0**-kind.numbers.decimals
    cuts = _cuts(column, kind)
    bands: list[dict[str, Any]] = [_band(name, "up to {}", None, cuts[0])]
    for low, high in pairwise(cuts):
        bands.append(_band(name, "{} to {}", low + step, high))
    bands.append(_band(name, "{} or more", cuts[-1] + step, None))

    decimals = kind.numbers.decimals
    return [_rounded(band, decimals) for band in bands]


def _cuts(column: Column, kind: Kind) -> list[float]:
    """Return the last number of each band but the highest."""
    assert kind.numbers is not None
    numbers = np.array(kind.numbers.values, np.float64)
    least, most = numbers.min(), numbers.max()
    if names.is_age(names.snake(column.header)) and least <= _YOUNG and most > _OLD:
        return [_YOUNG, _OLD]

    rows = np.repeat(numbers, column.counts)
    thirds = np.quantile(rows, [1 / 3, 2 / 3], method="inverted_cdf")
    return sorted({float(cut) for cut in thirds if cut < most}) or [_below(numbers)]


def _below(numbers: NDArray[np.float64]) -> float:
    """Return the second highest number; the only one where there is one."""
    return float(np.sort(numbers)[-2:][0])


def _band(name: str, text: str, low: float | None, high: float | None) -> dict[str, Any]:
    ends = {"minimum": low, "maximum": high}
    given = {end: value for end, value in ends.items() if value is not None}
    return {"attribute": name, "name": text, **given}


def _rounded(band: dict[str, Any], decimals: int) -> dict[str, Any]:
    ends: dict[str, Any] = {
        end: round(band[end], decimals) if decimals else int(band[end])
        for end in ("minimum", "maximum")
        if end in band
    }
    return {**band, "name": band["name"].format(*ends.values()), **ends}
