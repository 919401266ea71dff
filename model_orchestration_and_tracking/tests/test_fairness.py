"""Fairness slices, against figures worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from credit_risk.metrics.discrimination import auc
from model_orchestration_and_tracking.evaluation.fairness import MIN_PER_CLASS, _auc, slices
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT


@pytest.fixture
def client_frame():
    random = np.random.default_rng(0)
    n = 400
    return pd.DataFrame(
        {
            "age": np.repeat([20, 40, 70], [120, 240, 40]),
            "personal_status": np.resize(["male single", "female div/dep/mar"], n),
            "foreign_worker": "yes",
            "class": np.where(random.random(n) < 0.3, "bad", "good"),
        }
    )


def by_group(found):
    return {(one.attribute, one.group): one for one in found}


def test_groups_are_by_age_and_by_recorded_values(client_frame):
    found = by_group(slices(client_frame, np.full(400, 0.1), GERMAN_CREDIT, draws=10))
    assert list(found) == [
        ("age", "25 or younger"),
        ("age", "26 to 59"),
        ("age", "60 or older"),
        ("personal_status", "female div/dep/mar"),
        ("personal_status", "male single"),
        ("foreign_worker", "yes"),
    ]
    assert [one.n for one in found.values()] == [120, 240, 40, 200, 200, 400]
    assert not found["age", "60 or older"].gated
    assert found["age", "25 or younger"].gated


def test_slice_figures_equal_a_worked_example(client_frame):
    """The young: every second one is refused, whoever they are; all others are accepted."""
    young = (client_frame["age"] <= 25).to_numpy()
    refused = young & (np.arange(400) % 2 == 0)
    risk = np.where(refused, 0.5, 0.1)
    one = by_group(slices(client_frame, risk, GERMAN_CREDIT, draws=200))["age", "25 or younger"]
    bad = (client_frame["class"] == "bad").to_numpy()
    value = {name: figure.value for name, figure in one.figures.items()}
    assert value["acceptance"] == value["acceptance_ratio"] == 0.5
    assert value["recall"] == pytest.approx(np.mean(~refused[young & ~bad]))
    assert value["bad_rate"] == pytest.approx(np.mean(bad[young & ~refused]))
    assert value["cost"] == pytest.approx(
        (5 * np.sum(bad & young & ~refused) + np.sum(~bad & refused)) / 120
    )
    assert value["calibration"] == pytest.approx(np.mean(bad[young]) - 0.3)

    # Nobody of them borrows as much as another.
    lent = np.arange(1, 401)
    paid = client_frame.assign(credit_amount=lent)
    weighted = by_group(slices(paid, risk, BY_AMOUNT, draws=200))["age", "25 or younger"]
    lost = lent[bad & young & ~refused].sum() * 0.6 + lent[~bad & refused].sum() * 0.1
    assert weighted.figures["cost"].value == pytest.approx(lost / lent[young].sum())
    assert weighted.figures["recall"] == one.figures["recall"]
    for figure in one.figures.values():
        assert figure.low <= figure.value <= figure.high
    assert (
        0.35 < one.figures["acceptance"].low < 0.45 < 0.55 < one.figures["acceptance"].high < 0.65
    )


def test_decisions_of_repeats_are_pooled(client_frame):
    one = by_group(
        slices(
            client_frame, np.vstack([np.full(400, 0.1), np.full(400, 0.5)]), GERMAN_CREDIT, draws=10
        )
    )
    assert one["age", "26 to 59"].figures["acceptance"].value == 0.5


def test_slice_has_an_auc_only_with_enough_of_each_class(client_frame):
    client_frame["class"] = np.where(np.arange(400) % 20 == 0, "bad", "good")
    found = by_group(slices(client_frame, np.linspace(0, 1, 400), GERMAN_CREDIT, draws=20))
    assert found["foreign_worker", "yes"].n_bad == MIN_PER_CLASS
    assert "auc" in found["foreign_worker", "yes"].figures
    assert "auc" not in found["age", "26 to 59"].figures


@pytest.mark.parametrize("digits", [1, 9])
def test_auc_interval_equals_that_of_resampled_aucs(client_frame, digits):
    risk = np.random.default_rng(1).random(400).round(digits)
    bad = (client_frame["class"] == "bad").to_numpy()
    found = _auc(bad, risk, np.random.default_rng(2), 50)
    random = np.random.default_rng(2)
    values = [
        auc(risk[drawn], bad[drawn]) for drawn in (random.integers(0, 400, 400) for _ in range(50))
    ]
    expected = (auc(risk, bad), *np.quantile(values, [0.025, 0.975]))
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_slice_without_accepted_clients_has_no_bad_rate(client_frame):
    one = slices(client_frame, np.full(400, 0.9), GERMAN_CREDIT, draws=10)[0]
    assert np.isnan(one.figures["bad_rate"].value)
    assert one.as_dict()["bad_rate"] == {"value": None, "low": None, "high": None}


def test_clients_without_the_attributes_are_in_no_group(client_frame):
    assert (
        slices(
            client_frame.assign(age=np.nan, personal_status=None, foreign_worker=None),
            np.full(400, 0.1),
            GERMAN_CREDIT,
        )
        == []
    )
