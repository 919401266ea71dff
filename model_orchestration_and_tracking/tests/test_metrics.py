"""The metrics, against figures worked out by hand."""

import numpy as np
import pytest

from credit_risk.schema.dataset import Costs
from model_orchestration_and_tracking.evaluation.metrics import mean, metrics, named
from tests.support.german_credit import GERMAN_CREDIT

# Two good clients and two bad ones. At .5 one of each is called wrong; at 1/6 all but the first are
# refused.
COSTS = GERMAN_CREDIT.costs
LABELS = ["good", "good", "bad", "bad"]
RISK = np.array([0.1, 0.6, 0.3, 0.9])


def test_metrics_are_taken_at_one_half_and_at_the_threshold():
    found = metrics(LABELS, RISK, COSTS)
    assert found == pytest.approx(
        {
            "auc": 3 / 4,
            "brier": (0.1**2 + 0.6**2 + 0.7**2 + 0.1**2) / 4,
            "log_loss": -np.log(0.9 * 0.4 * 0.3 * 0.9) / 4,
            "accuracy": 1 / 2,
            "recall": 1 / 2,
            "specificity": 1 / 2,
            "decision_accuracy": 3 / 4,
            "decision_recall": 1 / 2,
            "decision_specificity": 1.0,
            "decision_acceptance": 1 / 4,
            "decision_cost": 1 / 4,
        }
    )


def test_good_is_the_positive_class():
    all_green = metrics(LABELS, np.zeros(4), COSTS)
    assert (all_green["recall"], all_green["specificity"]) == (1, 0)
    assert all_green["decision_cost"] == pytest.approx(2 * 5 / 4)


def test_client_at_the_threshold_is_refused():
    assert metrics(["good", "bad"], np.array([1 / 6, 1 / 6]), COSTS)["decision_acceptance"] == 0


def test_weights_change_the_cost_alone():
    plain, found = metrics(LABELS, RISK, COSTS), metrics(LABELS, RISK, COSTS, np.arange(4.0))
    # Only the second client, a good one, is wrongly refused.
    assert found.pop("decision_cost") == pytest.approx(1 / 6)
    assert plain.pop("decision_cost") == pytest.approx(1 / 4)
    assert found == plain


def test_another_cost_matrix_moves_the_threshold():
    assert metrics(LABELS, RISK, Costs(bad=1, good=1))["decision_recall"] == 1 / 2
    assert metrics(LABELS, RISK, Costs(bad=1, good=4))["decision_recall"] == 1


def test_metrics_have_their_names_in_mlflow():
    assert named("test", {"recall": 0.5, "decision_recall": 0.25}) == {
        "test_recall": 0.5,
        "decision_test_recall": 0.25,
    }


def test_mean_is_taken_over_folds():
    assert mean([{"auc": 0.5}, {"auc": 1.0}]) == {"auc": 0.75}
