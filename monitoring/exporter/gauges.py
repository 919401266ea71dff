"""The exporter's measurements as metrics: each one's name, meaning and labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.drift.drift import Drift, FeatureDrift
from monitoring.drift.portfolio import PortfolioFigures
from monitoring.exporter.log_counters import DECIDED, REJECTED, Totals
from monitoring.exporter.measurements import EDGES, Measurements, Recent
from monitoring.performance.quality import metrics as quality_metrics


def page(figures: Measurements) -> bytes:
    """Return the figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Metrics(figures))
    return generate_latest(registry)


class _Metrics(Collector):
    def __init__(self, figures: Measurements) -> None:
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
        if self._figures.portfolio is not None:
            yield from _portfolio(self._figures.portfolio)


def _totals(totals: Totals) -> Iterable[Metric]:
    yield _counter(
        "credit_risk_decisions",
        "Decisions in the log; previews do not count",
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
        "Faults of rejected rows in the log, by column; "
        "without one where a row as a whole was not an application",
        ("column", "reason"),
        totals.values,
    )
    yield _counter(
        "credit_risk_rows",
        "Rows in the log; a rejected one counts once, however many faults it had",
        ("outcome",),
        {(outcome,): n for outcome, n in totals.rows.items()},
    )
    yield _counter(
        "credit_risk_batches",
        "Files and requests in the log",
        ("source", "outcome"),
        totals.batches,
    )


def _times(figures: Measurements) -> Iterable[Metric]:
    if figures.model_version is not None:
        yield InfoMetricFamily(
            "credit_risk_production_model",
            "The version in Production",
            {"model_version": figures.model_version},
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
            "1 where the version that the last approval or the alias names is refused, "
            "so that it is not in Production",
            None if figures.refused is None else int(figures.refused),
        ),
        (
            "credit_risk_break_glass_approvals",
            "Decisions on versions of the last day, and the one in force, that went past the "
            "approvals service",
            figures.break_glass,
        ),
        (
            "credit_risk_last_report_timestamp_seconds",
            "When the report flow last completed",
            figures.reported,
        ),
        (
            "credit_risk_refresh_duration_seconds",
            "Of the last refresh with something new",
            figures.seconds,
        ),
        (
            "credit_risk_refresh_timestamp_seconds",
            "When log and registry were last read",
            figures.time,
        ),
        (
            "credit_risk_newest_decisions",
            "Decisions of the window that Evidently was given",
            figures.n_newest,
        ),
    )


def _recent(recent: Recent) -> Iterable[Metric]:
    yield from _gauges(
        ("credit_risk_window_decisions", "Decisions that drift is computed on", recent.n)
    )
    sides = (
        ("window", "decisions in the window that the version in Production made", recent.made),
        ("reference", "clients that it was trained on, seen out of fold", recent.expected),
    )
    for side, whom, predictions in sides:
        if predictions is not None:
            yield from _gauges(
                (
                    f"credit_risk_{side}_green_ratio",
                    f"Share of green ones among the {whom}",
                    predictions.green,
                ),
                (f"credit_risk_{side}_risk_ratio", f"Mean risk of the {whom}", predictions.risk),
                (
                    f"credit_risk_{side}_confidence_ratio",
                    f"Mean confidence of the {whom}",
                    predictions.confidence,
                ),
            )
            yield _spread(
                f"credit_risk_{side}_risks_ratio", f"Risks of the {whom}", predictions.risks
            )
            yield _spread(
                f"credit_risk_{side}_confidences_ratio",
                f"Confidences of the {whom}",
                predictions.confidences,
            )
    yield _gauge(
        "credit_risk_window_missing_values",
        "Missing values in the window",
        "feature",
        recent.missing,
    )
    yield _gauge(
        "credit_risk_window_outside_training_values",
        "Numbers in the window outside the range that the version in Production saw in training",
        "feature",
        recent.outside,
    )


