"""The cost of decisions, and the threshold at which it is least."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Costs, Dataset

# The data's own cost matrix (Statlog German Credit): a bad client accepted costs 5, a good one
# refused 1.
COST_BAD = 5.0
COST_GOOD = 1.0


def threshold(cost_bad: float = COST_BAD, cost_good: float = COST_GOOD) -> float:
    """Return the risk from which refusing a client costs less than accepting, in (0, 1).

    References
    ----------
    Elkan, The foundations of cost-sensitive learning, IJCAI 2001.
    """
    return cost_good / (cost_good + cost_bad)


def costs(
    green: ArrayLike, bad: ArrayLike, cost_bad: float = COST_BAD, cost_good: float = COST_GOOD
) -> Floats:
    """Return what each decision costs, in the unit of the costs.

    Parameters
    ----------
    green : array-like of shape (..., n)
        Who was accepted; a share if several decisions on a client are averaged.
    bad : array-like of shape (n,)
        Who is bad; a probability if that is not known.
    """
    accepted, default = np.asarray(green, np.float64), np.asarray(bad, np.float64)

    return accepted * default * cost_bad + (1 - accepted) * (1 - default) * cost_good


def weights(clients: pd.DataFrame | pa.Table, dataset: Dataset) -> Floats:
    """Return what each client counts for in a mean cost: 1, or the amount, shape (n,).

    Parameters
    ----------
    clients : DataFrame or Table of n rows
        With the column of the amount where costs depend on it. A client whose amount is unknown,
        because it was not asked for yet, counts for nothing.
    dataset : Dataset
        Says what costs depend on.
    """
    if not dataset.cost_columns:
        return np.ones(len(clients))
    return np.nan_to_num(np.asarray(clients[dataset.amount], np.float64))


def mean_cost(
    green: ArrayLike, bad: ArrayLike, matrix: Costs, weight: ArrayLike | None = None
) -> float:
    """Return what decisions cost on average, in the unit of the costs.

    Parameters
    ----------
    green, bad : array-like of shape (n,)
        As in `costs`.
    matrix : Costs
        What wrong decisions cost.
    weight : array-like of shape (n,), optional
        What each client counts for, see `weights`; all the same by default.

    Returns
    -------
    float
        NaN where nobody counts.

    References
    ----------
    Bahnsen, Aouada and Ottersten, Example-dependent cost-sensitive logistic regression for credit
    scoring, ICMLA 2014: the loss of a loan grows with its amount, so clients do not count alike.
    """
    each = costs(green, bad, matrix.bad, matrix.good)
    weight = np.ones(len(each)) if weight is None else np.asarray(weight, np.float64)
    total = weight.sum()

    return float((each * weight).sum() / total) if total else float("nan")
