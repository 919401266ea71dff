"""Whether a window of decisions has drifted away from the reference, and which features have.

Two things are asked of each feature, because either alone cries wolf. A test says whether the difference can be chance:
Kolmogorov-Smirnov for what is measured, a two-sample chi-square for what is counted, with Holm's correction for asking
about 21 features at once. The population stability index (PSI) says whether the difference is big enough to matter, and
has to exceed what chance alone gives in 99 of 100 windows of that size.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from credit_risk.application import NAMES

RISK = "risk"
FEATURES = (*NAMES, RISK)
# What is measured on a scale. The other numbers are codes of classes (1 to 4) and are counted like categories.
MEASURED = ("duration", "credit_amount", "age", RISK)

ALPHA = 0.05
PSI_MATTERS = 0.1
PSI_QUANTILE = 0.99
PSI_BINS = 10
MINIMUM = 100
# The risk sums up the other features, so it alone makes the dataset drifted; of the others it takes two.
FEATURES_FOR_DATASET = 2

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
# Returns the p-value of the drift test of each of the named features, given the reference and the window.
Tester = Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], Mapping[str, float]]


@dataclass(frozen=True)
class FeatureDrift:
    """The verdict on one feature.

    Attributes
    ----------
    n : int
        Values in the window, without the missing ones.
    p_value, adjusted : float
        Of its test, before and after Holm's correction.
    psi, psi_limit : float
        The population stability index, and what it has to exceed.
    """

    feature: str
    test: str
    n: int
    p_value: float
    adjusted: float
    psi: float
    psi_limit: float

    @property
    def drifted(self) -> bool:
        """Whether the difference is neither chance nor small."""
        return self.adjusted <= ALPHA and self.psi > self.psi_limit


@dataclass(frozen=True)
class Drift:
    """The verdict on a window; `unjudged` says of each feature that was left out why."""

    features: tuple[FeatureDrift, ...]
    unjudged: Mapping[str, str]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The drifted features."""
        return tuple(f.feature for f in self.features if f.drifted)

    @property
    def share(self) -> float:
        """The share of the judged features that drifted."""
        return len(self.drifted) / len(self.features) if self.features else 0.0

    @property
    def dataset(self) -> bool:
        """Whether the window as a whole drifted: the risk did, or at least two features."""
        return bool(self.features) and self.share >= self.dataset_share

    @property
    def dataset_share(self) -> float:
        """The share of drifted features from which this window as a whole counts as drifted."""
        needed = 1 if RISK in self.drifted else FEATURES_FOR_DATASET
        return needed / max(len(self.features), 1)

    @property
    def cutoff(self) -> float:
        """The p-value up to which Holm's correction calls a feature of this window significant."""
        return ALPHA / max(sum(f.adjusted > ALPHA for f in self.features), 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-able words."""
        return {
            "dataset_drift": self.dataset,
            "drifted": list(self.drifted),
            "share": self.share,
            "features": [vars(f) | {"drifted": f.drifted} for f in self.features],
            "unjudged": dict(self.unjudged),
        }


def compare(
    reference: pd.DataFrame, window: pd.DataFrame, minimum: int = MINIMUM, tester: Tester | None = None
) -> Drift:
    """Return the verdict on a window.

    A feature without enough values, or with one and the same value on both sides, is left out and named: it has nothing
    to test. A feature that became constant is not left out, for that is drift.

    Parameters
    ----------
    reference, window : DataFrame
        The 20 attributes and `risk`; a column may be missing.
    minimum : int
        Fewest values of a feature in the window.
    tester : callable, optional
        Who computes the p-values; `p_values` of this module unless given.
    """
    reasons = {feature: _unjudged(reference.get(feature), window.get(feature), minimum) for feature in FEATURES}
    judged = [feature for feature in FEATURES if not reasons[feature]]
    tested = (tester or p_values)(reference, window, judged)
    adjusted = holm(tested[feature] for feature in judged)
    features = []
    for feature, corrected in zip(judged, adjusted, strict=True):
        counts = cells(feature, reference[feature], window[feature])
        features.append(
            FeatureDrift(
                feature=feature,
                test="Kolmogorov-Smirnov" if feature in MEASURED else "chi-square",
                n=int(window[feature].notna().sum()),
                p_value=float(tested[feature]),
                adjusted=float(corrected),
                psi=psi(*counts),
                psi_limit=psi_limit(*counts),
            )
        )
    return Drift(tuple(features), {feature: why for feature, why in reasons.items() if why})


def p_values(reference: pd.DataFrame, window: pd.DataFrame, features: Sequence[str]) -> dict[str, float]:
    """Return the p-value of the test of each feature; missing values are left out."""
    return {feature: p_value(feature, reference[feature], window[feature]) for feature in features}


def p_value(feature: str, reference: "pd.Series[Any]", window: "pd.Series[Any]") -> float:
    """Return the chance of a difference as big as that between two samples of one and the same population."""
    if feature in MEASURED:
        # Never the exact form: SciPy gives it up half way through, with a warning, where the samples are big.
        result = scipy.stats.ks_2samp(_numbers(reference), _numbers(window), method="asymp")
    else:
        result = scipy.stats.chi2_contingency(np.array(cells(feature, reference, window)), correction=False)
    return float(result.pvalue)


def holm(values: Iterable[float]) -> Floats:
    """Return p-values corrected for their number, by Holm's step-down method."""
    p = np.fromiter(values, np.float64)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def cells(feature: str, reference: "pd.Series[Any]", window: "pd.Series[Any]") -> tuple[Counts, Counts]:
    """Return how many values of either side lie in each cell: a category, or a tenth of the reference.

    Cells that are empty on both sides are left out.
    """
    if feature in MEASURED:
        numbers = _numbers(reference), _numbers(window)
        inner = np.unique(np.quantile(numbers[0], np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
        a, b = (np.searchsorted(inner, n, side="left") for n in numbers)
    else:
        codes, _ = pd.factorize(pd.concat([reference, window], ignore_index=True))
        a, b = codes[: len(reference)], codes[len(reference) :]
        a, b = a[a >= 0], b[b >= 0]
    size = int(max(a.max(initial=0), b.max(initial=0))) + 1
    counts = np.bincount(a, minlength=size), np.bincount(b, minlength=size)
    filled = (counts[0] + counts[1]) > 0
    return counts[0][filled], counts[1][filled]


def psi(reference: Counts, window: Counts) -> float:
    """Return the population stability index between the counts in the same cells.

    Half a value is added to each cell, so that an empty one counts as rare and not as impossible; a tiny constant in
    its place would make a single empty cell the loudest of all.
    """
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, window)]
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def psi_limit(reference: Counts, window: Counts) -> float:
    """Return what the index has to exceed: .1, and what it exceeds by chance in one of 100 windows of that size."""
    by_chance = scipy.stats.chi2.ppf(PSI_QUANTILE, max(len(reference) - 1, 1))
    return float(max(PSI_MATTERS, by_chance * (1 / reference.sum() + 1 / window.sum())))


def _numbers(values: "pd.Series[Any]") -> Floats:
    return values.dropna().to_numpy(np.float64)


def _unjudged(reference: "pd.Series[Any] | None", window: "pd.Series[Any] | None", minimum: int) -> str:
    """Return why a feature cannot be judged, or nothing."""
    if window is None or not (n := int(window.notna().sum())):
        return "all missing"
    if n < minimum:
        return f"{n} values, fewer than {minimum}"
    if reference is None or not reference.notna().any():
        return "all missing in the reference"
    if len(pd.unique(pd.concat([reference.dropna(), window.dropna()]))) == 1:
        return "constant"
    return ""
