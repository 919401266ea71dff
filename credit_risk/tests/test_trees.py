"""Growing trees, reading the path, and merging boosters into one."""

import random
import re
import subprocess
import sys

import lightgbm as lgb
import numpy as np
import pytest

from credit_risk.schema.attributes import BAD
from credit_risk.scoring.model import DEFAULT_PARAMS
from credit_risk.scoring.tree_text import parse, write
from credit_risk.scoring.trees import MAX_TREES, binned, grow, merge, path
from tests.support.german_credit import (
    GERMAN_CREDIT,
    MONOTONE,
    SCORED,
    SCORED_COLUMNS,
    encode,
    read_training,
)


@pytest.fixture(scope="module")
def inputs_and_bad():
    frame = read_training("data/credit-g.csv")
    return encode(frame)[:, SCORED_COLUMNS], (frame["class"] == BAD).to_numpy()


@pytest.fixture(scope="module")
def boosters(inputs_and_bad):
    inputs, bad = inputs_and_bad
    data = binned(inputs, GERMAN_CREDIT, bad)
    return [
        grow(
            data,
            DEFAULT_PARAMS | {"num_leaves": leaves, "monotone": leaves < 4},
            20 + leaves,
            seed=leaves,
        )
        for leaves in (3, 5, 8)
    ]


def test_a_merged_booster_scores_the_mean_of_the_raw_scores(boosters, inputs_and_bad):
    inputs, _ = inputs_and_bad
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
    assert (
        again.split("\n\n")[0].split("tree_sizes=")[0]
        == text.split("\n\n")[0].split("tree_sizes=")[0]
    )
    sizes = [int(size) for size in text.split("tree_sizes=")[1].split("\n", 1)[0].split()]
    trees = text[text.index("Tree=0\n") : text.index("end of trees")]
    assert sum(sizes) == len(trees)
    assert trees[sizes[0] :].startswith("Tree=1\n")


def test_merging_one_booster_leaves_it_unchanged(boosters):
    assert merge(boosters[:1]) == boosters[0].model_to_string()


def test_path_equals_trees_grown_to_each_number(inputs_and_bad):
    inputs, bad = inputs_and_bad
    data = binned(inputs[:700], GERMAN_CREDIT, bad[:700])
    found = path(
        data, binned(inputs[700:], GERMAN_CREDIT, reference=data), DEFAULT_PARAMS, (5, 30), seed=3
    )
    for rounds, risks in zip((5, 30), found, strict=True):
        np.testing.assert_array_equal(
            risks, grow(data, DEFAULT_PARAMS, rounds, seed=3).predict(inputs[700:])
        )


@pytest.mark.parametrize("name", MONOTONE)
def test_monotone_trees_keep_to_each_direction(inputs_and_bad, name):
    inputs, bad = inputs_and_bad
    booster = grow(
        binned(inputs, GERMAN_CREDIT, bad),
        DEFAULT_PARAMS | {"monotone": True, "learning_rate": 0.2},
        100,
        seed=0,
    )
    column = SCORED.index(name)
    risks = []
    for value in np.unique(inputs[:, column]):
        changed = inputs.copy()
        changed[:, column] = value
        risks.append(booster.predict(changed, raw_score=True))
    steps = MONOTONE[name] * np.diff(risks, axis=0)
    assert steps.min() >= -1e-12
    assert steps.max() > 0


def test_each_booster_has_its_own_seed(inputs_and_bad):
    data = binned(inputs_and_bad[0], GERMAN_CREDIT, inputs_and_bad[1])
    one, two, again = (grow(data, DEFAULT_PARAMS, 5, seed).model_to_string() for seed in (1, 2, 1))
    assert one == again
    assert one != two


def test_too_many_trees_or_leaves_are_refused(inputs_and_bad):
    data = binned(inputs_and_bad[0], GERMAN_CREDIT, inputs_and_bad[1])
    small = DEFAULT_PARAMS | {"num_leaves": 2}
    with pytest.raises(ValueError, match="1260 trees in all"):
        merge([grow(data, small, 420, seed) for seed in range(3)])
    with pytest.raises(ValueError, match="at most 8"):
        grow(data, DEFAULT_PARAMS | {"num_leaves": 9}, 1, 0)


