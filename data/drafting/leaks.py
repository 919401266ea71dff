"""Columns that tell the outcome: what the lender decided itself, or learnt only later."""

import numpy as np
from numpy.typing import NDArray

from credit_risk.metrics.discrimination import auc
from data.drafting import names
from data.drafting.numbers import Numbers
from data.drafting.table import Column

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

SUSPICIOUS_AUC = 0.95
# With fewer clients of a class, an AUC may be as high by chance.
_FEWEST = 10
# Numbers with fewer distinct values may tell the outcome without rising or falling with it.
_AS_CATEGORIES = 50


def why_suspected(column: Column, name: str, numbers: Numbers | None, bad: Floats) -> str:
    """Return why a column may tell the outcome; empty where nothing says so.

    Parameters
    ----------
    column : Column
    name : str
        Its header in snake case.
    numbers : Numbers or None
        A number's values.
    bad : array of shape (n_rows,)
        1 for a bad client, 0 for a good one, NaN where that is not known.
    """
    found = separation(column, numbers, bad)
    if found is not None and found >= SUSPICIOUS_AUC:
        return f"Alone it separates good from bad almost perfectly (AUC {found:.3f})."
    if names.is_decided(name):
        return (
            "Its name sounds like what a lender decides itself, or learns only after the decision."
        )
    return ""


def separation(column: Column, numbers: Numbers | None, bad: Floats) -> float | None:
    """Return the AUC of a column alone, from 0.5 to 1; None where there are too few clients."""
    known = ~np.isnan(bad)
    is_bad, codes = bad[known] > 0, column.codes[known]
    if min(is_bad.sum(), (~is_bad).sum()) < _FEWEST:
        return None

    risks = []
    if numbers is not None:
        risks = [_ranks(numbers, codes, missing=end) for end in (0.0, 1.0)]
    if numbers is None or len(column.values) <= _AS_CATEGORIES:
        risks.append(_bad_rates(codes, is_bad, len(column.values)))
    risks.append((codes < 0).astype(np.float64))
    found = [value for risk in risks if (value := auc(risk, is_bad)) is not None]
    return max(max(value, 1 - value) for value in found)


def _ranks(numbers: Numbers, codes: NDArray[np.int64], *, missing: float) -> Floats:
    """Return the rank of each row's number from 0 to 1, with absent ones at one end."""
    places = np.unique(np.array(numbers.values, np.float64), return_inverse=True)[1]
    ranks = (places + 1) / (places.max() + 2)
    return np.where(codes < 0, missing, ranks[codes])


def _bad_rates(codes: NDArray[np.int64], is_bad: Bools, n_values: int) -> Floats:
    """Return the bad rate of each row's value among the other half of the rows.

    Among the same rows, a value that occurs once would tell its client's outcome.
    """
    half = np.random.default_rng(0).permutation(len(codes)) % 2
    risk = np.empty(len(codes))
    for this in (0, 1):
        others = half != this
        n = np.bincount(codes[others] + 1, minlength=n_values + 1)
        bads = np.bincount(codes[others] + 1, weights=is_bad[others], minlength=n_values + 1)
        rates = (bads + is_bad.mean()) / (n + 1)
        risk[~others] = rates[codes[~others] + 1]
    return risk
