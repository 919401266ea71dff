"""Boosted trees: grow them, read their scores while they grow, average several into one, read and write their text.

The house's limits stand here: at most 8 leaves a tree, 1,250 trees, numerical splits. The fast paths of scoring rely on
them.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike

from credit_risk.schema.attributes import SCORED, Floats

MAX_LEAVES = 8
MAX_TREES = 1250
# Characters of a tree's text; some 1,000 are usual.
MAX_TREE_SIZE = 10_000
# Coarse bins, as a scorecard has: with a thousand clients, finer ones fit to single clients.
MAX_BIN = 16

# Where more of an attribute plainly means more risk (1) or less (-1), by the corrected meaning of its codes. The
# parameter `monotone` holds the trees to it: a little AUC is lost, and cost is won where few clients decide a split.
MONOTONE = {
    "checking_status": -1,
    "duration": 1,
    "credit_history": -1,
    "savings_status": -1,
    "employment": -1,
}

_FIXED: dict[str, Any] = {
    "objective": "binary",
    "metric": "none",
    # More threads are slower on data this small, and one gives the same trees on every machine.
    "num_threads": 1,
    "deterministic": True,
    # Three settings that change no tree but the time that it takes, by 20 % and 15 %: each tree sees a part of the
    # attributes only, and none of them is sparse.
    "force_col_wise": True,
    "enable_bundle": False,
    "is_enable_sparse": False,
    "max_bin": MAX_BIN,
    # The bins then do not depend on a candidate's leaf size, so that all candidates share them.
    "feature_pre_filter": False,
    "verbosity": -1,
}
# The first lines of a booster's text, and what they must be.
_HEAD = [
    "tree",
    "version=v4",
    "num_class=1",
    "num_tree_per_iteration=1",
    "label_index=0",
    f"max_feature_idx={len(SCORED) - 1}",
    "objective=binary sigmoid:1",
    f"feature_names={' '.join(SCORED)}",
]
_INFO = r"(?:none|\[[0-9.e+-]{1,25}:[0-9.e+-]{1,25}\])"
_INFOS = re.compile(rf"feature_infos={_INFO}(?: {_INFO}){{{len(SCORED) - 1}}}")
# Digits, and what a number is written with; of words there is `inf` alone, where only missing values go right.
_PLAIN = re.compile(r"[0-9.e+ inf-]*")
_LARGE = 1e12
# A tree's lines between `num_cat` and `is_linear`, in order: how many numbers they hold, one a leaf or one a split, and
# their least and largest. A leaf that adds more than 100 to the log-odds decides alone, and no honest tree has one.
_LINES = (
    ("split_feature", "node", 0, len(SCORED) - 1),
    ("split_gain", "node", -_LARGE, _LARGE),
    ("threshold", "node", -1.1e300, math.inf),
    ("decision_type", "node", 0, 10),
    ("left_child", "node", -MAX_LEAVES, MAX_LEAVES - 2),
    ("right_child", "node", -MAX_LEAVES, MAX_LEAVES - 2),
    ("leaf_value", "leaf", -100, 100),
    ("leaf_weight", "leaf", -_LARGE, _LARGE),
    ("leaf_count", "leaf", 1, 1e9),
    ("internal_value", "node", -_LARGE, _LARGE),
    ("internal_weight", "node", -_LARGE, _LARGE),
    ("internal_count", "node", 1, 1e9),
)
# Numerical splits, with each way of taking missing values; see `Tree`.
_DECISIONS = (0, 2, 4, 6, 8, 10)
# What LightGBM writes after the trees: nobody reads it.
_TAIL = re.compile(
    r"end of trees\n\nfeature_importances:\n(?:[a-z_]+=[0-9]+\n)*"
    r"(?:\nparameters:\n(?:\[[a-z0-9_]+: [^\n]*\]\n)*\nend of parameters\n)?(?:\npandas_categorical:null\n)?"
)
_SCALED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


class Tree(NamedTuple):
    """One tree: node i goes left where `feature[i] <= threshold[i]`; a child below 0 is the leaf of number `~child`.

    `decision` are LightGBM's bits: 1 for a categorical split, 2 where missing values go left, 4 where NaN and 0 are
    missing, 8 where NaN alone is; with neither, NaN counts as 0. `node_count` and `leaf_count` are training clients,
    `gain` is what LightGBM says that a split gained.
    """

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]
    decision: list[int]
    node_count: list[int]
    leaf_count: list[int]
    gain: list[float]


def binned(inputs: Floats, bad: ArrayLike | None = None, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    """Return inputs, shape (n, 17), sorted into bins once for all the trees that are to grow on them.

    Parameters
    ----------
    bad : array-like of bool, shape (n,)
        Who turned out bad; not needed where `path` is only to give scores.
    reference : lightgbm.Dataset
        The training inputs, where these are to be scored along the path of trees grown on those.
    """
    label = np.zeros(len(inputs)) if bad is None else np.asarray(bad, dtype=np.float64)
    data = lgb.Dataset(inputs, label, reference=reference, feature_name=list(SCORED), params=dict(_FIXED))
    return data.construct()


def grow(data: lgb.Dataset, params: dict[str, Any], rounds: int, seed: int) -> lgb.Booster:
    """Return `rounds` trees grown on binned inputs.

    Raises
    ------
    ValueError
        When the parameters ask for more than 8 leaves a tree.
    """
    booster = _start(data, params, seed)
    for _ in range(rounds):
        booster.update()
    return booster


def path(data: lgb.Dataset, others: lgb.Dataset, params: dict[str, Any], rounds: Sequence[int], seed: int) -> Floats:
    """Return the risks that the first so many trees give to other clients, for several numbers of trees at once.

    The trees of 200 rounds are the first 200 of those of 250: they are grown once, and the risks are read on the way.

    Parameters
    ----------
    others : lightgbm.Dataset
        `binned` with `data` as the reference; n clients.
    rounds : sequence of int
        Numbers of trees, ascending.

    Returns
    -------
    array of shape (len(rounds), n)
    """
    booster = _start(data, params, seed).add_valid(others, "others")
    found: list[Floats] = []

    def keep(risk: Floats, _: lgb.Dataset) -> tuple[str, float, bool]:
        found.append(risk.copy())
        return "kept", 0.0, True

    for number in range(1, rounds[-1] + 1):
        booster.update()
        if number in rounds:
            booster.eval_valid(feval=keep)
    return np.array(found)


def merge(boosters: Sequence[lgb.Booster]) -> str:
    """Return one booster, as text, whose raw score is the mean of the given ones' raw scores.

    All trees are kept, their values divided by the number of boosters; so contributions are averaged too.

    Raises
    ------
    ValueError
        When there are more than 1,250 trees in all, or the boosters do not score the same attributes.
    """
    if len({tuple(b.feature_name()) for b in boosters}) != 1:
        raise ValueError("boosters of different attributes cannot be averaged")
    total = sum(b.num_trees() for b in boosters)
    if total > MAX_TREES:
        raise ValueError(f"{total} trees in all; the fast paths take at most {MAX_TREES}")
    texts: list[str] = [b.model_to_string() for b in boosters]
    if len(texts) == 1:
        return texts[0]
    trees = [_scaled(tree, 1 / len(texts)) for text in texts for tree in _split(text)[1]]
    blocks = [f"Tree={number}\n{tree}" for number, tree in enumerate(trees)]
    head, _, tail = _split(texts[0])
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    return f"{head}tree_sizes={sizes}\n\n" + "".join(blocks) + tail


def parse(text: str) -> list[Tree]:
    """Return the trees of a booster's text, which is looked at whole: what LightGBM would not write is refused.

    LightGBM's own reader trusts what it reads: wrong sizes or children make it write and read anywhere in the process.

    Raises
    ------
    ValueError
        When a line is unknown, missing or out of place, a number is none or out of its range, a tree has more than 8
        leaves or is no tree, or there are more than 1,250.
    """
    if not text.isascii():
        raise ValueError("the trees are not plain text")
    head, _, body = text.partition("\n\n")
    trees = []
    start = 0
    for number, size in enumerate(_sizes(head)):
        trees.append(_tree(number, body[start : start + size]))
        start += size
    if not _TAIL.fullmatch(body, start):
        raise ValueError("what follows the last tree is not what LightGBM writes")
    return trees


def write(trees: Sequence[Tree]) -> str:
    """Return the text that LightGBM reads back as these trees, which `parse` has checked: nothing else is in it."""
    blocks = [f"Tree={number}\n{_block(tree)}\n\n" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block)) for block in blocks)
    infos = " ".join(["none"] * len(SCORED))
    head = [*_HEAD, f"feature_infos={infos}", f"tree_sizes={sizes}"]
    return "\n".join(head) + "\n\n" + "".join(blocks) + "end of trees\n"


def _sizes(head: str) -> list[int]:
    """Return the sizes of the trees that the head of a booster's text says."""
    lines = head.split("\n")
    monotone = lines.pop(len(_HEAD)) if len(lines) == len(_HEAD) + 3 else None
    if lines[: len(_HEAD)] != _HEAD or len(lines) != len(_HEAD) + 2:
        raise ValueError("the head is not that of a booster over the scored attributes")
    if monotone is not None:
        _numbers(monotone, "monotone_constraints", len(SCORED), -1, 1)
    if not _INFOS.fullmatch(lines[-2]):
        raise ValueError("feature_infos is not what LightGBM writes")
    n_trees = lines[-1].count(" ") + 1
    if n_trees > MAX_TREES:
        raise ValueError(f"{n_trees} trees; the fast paths take at most {MAX_TREES}")
    return [int(size) for size in _numbers(lines[-1], "tree_sizes", n_trees, 1, MAX_TREE_SIZE)]