def test_boosters_of_different_attributes_cannot_be_averaged(boosters):
    other = lgb.train(
        {"verbosity": -1},
        lgb.Dataset(np.random.default_rng(0).random((50, 2)), np.arange(50) % 2),
        1,
    )
    with pytest.raises(ValueError, match="different attributes"):
        merge([boosters[0], other])


@pytest.fixture(scope="module")
def text(boosters):
    return merge(boosters)


def resized(text):
    """Return a text with the sizes that its trees have now, as a careful attacker would."""
    head, _, rest = text.partition("tree_sizes=")
    body = rest.partition("\n\n")[2]
    blocks = re.findall(r"^Tree=.*?\n\n\n", body, flags=re.MULTILINE | re.DOTALL)
    return f"{head}tree_sizes={' '.join(str(len(block)) for block in blocks)}\n\n{body}"


def put(name, value, tree=0):
    """Return a function that gives a line of one tree another value."""

    def change(text):
        at = list(re.finditer(rf"^{name}=(.*)$", text, flags=re.MULTILINE))[tree]
        new = value(at[1]) if callable(value) else value
        return resized(text[: at.start()] + f"{name}={new}" + text[at.end() :])

    return change


def first(value):
    """Return a function that puts another number in the place of the first of a line."""
    return lambda line: " ".join([value, *line.split(" ")[1:]])


def swap(old, new, n=1):
    def change(text):
        assert old in text
        return text.replace(old, new, n)

    return change


