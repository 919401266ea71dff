"""False alarms and power of the drift verdict on replayed windows, beside Evidently's defaults.

Both sides of each pair are drawn, with replacement, from the same clients. If a window were drawn
from the reference itself, that would hide that a reference is a sample too, which is what
Evidently's chi-square overlooks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.clients import DATASET
from monitoring.drift.bins import RISK, FeatureBins
from monitoring.drift.drift import ALPHA, judge

SIZES = (100, 1000, 5000)
# The shares of the values that are doubled, from rare to frequent.
DOUBLED = (0.06, 0.10, 0.15, 0.20, 0.25, 0.30)

Shift = Callable[[pd.DataFrame, np.random.Generator], "pd.Series[Any]"]


def pairs(
    clients: pd.DataFrame, n: int, count: int, seed: int = 0
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield references, of the real one's size, and windows of n clients; none has drifted."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        reference = clients.iloc[random.integers(0, len(clients), len(clients))]
        window = clients.iloc[random.integers(0, len(clients), n)]
        yield reference.reset_index(drop=True), window.reset_index(drop=True)


def false_alarms(clients: pd.DataFrame, n: int, count: int) -> float:
    """Return the share of windows without drift in which a feature is called drifted."""
    return float(np.mean([bool(_verdict(*pair)) for pair in pairs(clients, n, count)]))


def baseline_false_alarms(clients: pd.DataFrame, n: int, count: int) -> float:
    """Return the same share for Evidently's default tests, each at 5 % divided by their number."""
    from evidently.legacy.calculations.stattests.registry import get_stattest

    cells = FeatureBins(DATASET, clients)
    alpha = ALPHA / len(cells.features)

    def flagged(reference: pd.DataFrame, window: pd.DataFrame, feature: str) -> bool:
        kind = "num" if feature in cells.measured else "cat"
        test = get_stattest(reference[feature], window[feature], kind, None)
        return bool(test(reference[feature], window[feature], kind, alpha).drifted)

    found = [
        any(flagged(*pair, feature) for feature in cells.features)
        for pair in pairs(clients, n, count)
    ]
    return float(np.mean(found))


def shifts(clients: pd.DataFrame) -> dict[str, tuple[str, Shift]]:
    """Return the drifts to try: by name, the feature and how it is shifted."""
    found: dict[str, tuple[str, Shift]] = {}
    cells = FeatureBins(DATASET, clients)

    for feature in filter(cells.measured.__contains__, cells.features):
        name = f"{feature}, half a standard deviation more"
        found[name] = feature, _more(feature, clients[feature].std() / 2)

    counted = [feature for feature in cells.features if feature not in cells.measured]
    for feature, value, share in _of_shares(clients[counted], DOUBLED):
        name = f"{feature} {value} doubled from {share:.0%}"
        found[name] = feature, _double(feature, value)

    return found


def _of_shares(
    counted: pd.DataFrame, shares: Sequence[float]
) -> Iterator[tuple[str, object, float]]:
    """Yield for each share the feature, not yet taken, and its value whose own is nearest."""
    found: list[tuple[str, object, float]] = [
        (str(feature), value, float(share))
        for feature in counted
        for value, share in counted[feature].value_counts(normalize=True, sort=False).items()
    ]
    for wanted in shares:
        if found:
            best = min(found, key=lambda each: abs(each[2] - wanted))  # the first of equals
            yield best
            found = [each for each in found if each[0] != best[0]]


def power(clients: pd.DataFrame, n: int, count: int) -> dict[str, float]:
    """Return for each shift the share of windows in which it is found, in the right feature."""
    tried = shifts(clients)
    found = dict.fromkeys(tried, 0)
    random = np.random.default_rng(1)

    for reference, window in pairs(clients, n, count):
        for name, (feature, shift) in tried.items():
            shifted = window.assign(**{feature: shift(window, random)})
            found[name] += feature in _verdict(reference, shifted)

    return {name: times / count for name, times in found.items()}


def _verdict(reference: pd.DataFrame, window: pd.DataFrame) -> Sequence[str]:
    cells = FeatureBins(DATASET, reference)
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
