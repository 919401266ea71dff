"""Candidates, and their comparison by cross-validation on the training clients.

The folds hold codes, encoded and sorted into bins once for all candidates; each candidate's number
of trees is read off the path of its boosting. What is registered averages the best few: which one
comes out best is mostly chance.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.model_selection import StratifiedKFold

from credit_risk.metrics.cost import weights
from credit_risk.schema.attributes import BAD, Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.inputs import Inputs
from credit_risk.scoring.model import DEFAULT_PARAMS, CreditScorer
from credit_risk.scoring.trees import MAX_TREES, binned, path
from credit_risk.training_data.data import client_numbers, first_rows
from model_orchestration_and_tracking.engine import IN_PROCESS, Engine
from model_orchestration_and_tracking.evaluation.metrics import mean, metrics

Labels = NDArray[np.str_]

# Tuning uses 5 folds; what it picks is then judged on 10 others, so that being lucky on the first
# does not count.
TUNING_FOLDS = 5
FOLDS = 10
# Number of the best candidates that are averaged into the registered scorer.
KEPT = 5
# The numbers of trees tried along each candidate's path; the longest of `KEPT` candidates fit into
# one scorer.
ROUNDS = tuple(range(160, MAX_TREES // KEPT + 1, 10))


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters to try; `number` counts from 1 within a run, and is the seed of the trees."""

    number: int
    params: dict[str, Any]
    num_boost_round: int = ROUNDS[-1]

    def scorer(self, dataset: Dataset) -> CreditScorer:
        """Return an unfitted scorer with these hyperparameters."""
        return CreditScorer(**self.recipe(), **_of(dataset))

    def recipe(self) -> dict[str, Any]:
        """Return what a scorer needs to know of it, alone or as one of its members."""
        return {"params": self.params, "num_boost_round": self.num_boost_round, "seed": self.number}

    @property
    def name(self) -> str:
        """What people call it."""
        return f"candidate {self.number}"

    @property
    def summary(self) -> str:
        """The hyperparameters on one line."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self.as_params().items())

    def as_params(self) -> dict[str, Any]:
        """Return what MLflow logs as parameters."""
        return {"num_boost_round": self.num_boost_round, **self.params}


@dataclass(frozen=True)
class Average:
    """Candidates whose log-odds are averaged: what is registered."""

    members: tuple[Candidate, ...]

    @classmethod
    def of(cls, scorer: CreditScorer) -> "Average":
        """Return what a scorer was made of, to make it again on other clients."""
        return cls(
            tuple(Candidate(seed, params, rounds) for params, rounds, seed in scorer.recipes())
        )

    def scorer(self, dataset: Dataset) -> CreditScorer:
        """Return an unfitted scorer of these members."""
        return CreditScorer(members=[member.recipe() for member in self.members], **_of(dataset))

    @property
    def name(self) -> str:
        """What people call it."""
        return f"average of {len(self.members)}"

    def as_params(self) -> dict[str, Any]:
        """Return what MLflow logs as parameters."""
        numbers = ", ".join(str(member.number) for member in self.members)
        return {
            "members": numbers,
            "num_boost_round": sum(member.num_boost_round for member in self.members),
        }


def _of(dataset: Dataset) -> dict[str, Any]:
    """Return what a scorer needs to know of a data set."""
    costs = dataset.costs
    return {"definition": dataset.text, "cost_bad": costs.bad, "cost_good": costs.good}


def candidates(n: int, seed: int = 0) -> list[Candidate]:
    """Return `n` candidates: the default parameters first, then random ones around them.

    The same seed gives the same candidates, and a longer list starts with the shorter one. None has
    more than 8 leaves or 250 trees.

    Raises
    ------
    ValueError
        When `n` is less than 1.
    """
    if n < 1:
        raise ValueError(f"n_iter is {n}; a training run tries at least 1 candidate")

    random = np.random.default_rng(seed)
    default = Candidate(1, dict(DEFAULT_PARAMS))
    drawn = [_draw(number, random) for number in range(2, n + 1)]
    return [default, *drawn]


def _draw(number: int, random: np.random.Generator) -> Candidate:
    def between(low: float, high: float) -> float:
        return math.exp(random.uniform(math.log(low), math.log(high)))

    params = {
        "num_leaves": int(random.integers(7, 9)),
        "learning_rate": round(between(0.03, 0.045), 4),
        "feature_fraction": round(random.uniform(0.35, 0.5), 2),
        "bagging_fraction": round(random.uniform(0.65, 0.85), 2),
        "bagging_freq": 1,
        "lambda_l2": round(between(0.01, 1), 3),
        "min_data_in_leaf": int(random.integers(5, 16)),
        "monotone": bool(random.integers(2)),
    }
    return Candidate(number, params)


Tried = TypeVar("Tried", Candidate, Average)


@dataclass(frozen=True)
class Validated(Generic[Tried]):
    """A candidate, or an average of some, after cross-validation.

    Attributes
    ----------
    risk : array of shape (n,)
        Risk of each training client, given by the scorer that had not seen it.
    folds : list of dict
        The metrics of each fold.
    """

    candidate: Tried
    risk: Floats
    folds: list[dict[str, float]]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Each metric's mean over the folds."""
        return mean(self.folds)

    @property
    def auc(self) -> float:
        """Its mean AUC."""
        return self.metrics["auc"]

    @property
    def log_loss(self) -> float:
        """Its mean log loss, by which candidates are ranked.

        It tells them apart with less noise than AUC, which counts pairs, or cost.
        """
        return self.metrics["log_loss"]


