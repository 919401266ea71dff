"""Search: a scikit-learn baseline beside ours, on the same folds with the same candidates.

The baseline is a scikit-learn searcher over a pipeline of OrdinalEncoder, SelectKBest and
LGBMClassifier, which encodes each fold anew for each candidate; nested, as an honest figure
requires. Ours encodes and bins each fold once and distributes the folds over processes. Where a
candidate's number of trees is a hyperparameter too, ours reads it off the path of the boosting: ten
numbers for the price of one.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from lightgbm import LGBMClassifier
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from benchmarks.clients import DATASET, labelled_clients
from benchmarks.harness import OURS, Line, alternate, lines_of
from benchmarks.progress import say
from benchmarks.scenarios import Place, Sizes
from credit_risk.schema.attributes import BAD, LABEL, Floats
from credit_risk.schema.codec import encode
from credit_risk.scoring.trees import MAX_BIN
from model_orchestration_and_tracking.baselines import alphabetical
from model_orchestration_and_tracking.tuning import (
    ROUNDS,
    Candidate,
    Folds,
    Labels,
    best,
    candidates,
)

N_CANDIDATES = 5
SKLEARN = "scikit-learn's searcher"


class Timed(NamedTuple):
    """How long it took, how many candidates all searches tried, and the AUC of a nested search."""

    seconds: float
    tried: int
    auc: float | None = None

    @property
    def rate(self) -> float:
        """Candidates per second."""
        return self.tried / self.seconds


def baseline_search(n_folds: int, seed: int) -> GridSearchCV:
    """Return the baseline's searcher, over our candidates."""
    grid = []
    for candidate in candidates(N_CANDIDATES):
        params = _sklearn(candidate)
        grid.append({f"model__{name}": [value] for name, value in params.items()})

    pipeline = Pipeline(
        [
            ("encode", alphabetical(DATASET)),
            ("select", SelectKBest(chi2, k=10)),
            ("model", LGBMClassifier(verbosity=-1)),
        ]
    )
    cv = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return GridSearchCV(pipeline, grid, scoring="roc_auc", cv=cv, n_jobs=1)


def _sklearn(candidate: Candidate) -> dict[str, object]:
    # The baseline selects and codes the attributes fold by fold, so there are no directions that
    # monotone trees could keep to.
    params = {name: value for name, value in candidate.params.items() if name != "monotone"}
    return {
        **params,
        "max_bin": MAX_BIN,
        "n_estimators": candidate.num_boost_round,
        "random_state": candidate.number,
        "n_jobs": 1,
    }


def baseline_nested(clients: pd.DataFrame, n_folds: int) -> Timed:
    """Search within each of the outer folds, as the baseline does."""
    inputs, bad = clients.drop(columns=LABEL), (clients[LABEL] == BAD).to_numpy()
    start, scores = time.perf_counter(), []

    for number, (train, test) in enumerate(_outer(bad, n_folds)):
        found = baseline_search(n_folds, number).fit(inputs.iloc[train], bad[train])
        scores.append(roc_auc_score(bad[test], found.predict_proba(inputs.iloc[test])[:, 1]))
        say(f"baseline: {number + 1} of {n_folds} outer folds")

    return Timed(time.perf_counter() - start, N_CANDIDATES * n_folds, float(np.mean(scores)))


def our_nested(clients: pd.DataFrame, n_folds: int) -> Timed:
    """Search within each of the outer folds, as we do."""
    codes, labels = encode(clients, DATASET), clients[LABEL].to_numpy(str)
    start = time.perf_counter()
    work = Parallel()(
        delayed(_our_fold)(codes, labels, train, test, n_folds, number)
        for number, (train, test) in enumerate(_outer(labels == BAD, n_folds))
    )
    return Timed(time.perf_counter() - start, N_CANDIDATES * n_folds, float(np.mean(work)))


def _our_fold(
    codes: Floats, labels: Labels, train: np.ndarray, test: np.ndarray, n_folds: int, seed: int
) -> float:
    folds = Folds(DATASET, codes[train], labels[train], n_folds, seed)
    (chosen,) = best((folds.validate(c) for c in candidates(N_CANDIDATES)), 1)
    scorer = chosen.candidate.scorer(DATASET).fit(codes[train], labels[train])
    return float(roc_auc_score(labels[test] == BAD, scorer.risk(codes[test])))


def baseline_rounds(clients: pd.DataFrame, n_folds: int) -> Timed:
    """Try candidates that differ in their number of trees, as the baseline does.

    Each number is one more candidate.
    """
    inputs, bad = clients.drop(columns=LABEL), (clients[LABEL] == BAD).to_numpy()
    searcher = baseline_search(n_folds, 0)
    grid = searcher.param_grid[0] | {"model__n_estimators": list(ROUNDS)}
    searcher.set_params(param_grid=grid, refit=False)

    start = time.perf_counter()
    searcher.fit(inputs, bad)
    return Timed(time.perf_counter() - start, len(ROUNDS))


def our_rounds(clients: pd.DataFrame, n_folds: int, paths: int = 20) -> Timed:
    """Try candidates that differ in their number of trees, as we do: read off each path."""
    codes, labels = encode(clients, DATASET), clients[LABEL].to_numpy(str)

    start = time.perf_counter()
    tries = [replace(candidates(1)[0], number=number) for number in range(1, paths + 1)]
    jobs = os.cpu_count() or 1
    Parallel()(delayed(_paths)(codes, labels, tries[part::jobs], n_folds) for part in range(jobs))
    return Timed(time.perf_counter() - start, paths * len(ROUNDS))


def _paths(codes: Floats, labels: Labels, tries: list[Candidate], n_folds: int) -> None:
    folds = Folds(DATASET, codes, labels, n_folds, 0)
    for candidate in tries:
        folds.validate(candidate, ROUNDS)


def _outer(bad: np.ndarray, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(bad, bad))


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of a nested search, and of one over the number of trees."""
    clients, n = labelled_clients(), sizes.folds
    scenarios: list[tuple[str, Callable[..., Timed], Callable[..., Timed]]] = [
        (f"nested {n}x{n}-fold search, {N_CANDIDATES} candidates", baseline_nested, our_nested),
        (f"{n}-fold search, number of trees read off the path", baseline_rounds, our_rounds),
    ]

    # The processes are there when the clock starts, as LightGBM is already imported when the
    # baseline's starts.
    with parallel_config(backend="loky", n_jobs=os.cpu_count() or 1, inner_max_num_threads=1):
        codes, labels = encode(clients, DATASET), clients[LABEL].to_numpy(str)
        Parallel()(delayed(_paths)(codes, labels, [], 2) for _ in range(2))

        for what, baseline, ours in scenarios:
            sides = {OURS: partial(ours, clients, n), SKLEARN: partial(baseline, clients, n)}
            taken = alternate(sides, sizes.long_rounds)
            rates = {side: [each.rate for each in rounds] for side, rounds in taken.items()}
            mine, theirs = taken[OURS][0].auc, taken[SKLEARN][0].auc
            note = f"AUC {mine:.3f}, the peer's {theirs:.3f}" if mine and theirs else ""
            yield from lines_of(what, "candidates/s", rates, note=note)
