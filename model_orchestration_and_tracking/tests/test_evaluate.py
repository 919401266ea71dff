"""The evaluation: its protocol, its errors, its table and file."""

import json

import numpy as np
import pytest

from model_orchestration_and_tracking.baselines import BASELINES, WeightOfEvidence
from model_orchestration_and_tracking.evaluate import MODELS, OURS, evaluate, main, report
from model_orchestration_and_tracking.evaluation.metrics import mean_se
from tests.support.cases import slow
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT, read_training


@pytest.fixture(scope="module")
def client_frame():
    return read_training("data/credit-g.csv")


@pytest.fixture(scope="module")
def evaluation(client_frame):
    return evaluate(client_frame, GERMAN_CREDIT, [OURS, "lr"], seed=1, repeats=2, folds=3, n_iter=1)


def test_every_client_is_scored_once_per_repeat(evaluation):
    for risk in evaluation.risks.values():
        assert risk.shape == (2, 1000)
        assert np.all((risk > 0) & (risk < 1))
        assert not np.allclose(risk[0], risk[1])
    assert {len(values) for scores in evaluation.scores.values() for values in scores.values()} == {
        6
    }


def test_folds_depend_only_on_the_seed(evaluation, client_frame):
    again = evaluate(client_frame, GERMAN_CREDIT, [OURS], seed=1, repeats=1, folds=3, n_iter=1)
    other = evaluate(client_frame, GERMAN_CREDIT, [OURS], seed=2, repeats=1, folds=3, n_iter=1)
    assert not np.allclose(again.risks[OURS], other.risks[OURS])
    np.testing.assert_array_equal(
        again.risks[OURS],
        evaluate(client_frame, GERMAN_CREDIT, [OURS], seed=1, repeats=1, folds=3, n_iter=1).risks[
            OURS
        ],
    )


def test_cost_is_by_amount_where_the_definition_says_so(client_frame):
    found = evaluate(client_frame, BY_AMOUNT, ["lr"], seed=1, repeats=1, folds=2, n_iter=1)
    bad, green = client_frame["class"] == "bad", found.risks["lr"][0] < 1 / 7
    amounts = client_frame["credit_amount"]
    lost = amounts * (0.6 * (bad & green) + 0.1 * (~bad & ~green))
    # Both folds have half of the clients, and about half of the amounts.
    cost = lost.sum() / amounts.sum()
    assert found.scores["lr"]["cost"].mean() == pytest.approx(cost, rel=0.02)


def test_labels_of_the_held_out_fold_are_never_used(client_frame):
    """With all labels shuffled the model knows nothing; a leak would show."""
    shuffled = client_frame.assign(
        **{"class": np.random.default_rng(0).permutation(client_frame["class"])}
    )
    found = evaluate(shuffled, GERMAN_CREDIT, [OURS], seed=0, repeats=1, folds=3, n_iter=2)
    assert abs(found.scores[OURS]["auc"].mean() - 0.5) < 0.06


def test_report_pairs_differences_by_fold(evaluation):
    found = report(evaluation)
    assert set(found["models"]) == {OURS, "lr"}
    difference = evaluation.scores[OURS]["auc"] - evaluation.scores["lr"]["auc"]
    assert found["paired"]["lr"]["auc"] == pytest.approx(mean_se(difference, 3))
    for figures in found["models"].values():
        assert {
            "auc",
            "brier",
            "ece",
            "cost",
            "accuracy",
            "recall",
            "specificity",
            "acceptance",
        } <= set(figures)
        assert figures["acceptance"]["mean"] < 0.6 < figures["recall"]["mean"]
        assert figures["ece"]["perfect_mean"] < figures["ece"]["perfect_q95"]


def test_standard_error_is_corrected_for_shared_clients():
    values = np.array([0.7, 0.8, 0.9, 0.8])
    found = mean_se(values, folds=4)
    assert found["mean"] == pytest.approx(0.8)
    assert found["se"] == pytest.approx((values.var(ddof=1) * (1 / 4 + 1 / 3)) ** 0.5)


def test_the_command_writes_json_and_prints_the_table(tmp_path, capsys):
    output = tmp_path / "new" / "evaluation.json"
    data = [
        "--repeats",
        "1",
        "--seed",
        "3",
        "--n-iter",
        "1",
        "--jobs",
        "1",
        "--models",
        OURS,
        "lr-woe",
    ]
    assert main([*data, "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["seed"] == 3
    assert found["protocol"].startswith(f"{GERMAN_CREDIT.title}; 1x10-fold")
    assert found["models"][OURS]["auc"]["mean"] > 0.77
    assert {one["attribute"] for one in found["slices"]} == {
        "age",
        "personal_status",
        "foreign_worker",
    }
    printed = capsys.readouterr()
    assert f"| {found['models'][OURS]['auc']['mean']:.4f} ±" in printed.out
    assert "10 of 10 folds" in printed.err


def test_command_reports_a_missing_file_in_one_line(capsys):
    assert main(["--data", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lr", *slow(*sorted(BASELINES.keys() - {"lr"}))])
def test_baselines_separate_good_from_bad(client_frame, name):
    train, test = client_frame[::2], client_frame[1::2]
    model = BASELINES[name](0, GERMAN_CREDIT).fit(
        train.drop(columns="class"), train["class"] == "bad"
    )
    risk = model.predict_proba(test.drop(columns="class"))[:, 1]
    bad = (test["class"] == "bad").to_numpy()
    assert risk[bad].mean() > risk[~bad].mean() + 0.05
    assert name in MODELS


def test_weights_of_evidence_equal_a_worked_example():
    codes = np.array([[0.0]] * 10 + [[1.0]] * 10)
    bad = np.array([1] * 8 + [0] * 2 + [1] * 2 + [0] * 8)
    found = WeightOfEvidence(prior=0).fit(codes, bad).transform(np.array([[0.0], [1.0], [7.0]]))
    np.testing.assert_allclose(found[:, 0], [np.log(2 / 8), np.log(8 / 2), np.log(8 / 2)])


def test_weight_of_evidence_keeps_categories_apart():
    codes = np.repeat(np.arange(12.0), 10)[:, None]
    bad = np.arange(120) % 10 < np.tile(np.repeat([1, 9], 10), 6)  # neighbours differ
    own = WeightOfEvidence(categories=(0,)).fit(codes, bad).transform(codes)
    binned = WeightOfEvidence().fit(codes, bad).transform(codes)
    assert len(np.unique(own.round(9))) == 2
    assert len(np.unique(binned.round(9))) > 2