def _tree(number: int, block: str) -> Tree:
    """Return a tree of its part of a booster's text."""
    lines = block.split("\n")
    if len(lines) != len(_LINES) + 8 or lines[0] != f"Tree={number}" or lines[-3:] != ["", "", ""]:
        raise ValueError(f"tree {number} is not as long as tree_sizes says, or not what LightGBM writes")
    try:
        n_leaves = int(_numbers(lines[1], "num_leaves", 1, 1, MAX_LEAVES)[0])
        if lines[2] != "num_cat=0" or lines[-5] != "is_linear=0":
            raise ValueError("it has categorical splits or linear leaves")
        _numbers(lines[-4], "shrinkage", 1, 0, _LARGE)
        sizes = {"leaf": n_leaves, "node": n_leaves - 1}
        found = {
            name: _numbers(line, name, sizes[size], low, high)
            for line, (name, size, low, high) in zip(lines[3:-5], _LINES, strict=True)
        }
        tree = Tree(
            feature=_whole(found["split_feature"]),
            threshold=found["threshold"],
            left=_whole(found["left_child"]),
            right=_whole(found["right_child"]),
            value=found["leaf_value"],
            decision=_whole(found["decision_type"]),
            node_count=_whole(found["internal_count"]),
            leaf_count=_whole(found["leaf_count"]),
            gain=found["split_gain"],
        )
        _check(tree)
    except ValueError as error:
        raise ValueError(f"tree {number}: {error}") from None
    return tree


