"""The metrics of a scorer, computed alike for folds, test rows and the notebook.

The positive class is **good**: recall is the share of good clients called green, specificity the
share of bad ones called red. Plain names are at p(bad) = .5, names with the prefix `decision_` at
the cost threshold. The AUC, the Brier score and the log loss have no threshold, and so only a plain
name.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from credit_risk.metrics import cost
from credit_risk.metrics.calibration import brier
from credit_risk.metrics.discrimination import auc
from credit_risk.schema.attributes import BAD, Floats
from credit_risk.schema.dataset import Costs

DECISION = "decision_"


def metrics(
    labels: ArrayLike, risk: Floats, costs: Costs, weight: Floats | None = None
) -> dict[str, float]:
    """Return every metric of one set of clients.

    Parameters
    ----------
    labels : array-like of shape (n,)
        "good" or "bad"; both must occur.
    risk : array of shape (n,)
        Probability of class bad.
    costs : Costs
        Of wrong decisions, which give the threshold.
    weight : array of shape (n,), optional
        What each client counts for in the mean cost, see `credit_risk.metrics.cost.weights`.

    Returns
    -------
    dict
        `accuracy`, `auc`, `recall`, `specificity`, `brier`, `log_loss`; `decision_accuracy`,
        `decision_recall`, `decision_specificity`, `decision_acceptance` (share called green) and
        `decision_cost` (mean, in the unit of the costs). All but the cost and the log loss lie in
        [0, 1].
    """
    bad = np.asarray(labels) == BAD
    ranked = auc(risk, bad)
    assert ranked is not None
    red = risk >= cost.threshold(costs.bad, costs.good)
    at_threshold = {DECISION + name: value for name, value in _shares(bad, red).items()}

    return {
        "auc": ranked,
        "brier": brier(risk, bad),
        "log_loss": float(-np.mean(np.log(np.where(bad, risk, 1 - risk).clip(1e-15)))),
        **_shares(bad, risk >= 0.5),
        **at_threshold,
        DECISION + "acceptance": float(np.mean(~red)),
        DECISION + "cost": cost.mean_cost(~red, bad, costs, weight),
    }


def mean(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over folds."""
    return {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}


def mean_se(values: Sequence[float] | Floats, folds: int) -> dict[str, float]:
    """Return mean and corrected standard error of a figure over repeated cross-validation.

    The plain error is far too small, because the folds share most of their training clients: the
    variance is multiplied by 1/J + 1/(folds - 1) instead of 1/J (Nadeau and Bengio 2003).
    """
    spread = float(np.var(values, ddof=1)) * (1 / len(values) + 1 / (folds - 1))
    return {"mean": float(np.mean(values)), "se": spread**0.5}


def named(part: str, values: dict[str, float]) -> dict[str, float]:
    """Return metrics under the names that MLflow shows: `test_recall`, `decision_test_recall`."""
    found = {}
    for name, value in values.items():
        prefix = f"{DECISION}{part}_" if name.startswith(DECISION) else f"{part}_"
        found[prefix + name.removeprefix(DECISION)] = value
    return found


def _shares(bad: np.ndarray, red: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float(np.mean(bad == red)),
        "recall": float(np.mean(~red[~bad])),
        "specificity": float(np.mean(red[bad])),
    }
