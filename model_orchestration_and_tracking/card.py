"""The model card of a registered version: what it decides, how well, for whom, and its limits.

Written for the person who approves the version (the form follows Mitchell et al. 2019, Model cards
for model reporting). MLflow shows it on the run's page and among its artifacts.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import t

from credit_risk.metrics.calibration import calibration_error, error_by_chance, slope_intercept
from credit_risk.metrics.cost import weights
from credit_risk.registry.registry import UNSIGNED
from credit_risk.schema.attributes import BAD, LABEL
from credit_risk.schema.dataset import Costs
from model_orchestration_and_tracking.evaluation.fairness import slice_table
from model_orchestration_and_tracking.evaluation.metrics import mean_se, metrics
from model_orchestration_and_tracking.fitted import Trained
from model_orchestration_and_tracking.gate import Gate
from model_orchestration_and_tracking.tuning import Average

DRAWS = 500
# The metrics that a card reports, and what it calls them (with the unit of costs).
REPORTED = {
    "auc": "AUC",
    "brier": "Brier score",
    "accuracy": "accuracy at p(bad) = .5",
    "recall": "recall at .5 (good clients called green)",
    "specificity": "specificity at .5 (bad clients called red)",
    "decision_acceptance": "accepted at the cost threshold",
    "decision_accuracy": "accuracy there",
    "decision_recall": "recall there",
    "decision_specificity": "specificity there",
    "decision_cost": "cost per {unit} there",
}
# Whatever the data are.
LIMIT = (
    "Whoever the groups above show at a disadvantage is so without their attribute being scored: "
    "other attributes go with it."
)


def card(name: str, average: Trained[Average], gate: Gate, tags: Mapping[str, str]) -> str:
    """Return a version's card as Markdown.

    Parameters
    ----------
    name : str
        Name of the training run.
    average : Trained
        What is to be registered.
    gate : Gate
        Its comparison with Production.
    tags : mapping
        Tags of the run: `data`, `data_hash`, `git_commit`, and those of the snapshot where one was
        used.
    """
    parts = [
        f"# Credit scorer of run {name}",
        "Green or red for an application for credit, and the risk of class bad, "
        "for a clerk who decides. LightGBM, "
        f"{average.candidate.name} ({len(average.scorer.trees)} trees of at most 8 leaves), "
        f"code {tags['git_commit'][:12]}.",
        f"## Gate: {'passed' if gate.passed else 'FAILED'}\n\n{gate.summary}.",
        f"## Decision\n\n{_decision(average)}",
        f"## Figures\n\n{_figures(average)}",
        f"## Calibration\n\n{_calibration(average)}",
        f"## Groups\n\n{_groups(average)}",
        f"## Data\n\n{_data(average, tags)}",
        f"## Limits\n\n{_limits(average, tags)}",
        f"## Approval\n\n{UNSIGNED}",
    ]
    return "\n\n".join(parts) + "\n"


def _decision(average: Trained[Average]) -> str:
    accepted = average.validated.metrics["decision_acceptance"]
    scorer = average.scorer
    origin = "that of training" if scorer.base_rate is None else "as set"
    return (
        f"Red from a risk of {scorer.threshold:.4f}: {scorer.costs}. "
        f"**Of 10 clients like those in training it accepts about {10 * accepted:.0f}.** "
        f"Base rate {scorer.prior:.2f}, {origin}. "
        "Calibration needs no step of its own: it is checked below."
    )


def _figures(average: Trained[Average]) -> str:
    folds = average.validated.folds
    labels, risk = average.parts["test"]
    reach = float(t.ppf(0.975, len(folds) - 1))
    dataset = average.scorer.dataset
    weight = weights(average.test, dataset)
    tested = metrics(labels, risk, dataset.costs, weight)
    drawn = _bootstrap(np.asarray(labels), risk, dataset.costs, weight)

    lines = [
        f"95 % intervals: over {len(folds)} folds (Nadeau-Bengio), "
        f"and by bootstrap of the {len(risk)} test clients.",
        "",
        "| figure | validation | test |",
        "|---|---|---|",
    ]
    for name, title in REPORTED.items():
        found = mean_se([fold[name] for fold in folds], len(folds))
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        validated = f"{found['mean']:.3f} ± {reach * found['se']:.3f}"
        title = title.format(unit=dataset.costs.unit)
        lines.append(f"| {title} | {validated} | {tested[name]:.3f} [{low:.3f}, {high:.3f}] |")

    return "\n".join(lines)


def _bootstrap(
    labels: np.ndarray, risk: np.ndarray, costs: Costs, weight: np.ndarray
) -> dict[str, list[float]]:
    random = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in REPORTED}

    while len(found["auc"]) < DRAWS:
        drawn = random.integers(0, len(labels), len(labels))
        if 0 < np.sum(labels[drawn] == BAD) < len(labels):
            sample = labels[drawn], risk[drawn], costs, weight[drawn]
            for name, value in metrics(*sample).items():
                if name in found:
                    found[name].append(value)

    return found


def _calibration(average: Trained[Average]) -> str:
    labels, risk = average.parts["validation"]
    bad = np.asarray(labels) == BAD
    (slope, intercept), chance = slope_intercept(risk, bad), error_by_chance(risk)
    return (
        f"Out of fold: slope {slope:.2f} (perfect 1), intercept {intercept:+.2f} (perfect 0); "
        f"expected calibration error {calibration_error(risk, bad):.3f}, "
        "where a perfectly calibrated model of these risks gets "
        f"{chance.mean:.3f} on average and less than {chance.q95:.3f} in 95 of 100 samples."
    )


def _groups(average: Trained[Average]) -> str:
    if not average.slices:
        return "The training data name no protected attribute, so groups cannot be told apart."
    return (
        "Out-of-fold decisions on the training clients, 95 % bootstrap intervals; "
        f"groups under 100 are shown, not gated. {average.scorer.dataset.groups_note}".rstrip()
        + f"\n\n{slice_table(average.slices)}"
    )


def _data(average: Trained[Average], tags: Mapping[str, str]) -> str:
    counts = []
    for part in (average.train, average.test):
        n_bad = int((part[LABEL] == BAD).sum())
        counts.append(f"{len(part)} ({n_bad} bad)")

    dataset = average.scorer.dataset
    used = ", ".join(a.label for a in dataset.scored_attributes)
    left_out = ", ".join(a.label for a in dataset.attributes if a.protected) or "nothing"
    return (
        f"{tags['data']}, SHA-256 {tags['data_hash']}: "
        f"{counts[0]} clients for training, {counts[1]} for the test.\n\n"
        f"{_sources(tags)}"
        f"Scored: {used}. Never scored: {left_out}."
    )


def _sources(tags: Mapping[str, str]) -> str:
    if not int(tags.get("n_funded", 0)):
        return ""
    return (
        f"These are the {tags['n_base']} clients of {tags['base']} "
        f"(SHA-256 {tags['base_hash']}) and {tags['n_funded']} "
        "whom earlier versions and clerks accepted and whose outcomes have matured "
        f"({tags['n_funded_bad']} bad, {tags['n_funded_test']} for the test).\n\n"
    )


def _limits(average: Trained[Average], tags: Mapping[str, str]) -> str:
    limits = "\n".join(f"- {limit}" for limit in (*average.scorer.dataset.limits, LIMIT))
    funded = int(tags.get("n_funded", 0))
    if not funded:
        return limits

    share = int(tags["n_funded_bad"]) / funded
    total = int(tags["n_base"]) + funded
    return (
        f"{limits}\n"
        f"- Learnt from accepted clients only: {funded} of the {total} clients were accepted here, "
        f"and {100 * share:.1f} % of them defaulted. "
        "How those would have done who were refused nobody knows, and nobody guessed it: "
        "where earlier versions refused, this one knows the base data alone, and among "
        "applicants at large defaults are more frequent than among the accepted. "
        "The base data and the accepted are mixed as they are, "
        "so the level of the risks is that of the mixture."
    )
