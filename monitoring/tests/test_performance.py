"""The estimate without outcomes: by hand, where it is right and where it cannot be."""

import numpy as np
import pandas as pd
import pytest

from credit_risk.metrics.discrimination import auc
from monitoring.performance.performance import THRESHOLD, calibration_error, expected, out_of_fold, performance


def array(*values):
    return np.array(values, np.float64)


def test_by_hand_before_outcomes():
    # Pairs of two clients, bad above good: .5 of the second over the first is bad while that is good: .5 * .9; the
    # other way round .1 * .5. Nobody else is there.
    found = expected(array(0.1, 0.5), np.array([True, False]))
    assert found.n == 2
    assert found.auc == pytest.approx(0.45 / (0.45 + 0.05))
    assert found.accuracy == pytest.approx((0.9 + 0.5) / 2)
    assert found.cost == pytest.approx((5 * 0.1 + 1 * 0.5) / 2)


def test_by_hand_with_outcomes():
    # Of four pairs of a bad and a good client one is the wrong way round and one a tie.
    found = performance(array(0.1, 0.3, 0.3, 0.8), np.array([True, True, False, False]), array(0, 1, 0, 1))
    assert found.auc == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert found.accuracy == pytest.approx(2 / 4)
    assert found.cost == pytest.approx((0 + 5 + 1 + 0) / 4)


def test_nobody_has_no_performance():
    assert expected(array(), np.empty(0, bool)) is None


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (4, 12)])
def test_calibrated_risks_tell_what_will_come_out(shape):
    random = np.random.default_rng(1)
    risk = random.beta(*shape, 100_000)
    green = risk < THRESHOLD
    came = performance(risk, green, (random.random(len(risk)) < risk).astype(float))
    told = expected(risk, green)
    assert told.auc == pytest.approx(came.auc, abs=0.01)
    assert told.accuracy == pytest.approx(came.accuracy, abs=0.01)
    assert told.cost == pytest.approx(came.cost, abs=0.02)


def test_over_many_worlds_it_is_not_off_to_one_side():
    random = np.random.default_rng(2)
    gaps = []
    for _ in range(300):
        risk = random.beta(1, 3, 100)
        bad = (random.random(100) < risk).astype(float)
        gaps.append(auc(risk, bad) - auc(risk, risk))
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / 300**0.5


def test_other_clients_move_it_and_concept_drift_does_not():
    """The same clients default twice as often, and in another order: no risk shows it, so the estimate stays."""
    random = np.random.default_rng(3)
    risk = random.beta(1, 3, 50_000)
    green = risk < THRESHOLD
    told = expected(risk, green)
    drifted = np.clip(0.5 * risk + 0.3, 0, 1)
    came = performance(risk, green, (random.random(len(risk)) < drifted).astype(float))
    assert expected(risk, green) == told
    assert came.auc < told.auc - 0.1
    assert came.cost > told.cost + 0.3
    others = random.beta(3, 3, 50_000)
    assert expected(others, others < THRESHOLD).auc < told.auc - 0.02


def test_out_of_fold_is_what_came_out_on_the_training_clients():
    reference = pd.DataFrame({"class": ["good", "bad", "good", "bad"], "risk": [0.1, 0.1, 0.5, 0.5]})
    found = out_of_fold(reference)
    assert (found.n, found.auc, found.accuracy, found.cost) == (4, 0.5, 0.5, (5 + 1) / 4)


def test_calibration_error_by_hand():
    # Ten parts of two clients: in one of them, of risk .3 and .4, both are bad; the others' gaps are 2 x risk.
    risk = np.repeat(np.arange(10) / 10, 2) + np.tile([0, 0.05], 10)
    bad = (risk > 0.29) & (risk < 0.36)
    gaps = [abs(2 * bad[2 * i] - risk[2 * i] - risk[2 * i + 1]) for i in range(10)]
    shuffled = np.random.default_rng(0).permutation(20)
    assert calibration_error(risk[shuffled], bad[shuffled].astype(float)) == pytest.approx(sum(gaps) / 20)


@pytest.mark.parametrize("n", [30, 105, 5000])
def test_the_calibration_error_that_risks_predict_is_that_of_true_ones_on_average(n):
    random = np.random.default_rng(n)
    risk = random.beta(1, 6, n)
    came = [calibration_error(risk, (random.random(n) < risk).astype(float)) for _ in range(2000)]
    assert calibration_error(risk, risk) == pytest.approx(np.mean(came), rel=0.03)
    wrong = [calibration_error(risk, (random.random(n) < 2 * risk).astype(float)) for _ in range(50)]
    assert np.mean(wrong) > 1.2 * np.mean(came)


@pytest.mark.parametrize("missing", ["class", "risk"])
def test_a_reference_without_labels_or_risks_tells_nothing(missing):
    reference = pd.DataFrame({"class": ["good", "bad"], "risk": [0.1, 0.5]})
    assert out_of_fold(reference.drop(columns=missing)) is None
