"""Candidates and their cross-validation."""

import numpy as np
import pytest

from credit_risk.application import encode
from credit_risk.data import read_training, split
from credit_risk.model import MAX_LEAVES
from model_orchestration_and_tracking.tuning import Candidate, Validated, best, candidates, cross_validate, search


@pytest.fixture(scope="module")
def train():
    clients, _ = split(read_training("data/credit-g.csv"))
    return encode(clients), clients["class"].to_numpy(str)


def quick(number=1, leaves=4):
    return Candidate(number, {"num_leaves": leaves}, 20)


def test_as_many_candidates_as_asked_for_and_a_longer_list_starts_alike():
    assert len(candidates(1)) == 1
    assert candidates(30)[:5] == candidates(5)
    assert [c.number for c in candidates(7)] == list(range(1, 8))
    assert candidates(7, seed=1) != candidates(7, seed=2)


def test_candidates_stay_within_what_the_fast_paths_take():
    for candidate in candidates(200):
        assert 2 <= candidate.params["num_leaves"] <= MAX_LEAVES
        assert 50 <= candidate.num_boost_round <= 1250


@pytest.mark.parametrize("n", [0, -3])
def test_no_candidate_is_an_error(n):
    with pytest.raises(ValueError, match="at least 1 candidate"):
        candidates(n)


def test_cross_validation_gives_every_client_a_risk_from_a_scorer_that_had_not_seen_it(train):
    codes, labels = train
    found = cross_validate(quick(), codes, labels, n_folds=4, seed=0)
    assert len(found.folds) == 4
    assert found.risk.shape == labels.shape
    assert np.all((found.risk > 0) & (found.risk < 1))
    # The clients that a scorer has seen it tells apart better.
    seen = quick().scorer().fit(codes, labels).risk(codes)
    assert np.mean((seen - (labels == "bad")) ** 2) < np.mean((found.risk - (labels == "bad")) ** 2)


def test_the_same_seed_gives_the_same_figures(train):
    one, two = (cross_validate(quick(), *train, n_folds=3, seed=5) for _ in range(2))
    assert np.array_equal(one.risk, two.risk)
    assert one.metrics == two.metrics


def test_search_yields_each_candidate_as_it_is_done(train):
    tries = [quick(1), quick(2, leaves=2)]
    found = search(iter(tries), *train)
    assert next(found).candidate == tries[0]
    assert [v.candidate for v in found] == tries[1:]


def test_best_by_auc_and_of_two_alike_the_earlier():
    validated = [Validated(quick(n), np.empty(0), [{"auc": auc}]) for n, auc in enumerate([0.7, 0.8, 0.8, 0.6])]
    assert [v.candidate.number for v in best(validated, 3)] == [1, 2, 0]
    assert len(best(validated, 9)) == 4
