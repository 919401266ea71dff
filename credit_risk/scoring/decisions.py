"""Decisions on applications, and how clear they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from credit_risk.metrics.cost import COST_BAD, COST_GOOD
from credit_risk.schema.attributes import Floats


@dataclass(frozen=True)
class Decisions:
    """Decisions on n applications.

    Attributes
    ----------
    risk : array of shape (n,)
        Probability of class bad, in [0, 1].
    red : array of bool, shape (n,)
        Whether the application is refused.
    confidence : array of shape (n,)
        In [.5, 1]; see `confidence`.
    """

    risk: Floats
    red: NDArray[np.bool_]
    confidence: Floats

    def __len__(self) -> int:
        return len(self.risk)


def confidence(risk: ArrayLike, cost_bad: float = COST_BAD, cost_good: float = COST_GOOD) -> Floats:
    """Return how clear each decision is: the losing action's share of both expected costs.

    Parameters
    ----------
    risk : array-like of shape (n,)
        Probability of class bad.

    Returns
    -------
    array of shape (n,)
        .5 at the threshold, 1 where the risk is 0 or 1.
    """
    risks = np.asarray(risk, dtype=np.float64)
    accept = cost_bad * risks
    refuse = cost_good * (1 - risks)

    return np.asarray(np.maximum(accept, refuse) / (accept + refuse))
