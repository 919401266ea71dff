"""How good decisions are: as it turned out, or, while nobody knows yet, as their risks say themselves.

The second is confidence-based performance estimation (CBPE) as NannyML describes it
(https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html): where risks are calibrated, a
client of risk .2 is a bad one in 20 of 100 cases, and is counted as .2 of a bad client and .8 of a good one. Expected
figures follow by the formulas of realised ones. Other clients than in training move them, as they should. They are
blind to concept drift: when the same clients come to default more often, no risk shows it, and the estimate stays.
Only outcomes tell (`monitoring.performance.vintages`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import erf

from credit_risk.metrics.cost import costs, threshold
from credit_risk.metrics.discrimination import auc, places
from credit_risk.schema.attributes import BAD, LABEL, Floats

Mask = NDArray[np.bool_]

# That of the usual costs.
THRESHOLD = threshold()
# Parts of equally many clients that calibration is looked at in.
PARTS = 10


@dataclass(frozen=True)
class Performance:
    """How good n decisions are.

    Attributes
    ----------
    auc : float or None
        How often a bad client has a higher risk than a good one; None where there is but one kind.
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
    """Return what risks, shape (n,), say of the decisions that were taken; None where there are none."""
    return performance(risk, green, risk)


def performance(risk: Floats, green: Mask, bad: Floats) -> Performance | None:
    """Return how good decisions are, given how likely each client is bad: 0 or 1 where that is known.

    Parameters
    ----------
    risk, bad : array of shape (n,)
    green : array of bool, shape (n,)
        Who was accepted.
    """
    if not len(risk):
        return None
    right = np.where(green, 1 - bad, bad)
    return Performance(len(risk), auc(risk, bad), float(right.mean()), float(costs(green, bad).mean()))


def out_of_fold(reference: pd.DataFrame, threshold: float = THRESHOLD) -> Performance | None:
    """Return how good a version was on its training clients, each judged by a scorer that had not seen them.

    Parameters
    ----------
    reference : DataFrame
        `class` and out-of-fold `risk`, as logged with the version; None is returned where either is missing.
    threshold : float
        The risk from which it refuses.
    """
    if not {LABEL, "risk"} <= {*reference.columns}:
        return None
    risk = reference["risk"].to_numpy(np.float64)
    bad = (reference[LABEL] == BAD).to_numpy(np.bool_)
    return performance(risk, risk < threshold, bad.astype(np.float64))


def calibration_error(risk: Floats, bad: Floats) -> float:
    """Return how far risks are from what became of clients: the mean gap over ten parts, about equally big, by risk.

    With clients that are only likely bad it is what the gaps will be on average, luck included (as normal). So with the
    risks themselves it is what perfectly calibrated ones come to.

    Parameters
    ----------
    risk, bad : array of shape (n,)
    """
    place = places(risk)
    clients = np.bincount(place)
    part = ((np.cumsum(clients) - clients / 2) * PARTS / len(risk)).astype(np.int64)  # equal risks are in one
    gap, luck = (np.bincount(part, np.bincount(place, value)) for value in (bad - risk, bad * (1 - bad)))
    gap, luck = np.abs(gap), np.sqrt(luck)
    far = gap / np.maximum(luck, 1e-12)
    apart = gap * erf(far / np.sqrt(2)) + luck * np.sqrt(2 / np.pi) * np.exp(-(far**2) / 2)
    return float(apart.sum() / len(risk))
