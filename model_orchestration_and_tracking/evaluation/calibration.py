"""Is a risk of 20 % one of 20 %? Slope, intercept, and an error that is judged against what luck makes of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from credit_risk.schema.attributes import Floats

BINS = 10


class Luck(NamedTuple):
    """What the calibration error of a perfectly calibrated model is: mean, standard deviation, 95 % quantile."""

    mean: float
    sd: float
    q95: float


def slope_intercept(bad: NDArray[np.bool_], risk: Floats) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of the outcome on the risk's log-odds; perfect is (1, 0).

    A slope above 1 says that the risks are too near the average, one below 1 that they are too extreme.

    Parameters
    ----------
    bad : array of bool, shape (n,)
    risk : array of shape (n,)
        Probability of class bad.
    """
    logit = _logit(risk)

    def loss(x: Floats) -> tuple[float, Floats]:
        raw = x[0] * logit + x[1]
        error = 1 / (1 + np.exp(-raw)) - bad
        return float(np.mean(np.logaddexp(0, raw) - bad * raw)), np.array([np.mean(error * logit), np.mean(error)])

    slope, intercept = minimize(loss, [1.0, 0.0], jac=True).x
    return float(slope), float(intercept)


def calibration_error(bad: NDArray[np.bool_], risk: Floats) -> float:
    """Return the expected calibration error: the mean gap of risk and share of bad clients over 10 equal-mass bins."""
    order = np.argsort(risk, kind="stable")
    return _error(np.asarray(bad, dtype=np.float64)[order], risk[order])


def luck(risk: Floats, draws: int = 2000, seed: int = 0) -> Luck:
    """Return what the calibration error would be if these risks, shape (n,), were true, over simulated outcomes."""
    random = np.random.default_rng(seed)
    ordered = np.sort(risk)
    errors = [_error((random.random(len(ordered)) < ordered).astype(np.float64), ordered) for _ in range(draws)]
    return Luck(float(np.mean(errors)), float(np.std(errors)), float(np.quantile(errors, 0.95)))


def _error(bad: Floats, risk: Floats) -> float:
    gaps = bad - risk
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, BINS)) / len(gaps))


def _logit(risk: Floats) -> Floats:
    clipped = np.clip(risk, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))
