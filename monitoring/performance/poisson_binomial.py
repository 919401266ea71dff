"""The Poisson-binomial distribution: how many defaults occur by chance when the risks are right."""

import numpy as np

from credit_risk.schema.attributes import Floats

QUANTILE = 0.975


def upper_bound(risk: Floats, quantile: float = QUANTILE) -> int:
    """Return the number of defaults that is not exceeded with a probability.

    Parameters
    ----------
    risk : array of shape (n,)
        The clients' risks.
    quantile : float
        The probability.
    """
    return int(np.searchsorted(np.cumsum(chances(risk)), quantile))


def chances(risk: Floats) -> Floats:
    """Return the probabilities of 0, 1, ... n defaults.

    The generating functions of two halves are multiplied, down to single clients: n log^2 n steps,
    where SciPy's `poisson_binom` takes n^2.
    """
    size = 1 << max(len(risk) - 1, 0).bit_length()
    several = np.zeros((size, 2))
    several[:, 0] = 1
    several[: len(risk), 0], several[: len(risk), 1] = 1 - risk, risk

    while len(several) > 1:
        length = 2 * several.shape[1]
        waves = np.fft.rfft(several, length, axis=1)
        several = np.fft.irfft(waves[::2] * waves[1::2], length, axis=1)

    return np.clip(several[0, : len(risk) + 1], 0, 1)
