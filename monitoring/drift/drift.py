"""Whether a window of decisions has drifted away from the reference, and which features have.

Each feature is judged in two ways, because either alone gives false alarms. A test shows whether
the difference may be chance: Kolmogorov-Smirnov for measured features, a two-sample chi-square for
counted ones, with Holm's correction for testing all features at once. The population stability
index (PSI) shows whether the difference is big enough to matter; it has to exceed what chance alone
gives in 99 of 100 windows of that size.

Counts in cells (`monitoring.drift.bins`) are the only input, whether of a few hundred decisions or
of a million. The exporter and the report flow both use this module.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from credit_risk.schema.dataset import Dataset
from monitoring.drift.bins import RISK, Counts, FeatureBins, Floats

ALPHA = 0.05
PSI_MATTERS = 0.1
PSI_QUANTILE = 0.99
MINIMUM = 100
# The risk sums up the other features, so it alone makes the dataset drifted; of the others, two are
# needed.
FEATURES_FOR_DATASET = 2

# Why a feature is not judged; the exporter serves these words as a label.
EMPTY = "empty"
EMPTY_REFERENCE = "empty in the reference"
CONSTANT = "constant"
TOO_FEW = "too few decisions"
FAILED = "test failed"

# Returns the p-value of the drift test of each of the named features, given which features are
# measured, the reference and the window. A feature whose test fails is left out.
Tester = Callable[[Set[str], pd.DataFrame, pd.DataFrame, Sequence[str]], Mapping[str, float]]


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
    """The verdict on a window; `unjudged` has the reason for each feature that was left out."""

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
        """Return the verdict as JSON."""
        return {
            "dataset_drift": self.dataset,
            "drifted": list(self.drifted),
            "share": self.share,
            "features": [vars(f) | {"drifted": f.drifted} for f in self.features],
            "unjudged": dict(self.unjudged),
        }


def compare(
    dataset: Dataset,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    minimum: int = MINIMUM,
    tester: Tester | None = None,
) -> Drift:
    """Return the verdict on a window that is given as a whole.

    Parameters
    ----------
    reference, window : DataFrame
        The attributes and `risk`; a column may be missing.
    minimum : int
        Fewest values of a feature in the window.
    tester : callable, optional
        Computes the p-values; they come from the counts unless given.
    """
    cells = FeatureBins(dataset, reference)
    counts = cells.count(cells.place(window))
    if tester is None:
        return judge(cells, counts, minimum)

    return judge(
        cells, counts, minimum, lambda some: tester(cells.measured, reference, window, some)
    )


def judge(
    cells: FeatureBins,
    counts: Counts,
    minimum: int = MINIMUM,
    p_values: Callable[[Sequence[str]], Mapping[str, float]] | None = None,
) -> Drift:
    """Return the verdict on a window, given how many of its values lie in each cell.

    A feature without enough values, or with one and the same value on both sides, is left out and
    named: there is nothing to test. A feature that became constant is not left out, because that is
    drift.

    Parameters
    ----------
    cells : FeatureBins
        Those of the reference.
    counts : array of shape (cells.size,)
        The window's.
    minimum : int
        Fewest values of a feature in the window.
    p_values : callable, optional
        Returns those of the features it is given, except where the test fails; they come from the
        counts unless given.
    """
    pairs = {
        feature: (cells.of(feature, cells.reference), cells.of(feature, counts))
        for feature in cells.features
    }
    few = cells.rows(counts) < minimum
    reasons = {
        feature: TOO_FEW if few else _unjudged(*pair, minimum) for feature, pair in pairs.items()
    }

    testable = [feature for feature in cells.features if not reasons[feature]]
    if p_values:
        tested = p_values(testable)
    else:
        tested = {f: p_value(*pairs[f], measured=f in cells.measured) for f in testable}

    judged = [feature for feature in testable if feature in tested]
    reasons |= {feature: FAILED for feature in testable if feature not in tested}
    adjusted = holm(tested[feature] for feature in judged)

    features = []
    for feature, corrected in zip(judged, adjusted, strict=True):
        binned = filled(cells.binned(feature, cells.reference), cells.binned(feature, counts))
        features.append(
            FeatureDrift(
                feature=feature,
                test="Kolmogorov-Smirnov" if feature in cells.measured else "chi-square",
                n=int(binned[1].sum()),
                p_value=float(tested[feature]),
                adjusted=float(corrected),
                psi=psi(*binned),
                psi_limit=psi_limit(*binned),
            )
        )

    return Drift(tuple(features), {feature: why for feature, why in reasons.items() if why})


def p_value(reference: Counts, window: Counts, *, measured: bool) -> float:
    """Return the probability of such a difference between two samples of the same population.

    The counts are those of the same cells. For a measured feature the cells are in order, with one
    for each value of the reference, so the Kolmogorov-Smirnov statistic is exact.
    """
    if not measured:
        table = np.array(filled(reference, window))
        return float(scipy.stats.chi2_contingency(table, correction=False).pvalue)

    m, n = reference.sum(), window.sum()
    apart = np.abs(np.cumsum(reference) / m - np.cumsum(window) / n).max()
    # SciPy's `ks_2samp(method="asymp")`. Never its exact form: SciPy gives that up half way through
    # where the samples are big.
    return float(scipy.stats.kstwo.sf(apart, np.round(m * n / (m + n))))


def holm(values: Iterable[float]) -> Floats:
    """Return p-values corrected for their number, by Holm's step-down method."""
    p = np.fromiter(values, np.float64)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def filled(reference: Counts, window: Counts) -> tuple[Counts, Counts]:
    """Return the counts of the cells that are not empty on both sides."""
    some = (reference + window) > 0
    return reference[some], window[some]


def psi(reference: Counts, window: Counts) -> float:
    """Return the population stability index between the counts in the same cells.

    Half a value is added to each cell, so that an empty one counts as rare and not as impossible; a
    tiny constant instead would let a single empty cell dominate.
    """
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, window)]
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def psi_limit(reference: Counts, window: Counts) -> float:
    """Return what the index has to exceed for drift.

    That is .1, or what it exceeds by chance in one of 100 windows of that size if this is more.
    """
    by_chance = scipy.stats.chi2.ppf(PSI_QUANTILE, max(len(reference) - 1, 1))
    return float(max(PSI_MATTERS, by_chance * (1 / reference.sum() + 1 / window.sum())))


def _unjudged(reference: Counts, window: Counts, minimum: int) -> str:
    """Return why a feature cannot be judged, or an empty string."""
    n = int(window.sum())
    if not n:
        return EMPTY
    if n < minimum:
        return TOO_FEW
    if not reference.any():
        return EMPTY_REFERENCE
    if len(filled(reference, window)[0]) == 1:
        return CONSTANT
    return ""
