"""The figures that the exporter serves: what one refresh came to, and how each is called as a metric."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from credit_risk.schema.attributes import Floats
from credit_risk.scoring.model import confidence
from monitoring.drift.drift import Drift, FeatureDrift
from monitoring.drift.window import Window
from monitoring.exporter.log_counters import Totals
from monitoring.performance.performance import Mask
from monitoring.performance.quality import Quality
from monitoring.performance.quality import metrics as quality_metrics

# Up to where risks and confidences are counted, for how they are spread.
PARTS = 20
EDGES = np.arange(1, PARTS + 1) / PARTS


@dataclass(frozen=True)
class Predictions:
    """What was predicted.

    Attributes
    ----------
    green, risk, confidence : float
        The share of green decisions, the mean risk and the mean confidence.
    risks, confidences : tuple of int
        How many of them are not above each of `EDGES`.
    """

    green: float
    risk: float
    confidence: float
    risks: tuple[int, ...]
    confidences: tuple[int, ...]

    @classmethod
    def of(cls, green: Mask, risk: Floats, confidence: Floats) -> "Predictions":
        """Return those of decisions, each array of shape (n,)."""
        return cls(float(green.mean()), float(risk.mean()), float(confidence.mean()), _up_to(risk), _up_to(confidence))

    @classmethod
    def made(cls, window: Window) -> "Predictions | None":
        """Return those of the serving version's decisions in a window; None where it made none."""
        mine = ~np.isnan(window.rows["risk"])
        if not mine.any():
            return None
        return cls.of(*(window.rows[name][mine] for name in ("green", "risk", "confidence")))

    @classmethod
    def expected(cls, window: Window) -> "Predictions | None":
        """Return those of the reference, out of fold; None before the threshold is known from a decision."""
        if window.threshold is None or "risk" not in window.reference:
            return None
        risk = window.reference["risk"].to_numpy(np.float64)
        clear = confidence(risk, cost_bad=1 / window.threshold - 1, cost_good=1)
        return cls.of(risk < window.threshold, risk, clear)


def _up_to(values: Floats) -> tuple[int, ...]:
    # By arithmetic, a third of what a search takes; less a little, for what lies on an edge is not above it.
    parts = values * PARTS
    parts -= 1e-9
    counts = np.bincount(np.ceil(parts, out=parts).astype(np.int64), minlength=PARTS + 1)
    return tuple(np.cumsum(counts)[1:].tolist())


@dataclass(frozen=True)
class Recent:
    """What the window holds, beside its drift.

    Attributes
    ----------
    n : int
        Decisions.
    missing, outside : mapping of attribute to int
        Values that are missing, and numbers outside the range that the serving version saw in training.
    made, expected : Predictions
        Of the serving version's decisions, and of its reference.
    """

    n: int
    missing: Mapping[str, int] = field(default_factory=dict)
    outside: Mapping[str, int] = field(default_factory=dict)
    made: Predictions | None = None
    expected: Predictions | None = None

    @classmethod
    def of(cls, window: Window) -> "Recent":
        """Return the figures of a window; without a version, only how many decisions it holds."""
        if window.version is None:
            return cls(len(window))
        predictions = Predictions.made(window), Predictions.expected(window)
        return cls(len(window), window.missing(), window.outside(), *predictions)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able words."""
        return vars(self) | {"made": self.made and vars(self.made), "expected": self.expected and vars(self.expected)}


@dataclass(frozen=True)
class Figures:
    """What the exporter knows; None is not known, and is then not served.

    Attributes
    ----------
    totals : Totals
        Over the whole log.
    recent : Recent
        What the window holds.
    drift : Drift
        The verdict on the window; it judges no feature while that holds too few.
    newest : Drift
        Evidently's on the newest decisions of it; the same where the window holds no more than Evidently is given.
    n_newest : int
        How many these are.
    quality : Quality
        How good the decisions are.
    model_version : str
        The Production version.
    trained : datetime
        When that was registered.
    alias_astray : bool
        Whether MLflow's alias says that another version is in Production.
    refused : bool
        Whether the services do not take the version that the last decision or the alias names.
    reported : datetime
        When the report flow last completed.
    seconds : float
        How long the last refresh with something new took.
    time : datetime
        Until when everything is known: when log and registry were last read.
    """

    totals: Totals = field(default_factory=Totals)
    recent: Recent | None = None
    drift: Drift | None = None
    newest: Drift | None = None
    n_newest: int | None = None
    quality: Quality = field(default_factory=Quality)
    model_version: str | None = None
    trained: datetime | None = None
    alias_astray: bool | None = None
    refused: bool | None = None
    reported: datetime | None = None
    seconds: float | None = None
    time: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able words."""
        totals = self.totals
        return {
            "decisions": _listed(("prediction", "model_version"), totals.decisions),
            "rejected": [{"reason": reason, "n": n} for reason, n in totals.rejected.items()],
            "rejected_values": _listed(("column", "reason"), totals.values),
            "batches": _listed(("source", "outcome"), totals.batches),
            "n_window": self.recent and self.recent.n,
            "window": self.recent and self.recent.as_dict(),
            "drift": self.drift and self.drift.as_dict(),
            "n_newest": self.n_newest,
            "newest": self.newest and self.newest.as_dict(),
            "quality": self.quality.as_dict(),
            "model_version": self.model_version,
            "alias_astray": self.alias_astray,
            "refused": self.refused,
            "seconds": self.seconds,
        }


