"""The trained model predicts by and large accurately. A check on the code, not a gate for releases."""

from sklearn.metrics import roc_auc_score

from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import encode
from credit_risk.training_data.data import read_training
from model_orchestration_and_tracking.tuning import FOLDS, candidates, cross_validate


def test_auc_of_the_house_parameters():
    train, test = read_training("data/train.csv"), read_training("data/test.csv")
    house = candidates(1)[0]
    validated = cross_validate(house, encode(train), train[LABEL].to_numpy(str), FOLDS, seed=0)
    assert validated.auc > 0.77
    scorer = house.scorer().fit(train, train[LABEL])
    assert roc_auc_score(test[LABEL] == "bad", scorer.risk(encode(test))) > 0.75
