"""Growing trees, reading the path, and merging boosters into one."""

import lightgbm as lgb
import numpy as np
import pytest

from credit_risk.application import BAD, SCORED, SCORED_COLUMNS, encode
from credit_risk.data import read_training
from credit_risk.model import DEFAULT_PARAMS
from credit_risk.trees import MONOTONE, binned, grow, merge, path


@pytest.fixture(scope="module")
def clients():
    frame = read_training("data/credit-g.csv")
    return encode(frame)[:, SCORED_COLUMNS], (frame["class"] == BAD).to_numpy()


@pytest.fixture(scope="module")
def boosters(clients):
    inputs, bad = clients
    data = binned(inputs, bad)
    return [
        grow(data, DEFAULT_PARAMS | {"num_leaves": leaves, "monotone": leaves < 4}, 20 + leaves, seed=leaves)
        for leaves in (3, 5, 8)
    ]


def test_a_merged_booster_scores_the_mean_of_the_raw_scores(boosters, clients):
    inputs, _ = clients
    merged = lgb.Booster(model_str=merge(boosters))
    for what in ("raw_score", "pred_contrib"):
        mean = np.mean([booster.predict(inputs, **{what: True}) for booster in boosters], axis=0)
        np.testing.assert_allclose(merged.predict(inputs, **{what: True}), mean, atol=1e-12)
    assert merged.num_trees() == sum(booster.num_trees() for booster in boosters)
    assert merged.feature_name() == boosters[0].feature_name()


def test_a_merged_booster_is_written_as_lightgbm_would(boosters):
    """The sizes of its trees too, by which LightGBM finds them."""
    text = merge(boosters)
    again = lgb.Booster(model_str=text).model_to_string()
    assert merge([lgb.Booster(model_str=again)]) == again
    assert again.split("\n\n")[0].split("tree_sizes=")[0] == text.split("\n\n")[0].split("tree_sizes=")[0]
    sizes = [int(size) for size in text.split("tree_sizes=")[1].split("\n", 1)[0].split()]
    trees = text[text.index("Tree=0\n") : text.index("end of trees")]
    assert sum(sizes) == len(trees)
    assert trees[sizes[0] :].startswith("Tree=1\n")


def test_one_booster_stays_as_it_is(boosters):
    assert merge(boosters[:1]) == boosters[0].model_to_string()


def test_the_path_gives_what_trees_grown_to_each_number_give(clients):
    inputs, bad = clients
    data = binned(inputs[:700], bad[:700])
    found = path(data, binned(inputs[700:], reference=data), DEFAULT_PARAMS, (5, 30), seed=3)
    for rounds, risks in zip((5, 30), found, strict=True):
        np.testing.assert_array_equal(risks, grow(data, DEFAULT_PARAMS, rounds, seed=3).predict(inputs[700:]))


@pytest.mark.parametrize("name", MONOTONE)
def test_monotone_trees_are_held_to_each_direction(clients, name):
    inputs, bad = clients
    booster = grow(binned(inputs, bad), DEFAULT_PARAMS | {"monotone": True, "learning_rate": 0.2}, 100, seed=0)
    column = SCORED.index(name)
    risks = []
    for value in np.unique(inputs[:, column]):
        changed = inputs.copy()
        changed[:, column] = value
        risks.append(booster.predict(changed, raw_score=True))
    steps = MONOTONE[name] * np.diff(risks, axis=0)
    assert steps.min() >= -1e-12
    assert steps.max() > 0


def test_a_seed_of_its_own_for_each_booster(clients):
    data = binned(*clients)
    one, two, again = (grow(data, DEFAULT_PARAMS, 5, seed).model_to_string() for seed in (1, 2, 1))
    assert one == again
    assert one != two


def test_too_many_trees_or_leaves_are_refused(clients):
    data = binned(*clients)
    small = DEFAULT_PARAMS | {"num_leaves": 2}
    with pytest.raises(ValueError, match="1260 trees in all"):
        merge([grow(data, small, 420, seed) for seed in range(3)])
    with pytest.raises(ValueError, match="at most 8"):
        grow(data, DEFAULT_PARAMS | {"num_leaves": 9}, 1, 0)


def test_boosters_of_different_attributes_cannot_be_averaged(boosters):
    other = lgb.train({"verbosity": -1}, lgb.Dataset(np.random.default_rng(0).random((50, 2)), np.arange(50) % 2), 1)
    with pytest.raises(ValueError, match="different attributes"):
        merge([boosters[0], other])
