import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from credit_risk.schema.attributes import BAD, GOOD
from credit_risk.scoring.decisions import confidence
from credit_risk.scoring.model import TRUSTED, CreditScorer
from tests.support.german_credit import PROTECTED, SCORED, encode, read_training, split


@pytest.fixture(scope="module")
def parts():
    return split(read_training("data/credit-g.csv"))


@pytest.fixture(scope="module")
def scorer(parts):
    train, _ = parts
    return CreditScorer().fit(train, train["class"])


def test_scorer_ranks_unseen_clients(scorer, parts):
    _, test = parts
    assert roc_auc_score(test["class"] == BAD, scorer.risk(encode(test))) > 0.75


def test_protected_attributes_never_change_a_score(scorer, parts):
    _, test = parts
    codes = encode(test)
    changed = encode(test.assign(age=99, personal_status="female single", foreign_worker="no"))
    np.testing.assert_array_equal(scorer.risk(codes), scorer.risk(changed))
    np.testing.assert_array_equal(
        scorer.risk(codes), scorer.risk(encode(test.drop(columns=list(PROTECTED))))
    )
    assert scorer.booster.feature_name() == list(SCORED)


def test_client_is_red_where_accepting_costs_more(scorer, parts):
    decided = scorer.decide(encode(parts[1]))
    assert scorer.threshold == pytest.approx(1 / 6)
    np.testing.assert_array_equal(decided.red, 5 * decided.risk >= 1 - decided.risk)
    assert 0 < decided.red.mean() < 1


def test_the_cost_matrix_moves_the_threshold(parts):
    train, _ = parts
    assert CreditScorer(cost_bad=1, num_boost_round=5).fit(train, train["class"]).threshold == 0.5


def test_confidence_is_a_half_at_the_threshold_and_one_at_the_ends():
    np.testing.assert_allclose(confidence([0, 1 / 6, 1]), [1, 0.5, 1])
    np.testing.assert_allclose(confidence([0.08]), [0.92 / (0.92 + 0.4)])
    assert (np.diff(confidence(np.linspace(1 / 6, 1, 50))) > 0).all()


def test_probabilities_match_classes(scorer, parts):
    _, test = parts
    p = scorer.predict_proba(test)
    assert scorer.classes_.tolist() == [BAD, GOOD]
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(scorer.predict(test) == BAD, p[:, 0] >= scorer.threshold)


def test_scorer_is_a_scikit_learn_estimator(scorer):
    assert clone(scorer).get_params() == scorer.get_params()
    assert not hasattr(clone(scorer), "model_text_")


def test_loaded_scorer_scores_like_the_stored_one(scorer, parts):
    codes = encode(parts[1])
    risk = scorer.risk(codes)
    loaded = skops.io.loads(skops.io.dumps(scorer), trusted=TRUSTED)
    np.testing.assert_array_equal(loaded.risk(codes), risk)
    assert loaded.domain == scorer.domain


def test_the_same_data_and_seed_give_the_same_trees(parts):
    train, _ = parts
    a, b = (
        CreditScorer(num_boost_round=20).fit(train, train["class"]).model_text_ for _ in range(2)
    )
    assert a == b


def test_members_are_averaged_into_one_model(parts):
    train, test = parts
    members = [
        {"params": {"num_leaves": leaves}, "num_boost_round": 30, "seed": leaves}
        for leaves in (4, 8)
    ]
    scorer = CreditScorer(members=members).fit(train, train["class"])
    alone = [
        CreditScorer(**member).fit(train, train["class"]).risk(encode(test)) for member in members
    ]
    odds = np.sqrt(np.prod([p / (1 - p) for p in alone], axis=0))
    np.testing.assert_allclose(scorer.risk(encode(test)), odds / (1 + odds), atol=1e-12)
    loaded = skops.io.loads(skops.io.dumps(scorer), trusted=TRUSTED)
    np.testing.assert_array_equal(loaded.risk(encode(test)), scorer.risk(encode(test)))
    # The recipe is stored too: a gate fits it again on other clients.
    assert clone(loaded).fit(train, train["class"]).model_text_ == scorer.model_text_


def test_trees_are_small_with_numerical_splits_only(scorer):
    trees = scorer.booster.dump_model()["tree_info"]
    assert len(trees) <= 1250
    assert max(tree["num_leaves"] for tree in trees) <= 8
    assert "decision_type=2" in scorer.model_text_
    assert all(tree["num_cat"] == 0 for tree in trees)


@pytest.mark.parametrize("labels", [["good"] * 10, ["good", "ugly"] * 5])
def test_labels_must_be_good_and_bad(parts, labels):
    with pytest.raises(ValueError, match="both"):
        CreditScorer().fit(parts[0][:10], labels)


def test_too_many_leaves_are_refused(parts):
    train, _ = parts
    with pytest.raises(ValueError, match="at most 8"):
        CreditScorer({"num_leaves": 31}).fit(train, train["class"])


def test_scorer_accepts_no_rows(scorer):
    assert scorer.risk(np.empty((0, 20))).shape == (0,)
