"""How good decisions are: realised, or estimated from their risks while outcomes are unknown.

The estimate is confidence-based performance estimation (CBPE) as NannyML describes it
(https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html): where risks are
calibrated, a client of risk .2 is bad in 20 of 100 cases, and is counted as .2 of a bad client and
.8 of a good one. Expected figures follow by the same formulas as realised ones. Clients other than
those in training change them, as they should. They are blind to concept drift: when the same
clients begin to default more often, no risk shows it, and the estimate stays. Only outcomes show it
(`monitoring.performance.vintages`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_risk.metrics import cost
from credit_risk.metrics.discrimination import auc
from credit_risk.schema.attributes import BAD, LABEL, Floats
from credit_risk.schema.dataset import Costs, Dataset

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Performance:
    """How good n decisions are.

    Attributes
    ----------
    auc : float or None
        How often a bad client has a higher risk than a good one; None where all are of one kind.
    accuracy : float
        The share of bad clients refused and good ones accepted.
    cost : float
        Mean, in the unit of the data set's costs.
    """

    n: int
    auc: float | None
    accuracy: float
    cost: float


def expected(
    risk: Floats, green: Mask, costs: Costs, weight: Floats | None = None
) -> Performance | None:
    """Return how good decisions are by their own risks, shape (n,); None where there are none."""
    return performance(risk, green, risk, costs, weight)


def performance(
    risk: Floats, green: Mask, bad: Floats, costs: Costs, weight: Floats | None = None
) -> Performance | None:
    """Return how good decisions are, given how likely each client is bad.

    That is 0 or 1 where it is known.

    Parameters
    ----------
    risk, bad : array of shape (n,)
    green : array of bool, shape (n,)
        Who was accepted.
    costs : Costs
        Of wrong decisions.
    weight : array of shape (n,), optional
        What each client counts for in the mean cost.
    """
    if not len(risk):
        return None

    right = np.where(green, 1 - bad, bad)
    mean_cost = cost.mean_cost(green, bad, costs, weight)
    return Performance(len(risk), auc(risk, bad), float(right.mean()), mean_cost)


def out_of_fold(
    reference: pd.DataFrame, dataset: Dataset, threshold: float | None = None
) -> Performance | None:
    """Return how good a version was on its training clients, out of fold.

    Each client was scored by a model that had not been trained on it.

    Parameters
    ----------
    reference : DataFrame
        `class` and out-of-fold `risk`, as logged with the version; None is returned where either is
        missing.
    dataset : Dataset
        Says what wrong decisions cost.
    threshold : float, optional
        The risk from which it refuses; that of the costs by default.
    """
    if not {LABEL, "risk"} <= {*reference.columns}:
        return None

    risk = reference["risk"].to_numpy(np.float64)
    bad = (reference[LABEL] == BAD).to_numpy(np.bool_)
    costs, weight = dataset.costs, cost.weights(reference, dataset)
    cut = cost.threshold(costs.bad, costs.good) if threshold is None else threshold
    return performance(risk, risk < cut, bad.astype(np.float64), costs, weight)
