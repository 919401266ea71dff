"""Whether of the clients with a risk of 20 % some 20 % turn out bad."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf
from sklearn.linear_model import LogisticRegression

from credit_risk.metrics.discrimination import places
from credit_risk.schema.attributes import Floats

# Risks of 0 and 1 have no log-odds.
_NEAREST = 1e-6


class ByChance(NamedTuple):
    """The calibration error of perfectly calibrated risks: its distribution over samples."""

    mean: float
    sd: float
    q95: float


def brier(risk: Floats, bad: ArrayLike) -> float:
    """Return the Brier score: the mean squared difference of risk and outcome, in [0, 1].

    Parameters
    ----------
    risk : array of shape (n,)
        Probability of class bad.
    bad : array-like of shape (n,)
        Who is bad; a probability, where that is not known: then the score is what is expected.
    """
    likely = np.asarray(bad, np.float64)
    return float(np.mean((1 - likely) * risk**2 + likely * (1 - risk) ** 2))


def deciles(risk: Floats) -> NDArray[np.int64]:
    """Return each client's decile of risk, shape (n,): 0 for the lowest risks, 9 for the highest.

    Clients of equal risk are in the same decile, so some may be empty.
    """
    place = places(risk)
    clients = np.bincount(place)
    middle = np.cumsum(clients) - clients / 2
    return (middle * 10 / len(risk)).astype(np.int64)[place]


def calibration_error(risk: Floats, bad: ArrayLike) -> float:
    """Return the expected calibration error, in [0, 1].

    It is the mean gap between risk and share of bad clients over the deciles of risk. Where clients
    are bad only with a probability, it is what the gaps will be on average, chance included (as a
    normal distribution). So, given the risks themselves as `bad`, it is the error of perfectly
    calibrated risks.

    Parameters
    ----------
    risk : array of shape (n,)
        Probability of class bad.
    bad : array-like of shape (n,)
        Who is bad; a probability, where that is not known.
    """
    likely = np.asarray(bad, np.float64)
    decile = deciles(risk)
    gap = np.abs(np.bincount(decile, likely - risk))
    deviation = np.sqrt(np.bincount(decile, likely * (1 - likely)))

    # The mean of the absolute value of a normal distribution.
    far = gap / np.maximum(deviation, 1e-12)
    apart = gap * erf(far / np.sqrt(2)) + deviation * np.sqrt(2 / np.pi) * np.exp(-(far**2) / 2)
    return float(apart.sum() / len(risk))


def error_by_chance(risk: Floats, draws: int = 2000, seed: int = 0) -> ByChance:
    """Return what the calibration error would be if these risks, shape (n,), were true.

    The outcomes are simulated `draws` times.
    """
    random = np.random.default_rng(seed)
    ordered = np.sort(risk)  # so that the order of the clients does not matter
    decile = deciles(ordered)
    errors = np.empty(draws)
    for draw in range(draws):
        bad = random.random(len(ordered)) < ordered
        errors[draw] = np.abs(np.bincount(decile, bad - ordered)).sum() / len(ordered)
    return ByChance(float(errors.mean()), float(errors.std()), float(np.quantile(errors, 0.95)))


def slope_intercept(risk: Floats, bad: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of the outcome on the risk's log-odds.

    They are Cox's (1958). Perfect is (1, 0). A slope above 1 says that the risks are too near the
    average, one below 1 that they are too extreme.

    Parameters
    ----------
    risk : array of shape (n,)
        Probability of class bad.
    bad : array of bool, shape (n,)
    """
    clipped = np.clip(risk, _NEAREST, 1 - _NEAREST)
    logit = np.log(clipped / (1 - clipped))
    # Without a penalty.
    fitted = LogisticRegression(C=np.inf, tol=1e-8).fit(logit[:, np.newaxis], bad)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
