"""Candidates and their cross-validation."""

import numpy as np
import pytest

from credit_risk.scoring.trees import MAX_LEAVES, MAX_TREES
from model_orchestration_and_tracking.tuning import (
    KEPT,
    ROUNDS,
    Average,
    Candidate,
    Folds,
    Validated,
    best,
    candidates,
    client_folds,
    cross_validate,
    search,
    tuned,
)
from tests.support.german_credit import (
    BY_AMOUNT,
    GERMAN_CREDIT,
    NAMES,
    SCORED_COLUMNS,
    encode,
    read_training,
    split,
)


@pytest.fixture(scope="module")
def train():
    clients, _ = split(read_training("data/credit-g.csv"))
    return encode(clients), clients["class"].to_numpy(str)


def quick(number=1, leaves=4):
    return Candidate(number, {"num_leaves": leaves}, 20)


def test_longer_list_of_candidates_starts_with_the_shorter():
    assert len(candidates(1)) == 1
    assert candidates(30)[:5] == candidates(5)
    assert [c.number for c in candidates(7)] == list(range(1, 8))
    assert candidates(7, seed=1) != candidates(7, seed=2)


def test_candidates_stay_within_the_limits_of_the_fast_paths():
    for candidate in candidates(200):
        assert 2 <= candidate.params["num_leaves"] <= MAX_LEAVES
        assert KEPT * candidate.num_boost_round <= MAX_TREES


@pytest.mark.parametrize("n", [0, -3])
def test_zero_candidates_are_an_error(n):
    with pytest.raises(ValueError, match="at least 1 candidate"):
        candidates(n)


def test_repeated_client_is_never_judged_by_a_scorer_that_saw_it(train):
    codes, labels = train
    once = cross_validate(quick(leaves=8), GERMAN_CREDIT, codes, labels, n_folds=4, seed=0)
    twice = cross_validate(
        quick(leaves=8),
        GERMAN_CREDIT,
        np.vstack([codes, codes]),
        np.hstack([labels, labels]),
        n_folds=4,
        seed=0,
    )
    assert twice.auc == pytest.approx(once.auc, abs=0.03)


def test_folds_keep_clients_together_and_test_each_row_once():
    clients = np.repeat(np.arange(40), np.arange(40) % 3 + 1)
    folds = list(client_folds(clients, clients % 2 == 0, 5, seed=0))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(clients)))
    for fitted, tested in folds:
        assert not set(clients[fitted]) & set(clients[tested])
        assert len(fitted) + len(tested) == len(clients)


def test_cross_validation_gives_every_client_an_unseen_risk(train):
    codes, labels = train
    found = cross_validate(quick(), GERMAN_CREDIT, codes, labels, n_folds=4, seed=0)
    assert len(found.folds) == 4
    assert found.risk.shape == labels.shape
    assert np.all((found.risk > 0) & (found.risk < 1))
    # The clients that a scorer has seen it tells apart better.
    seen = quick().scorer(GERMAN_CREDIT).fit(codes, labels).risk(codes)
    assert np.mean((seen - (labels == "bad")) ** 2) < np.mean((found.risk - (labels == "bad")) ** 2)


def test_the_same_seed_gives_the_same_figures(train):
    one, two = (cross_validate(quick(), GERMAN_CREDIT, *train, n_folds=3, seed=5) for _ in range(2))
    assert np.array_equal(one.risk, two.risk)
    assert one.metrics == two.metrics


def test_folds_binned_once_score_like_a_scorer(train):
    """To the bit: the shared bins and the path are a matter of speed alone."""
    codes, labels = train
    found = cross_validate(candidates(3)[2], GERMAN_CREDIT, codes, labels, n_folds=2, seed=0)
    for fold, bins, _ in Folds(GERMAN_CREDIT, codes, labels, 2, seed=0)._folds:
        assert bins.data.num_data() == len(codes) - len(fold)
        others = np.setdiff1d(np.arange(len(codes)), fold)
        scorer = candidates(3)[2].scorer(GERMAN_CREDIT).fit(codes[others], labels[others])
        np.testing.assert_array_equal(found.risk[fold], scorer.risk(codes[fold]))


def test_costs_by_amount_change_the_cost_of_each_fold_alone(train):
    codes, labels = train
    amounts = codes[:, NAMES.index("credit_amount")]
    plain = cross_validate(quick(), GERMAN_CREDIT, codes, labels, n_folds=2, seed=0)
    found = cross_validate(quick(), BY_AMOUNT, codes, labels, n_folds=2, seed=0)
    np.testing.assert_array_equal(found.risk, plain.risk)

    bad, green = labels == "bad", found.risk < 1 / 7
    lost = amounts * (0.6 * (bad & green) + 0.1 * (~bad & ~green))
    folds = Folds(BY_AMOUNT, codes, labels, 2, seed=0)._folds
    for scores, (fold, _, _) in zip(found.folds, folds, strict=True):
        assert scores["decision_cost"] == pytest.approx(lost[fold].sum() / amounts[fold].sum())


def test_the_number_of_trees_is_read_off_the_path(train):
    codes, labels = train
    folds = Folds(GERMAN_CREDIT, codes, labels, 3, seed=0)
    rounds = (5, 40, 120)
    found = folds.validate(quick(), rounds)
    each = [folds.validate(Candidate(1, {"num_leaves": 4}, n)) for n in rounds]
    losses = [v.log_loss for v in each]
    assert len(set(losses)) == 3
    assert found.candidate.num_boost_round == rounds[int(np.argmin(losses))]
    np.testing.assert_array_equal(found.risk, each[int(np.argmin(losses))].risk)


def test_search_yields_each_candidate_with_its_number_of_trees(train):
    tries = [quick(1), quick(2, leaves=2)]
    found = search(iter(tries), GERMAN_CREDIT, *train)
    assert next(found).candidate.params == tries[0].params
    (last,) = found
    assert last.candidate.number == 2
    assert last.candidate.num_boost_round in ROUNDS


def test_best_ranks_by_log_loss_and_then_by_order():
    validated = [
        Validated(quick(n), np.empty(0), [{"log_loss": x}])
        for n, x in enumerate([0.5, 0.4, 0.4, 0.6])
    ]
    assert [v.candidate.number for v in best(validated, 3)] == [1, 2, 0]
    assert len(best(validated, 9)) == 4


def test_the_best_few_are_averaged_on_the_log_odds(train):
    codes, labels = train
    chosen = candidates(3)
    scorer = Average(tuple(chosen)).scorer(GERMAN_CREDIT).fit(codes, labels)
    raw = np.mean(
        [
            c.scorer(GERMAN_CREDIT)
            .fit(codes, labels)
            .booster.predict(codes[:, SCORED_COLUMNS], raw_score=True)
            for c in chosen
        ],
        axis=0,
    )
    np.testing.assert_allclose(scorer.risk(codes), 1 / (1 + np.exp(-raw)), atol=1e-12)


def test_tuned_scorer_follows_the_whole_recipe(train):
    scorer = tuned(GERMAN_CREDIT, *train, n_iter=6)
    assert len(scorer.members) == KEPT
    assert scorer.booster.num_trees() == sum(member["num_boost_round"] for member in scorer.members)
