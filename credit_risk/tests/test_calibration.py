"""Slope, intercept, calibration error and Brier score."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from credit_risk.metrics.calibration import (
    brier,
    calibration_error,
    error_by_chance,
    slope_intercept,
)

RANDOM = np.random.default_rng(0)
RISK = RANDOM.beta(1, 2, 50_000).clip(0.01, 0.99)
BAD = RANDOM.random(len(RISK)) < RISK
LOGIT = np.log(RISK / (1 - RISK))


def risk_of(logit):
    return 1 / (1 + np.exp(-logit))


def test_true_risks_have_slope_one_and_intercept_zero():
    assert slope_intercept(RISK, BAD) == pytest.approx((1, 0), abs=0.03)


@pytest.mark.parametrize(
    ("logit", "slope", "intercept"), [(2 * LOGIT, 0.5, 0), (LOGIT / 2, 2, 0), (LOGIT + 1, 1, -1)]
)
def test_slope_and_intercept_of_extreme_timid_and_high_risks(logit, slope, intercept):
    found = slope_intercept(risk_of(logit), BAD)
    assert found == pytest.approx((slope, intercept), abs=0.06)


def test_slope_is_finite_for_risks_of_zero_and_one():
    risk, bad = np.array([0.0, 1.0, 0.4]), np.array([False, True, True])
    assert np.isfinite(slope_intercept(risk, bad)).all()


def test_calibration_error_is_the_mean_gap_over_the_deciles():
    # In one decile of two clients, of risk .3 and .35, both are bad; the gaps of the other deciles
    # are their risks.
    risk = np.repeat(np.arange(10) / 10, 2) + np.tile([0, 0.05], 10)
    bad = (risk > 0.29) & (risk < 0.36)
    gaps = [abs(2 * bad[2 * i] - risk[2 * i] - risk[2 * i + 1]) for i in range(10)]
    shuffled = np.random.default_rng(0).permutation(20)
    assert calibration_error(risk[shuffled], bad[shuffled]) == pytest.approx(sum(gaps) / 20)


def test_calibration_error_of_equal_risks_does_not_depend_on_their_order():
    bad = np.repeat([0.0, 1.0], [11, 9])
    assert calibration_error(np.full(20, 0.25), bad) == pytest.approx(0.2)
    assert calibration_error(np.full(20, 0.25), bad[::-1]) == pytest.approx(0.2)


@pytest.mark.parametrize("n", [30, 105, 5000])
def test_calibration_error_given_the_risks_is_the_mean_of_true_ones(n):
    random = np.random.default_rng(n)
    risk = random.beta(1, 6, n)
    true = [calibration_error(risk, random.random(n) < risk) for _ in range(2000)]
    assert calibration_error(risk, risk) == pytest.approx(np.mean(true), rel=0.03)
    wrong = [calibration_error(risk, random.random(n) < 2 * risk) for _ in range(50)]
    assert np.mean(wrong) > 1.2 * np.mean(true)


def test_error_by_chance_is_that_of_simulated_clients_and_shrinks_with_their_number():
    few, many = error_by_chance(RISK[:1000], draws=300), error_by_chance(RISK[:10_000], draws=300)
    assert 0.02 < few.mean < 0.04 < few.q95
    assert many.mean < few.mean / 2
    drawn = [calibration_error(RISK[:1000], RANDOM.random(1000) < RISK[:1000]) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(few.mean, rel=0.1)


def test_brier_is_scikit_learns_and_its_mean_where_outcomes_are_unknown():
    risk, bad = RISK[:1000], BAD[:1000]
    assert brier(risk, bad) == pytest.approx(brier_score_loss(bad, risk))
    assert brier(risk, risk) == pytest.approx(np.mean(risk * (1 - risk)))
