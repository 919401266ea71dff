"""How well risks tell bad clients from good ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from credit_risk.schema.attributes import Floats

# Number of risks above which they are compared by four digits only.
MANY = 100_000


def auc(risk: Floats, bad: ArrayLike) -> float | None:
    """Return how often a bad client has a higher risk than a good one; a tie counts half.

    If it is not known who is bad, this is scikit-learn's weighted AUC, in which each client appears
    both as a bad and as a good one, except that no client is compared with himself.

    Parameters
    ----------
    risk : array of shape (n,)
        Probability of class bad.
    bad : array-like of shape (n,)
        Who is bad; a probability if that is not known.

    Returns
    -------
    float or None
        In [0, 1]; None unless there are clients of both kinds.
    """
    likely = np.asarray(bad, np.float64)
    place = places(risk)
    bads, goods = np.bincount(place, likely), np.bincount(place, 1 - likely)

    himself = float(np.sum(likely * (1 - likely)))
    above = float(bads @ (np.cumsum(goods) - goods / 2)) - himself / 2
    pairs = float(bads.sum() * goods.sum()) - himself

    # A tiny remainder is a rounding error: there are no pairs.
    return above / pairs if pairs > 1e-9 * len(risk) else None


def places(risk: Floats) -> NDArray[np.int64]:
    """Return the ranks of risks, shape (n,); equal risks have the same rank.

    If there are very many, risks count as equal when they agree to four digits. That needs no
    sorting, and changes no figure visibly.
    """
    if len(risk) > MANY:
        return np.rint(risk * 10_000).astype(np.int64)

    return np.unique(risk, return_inverse=True)[1]
