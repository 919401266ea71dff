"""AUC and cost: by hand, and beside scikit-learn."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from credit_risk.metrics.cost import COST_BAD, COST_GOOD, costs, mean_cost, threshold, weights
from credit_risk.metrics.discrimination import MANY, auc
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT

RANDOM = np.random.default_rng(0)


def array(*values):
    return np.array(values, np.float64)


def test_auc_equals_scikit_learns_with_ties():
    bad, risk = RANDOM.random(200) < 0.3, RANDOM.integers(0, 20, 200) / 20
    assert auc(risk, bad) == pytest.approx(roc_auc_score(bad, risk))


def test_expected_auc_excludes_pairs_of_a_client_with_itself():
    risk = RANDOM.beta(1, 3, 500).round(2)
    twice = np.concatenate([risk, risk])
    theirs = roc_auc_score(
        [1] * 500 + [0] * 500, twice, sample_weight=np.concatenate([risk, 1 - risk])
    )
    himself, pairs = np.sum(risk * (1 - risk)), risk.sum() * (1 - risk).sum()
    assert auc(risk, risk) == pytest.approx((theirs * pairs - himself / 2) / (pairs - himself))


def test_auc_of_many_clients_is_exact_to_four_digits():
    risk = RANDOM.beta(1, 3, MANY + 1)
    bad = RANDOM.random(len(risk)) < risk
    assert auc(risk, bad) == pytest.approx(roc_auc_score(bad, risk), abs=1e-6)


def test_auc_of_one_class_is_none():
    assert auc(array(0.1, 0.2), array(0, 0)) is None
    assert auc(array(0.1), array(0.1)) is None


def test_costs_equal_a_worked_example():
    green, bad = np.array([True, True, False, False]), np.array([False, True, False, True])
    assert costs(green, bad).tolist() == [0, COST_BAD, COST_GOOD, 0]
    assert costs(green, bad, cost_bad=3, cost_good=2).tolist() == [0, 3, 2, 0]


def test_mean_cost_by_amount_equals_a_worked_example():
    # 60 % of the 200 are lost, and 10 % of the 700 are not earned.
    clients = pd.DataFrame({"credit_amount": [100, 200, 700]})
    definition = BY_AMOUNT.costs
    green, bad = [True, True, False], [0, 1, 0]
    found = mean_cost(green, bad, definition, weights(clients, BY_AMOUNT))
    assert found == pytest.approx((200 * 0.6 + 700 * 0.1) / 1000)
    assert mean_cost(green, bad, definition) == pytest.approx((0.6 + 0.1) / 3)


@pytest.mark.parametrize("made", [pd.DataFrame, pa.table])
def test_client_of_unknown_amount_counts_for_nothing(made):
    found = weights(made({"credit_amount": [100, None, 300]}), BY_AMOUNT)
    assert found.tolist() == [100, 0, 300]
    assert weights(made({"age": [20, 30]}), GERMAN_CREDIT).tolist() == [1, 1]


def test_mean_cost_is_unknown_without_weight():
    assert np.isnan(mean_cost([True], [0], BY_AMOUNT.costs, [0.0]))


def test_costs_of_shares_are_those_of_their_decisions():
    # Accepted in one of four repeats; bad with a probability of 1/5.
    each = [costs(np.array([green]), array(0.2))[0] for green in (True, False, False, False)]
    assert costs(array(0.25), array(0.2))[0] == pytest.approx(np.mean(each))


@pytest.mark.parametrize(("cost_bad", "cost_good"), [(5, 1), (1, 1), (3, 2)])
def test_decisions_at_the_threshold_cost_the_same(cost_bad, cost_good):
    risk = array(threshold(cost_bad, cost_good))
    accepted, refused = (
        costs(np.array([green]), risk, cost_bad, cost_good) for green in (True, False)
    )
    assert accepted == pytest.approx(refused)


def test_the_threshold_of_the_data_is_a_sixth():
    assert threshold() == pytest.approx(1 / 6)
