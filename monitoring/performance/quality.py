"""The exporter's metrics of performance: estimated, from outcomes, and of the challenger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from monitoring.performance.performance import Performance
from monitoring.performance.shadow import Observed, Shadow
from monitoring.performance.vintages import OverrideOutcomes, Rating, Vintage

# What every figure of cost is.
COST = "Mean cost per applicant, or per unit of amount where the definition's costs are by amount"

Labels = tuple[str, ...]


@dataclass(frozen=True)
class PerformanceGauges:
    """What is known of performance; None where it is unknown, and then it is not served.

    Attributes
    ----------
    estimated : Performance
        Of the window's decisions by the version in Production, estimated from their risks.
    out_of_fold : Performance
        That version's on its training clients; the estimate is compared with it.
    challenger : str
        The version in shadow.
    shadow : Shadow
        How it does on the same decisions.
    observed : Observed
        How it does where outcomes are known.
    vintages : sequence of Vintage
        Outcomes by month of decision.
    overrides : mapping of str to OverrideOutcomes
        The outcomes of overrides, by the colour that they set.
    outcomes_as_of : datetime
        When outcomes last came.
    """

    estimated: Performance | None = None
    out_of_fold: Performance | None = None
    challenger: str | None = None
    shadow: Shadow | None = None
    observed: Observed | None = None
    vintages: Sequence[Vintage] = ()
    overrides: Mapping[str, OverrideOutcomes] = field(default_factory=dict)
    outcomes_as_of: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of the window as JSON; vintages can be computed from the log."""
        beside = None
        if self.shadow:
            costs = [_cost(*item) for item in self.shadow.cost.items()]
            beside = vars(self.shadow) | {"cost": costs}

        return {
            "estimated": self.estimated and vars(self.estimated),
            "out_of_fold": self.out_of_fold and vars(self.out_of_fold),
            "shadow": beside,
            "observed": self.observed and vars(self.observed),
        }


def metrics(quality: PerformanceGauges) -> Iterable[Metric]:
    """Yield every metric whose figure is known."""
    if quality.estimated:
        yield from _performance(
            "estimated",
            "Estimated from the risks in the window, blind to concept drift",
            quality.estimated,
        )
        yield _gauge(
            "estimated_decisions", "Decisions that the estimate is of", {(): quality.estimated.n}
        )

    if quality.out_of_fold:
        yield from _performance(
            "out_of_fold",
            "Out of fold, when the version in Production was trained",
            quality.out_of_fold,
        )

    if quality.challenger is not None:
        yield InfoMetricFamily(
            "credit_risk_challenger_model",
            "The version in shadow",
            {"model_version": quality.challenger},
        )

    if quality.shadow:
        yield from _shadow(quality.shadow)
    if quality.observed:
        yield from _observed(quality.observed)

    if quality.outcomes_as_of:
        yield _gauge(
            "last_outcomes_timestamp_seconds",
            "When outcomes last came",
            {(): quality.outcomes_as_of.timestamp()},
        )

    if quality.overrides:
        yield from _overrides(quality.overrides)
    if quality.vintages:
        yield from _vintages(quality.vintages)
        yield from _outcomes(quality.vintages)
        yield from _estimates(quality.vintages)


def _performance(name: str, how: str, found: Performance) -> Iterable[Metric]:
    yield _gauge(f"{name}_auc_ratio", f"Area under the ROC curve. {how}", {(): found.auc})
    yield _gauge(f"{name}_accuracy_ratio", f"Share of right decisions. {how}", {(): found.accuracy})
    yield _gauge(f"{name}_cost", f"{COST}. {how}", {(): found.cost})


def _shadow(shadow: Shadow) -> Iterable[Metric]:
    yield _gauge(
        "shadow_decisions", "Decisions of the window that the challenger scored too", {(): shadow.n}
    )
    yield _gauge(
        "shadow_agreement_ratio", "Share of them on which it agrees", {(): shadow.agreement}
    )
    yield _gauge("shadow_green_ratio", "Share of them that it would accept", {(): shadow.green})
    yield _gauge(
        "shadow_expected_cost",
        f"{COST}: of whose decisions, by whose risks",
        shadow.cost,
        "decisions",
        "risks",
    )