def _check(tree: Tree) -> None:
    """Refuse what is no tree: each node but the first is the child of one before it, each leaf is a child, once."""
    if any(decision not in _DECISIONS for decision in tree.decision):
        raise ValueError("a split is not numerical")
    children = [*tree.left, *tree.right]
    n = len(tree.value)
    if sorted(children) != [*range(-n, 0), *range(1, n - 1)] and children:
        raise ValueError("a node or a leaf is not reached, or reached twice")
    for ways in (tree.left, tree.right):
        if any(0 <= child <= node for node, child in enumerate(ways)):
            raise ValueError("a node leads back")


def _numbers(line: str, name: str, n: int, low: float, high: float) -> list[float]:
    """Return the numbers of a line, `n` of them, each within the bounds."""
    given, _, text = line.partition("=")
    if given != name:
        raise ValueError(f"there is another line where {name} should be")
    words = text.split(" ") if text else []
    if len(words) != n or not _PLAIN.fullmatch(text):
        raise ValueError(f"{name} does not hold {n} numbers")
    numbers = [float(word) for word in words]
    if not all(low <= number <= high for number in numbers):
        raise ValueError(f"{name} is out of range")
    return numbers


def _whole(numbers: list[float]) -> list[int]:
    if not all(number.is_integer() for number in numbers):
        raise ValueError("a number is not whole")
    return [int(number) for number in numbers]


def _block(tree: Tree) -> str:
    """Return the lines of a tree that LightGBM needs, to score and to explain."""
    lines: dict[str, Sequence[float]] = {
        "num_leaves": [len(tree.value)],
        "num_cat": [0],
        "split_feature": tree.feature,
        "split_gain": tree.gain,
        "threshold": tree.threshold,
        "decision_type": tree.decision,
        "left_child": tree.left,
        "right_child": tree.right,
        "leaf_value": tree.value,
        "leaf_count": tree.leaf_count,
        "internal_count": tree.node_count,
        "is_linear": [0],
    }
    # A number's shortest text is read back as the same one.
    return "".join(f"{name}={' '.join(map(repr, numbers))}\n" for name, numbers in lines.items())


def _start(data: lgb.Dataset, params: dict[str, Any], seed: int) -> lgb.Booster:
    params = params | _FIXED | {"seed": seed}
    if params.pop("monotone", False):
        params["monotone_constraints"] = [MONOTONE.get(name, 0) for name in SCORED]
    if params["num_leaves"] > MAX_LEAVES:
        raise ValueError(f"num_leaves is {params['num_leaves']}; the fast paths take at most {MAX_LEAVES}")
    return lgb.Booster(params, data)


def _split(text: str) -> tuple[str, list[str], str]:
    """Return what stands before `tree_sizes` in a booster's text, its trees without their numbers, what comes after."""
    head, rest = text.split("tree_sizes=", 1)
    body, end = rest.split("end of trees\n", 1)
    trees = re.split(r"^Tree=\d+\n", body, flags=re.MULTILINE)[1:]
    return head, trees, "end of trees\n" + end


def _scaled(tree: str, factor: float) -> str:
    def scale(line: re.Match[str]) -> str:
        return f"{line[1]}=" + " ".join(repr(float(value) * factor) for value in line[2].split())

    return _SCALED.sub(scale, tree)
