"""Slope, intercept and calibration error."""

import numpy as np
import pytest

from model_orchestration_and_tracking.evaluation.calibration import calibration_error, luck, slope_intercept

RANDOM = np.random.default_rng(0)
RISK = RANDOM.beta(1, 2, 50_000).clip(0.01, 0.99)
BAD = RANDOM.random(len(RISK)) < RISK
LOGIT = np.log(RISK / (1 - RISK))


def risk(logit):
    return 1 / (1 + np.exp(-logit))


def test_true_risks_have_slope_one_and_intercept_nought():
    assert slope_intercept(BAD, RISK) == pytest.approx((1, 0), abs=0.03)


@pytest.mark.parametrize(("given", "slope", "intercept"), [(2 * LOGIT, 0.5, 0), (LOGIT / 2, 2, 0), (LOGIT + 1, 1, -1)])
def test_extreme_timid_and_high_risks(given, slope, intercept):
    assert slope_intercept(BAD, risk(given)) == pytest.approx((slope, intercept), abs=0.06)


def test_risks_of_nought_and_one_are_taken():
    assert np.isfinite(slope_intercept(np.array([False, True, True]), np.array([0.0, 1.0, 0.4]))).all()


def test_calibration_error_by_hand():
    """Ten bins of two: in each a risk of .25 and half of them bad, but for the first with none."""
    given = np.full(20, 0.25)
    bad = np.array([False, False] + [False, True] * 9)
    assert calibration_error(bad, given) == pytest.approx(0.25)
    assert calibration_error(np.ones(20, dtype=bool), given) == pytest.approx(0.75)


def test_luck_is_what_a_perfect_model_gets_and_shrinks_with_clients():
    few, many = luck(RISK[:1000], draws=300), luck(RISK[:10_000], draws=300)
    assert 0.02 < few.mean < 0.04 < few.q95
    assert many.mean < few.mean / 2
    drawn = [calibration_error(RANDOM.random(1000) < RISK[:1000], RISK[:1000]) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(few.mean, rel=0.1)
