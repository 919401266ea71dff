"""The figures that the exporter serves: what one refresh came to, and how each is called as a metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.drift import Drift


@dataclass(frozen=True)
class Figures:
    """What the exporter knows; None is not known, and is then not served.

    Attributes
    ----------
    decisions : mapping of (prediction, model version) to int
        Decisions in the whole log.
    rejected : mapping of reason to int
        Faults of rejected rows in the whole log.
    n_window : int
        Decisions in the window.
    drift : Drift
        The verdict on the window; None while it holds too few.
    model_version : str
        The Production version.
    trained : datetime
        When that was registered.
    reported : datetime
        When the report flow last completed.
    seconds : float
        How long the last refresh with something new took.
    time : datetime
        Until when everything is known: when log and registry were last read.
    """

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    n_window: int | None = None
    drift: Drift | None = None
    model_version: str | None = None
    trained: datetime | None = None
    reported: datetime | None = None
    seconds: float | None = None
    time: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able words."""
        return {
            "decisions": [{"prediction": p, "model_version": v, "n": n} for (p, v), n in self.decisions.items()],
            "rejected": [{"reason": reason, "n": n} for reason, n in self.rejected.items()],
            "n_window": self.n_window,
            "drift": self.drift and self.drift.as_dict(),
            "model_version": self.model_version,
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
        figures = self._figures
        decisions = CounterMetricFamily(
            "credit_risk_decisions", "Decisions in the log; previews are none", labels=["prediction", "model_version"]
        )
        for labels, n in figures.decisions.items():
            decisions.add_metric(labels, n)
        rejected = CounterMetricFamily(
            "credit_risk_rejected_rows",
            "Rejected rows in the log; one with several faults counts for each",
            labels=["reason"],
        )
        for reason, n in figures.rejected.items():
            rejected.add_metric([reason], n)
        yield from (decisions, rejected)
        if figures.model_version is not None:
            yield InfoMetricFamily(
                "credit_risk_production_model", "The version in Production", {"model_version": figures.model_version}
            )
        gauges: dict[str, tuple[str, float | datetime | None]] = {
            "credit_risk_window_decisions": ("Decisions that drift is computed on", figures.n_window),
            "credit_risk_model_trained_timestamp_seconds": (
                "When the version in Production was registered",
                figures.trained,
            ),
            "credit_risk_last_report_timestamp_seconds": ("When the report flow last completed", figures.reported),
            "credit_risk_refresh_duration_seconds": ("Of the last refresh with something new", figures.seconds),
            "credit_risk_refresh_timestamp_seconds": ("When log and registry were last read", figures.time),
        }
        for name, (meaning, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value.timestamp() if isinstance(value, datetime) else value)
        if figures.drift is not None:
            yield from _drift(figures.drift)


def _drift(drift: Drift) -> Iterable[Metric]:
    score = GaugeMetricFamily(
        "credit_risk_drift_score",
        "P-value of the feature's drift test after Holm's correction: 1 is no sign of drift, below .05 is significant",
        labels=["feature"],
    )
    detected = GaugeMetricFamily(
        "credit_risk_drift_detected", "1 where the feature's drift is significant and big enough", labels=["feature"]
    )
    for feature in drift.features:
        score.add_metric([feature.feature], feature.adjusted)
        detected.add_metric([feature.feature], feature.drifted)
    yield from (score, detected)
    yield GaugeMetricFamily("credit_risk_drifted_features", "Features that drifted", len(drift.drifted))
    yield GaugeMetricFamily("credit_risk_drifted_features_ratio", "Of the features that could be judged", drift.share)
    yield GaugeMetricFamily(
        "credit_risk_dataset_drift", "1 where the risk or at least two features drifted", int(drift.dataset)
    )
