"""Training on other data than German Credit's: missing values, and categories without an order."""

import json

import numpy as np
import pandas as pd
import pytest

from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset, training_file
from credit_risk.training_data.data import read_training
from model_orchestration_and_tracking.baselines import BASELINES
from model_orchestration_and_tracking.evaluate import OURS, evaluate, main
from model_orchestration_and_tracking.tuning import Candidate, cross_validate
from tests.support.cases import slow

# Each trade is that of four clients, who may be good or bad whatever it is.
N_TRADES = 100
TRADES = Dataset.model_validate(
    {
        "name": "trades",
        "title": "Trades",
        "attributes": [
            {"name": "amount", "label": "Amount", "kind": "number", "maximum": 1000},
            {
                "name": "trade",
                "label": "Trade",
                "kind": "category",
                "values": [{"value": f"t{n}"} for n in range(N_TRADES)],
            },
        ],
    }
)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("credit_data")


@pytest.fixture(scope="module")
def client_frame(dataset):
    clients = read_training(training_file("credit_data"), dataset)
    drawn = clients.sample(600, random_state=0, ignore_index=True)
    assert drawn["income"].isna().sum() > 10
    assert {a.order for a in dataset.scored_attributes if a.categories} == {"bad rate", "natural"}
    return drawn


@pytest.mark.parametrize("name", ["lr-woe", *slow(*sorted(BASELINES.keys() - {"lr-woe"}))])
def test_baselines_take_missing_values_and_nominal_categories(dataset, client_frame, name):
    """And a value that no client in training had."""
    some = client_frame.assign(
        home=client_frame["home"].where(client_frame.index % 7 > 0),
        job=client_frame["job"].mask(client_frame["job"] == "others", "fixed"),
    )
    train, test = some[::2], some[1::2].copy()
    test.loc[test.index[:5], "job"] = "others"
    model = BASELINES[name](0, dataset).fit(train.drop(columns=LABEL), train[LABEL] == "bad")
    risk = model.predict_proba(test.drop(columns=LABEL))[:, 1]
    bad = (test[LABEL] == "bad").to_numpy()
    assert np.all((risk >= 0) & (risk <= 1))
    assert risk[bad].mean() > risk[~bad].mean() + 0.05


@pytest.mark.parametrize("name", [OURS, *slow(*BASELINES)])
def test_a_column_without_any_value_in_training_stops_no_model(dataset, client_frame, name):
    """A fold of few clients may have none."""
    empty = client_frame.assign(debt=np.nan, assets=np.nan)
    found = evaluate(empty, dataset, [name], seed=0, repeats=1, folds=2, n_iter=1)
    assert np.mean(found.scores[name]["auc"]) > 0.6


def test_the_evaluation_has_as_many_folds_as_it_is_told(
    dataset, client_frame, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DATASET", "credit_data")
    data, output = tmp_path / "clients.csv", tmp_path / "evaluation.json"
    client_frame.to_csv(data, index=False)
    arguments = ["--folds=3", "--repeats=1", "--n-iter=1", "--jobs=1", f"--data={data}"]
    models = ["--models", OURS, "lr-tuned"]
    assert main([*arguments, *models, f"--output={output}"]) == 0
    found = json.loads(output.read_text())
    assert found["protocol"].startswith(f"{dataset.title}; 1x3-fold")
    assert found["models"][OURS]["auc"]["mean"] > 0.65
    assert {one["attribute"] for one in found["slices"]} == {g.attribute for g in dataset.groups}
    assert "3 of 3 folds" in capsys.readouterr().err


@pytest.mark.parametrize("folds", ["1", "0", "-2"])
def test_fewer_than_two_folds_are_refused(folds, capsys):
    with pytest.raises(SystemExit):
        main([f"--folds={folds}"])
    assert "--folds is at least 2" in capsys.readouterr().err


@pytest.fixture(scope="module")
def random_clients():
    """Clients of whom nothing is to be learnt."""
    rng = np.random.default_rng(0)
    n = 4 * N_TRADES
    return pd.DataFrame(
        {
            "amount": rng.integers(0, 1000, n),
            "trade": [f"t{number}" for number in np.arange(n) % N_TRADES],
            LABEL: rng.permutation(np.where(np.arange(n) % 2, "good", "bad")),
        }
    )


def test_nominal_values_are_ranked_by_the_training_fold_alone(random_clients):
    """With the held-out clients' own outcomes in the ranks, the AUC would be about .7."""
    codes, labels = encode(random_clients, TRADES), random_clients[LABEL].to_numpy(str)
    found = cross_validate(Candidate(1, {}, 60), TRADES, codes, labels, n_folds=5, seed=0)
    assert abs(found.auc - 0.5) < 0.08


def test_outer_folds_rank_nominal_values_by_their_training_clients_alone(random_clients):
    found = evaluate(random_clients, TRADES, [OURS], seed=0, repeats=1, folds=4, n_iter=1)
    assert abs(found.scores[OURS]["auc"].mean() - 0.5) < 0.08
