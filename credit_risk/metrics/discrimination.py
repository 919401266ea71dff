"""How well risks tell bad clients from good ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from credit_risk.schema.attributes import Floats

# Above so many, risks are compared by four digits.
MANY = 100_000


def auc(risk: Floats, bad: ArrayLike) -> float | None:
    """Return how often a bad client has a higher risk than a good one, a tie counting half, over pairs of two clients.

    With clients that are only likely bad it is scikit-learn's weighted one, each client being there as a bad and as a
    good one, but that no client is compared with himself.

    Parameters
    ----------
    risk : array of shape (n,)
        Probability of class bad.
    bad : array-like of shape (n,)
        Who is bad; a probability, where that is not known.

    Returns
    -------
    float or None
        In [0, 1]; None where there are no clients of both kinds.
    """
    likely = np.asarray(bad, np.float64)
    place = places(risk)
    bads, goods = np.bincount(place, likely), np.bincount(place, 1 - likely)
    himself = float(np.sum(likely * (1 - likely)))
    above = float(bads @ (np.cumsum(goods) - goods / 2)) - himself / 2
    pairs = float(bads.sum() * goods.sum()) - himself
    # What is left of pairs that cancel out is rounding.
    return above / pairs if pairs > 1e-9 * len(risk) else None


def places(risk: Floats) -> NDArray[np.int64]:
    """Return the places of risks in their order, shape (n,), equal ones at the same.

    Of very many those count as equal that agree to four digits: that takes no sorting, and moves no figure that anybody
    can see.
    """
    if len(risk) > MANY:
        return np.rint(risk * 10_000).astype(np.int64)
    return np.unique(risk, return_inverse=True)[1]