def _drift(drift: Drift) -> Iterable[Metric]:
    yield _by_feature(
        "credit_risk_drift_score",
        "P-value of the feature's drift test after Holm's correction: "
        "1 is no sign of drift, below .05 is significant",
        drift,
        lambda f: f.adjusted,
    )
    yield _by_feature(
        "credit_risk_drift_detected",
        "1 where the feature's drift is significant and big enough",
        drift,
        lambda f: f.drifted,
    )
    yield _by_feature(
        "credit_risk_drift_psi", "The feature's population stability index", drift, lambda f: f.psi
    )
    yield _by_feature(
        "credit_risk_drift_psi_limit",
        "What the index exceeds where the feature drifted",
        drift,
        lambda f: f.psi_limit,
    )
    unjudged = GaugeMetricFamily(
        "credit_risk_unjudged_features",
        "Features without a verdict on drift",
        labels=["feature", "reason"],
    )
    for feature, reason in drift.unjudged.items():
        unjudged.add_metric([feature, reason], 1)
    yield unjudged

    if drift.features:
        yield from _gauges(
            ("credit_risk_drifted_features", "Features that drifted", len(drift.drifted)),
            (
                "credit_risk_drifted_features_ratio",
                "Of the features that could be judged",
                drift.share,
            ),
            (
                "credit_risk_dataset_drift",
                "1 where the risk or at least two features drifted",
                int(drift.dataset),
            ),
        )


def _newest(drift: Drift) -> Iterable[Metric]:
    newest = "the newest decisions of the window alone, by Evidently"
    yield _by_feature(
        "credit_risk_newest_drift_score",
        f"Like credit_risk_drift_score, of {newest}",
        drift,
        lambda f: f.adjusted,
    )
    yield _by_feature(
        "credit_risk_newest_drift_detected",
        f"Like credit_risk_drift_detected, of {newest}",
        drift,
        lambda f: f.drifted,
    )
    yield from _gauges(
        (
            "credit_risk_newest_dataset_drift",
            f"Like credit_risk_dataset_drift, of {newest}",
            int(drift.dataset),
        )
    )


def _portfolio(portfolio: PortfolioFigures) -> Iterable[Metric]:
    yield _gauge(
        "credit_risk_portfolio_rows",
        "Rows of the newest portfolio; they count nowhere else",
        "outcome",
        {DECIDED: portfolio.n_decided, REJECTED: portfolio.n_rejected},
    )
    yield from _gauges(
        (
            "credit_risk_portfolio_red_ratio",
            "Share of red ones among the clients of the newest portfolio",
            portfolio.red,
        ),
        (
            "credit_risk_portfolio_risk_ratio",
            "Mean risk of the clients of the newest portfolio",
            portfolio.risk,
        ),
        (
            "credit_risk_portfolio_timestamp_seconds",
            "When the last clients of the newest portfolio were scored",
            portfolio.time,
        ),
    )
    yield _by_feature(
        "credit_risk_portfolio_drift_psi",
        "Like credit_risk_drift_psi, of the newest portfolio",
        portfolio.drift,
        lambda f: f.psi,
    )


def _by_feature(
    name: str, meaning: str, drift: Drift, value: Callable[[FeatureDrift], float]
) -> Metric:
    return _gauge(name, meaning, "feature", {f.feature: value(f) for f in drift.features})


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _spread(name: str, meaning: str, up_to: Sequence[int]) -> Metric:
    """Return a histogram of values whose number may also fall.

    Their number and mean are separate metrics.
    """
    family = Metric(name, meaning, "gaugehistogram")
    for edge, n in zip([*map(str, EDGES), "+Inf"], [*up_to, up_to[-1]], strict=True):
        family.add_sample(f"{name}_bucket", {"le": edge}, n)
    return family


def _gauges(*gauges: tuple[str, str, float | datetime | None]) -> Iterable[Metric]:
    for name, meaning, value in gauges:
        if value is not None:
            yield GaugeMetricFamily(
                name, meaning, value.timestamp() if isinstance(value, datetime) else value
            )


def _counter(name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, n in values.items():
        family.add_metric(key, n)
    return family
