"""The gate: worse beyond chance fails, all else passes, and it says why."""

import numpy as np
import pytest

from credit_risk.scoring.model import CreditScorer
from model_orchestration_and_tracking.evaluation.metrics import metrics
from model_orchestration_and_tracking.gate import Gate, Ratio, judge
from model_orchestration_and_tracking.tuning import Average, Candidate, Folds, Validated
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT, encode, read_training

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def client_frame():
    return read_training("data/train.csv")


def validated(clients, risk):
    labels = clients["class"].to_numpy(str)
    folds = [
        metrics(labels[part], risk[part], GERMAN_CREDIT.costs)
        for part in np.array_split(rng.permutation(len(risk)), 10)
    ]
    return Validated(Average((Candidate(1, {}),)), risk, folds)


@pytest.fixture(scope="module")
def good(client_frame):
    """Risks as a good model gives them."""
    bad = (client_frame["class"] == "bad").to_numpy()
    return 1 / (1 + np.exp(-rng.normal(np.where(bad, 0.0, -1.5), 1)))


def test_gate_without_production_passes_and_says_so():
    assert Gate().passed
    assert Gate().tags() == {
        "gate": "passed",
        "gate_reasons": "no Production version to compare with",
    }
    assert Gate().table().empty


def test_gate_passes_the_same_recipe(client_frame, good):
    same = validated(client_frame, good)
    gate = judge(client_frame, GERMAN_CREDIT, same, same, "7")
    assert gate.passed
    assert gate.summary == "nowhere worse than version 7"
    assert [d.value for d in gate.differences] == [0, 0, 0]
    assert gate.differences[-1].name == "cost per client"
    by_amount = judge(client_frame, BY_AMOUNT, same, same, "7")
    assert by_amount.differences[-1].name == "cost per unit of amount"


def noise(clients, good):
    return rng.permutation(good)


def everybody_is_average(clients, good):
    return np.full(len(good), 0.3)


@pytest.mark.parametrize("made_worse", [noise, everybody_is_average])
def test_gate_fails_a_worse_recipe_with_its_figures(client_frame, good, made_worse):
    worse, better = (
        validated(client_frame, made_worse(client_frame, good)),
        validated(client_frame, good),
    )
    gate = judge(client_frame, GERMAN_CREDIT, worse, better, "7")
    assert not gate.passed
    tags = gate.tags()
    assert tags["gate"] == "failed"
    assert tags["gate_reasons"].startswith("AUC 0.")
    assert gate.table().set_index("compared").loc["AUC", "worse"]
    # The other way round it is better in all of them.
    assert not any(
        d.worse for d in judge(client_frame, GERMAN_CREDIT, better, worse, "7").differences
    )


def test_gate_fails_when_a_group_is_accepted_less(client_frame, good):
    young = (client_frame["age"] <= 25).to_numpy()
    unfair = np.where(young, np.maximum(good, 0.2), good)
    gate = judge(
        client_frame,
        GERMAN_CREDIT,
        validated(client_frame, unfair),
        validated(client_frame, good),
        "7",
    )
    assert [r.group for r in gate.ratios if r.worse] == ["age 25 or younger"]
    assert "age 25 or younger accepted 0.00 times as often as others" in gate.summary
    assert all(isinstance(r, Ratio) for r in gate.ratios)
    # Too few, and too few others, for a verdict.
    assert not {"age 60 or older", "foreign_worker yes"} & {r.group for r in gate.ratios}


def test_gate_without_protected_attributes_compares_figures_only(client_frame, good):
    unknown = client_frame.assign(age=np.nan, personal_status=None, foreign_worker=None)
    same = validated(unknown, good)
    gate = judge(unknown, GERMAN_CREDIT, same, same, "7")
    assert gate.passed
    assert gate.ratios == []


def test_gate_fails_what_cannot_be_compared():
    gate = Gate("7", trouble="its file has changed")
    assert gate.tags() == {"gate": "failed", "gate_reasons": "its file has changed"}


def test_recipe_of_a_registered_scorer_reproduces_it(client_frame):
    codes, labels = encode(client_frame), client_frame["class"].to_numpy(str)
    recipe = Average(
        (Candidate(3, {"num_leaves": 4}, 20), Candidate(8, {"learning_rate": 0.1}, 30))
    )
    scorer = recipe.scorer(GERMAN_CREDIT).fit(codes, labels)
    again = Average.of(scorer)
    np.testing.assert_array_equal(
        again.scorer(GERMAN_CREDIT).fit(codes, labels).risk(codes), scorer.risk(codes)
    )
    alone = CreditScorer(num_boost_round=20, seed=4).fit(codes, labels)
    np.testing.assert_array_equal(
        Average.of(alone).scorer(GERMAN_CREDIT).fit(codes, labels).risk(codes), alone.risk(codes)
    )


def test_average_on_folds_equals_that_of_fitted_scorers(client_frame):
    codes, labels = encode(client_frame), client_frame["class"].to_numpy(str)
    members = [Candidate(1, {"num_leaves": 4}, 20), Candidate(2, {}, 10)]
    folds = Folds(GERMAN_CREDIT, codes, labels, 3, seed=5)
    average = folds.average([folds.validate(member) for member in members])
    for test, *_ in folds._folds:
        rest = np.setdiff1d(np.arange(len(codes)), test)
        scorer = average.candidate.scorer(GERMAN_CREDIT).fit(codes[rest], labels[rest])
        np.testing.assert_allclose(average.risk[test], scorer.risk(codes[test]), atol=1e-12)
    assert average.metrics["auc"] == pytest.approx(np.mean([fold["auc"] for fold in average.folds]))
