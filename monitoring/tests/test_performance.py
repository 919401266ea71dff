"""The estimate without outcomes: by hand, where it is right and where it cannot be right."""

import numpy as np
import pandas as pd
import pytest

from credit_risk.metrics.cost import threshold
from credit_risk.metrics.discrimination import auc
from monitoring.performance.performance import (
    expected,
    out_of_fold,
    performance,
)
from monitoring.performance.shadow import shadow
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT

COSTS = GERMAN_CREDIT.costs
THRESHOLD = threshold(COSTS.bad, COSTS.good)


def array(*values):
    return np.array(values, np.float64)


def test_expected_performance_by_hand():
    # Pairs of two clients, bad above good: .5 of the second over the first is bad while that is
    # good: .5 * .9; the other way round .1 * .5. Nobody else is there.
    found = expected(array(0.1, 0.5), np.array([True, False]), COSTS)
    assert found.n == 2
    assert found.auc == pytest.approx(0.45 / (0.45 + 0.05))
    assert found.accuracy == pytest.approx((0.9 + 0.5) / 2)
    assert found.cost == pytest.approx((5 * 0.1 + 1 * 0.5) / 2)


def test_costs_are_weighted_before_outcomes_and_in_shadow():
    risk, green, weight = array(0.1, 0.5), np.array([True, False]), array(300, 100)
    plain, found = (expected(risk, green, COSTS, w) for w in (None, weight))
    assert found.cost == pytest.approx((300 * 5 * 0.1 + 100 * 1 * 0.5) / 400)
    assert (found.auc, found.accuracy) == (plain.auc, plain.accuracy)

    # The challenger refuses both.
    beside = shadow("2", 0.05, risk, green, risk, COSTS, weight)
    assert beside.cost["production", "production"] == pytest.approx(found.cost)
    assert beside.cost["challenger", "production"] == pytest.approx((300 * 0.9 + 100 * 0.5) / 400)


def test_realised_performance_by_hand():
    # Of four pairs of a bad and a good client one is the wrong way round and one a tie.
    found = performance(
        array(0.1, 0.3, 0.3, 0.8), np.array([True, True, False, False]), array(0, 1, 0, 1), COSTS
    )
    assert found.auc == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert found.accuracy == pytest.approx(2 / 4)
    assert found.cost == pytest.approx((0 + 5 + 1 + 0) / 4)


def test_no_decisions_have_no_performance():
    assert expected(array(), np.empty(0, bool), COSTS) is None


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (4, 12)])
def test_calibrated_risks_predict_the_realised_performance(shape):
    random = np.random.default_rng(1)
    risk = random.beta(*shape, 100_000)
    green = risk < THRESHOLD
    realised = performance(risk, green, (random.random(len(risk)) < risk).astype(float), COSTS)
    estimate = expected(risk, green, COSTS)
    assert estimate.auc == pytest.approx(realised.auc, abs=0.01)
    assert estimate.accuracy == pytest.approx(realised.accuracy, abs=0.01)
    assert estimate.cost == pytest.approx(realised.cost, abs=0.02)


def test_the_estimated_auc_is_unbiased():
    random = np.random.default_rng(2)
    gaps = []
    for _ in range(300):
        risk = random.beta(1, 3, 100)
        bad = (random.random(100) < risk).astype(float)
        gaps.append(auc(risk, bad) - auc(risk, risk))
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / 300**0.5


def test_other_clients_move_the_estimate_and_concept_drift_does_not():
    """The same clients default twice as often: no risk shows it, so the estimate stays."""
    random = np.random.default_rng(3)
    risk = random.beta(1, 3, 50_000)
    green = risk < THRESHOLD
    estimate = expected(risk, green, COSTS)
    drifted = np.clip(0.5 * risk + 0.3, 0, 1)
    realised = performance(risk, green, (random.random(len(risk)) < drifted).astype(float), COSTS)
    assert expected(risk, green, COSTS) == estimate
    assert realised.auc < estimate.auc - 0.1
    assert realised.cost > estimate.cost + 0.3
    others = random.beta(3, 3, 50_000)
    assert expected(others, others < THRESHOLD, COSTS).auc < estimate.auc - 0.02


def test_out_of_fold_performance_is_that_on_the_training_clients():
    reference = pd.DataFrame(
        {"class": ["good", "bad", "good", "bad"], "risk": [0.1, 0.1, 0.5, 0.5]}
    )
    found = out_of_fold(reference, GERMAN_CREDIT)
    assert (found.n, found.auc, found.accuracy, found.cost) == (4, 0.5, 0.5, (5 + 1) / 4)


def test_out_of_fold_cost_is_by_amount_where_costs_are():
    reference = pd.DataFrame(
        {"class": ["good", "bad"], "risk": [0.01, 0.01], "credit_amount": [300, 100]}
    )
    assert out_of_fold(reference, BY_AMOUNT).cost == pytest.approx(0.6 * 100 / 400)


@pytest.mark.parametrize("missing", ["class", "risk"])
def test_a_reference_without_labels_or_risks_has_no_performance(missing):
    reference = pd.DataFrame({"class": ["good", "bad"], "risk": [0.1, 0.5]})
    assert out_of_fold(reference.drop(columns=missing), GERMAN_CREDIT) is None
