"""Candidates, and how they are told apart: by cross-validation on the training clients.

The folds hold codes, encoded once for all candidates.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from credit_risk.application import BAD, Floats
from credit_risk.model import DEFAULT_PARAMS, CreditScorer
from model_orchestration_and_tracking.metrics import mean, metrics

Labels = NDArray[np.str_]

# Tuning looks at 5 folds; what it picks is then judged on 10 others, so that its luck on the first does not count.
TUNING_FOLDS = 5
FOLDS = 10


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters to try; `number` counts from 1 within a run."""

    number: int
    params: dict[str, Any]
    num_boost_round: int

    def scorer(self) -> CreditScorer:
        """Return an unfitted scorer with these hyperparameters."""
        return CreditScorer(params=self.params, num_boost_round=self.num_boost_round)

    @property
    def words(self) -> str:
        """The hyperparameters on one line."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self.as_params().items())

    def as_params(self) -> dict[str, Any]:
        """Return what MLflow logs as parameters."""
        return {"num_boost_round": self.num_boost_round, **self.params}


def candidates(n: int, seed: int = 0) -> list[Candidate]:
    """Return `n` candidates: the house's parameters first, then random ones from a small space around them.

    The same seed gives the same ones, and a longer list starts with the shorter one. None has more than 8 leaves or
    1,250 trees, which the fast paths of scoring rely on.

    Raises
    ------
    ValueError
        When `n` is not at least 1.
    """
    if n < 1:
        raise ValueError(f"n_iter is {n}; a training run tries at least 1 candidate")
    random = np.random.default_rng(seed)
    house = Candidate(1, dict(DEFAULT_PARAMS), 250)
    return [house, *(_draw(number, random) for number in range(2, n + 1))]


def _draw(number: int, random: np.random.Generator) -> Candidate:
    rate = math.exp(random.uniform(math.log(0.02), math.log(0.08)))
    # Fast learners need fewer trees: it is the product that matters, and the house's is 7.5.
    rounds = round(random.uniform(6, 12) / rate)
    params = {
        "num_leaves": int(random.integers(4, 9)),
        "learning_rate": round(rate, 4),
        "feature_fraction": round(float(random.uniform(0.3, 0.6)), 2),
        "lambda_l2": round(math.exp(random.uniform(math.log(1), math.log(30))), 2),
        "min_data_in_leaf": int(random.integers(10, 41)),
    }
    return Candidate(number, params, rounds)


@dataclass(frozen=True)
class Validated:
    """A candidate after cross-validation.

    Attributes
    ----------
    risk : array of shape (n,)
        Risk of each training client, given by the scorer that had not seen it.
    folds : list of dict
        The metrics of each fold.
    """

    candidate: Candidate
    risk: Floats
    folds: list[dict[str, float]]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Each metric's mean over the folds."""
        return mean(self.folds)

    @property
    def auc(self) -> float:
        """What candidates are ranked by."""
        return self.metrics["auc"]


def cross_validate(candidate: Candidate, codes: Floats, labels: Labels, n_folds: int, seed: int) -> Validated:
    """Return how a candidate does on clients that it was not fitted on.

    Parameters
    ----------
    codes : array of shape (n, 20)
    labels : array of shape (n,), "good" or "bad"
    n_folds : int
        Each fold holds as large a share of bad clients as the whole.
    seed : int
        Of the folds; candidates compared with each other share it.
    """
    risk = np.empty(len(labels))
    folds = []
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(codes, labels == BAD):
        risk[test] = candidate.scorer().fit(codes[train], labels[train]).risk(codes[test])
        folds.append(metrics(labels[test], risk[test]))
    return Validated(candidate, risk, folds)


def search(tries: Iterable[Candidate], codes: Floats, labels: Labels, seed: int = 0) -> Iterator[Validated]:
    """Try candidates one by one, yielding each as it is done."""
    for candidate in tries:
        yield cross_validate(candidate, codes, labels, TUNING_FOLDS, seed)


def best(validated: list[Validated], n: int) -> list[Validated]:
    """Return the `n` best by AUC, best first; of two alike the earlier."""
    return sorted(validated, key=lambda v: -v.auc)[:n]