def client_folds(
    clients: NDArray[np.intp], bad: NDArray[np.bool_], n_folds: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the positions (train, test) of each stratified fold; no client is in both.

    Parameters
    ----------
    clients : array of shape (n,)
        The number of each row's client, see `client_numbers`.
    bad : array of shape (n,)
        A client's class is that of its first row.
    """
    first = first_rows(clients)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for _, drawn in splitter.split(first, bad[first]):
        in_test = np.isin(clients, clients[first[drawn]])
        yield np.flatnonzero(~in_test), np.flatnonzero(in_test)


class Folds:
    """Training clients in stratified folds, sorted into bins once.

    Parameters
    ----------
    dataset : Dataset
    codes : array of shape (n, n_attributes)
    labels : array of shape (n,), "good" or "bad"
    n_folds : int
        Each fold holds as large a share of bad clients as the whole.
    seed : int
        Seed of the folds; candidates that are compared with each other share it.
    """

    def __init__(
        self, dataset: Dataset, codes: Floats, labels: Labels, n_folds: int, seed: int
    ) -> None:
        self._made_of = dataset, codes, labels, n_folds, seed
        self._labels = labels
        self._costs = dataset.costs
        bad = labels == BAD
        frame = pd.DataFrame(codes, columns=list(dataset.names))
        self._weight = weights(frame, dataset)
        clients = client_numbers(frame, dataset)

        self._folds = []
        for train, test in client_folds(clients, bad, n_folds, seed):
            inputs = Inputs.fit(dataset, codes[train], bad[train])
            bins = binned(inputs.of(codes[train]), dataset, bad[train])
            others = binned(inputs.of(codes[test]), dataset, reference=bins)
            self._folds.append((test, bins, others))

    def __reduce__(self) -> tuple[type["Folds"], tuple[Dataset, Floats, Labels, int, int]]:
        """Return how another process makes the same folds: LightGBM's bins cannot be pickled."""
        return Folds, self._made_of

    def validate(
        self, candidate: Candidate, rounds: Sequence[int] | None = None
    ) -> Validated[Candidate]:
        """Return how a candidate does on clients that it was not fitted on.

        Parameters
        ----------
        rounds : sequence of int, optional
            Numbers of trees to try, ascending; the returned candidate has the one of least log
            loss.
        """
        rounds = rounds or [candidate.num_boost_round]
        params = DEFAULT_PARAMS | candidate.params
        risks = np.empty((len(rounds), len(self._labels)))
        for test, bins, others in self._folds:
            risks[:, test] = path(bins, others, params, rounds, candidate.number)

        bad = self._labels == BAD
        losses = [-np.mean(np.log(np.where(bad, risk, 1 - risk))) for risk in risks]
        best = int(np.argmin(losses))
        return self._validated(replace(candidate, num_boost_round=rounds[best]), risks[best])

    def average(self, members: Sequence[Validated[Candidate]]) -> Validated[Average]:
        """Return how the average of candidates does; these folds must have validated them.

        No tree is grown again: the average's log-odds are the mean of its members'.
        """
        risk = expit(np.mean([logit(member.risk) for member in members], axis=0))
        return self._validated(Average(tuple(member.candidate for member in members)), risk)

    def _validated(self, candidate: Tried, risk: Floats) -> Validated[Tried]:
        scores = [
            metrics(self._labels[test], risk[test], self._costs, self._weight[test])
            for test, *_ in self._folds
        ]
        return Validated(candidate, risk, scores)


def cross_validate(
    candidate: Candidate, dataset: Dataset, codes: Floats, labels: Labels, n_folds: int, seed: int
) -> Validated[Candidate]:
    """Return how a candidate does on clients that it was not fitted on.

    The parameters are those of `Folds`.
    """
    return Folds(dataset, codes, labels, n_folds, seed).validate(candidate)


def search(
    tries: Iterable[Candidate],
    dataset: Dataset,
    codes: Floats,
    labels: Labels,
    seed: int = 0,
    engine: Engine = IN_PROCESS,
) -> Iterator[Validated[Candidate]]:
    """Try candidates, yielding each in order as it is done, with its best number of trees."""
    folds = Folds(dataset, codes, labels, TUNING_FOLDS, seed)
    yield from engine.each(_try, folds, list(tries))


def _try(folds: Folds, candidate: Candidate) -> Validated[Candidate]:
    return folds.validate(candidate, ROUNDS)


def best(validated: Iterable[Validated[Candidate]], n: int = KEPT) -> list[Validated[Candidate]]:
    """Return the `n` best by log loss, best first; ties are broken by order."""
    return sorted(validated, key=lambda v: v.log_loss)[:n]


def tuned(
    dataset: Dataset, codes: Floats, labels: Labels, n_iter: int, seed: int = 0
) -> CreditScorer:
    """Return the fitted scorer that a training run makes of these clients.

    It averages the best few of `n_iter` candidates.
    """
    chosen = best(search(candidates(n_iter, seed), dataset, codes, labels, seed))
    return Average(tuple(v.candidate for v in chosen)).scorer(dataset).fit(codes, labels)