def page(figures: Figures) -> bytes:
    """Return the figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Metrics(figures))
    return generate_latest(registry)


class _Metrics(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """Yield every metric whose figure is known."""
        yield from _totals(self._figures.totals)
        yield from _times(self._figures)
        yield from quality_metrics(self._figures.quality)
        if self._figures.recent is not None:
            yield from _recent(self._figures.recent)
        if self._figures.drift is not None:
            yield from _drift(self._figures.drift)
        if self._figures.newest is not None:
            yield from _newest(self._figures.newest)


def _totals(totals: Totals) -> Iterable[Metric]:
    yield _counter(
        "credit_risk_decisions",
        "Decisions in the log; previews are none",
        ("prediction", "model_version"),
        totals.decisions,
    )
    yield _counter(
        "credit_risk_rejected_rows",
        "Rejected rows in the log; one with several faults counts for each",
        ("reason",),
        {(reason,): n for reason, n in totals.rejected.items()},
    )
    yield _counter(
        "credit_risk_rejected_values",
        "Faults of rejected rows in the log, by column; without one where a row as a whole was no application",
        ("column", "reason"),
        totals.values,
    )
    yield _counter(
        "credit_risk_rows",
        "Rows in the log; a rejected one counts once, however many faults it had",
        ("outcome",),
        {(outcome,): n for outcome, n in totals.rows.items()},
    )
    yield _counter("credit_risk_batches", "Files and requests in the log", ("source", "outcome"), totals.batches)


def _times(figures: Figures) -> Iterable[Metric]:
    if figures.model_version is not None:
        yield InfoMetricFamily(
            "credit_risk_production_model", "The version in Production", {"model_version": figures.model_version}
        )
    yield from _gauges(
        (
            "credit_risk_model_trained_timestamp_seconds",
            "When the version in Production was registered",
            figures.trained,
        ),
        (
            "credit_risk_alias_mismatch",
            "1 where MLflow's alias production is elsewhere than the last approval",
            None if figures.alias_astray is None else int(figures.alias_astray),
        ),
        (
            "credit_risk_model_refused",
            "1 where the version that the last approval or the alias names is refused, so that it is not in Production",
            None if figures.refused is None else int(figures.refused),
        ),
        ("credit_risk_last_report_timestamp_seconds", "When the report flow last completed", figures.reported),
        ("credit_risk_refresh_duration_seconds", "Of the last refresh with something new", figures.seconds),
        ("credit_risk_refresh_timestamp_seconds", "When log and registry were last read", figures.time),
        ("credit_risk_newest_decisions", "Decisions of the window that Evidently was given", figures.n_newest),
    )


def _recent(recent: Recent) -> Iterable[Metric]:
    yield from _gauges(("credit_risk_window_decisions", "Decisions that drift is computed on", recent.n))
    sides = (
        ("window", "decisions in the window that the version in Production made", recent.made),
        ("reference", "clients that it was trained on, seen out of fold", recent.expected),
    )
    for side, whom, predictions in sides:
        if predictions is not None:
            yield from _gauges(
                (f"credit_risk_{side}_green_ratio", f"Share of green ones among the {whom}", predictions.green),
                (f"credit_risk_{side}_risk_ratio", f"Mean risk of the {whom}", predictions.risk),
                (f"credit_risk_{side}_confidence_ratio", f"Mean confidence of the {whom}", predictions.confidence),
            )
            yield _spread(f"credit_risk_{side}_risks_ratio", f"Risks of the {whom}", predictions.risks)
            yield _spread(
                f"credit_risk_{side}_confidences_ratio", f"Confidences of the {whom}", predictions.confidences
            )
    yield _gauge("credit_risk_window_missing_values", "Missing values in the window", "feature", recent.missing)
    yield _gauge(
        "credit_risk_window_outside_training_values",
        "Numbers in the window outside the range that the version in Production saw in training",
        "feature",
        recent.outside,
    )


def _drift(drift: Drift) -> Iterable[Metric]:
    yield _by_feature(
        "credit_risk_drift_score",
        "P-value of the feature's drift test after Holm's correction: 1 is no sign of drift, below .05 is significant",
        drift,
        lambda f: f.adjusted,
    )
    yield _by_feature(
        "credit_risk_drift_detected",
        "1 where the feature's drift is significant and big enough",
        drift,
        lambda f: f.drifted,
    )
    yield _by_feature("credit_risk_drift_psi", "The feature's population stability index", drift, lambda f: f.psi)
    yield _by_feature(
        "credit_risk_drift_psi_limit",
        "What the index exceeds where the feature drifted",
        drift,
        lambda f: f.psi_limit,
    )
    unjudged = GaugeMetricFamily(
        "credit_risk_unjudged_features", "Features without a verdict on drift", labels=["feature", "reason"]
    )
    for feature, reason in drift.unjudged.items():
        unjudged.add_metric([feature, reason], 1)
    yield unjudged
    if drift.features:
        yield from _gauges(
            ("credit_risk_drifted_features", "Features that drifted", len(drift.drifted)),
            ("credit_risk_drifted_features_ratio", "Of the features that could be judged", drift.share),
            ("credit_risk_dataset_drift", "1 where the risk or at least two features drifted", int(drift.dataset)),
        )


def _newest(drift: Drift) -> Iterable[Metric]:
    newest = "the newest decisions of the window alone, by Evidently"
    yield _by_feature(
        "credit_risk_newest_drift_score", f"Like credit_risk_drift_score, of {newest}", drift, lambda f: f.adjusted
    )
    yield _by_feature(
        "credit_risk_newest_drift_detected", f"Like credit_risk_drift_detected, of {newest}", drift, lambda f: f.drifted
    )
    yield from _gauges(
        ("credit_risk_newest_dataset_drift", f"Like credit_risk_dataset_drift, of {newest}", int(drift.dataset))
    )


def _by_feature(name: str, meaning: str, drift: Drift, value: Callable[[FeatureDrift], float]) -> Metric:
    return _gauge(name, meaning, "feature", {f.feature: value(f) for f in drift.features})


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _spread(name: str, meaning: str, up_to: Sequence[int]) -> Metric:
    """Return a histogram of what may also become fewer; how many and how much they are is served by other names."""
    family = Metric(name, meaning, "gaugehistogram")
    for edge, n in zip([*map(str, EDGES), "+Inf"], [*up_to, up_to[-1]], strict=True):
        family.add_sample(f"{name}_bucket", {"le": edge}, n)
    return family


def _gauges(*gauges: tuple[str, str, float | datetime | None]) -> Iterable[Metric]:
    for name, meaning, value in gauges:
        if value is not None:
            yield GaugeMetricFamily(name, meaning, value.timestamp() if isinstance(value, datetime) else value)


def _counter(name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, n in values.items():
        family.add_metric(key, n)
    return family


def _listed(names: Sequence[str], counts: Mapping[Any, int]) -> list[dict[str, Any]]:
    return [dict(zip(names, key, strict=True)) | {"n": n} for key, n in counts.items()]