def _observed(observed: Observed) -> Iterable[Metric]:
    yield _gauge(
        "shadow_observed_clients",
        "Funded clients of matured vintages whom the challenger was not trained on",
        {(): observed.n},
    )
    yield _gauge(
        "shadow_observed_agreement_ratio",
        "Share of them that it would accept too",
        {(): observed.agreement},
    )
    yield _gauge(
        "shadow_observed_cost",
        f"{COST}: whose decisions on them",
        {(whose,): cost for whose, cost in observed.cost.items()},
        "decisions",
    )


def _overrides(overrides: Mapping[str, OverrideOutcomes]) -> Iterable[Metric]:
    counts: dict[Labels, float | None] = {}
    for to, found in overrides.items():
        counts |= {(to, "right"): found.right, (to, "wrong"): found.wrong, (to, "open"): found.open}

    yield _gauge(
        "overrides",
        "Decisions that people turned, and what is known of them",
        counts,
        "to",
        "result",
    )
    yield _gauge(
        "overrides_predicted_wrong",
        "How many of them are wrong by the risks that people overrode",
        {(to,): found.predicted_wrong for to, found in overrides.items()},
        "to",
    )


def _vintages(vintages: Sequence[Vintage]) -> Iterable[Metric]:
    for name, meaning in (
        ("applicants", "Decisions of the month"),
        ("funded", "Whose last word is green"),
        ("open", "Funded clients without an outcome"),
        ("age", "Months that all clients have behind them, as far as outcomes tell"),
    ):
        unit = "_months" if name == "age" else ""
        yield _gauge(
            f"vintage_{name}{unit}",
            meaning,
            {(v.month,): getattr(v, name) for v in vintages},
            "vintage",
        )
    yield _gauge(
        "vintage_acceptance_ratio",
        "Share of a protected group that was accepted",
        {(v.month, *group): share for v in vintages for group, share in v.acceptance.items()},
        "vintage",
        "attribute",
        "group",
    )


def _outcomes(vintages: Sequence[Vintage]) -> Iterable[Metric]:
    for name, meaning in (
        ("bad", "Share of the funded clients that defaulted"),
        ("auc", "Area under the ROC curve among the funded clients"),
        ("brier", "Mean squared difference of risk and default of the funded clients"),
        (
            "calibration_error",
            "Mean gap of risk and share of defaults over ten parts of the funded clients, by risk",
        ),
    ):
        unit = "" if name == "brier" else "_ratio"
        predicted = {(v.month,): _figure(v.predicted, name) for v in vintages}
        observed = {
            (v.month, str(age)): _figure(rating, name)
            for v in vintages
            for age, rating in v.observed.items()
        }
        yield _gauge(
            f"vintage_{name}{unit}", f"{meaning}, by age in months", observed, "vintage", "age"
        )
        yield _gauge(
            f"vintage_predicted_{name}{unit}",
            f"{meaning}, as their risks say",
            predicted,
            "vintage",
        )
    yield _gauge(
        "vintage_defaults",
        "Of a matured vintage",
        {(v.month,): v.defaults for v in vintages},
        "vintage",
    )
    yield _gauge(
        "vintage_defaults_bound",
        "What they do not exceed in 97.5 of 100 cases when the risks are right",
        {(v.month,): v.defaults_bound for v in vintages},
        "vintage",
    )


def _estimates(vintages: Sequence[Vintage]) -> Iterable[Metric]:
    for name, meaning in (
        ("recall", "Share of good applicants that was accepted"),
        ("specificity", "Share of bad applicants that was refused"),
        ("cost", COST),
    ):
        yield _gauge(
            f"vintage_estimated_{name}{'' if name == 'cost' else '_ratio'}",
            f"{meaning}: observed for the funded, predicted for the refused",
            {
                (v.month, str(age)): getattr(found, name)
                for v in vintages
                for age, found in v.estimated.items()
            },
            "vintage",
            "age",
        )


def _figure(rating: Rating | None, name: str) -> float | None:
    return None if rating is None else getattr(rating, name)


def _gauge(name: str, meaning: str, values: Mapping[Any, float | None], *labels: str) -> Metric:
    """Return a gauge with a sample for each value that is known, by its labels."""
    family = GaugeMetricFamily(f"credit_risk_{name}", meaning, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric(key, value)
    return family


def _cost(key: tuple[str, str], cost: float) -> dict[str, Any]:
    return {"decisions": key[0], "risks": key[1], "cost": cost}
