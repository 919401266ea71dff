"""The kernel gives LightGBM's scores and contributions, and is not used where it does not."""

import logging
import time

import lightgbm as lgb
import numba
import numpy as np
import pytest
import skops.io

from credit_risk.schema.attributes import BAD
from credit_risk.scoring._numba import BLOCK, _compiled, add_up
from credit_risk.scoring.ensemble import MANY_ROWS
from credit_risk.scoring.model import DEFAULT_PARAMS, TRUSTED, CreditScorer
from credit_risk.scoring.table_scorer import Kernel, UnsupportedModel
from credit_risk.scoring.tree_text import parse, write
from credit_risk.scoring.trees import MAX_TREES, binned, grow, merge
from tests.support.cases import slow
from tests.support.german_credit import (
    ATTRIBUTES,
    GERMAN_CREDIT,
    NAMES,
    SCORED,
    SCORED_COLUMNS,
    encode,
    read_training,
)


@pytest.fixture(scope="module")
def codes_and_bad():
    frame = read_training("data/credit-g.csv")
    return encode(frame), (frame["class"] == BAD).to_numpy()


@pytest.fixture(scope="module")
def texts(codes_and_bad):
    codes, bad = codes_and_bad
    inputs = codes[:, SCORED_COLUMNS]
    data = binned(inputs, GERMAN_CREDIT, bad)

    def grown(rounds=60, seed=0, **params):
        return grow(data, DEFAULT_PARAMS | {"learning_rate": 0.1} | params, rounds, seed)

    def trained(inputs, **params):
        params = {
            "objective": "binary",
            "num_leaves": 8,
            "verbosity": -1,
            "num_threads": 1,
        } | params
        return lgb.train(
            params, lgb.Dataset(inputs, bad, feature_name=list(SCORED)), 40
        ).model_to_string()

    random = np.random.default_rng(0)
    gaps = np.where(random.random(inputs.shape) < 0.2, np.nan, inputs)
    return {
        "stumps": grown(num_leaves=2).model_to_string(),
        "8 leaves": grown(num_leaves=8).model_to_string(),
        "monotone": grown(monotone=True).model_to_string(),
        "no split": grown(rounds=3, min_data_in_leaf=600).model_to_string(),
        "some without split": merge(
            [grown(rounds=1, min_data_in_leaf=600), grown(rounds=5), grown(rounds=5, seed=1)]
        ),
        "five": merge(
            [grown(num_leaves=2 + seed, monotone=seed % 2 == 0, seed=seed) for seed in range(5)]
        ),
        "most": merge([grown(rounds=MAX_TREES // 5, seed=seed) for seed in range(5)]),
        "fine bins": trained(inputs, max_bin=255, min_data_in_leaf=1),
        "missing": trained(gaps, min_data_in_leaf=5),
        "0 missing": trained(np.nan_to_num(gaps), zero_as_missing=True, min_data_in_leaf=5),
    }


KINDS = (
    "stumps",
    "8 leaves",
    "monotone",
    "no split",
    "some without split",
    "five",
    "fine bins",
    "missing",
    "0 missing",
)


def edges(trees, n, seed=0):
    """Return n rows of thresholds, the doubles next to them, and values that no client has."""
    random = np.random.default_rng(seed)
    odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-34, -1.0, 0.5, 1e12]
    codes = np.full((n, len(NAMES)), np.nan)
    for feature, name in enumerate(SCORED):
        at = [
            t
            for tree in trees
            for f, t in zip(tree.feature, tree.threshold, strict=True)
            if f == feature
        ]
        values = np.unique([*at, *np.nextafter(at, np.inf), *np.nextafter(at, -np.inf)])
        common = ATTRIBUTES[NAMES.index(name)]
        usual = np.arange(common.minimum, (common.maximum or len(common.categories) - 1) + 1)[:500]
        every = np.concatenate([values, usual, odd])
        codes[:, NAMES.index(name)] = random.choice(every, n)
    return codes


@pytest.mark.parametrize("kind", [*KINDS, *slow("most")])
def test_scores_and_contributions_equal_lightgbms(texts, codes_and_bad, kind):
    booster, trees = lgb.Booster(model_str=texts[kind]), parse(texts[kind], SCORED)
    written = lgb.Booster(model_str=write(trees, SCORED))
    kernel = Kernel(trees, GERMAN_CREDIT)
    kernel.check(booster)
    for codes in (codes_and_bad[0], edges(trees, 3 * BLOCK + 17)):
        inputs = codes[:, SCORED_COLUMNS]
        for how in ("raw_score", "pred_contrib"):
            np.testing.assert_array_equal(
                written.predict(inputs, **{how: True}), booster.predict(inputs, **{how: True})
            )
        # Not near: the same doubles, added in the same order.
        np.testing.assert_array_equal(kernel.scores(codes), booster.predict(inputs, raw_score=True))
        np.testing.assert_allclose(kernel.risks(codes), booster.predict(inputs), rtol=1e-14)
        few = slice(0, 700)
        found = kernel.contributions(codes[few])
        np.testing.assert_allclose(
            found, booster.predict(inputs[few], pred_contrib=True), rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(found.sum(axis=1), kernel.scores(codes[few]), rtol=0, atol=1e-12)


def test_sample_models_have_the_intended_features(texts):
    trees = {kind: parse(text, SCORED) for kind, text in texts.items()}
    assert {len(tree.value) for tree in trees["stumps"]} == {2}
    assert {len(tree.value) for tree in trees["no split"]} == {1}
    assert {len(tree.value) for tree in trees["some without split"]} == {1, 8}
    assert len(trees["most"]) == MAX_TREES
    missing = {kind: {d for tree in one for d in tree.decision} for kind, one in trees.items()}
    assert missing["8 leaves"] == {2}
    assert missing["missing"] >= {8, 10}
    assert missing["0 missing"] >= {4, 6}
    first = Kernel(trees["fine bins"], GERMAN_CREDIT)._splits.first
    assert np.diff(first).max() > 20


def test_scores_of_many_rows_equal_those_of_few(texts, codes_and_bad):
    kernel = Kernel(parse(texts["five"], SCORED), GERMAN_CREDIT)
    codes = np.random.default_rng(0).permutation(np.tile(codes_and_bad[0], (70, 1)))
    for score in (kernel.scores, kernel.contributions):
        np.testing.assert_array_equal(
            score(codes), np.concatenate([score(codes[:30_000]), score(codes[30_000:])])
        )


def test_scores_of_no_rows_are_empty(texts):
    kernel = Kernel(parse(texts["stumps"], SCORED), GERMAN_CREDIT)
    assert kernel.scores(np.empty((0, 20))).shape == (0,)
    assert kernel.contributions(np.empty((0, 20))).shape == (0, 18)


def test_kernel_is_not_recompiled_for_other_arrays(texts, codes_and_bad):
    kernel, codes = Kernel(parse(texts["five"], SCORED), GERMAN_CREDIT), codes_and_bad[0]
    expected = kernel.scores(codes)
    fixed = codes.copy()
    fixed.flags.writeable = False
    for other in (
        fixed,
        np.asfortranarray(codes),
        codes.astype(np.float32),
        np.repeat(codes, 2, axis=0)[::2],
    ):
        np.testing.assert_array_equal(kernel.scores(other), expected)
    assert len(add_up.signatures) == 1


def test_kernel_compiles_without_a_writable_cache(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/nowhere")
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(double)
    assert _compiled(double)(21) == 42


def double(x):
    return 2 * x


@pytest.fixture
def scorer(codes_and_bad, texts):
    codes, bad = codes_and_bad
    scorer = CreditScorer(num_boost_round=5).fit(codes, np.where(bad, "bad", "good"))
    scorer.model_text_ = texts["five"]
    return scorer


def test_kernel_is_made_for_many_rows_or_on_warm_up(scorer, codes_and_bad):
    codes, _ = codes_and_bad
    risk, contributions = scorer.risk(codes), scorer.contributions(codes)
    assert "kernel" not in vars(scorer)
    scorer.risk(np.tile(codes, (MANY_ROWS // len(codes), 1)))
    assert isinstance(vars(scorer).pop("kernel"), Kernel)
    scorer.warm_up()
    assert isinstance(vars(scorer)["kernel"], Kernel)
    vars(scorer).pop("booster")
    np.testing.assert_allclose(scorer.risk(codes), risk, rtol=1e-14)
    np.testing.assert_allclose(scorer.contributions(codes), contributions, atol=1e-12)
    assert "booster" not in vars(scorer)
    loaded = skops.io.loads(skops.io.dumps(scorer), trusted=TRUSTED)
    assert not set(vars(loaded)) & {"booster", "trees", "kernel"}
    loaded.warm_up()
    np.testing.assert_array_equal(loaded.risk(codes), scorer.risk(codes))


def test_unsupported_model_is_scored_by_lightgbm_with_a_log_line(scorer, codes_and_bad, caplog):
    codes, bad = codes_and_bad
    inputs = codes[:, SCORED_COLUMNS]
    params = {"objective": "binary", "num_leaves": 8, "verbosity": -1, "num_threads": 1}
    params |= {"max_bin": 1000, "min_data_in_bin": 1, "min_data_in_leaf": 1}
    booster = lgb.train(params, lgb.Dataset(inputs, bad, feature_name=list(SCORED)), 400)
    scorer.model_text_ = booster.model_to_string()
    with caplog.at_level(logging.WARNING):
        scorer.warm_up()
        for _ in range(2):
            np.testing.assert_array_equal(scorer.risk(codes), booster.predict(inputs))
            np.testing.assert_array_equal(
                scorer.contributions(codes), booster.predict(inputs, pred_contrib=True)
            )
    assert ["255 thresholds" in message for message in caplog.messages] == [True]


def test_lightgbm_scores_where_compiled_code_cannot_be_stored(
    scorer, codes_and_bad, caplog, monkeypatch
):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Kernel, "check", full)
    scorer.warm_up()
    assert scorer.risk(codes_and_bad[0]).shape == (len(codes_and_bad[0]),)
    assert "No space left" in caplog.text


def test_contributions_that_differ_from_lightgbms_are_refused(texts):
    booster, trees = lgb.Booster(model_str=texts["stumps"]), parse(texts["stumps"], SCORED)
    kernel = Kernel(
        [trees[0]._replace(leaf_count=trees[0].leaf_count[::-1]), *trees[1:]], GERMAN_CREDIT
    )
    with pytest.raises(UnsupportedModel, match="contributions"):
        kernel.check(booster)


@pytest.mark.slow
def test_kernel_is_ten_times_as_fast_as_lightgbm(texts, codes_and_bad):
    codes = np.tile(codes_and_bad[0], (200, 1))
    inputs = codes[:, SCORED_COLUMNS]
    booster, kernel = (
        lgb.Booster(model_str=texts["most"]),
        Kernel(parse(texts["most"], SCORED), GERMAN_CREDIT),
    )
    kernel.check(booster)
    start = time.perf_counter()
    booster.predict(inputs)
    middle = time.perf_counter()
    kernel.risks(codes)
    assert middle - start > 10 * (time.perf_counter() - middle)
