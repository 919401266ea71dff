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

from credit_risk.metrics.cost import costs, threshold
from credit_risk.metrics.discrimination import auc
from credit_risk.schema.attributes import BAD, LABEL, Floats

Mask = NDArray[np.bool_]

# The threshold of the default costs.
THRESHOLD = threshold()


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
        Mean per applicant; a good client refused costs 1, a bad one accepted 5.
    """

    n: int
    auc: float | None
    accuracy: float
    cost: float


def expected(risk: Floats, green: Mask) -> Performance | None:
    """Return how good decisions are by their own risks, shape (n,); None where there are none."""
    return performance(risk, green, risk)


def performance(risk: Floats, green: Mask, bad: Floats) -> Performance | None:
    """Return how good decisions are, given how likely each client is bad.

    That is 0 or 1 where it is known.

    Parameters
    ----------
    risk, bad : array of shape (n,)
    green : array of bool, shape (n,)
        Who was accepted.
    """
    if not len(risk):
        return None

    right = np.where(green, 1 - bad, bad)
    return Performance(
        len(risk), auc(risk, bad), float(right.mean()), float(costs(green, bad).mean())
    )


def out_of_fold(reference: pd.DataFrame, threshold: float = THRESHOLD) -> Performance | None:
    """Return how good a version was on its training clients, out of fold.

    Each client was scored by a model that had not been trained on it.

    Parameters
    ----------
    reference : DataFrame
        `class` and out-of-fold `risk`, as logged with the version; None is returned where either is
        missing.
    threshold : float
        The risk from which it refuses.
    """
    if not {LABEL, "risk"} <= {*reference.columns}:
        return None

    risk = reference["risk"].to_numpy(np.float64)
    bad = (reference[LABEL] == BAD).to_numpy(np.bool_)
    return performance(risk, risk < threshold, bad.astype(np.float64))
