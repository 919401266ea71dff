"""The default model is about as accurate as expected: a check of the code, not a release gate."""

from sklearn.metrics import roc_auc_score

from credit_risk.schema.attributes import LABEL
from model_orchestration_and_tracking.tuning import FOLDS, candidates, cross_validate
from tests.support.german_credit import GERMAN_CREDIT, encode, read_training


def test_default_parameters_reach_the_expected_auc():
    train, test = read_training("data/train.csv"), read_training("data/test.csv")
    house = candidates(1)[0]
    validated = cross_validate(
        house, GERMAN_CREDIT, encode(train), train[LABEL].to_numpy(str), FOLDS, seed=0
    )
    assert validated.auc > 0.77
    scorer = house.scorer(GERMAN_CREDIT).fit(train, train[LABEL])
    assert roc_auc_score(test[LABEL] == "bad", scorer.risk(encode(test))) > 0.75
