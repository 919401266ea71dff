"""False alarms and power of the drift verdict, on replayed windows; beside what Evidently's default tests would say.

Both sides of each pair are drawn, with replacement, from one and the same clients. A window drawn against the reference
that it is drawn from would hide that a reference is a sample too, which is what Evidently's chi-square overlooks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.drift.bins import FEATURES, MEASURED, RISK, Cells
from monitoring.drift.drift import ALPHA, judge

SIZES = (100, 1000, 5000)
# Which category is doubled, from the rarest to the most frequent.
DOUBLED = {
    "savings_status": "100<=X<500",
    "employment": "<1",
    "housing": "rent",
    "purpose": "new car",
    "checking_status": "<0",
    "installment_commitment": 2,
}

Shift = Callable[[pd.DataFrame, np.random.Generator], "pd.Series[Any]"]


def pairs(clients: pd.DataFrame, n: int, count: int, seed: int = 0) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield references, as big as the real one, and windows of n clients; none has drifted."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        drawn = (clients.iloc[random.integers(0, len(clients), size)] for size in (len(clients), n))
        first, second = (frame.reset_index(drop=True) for frame in drawn)
        yield first, second


def false_alarms(clients: pd.DataFrame, n: int, count: int) -> float:
    """Return the share of windows without drift in which a feature is called drifted."""
    return float(np.mean([bool(_verdict(*pair)) for pair in pairs(clients, n, count)]))


def usual_false_alarms(clients: pd.DataFrame, n: int, count: int) -> float:
    """Return the same for Evidently's default tests, each at a 21st of 5 %."""
    from evidently.legacy.calculations.stattests.registry import get_stattest

    def flagged(reference: pd.DataFrame, window: pd.DataFrame, feature: str) -> bool:
        kind = "num" if feature in MEASURED else "cat"
        test = get_stattest(reference[feature], window[feature], kind, None)
        return bool(test(reference[feature], window[feature], kind, ALPHA / len(FEATURES)).drifted)

    found = [any(flagged(*pair, feature) for feature in FEATURES) for pair in pairs(clients, n, count)]
    return float(np.mean(found))


def shifts(clients: pd.DataFrame) -> dict[str, tuple[str, Shift]]:
    """Return what drift is tried: by name, the feature and what it becomes."""
    found: dict[str, tuple[str, Shift]] = {}
    for feature in MEASURED:
        found[f"{feature}, half a standard deviation more"] = (feature, _more(feature, clients[feature].std() / 2))
    for feature, category in DOUBLED.items():
        share = (clients[feature] == category).mean()
        found[f"{feature} {category} doubled from {share:.0%}"] = (feature, _double(feature, category))
    return found


def power(clients: pd.DataFrame, n: int, count: int) -> dict[str, float]:
    """Return for each shift the share of windows in which it is found, in the feature that it happened to."""
    tried = shifts(clients)
    found = dict.fromkeys(tried, 0)
    random = np.random.default_rng(1)
    for reference, window in pairs(clients, n, count):
        for name, (feature, shift) in tried.items():
            shifted = window.assign(**{feature: shift(window, random)})
            found[name] += feature in _verdict(reference, shifted)
    return {name: times / count for name, times in found.items()}


def _verdict(reference: pd.DataFrame, window: pd.DataFrame) -> Sequence[str]:
    cells = Cells(reference)
    return judge(cells, cells.count(cells.place(window))).drifted


def _more(feature: str, by: float) -> Shift:
    by = by if feature == RISK else round(by)
    return lambda window, _: window[feature] + by


def _double(feature: str, category: object) -> Shift:
    def shift(window: pd.DataFrame, random: np.random.Generator) -> "pd.Series[Any]":
        values: NDArray[Any] = window[feature].to_numpy(object).copy()
        others = np.flatnonzero(values != category)
        n = min(len(values) - len(others), len(others))
        values[random.choice(others, n, replace=False)] = category
        return pd.Series(values, index=window.index, name=feature)

    return shift