HOSTILE = {
    # What the review tried: the first three killed the process, the fourth never ended.
    "sizes that are far off": swap("tree_sizes=", "tree_sizes=99999999 "),
    "no leaves": put("num_leaves", "0"),
    "a hundred million leaves": put("num_leaves", "100000000"),
    "a node that is its own child": put("left_child", first("0")),
    "a feature that is not there": put("split_feature", first("99999999")),
    # Children
    "a child that is no node": put("left_child", first("99999999")),
    "a leaf that is not there": put("right_child", first("-99")),
    "a child before its node": put("left_child", lambda line: line[: line.rindex(" ")] + " 0"),
    "a leaf twice": put("right_child", lambda line: " ".join(["-1"] * len(line.split(" ")))),
    # Lengths
    "a leaf more": put("leaf_value", lambda line: line + " 0.1"),
    "a leaf less": put("leaf_value", lambda line: line[: line.rindex(" ")]),
    "no threshold": put("threshold", ""),
    "a count less": put("internal_count", lambda line: line[: line.rindex(" ")]),
    "nine leaves": put("num_leaves", "9"),
    "minus one leaf": put("num_leaves", "-1"),
    # Numbers
    "a threshold that is no number": put("threshold", first("nan")),
    "a threshold below all": put("threshold", first("-inf")),
    "a leaf without end": put("leaf_value", first("inf")),
    "a leaf that is no number": put("leaf_value", first("nan")),
    "a leaf that decides alone": put("leaf_value", first("1e9")),
    "a number too large for any": put("leaf_value", first("1e999")),
    "a feature below all": put("split_feature", first("-1")),
    "a feature and a half": put("split_feature", first("1.5")),
    "digits of another script": put("leaf_count", first("\u0661\u0662")),
    "an underscore": put("leaf_count", first("1_0")),
    "two spaces": put("leaf_count", lambda line: line.replace(" ", "  ", 1)),
    "nobody at a leaf": put("leaf_count", first("0")),
    "a count beyond an int": put("leaf_count", first("99999999999")),
    # Other kinds of trees
    "a categorical split": put("decision_type", first("1")),
    "a kind of missing that there is not": put("decision_type", first("12")),
    "categories": put("num_cat", "1"),
    "linear leaves": put("is_linear", "1"),
    "other objective": swap("binary sigmoid:1", "binary sigmoid:2"),
    "other version": swap("version=v4", "version=v5"),
    "classes": swap("num_class=1", "num_class=3"),
    "trees an iteration": swap("num_tree_per_iteration=1", "num_tree_per_iteration=0"),
    "more features": swap("max_feature_idx=16", "max_feature_idx=99999999"),
    "other names": swap("checking_status duration", "duration checking_status"),
    "averaged": swap("feature_names=", "average_output\nfeature_names="),
    "odd infos": swap("feature_infos=[", "feature_infos=["[:-1] + "{"),
    "fewer infos": swap("[0:3] ", ""),
    "directions of nowhere": swap(
        "feature_infos=", "monotone_constraints=" + " ".join(["7"] * 17) + "\nfeature_infos="
    ),
    # Structure
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "no sizes": lambda text: re.sub(r"tree_sizes=.*\n", "", text),
    "a size of nothing": swap("tree_sizes=", "tree_sizes=0 "),
    "a size below nothing": swap("tree_sizes=", "tree_sizes=-5 "),
    "a tree too few": lambda text: re.sub(r"(tree_sizes=\d+) \d+", r"\1", text),
    "a million trees": lambda text: re.sub(
        r"tree_sizes=.*", "tree_sizes=" + " ".join(["1000"] * 10**6), text
    ),
    "one tree more than there may be": lambda text: re.sub(
        r"tree_sizes=.*", "tree_sizes=" + " ".join(["1000"] * (MAX_TREES + 1)), text
    ),
    "a size of the whole": lambda text: re.sub(r"tree_sizes=\d+", f"tree_sizes={len(text)}", text),
    "trees out of order": swap("Tree=1\n", "Tree=2\n"),
    "a line twice": swap("num_cat=0\n", "num_cat=0\nnum_cat=0\n"),
    "lines in another order": swap("num_cat=0\nsplit_feature", "split_feature=0\nnum_cat"),
    "an unknown line": swap("is_linear=0\n", "is_linear=0\ncat_boundaries=0 99999999\n"),
    "an unknown head": swap("label_index=0", "label_index=0\nparser=x"),
    "another head": lambda text: text.replace("tree\n", "tree\ntree\n", 1),
    "a whole model more": lambda text: text + text,
    "trees after the end": lambda text: text + text[text.index("Tree=0") : text.index("Tree=1")],
    "a parser": lambda text: text + "\nparser:\n{}\nend of parser\n",
    "categories of pandas": swap("pandas_categorical:null", 'pandas_categorical:[["a"]]'),
    "an odd parameter": swap("[boosting: gbdt]", "boosting: gbdt"),
    "lines of another system": lambda text: text.replace("\n", "\r\n"),
    "an embedded NUL": swap("shrinkage=", "shrinkage=\0"),
    "an embedded NUL after the end": lambda text: text + "\0",
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_text_that_lightgbm_would_not_write_is_refused(text, change):
    changed = change(text)
    assert changed != text
    with pytest.raises(ValueError, match=r".") as refused:
        parse(changed, SCORED)
    assert len(str(refused.value)) < 200


def test_written_trees_are_read_back_unchanged(text):
    trees = parse(text, SCORED)
    assert parse(lgb.Booster(model_str=write(trees, SCORED)).model_to_string(), SCORED) == trees


AGREE = """
import sys
import lightgbm as lgb
import numpy as np
from credit_risk.scoring.table_scorer import Kernel
from credit_risk.scoring.tree_text import parse, write
from tests.support.german_credit import GERMAN_CREDIT, NAMES, SCORED, SCORED_COLUMNS

codes = np.random.default_rng(0).integers(0, 60, (200, len(NAMES))).astype(float)
texts = sys.stdin.read().split("\\1")
for text in texts:
    trees = parse(text, SCORED)
    booster = lgb.Booster(model_str=write(trees, SCORED))
    kernel = Kernel(trees, GERMAN_CREDIT)
    expected = booster.predict(codes[:, SCORED_COLUMNS], raw_score=True)
    np.testing.assert_array_equal(kernel.scores(codes), expected)
print(len(texts))
"""


@pytest.mark.slow
def test_changed_byte_is_refused_or_lightgbm_scores_the_same(boosters):
    """Where the text is taken, LightGBM reads it in a process of its own, which ends well."""
    text = merge([boosters[0], boosters[2]])
    text = lgb.Booster(model_str=write(parse(text, SCORED)[:30], SCORED)).model_to_string()
    chance = random.Random(0)
    taken = []
    for _ in range(1500):
        changed = bytearray(text.encode())
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            at = chance.randrange(text.index("end of trees"))
            changed[at] = chance.choice([chance.randrange(128), *b"0123456789 -.e\n="])
        changed = changed.decode()
        try:
            parse(changed, SCORED)
        except ValueError:
            continue
        taken.append(changed)
    assert 100 < len(taken) < 1400
    done = subprocess.run(
        [sys.executable, "-c", AGREE],
        input="\1".join(taken),
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(taken)
