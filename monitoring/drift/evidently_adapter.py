"""Evidently with our tests: not its defaults, whose chi-square takes the reference as exact.

Import this where it is used and not at the top of a module: importing Evidently takes 4 to 14
seconds.
"""

import logging
import os
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from credit_risk.schema.attributes import GOOD, LABEL
from monitoring.drift import drift
from monitoring.drift.bins import RISK, Counts, NumericBins
from monitoring.drift.drift import Drift

os.environ.setdefault("DO_NOT_TRACK", "1")  # read when Evidently is imported

from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.core.metric_types import render_widgets
from evidently.core.report import Snapshot
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.renderers.html_widgets import group_widget
from evidently.metrics import ValueDrift
from evidently.metrics.column_statistics import ValueDriftCalculation
from evidently.presets import ClassificationPreset, DataDriftPreset

KS = "credit_risk_ks"
CHI_SQUARE = "credit_risk_chi_square"
P_GOOD = "p_good"

logger = logging.getLogger(__name__)


# Evidently hands over the columns without missing values. The p-values are SciPy's, from the values
# themselves; `monitoring.drift.drift` has to get the same ones from counts.


def _of_measured(
    reference: "pd.Series[Any]", window: "pd.Series[Any]", _: ColumnType, threshold: float
) -> tuple[float, bool]:
    """Return a measured feature's p-value, and whether it drifted."""
    # Never the exact form: SciPy gives it up half way through, with a warning, where the samples
    # are big.
    p = float(scipy.stats.ks_2samp(reference, window, method="asymp").pvalue)
    bins = NumericBins(reference.to_numpy(np.float64))
    counts = [bins.counts(column.to_numpy(np.float64)) for column in (reference, window)]
    return p, p <= threshold and _big(*counts)


def _of_counted(
    reference: "pd.Series[Any]", window: "pd.Series[Any]", _: ColumnType, threshold: float
) -> tuple[float, bool]:
    """Return a counted feature's p-value, and whether it drifted."""
    both = pd.concat([reference.value_counts(), window.value_counts()], axis=1).fillna(0)
    p = float(scipy.stats.chi2_contingency(both, correction=False).pvalue)
    return p, p <= threshold and _big(*both.to_numpy(np.int64).T)


def _big(reference: Counts, window: Counts) -> bool:
    binned = drift.filled(reference, window)
    return drift.psi(*binned) > drift.psi_limit(*binned)


register_stattest(
    StatTest(KS, "Kolmogorov-Smirnov p-value, with PSI", [ColumnType.Numerical]), _of_measured
)
register_stattest(
    StatTest(CHI_SQUARE, "two-sample chi-square p-value, with PSI", [ColumnType.Categorical]),
    _of_counted,
)


class Score(ValueDrift):  # type: ignore[misc]
    """Evidently's drift of a column without its picture, which takes most of the time, unseen."""


class _ScoreCalculation(ValueDriftCalculation):  # type: ignore[misc]
    def _render(self, *_: object) -> list[object]:
        return []


Score.__calculation_type__ = _ScoreCalculation


class DriftReport(NamedTuple):
    """Evidently's report on drift, and the features that it could not show."""

    snapshot: Snapshot
    failed: Sequence[str]


def p_values(
    measured: Set[str], reference: pd.DataFrame, window: pd.DataFrame, features: Sequence[str]
) -> dict[str, float]:
    """Return the p-value that Evidently computes for each feature (a `drift.Tester`).

    `measured` are the features measured on a scale.
    """

    def test(some: Sequence[str]) -> Snapshot:
        metrics = [
            Score(column=feature, method=_method(feature, measured), threshold=drift.ALPHA)
            for feature in some
        ]
        return _run(metrics, reference, window, some, _columns(some, measured))

    snapshot, _ = _without_failed(features, test)
    return {
        result["config"]["column"]: float(result["value"]) for result in snapshot.dict()["metrics"]
    }


def drift_report(
    measured: Set[str], reference: pd.DataFrame, window: pd.DataFrame, verdict: Drift
) -> DriftReport:
    """Return Evidently's report on the features that `drift.compare` judged.

    It calls the same features drifted as the verdict. `measured` are those measured on a scale.
    """

    def show(some: Sequence[str]) -> Snapshot:
        preset = DataDriftPreset(
            columns=some,
            per_column_method={feature: _method(feature, measured) for feature in some},
            threshold=verdict.cutoff,
            drift_share=verdict.dataset_share,
        )
        return _run([preset], reference, window, some, _columns(some, measured))

    return _without_failed([f.feature for f in verdict.features], show)


def performance_report(reference: pd.DataFrame, window: pd.DataFrame, threshold: float) -> Snapshot:
    """Return Evidently's report on how good the decisions were; good is the positive class.

    Parameters
    ----------
    reference, window : DataFrame
        `class` and `risk`, none missing.
    threshold : float
        The risk from which a client is refused.
    """
    before = reference.assign(**{P_GOOD: 1 - reference[RISK]})
    now = window.assign(**{P_GOOD: 1 - window[RISK]})
    task = BinaryClassification(target=LABEL, prediction_probas=P_GOOD, pos_label=GOOD)
    about = DataDefinition(numerical_columns=[], categorical_columns=[], classification=[task])
    preset = ClassificationPreset(probas_threshold=1 - threshold)
    return _run([preset], before, now, [LABEL, P_GOOD], about)


def html(*snapshots: Snapshot, above: str = "") -> str:
    """Return reports as one page, below some HTML.

    As separate pages, each would bring the same 4 MB of script.
    """
    page = str(render_widgets([group_widget(title="", widgets=s._widgets) for s in snapshots]))
    return page.replace("<body>", f"<body>{above}", 1)


def figures(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the figures of a report.

    For each metric: its name, its value, and its column, test and threshold where it has them.
    """
    found = []
    for result in snapshot.dict()["metrics"]:
        config = result["config"]
        about = {name: config[name] for name in ("column", "method", "threshold") if name in config}
        found.append(
            {"metric": config["type"].rpartition(":")[2], **about, "value": result["value"]}
        )
    return found


def _without_failed(
    features: Sequence[str], make: Callable[[Sequence[str]], Snapshot]
) -> DriftReport:
    """Return Evidently's report without the features on which it fails.

    It fails as a whole when it fails on one.
    """
    try:
        return DriftReport(make(features), ())
    except Exception:  # whatever SciPy, pandas or Evidently raise
        failed = [feature for feature in features if _fails(feature, make)]
        if not failed:
            raise

        return DriftReport(make([feature for feature in features if feature not in failed]), failed)


def _fails(feature: str, make: Callable[[Sequence[str]], Snapshot]) -> bool:
    try:
        make([feature])
    except Exception:
        logger.exception("Evidently fails on %s", feature)
        return True
    return False


def _method(feature: str, measured: Set[str]) -> str:
    return KS if feature in measured else CHI_SQUARE


def _columns(features: Sequence[str], measured: Set[str]) -> DataDefinition:
    return DataDefinition(
        numerical_columns=[f for f in features if f in measured],
        categorical_columns=[f for f in features if f not in measured],
    )


def _run(
    metrics: Sequence[Any],
    reference: pd.DataFrame,
    window: pd.DataFrame,
    columns: Sequence[str],
    about: DataDefinition,
) -> Snapshot:
    # No other columns: Evidently refuses frames that do not have the same.
    sets = (
        Dataset.from_pandas(frame[[*columns]], data_definition=about)
        for frame in (window, reference)
    )
    return Report(metrics, include_tests=False).run(*sets)
