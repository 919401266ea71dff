"""The cost of decisions, and the threshold at which it is least."""

import numpy as np
from numpy.typing import ArrayLike

from credit_risk.schema.attributes import Floats

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
