"""The text of boosted trees: read strictly, and written for LightGBM."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from credit_risk.scoring.trees import MAX_LEAVES, MAX_TREES

# Most attributes that a definition has.
MAX_FEATURES = 200

# Most characters of a tree's text; typically it has about 1,000.
MAX_TREE_SIZE = 10_000

_INFO = r"(?:none|\[[0-9.e+-]{1,25}:[0-9.e+-]{1,25}\])"
_INFOS = re.compile(rf"feature_infos={_INFO}(?: {_INFO})*")
# Characters of a number, including `inf`, the threshold where only missing values go right.
_PLAIN = re.compile(r"[0-9.e+ inf-]*")
_LARGE = 1e12
# A tree's lines between `num_cat` and `is_linear`, in order: whether they hold a number per leaf or
# per split, and the least and largest one allowed. A leaf that adds more than 100 to the log-odds
# would decide alone, and no honest tree has one.
_LINES = (
    ("split_feature", "node", 0, MAX_FEATURES - 1),
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
# Numerical splits, with each treatment of missing values; see `Tree`.
_DECISIONS = (0, 2, 4, 6, 8, 10)
# What LightGBM writes after the trees. It is checked, but not used.
_TAIL = re.compile(
    r"end of trees\n\nfeature_importances:\n(?:[a-z0-9_]+=[0-9]+\n)*"
    r"(?:\nparameters:\n(?:\[[a-z0-9_]+: [^\n]*\]\n)*\nend of parameters\n)?"
    r"(?:\npandas_categorical:null\n)?"
)


class Tree(NamedTuple):
    """One tree: node i goes left where `feature[i] <= threshold[i]`.

    A negative child is the leaf with the number `~child`. `decision` holds LightGBM's bits: 1 for a
    categorical split, 2 where missing values go left, 4 where NaN and 0 are missing, 8 where only
    NaN is; with neither of the last two, NaN counts as 0. `node_count` and `leaf_count` count
    training clients, and `gain` is each split's gain as LightGBM states it.
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


def parse(text: str, names: Sequence[str]) -> list[Tree]:
    """Return the trees of a booster's text, and refuse any text that LightGBM would not write.

    LightGBM's own reader trusts its input: wrong sizes or children make it read and write anywhere
    in the process's memory.

    Parameters
    ----------
    text : str
    names : sequence of str
        The scored attributes.

    Raises
    ------
    ValueError
        When a line is unknown, missing or out of place, a number is malformed or out of its range,
        a tree has more than 8 leaves or is not a tree, or there are more than 1,250 trees.
    """
    if not text.isascii():
        raise ValueError("the trees are not plain text")

    head, _, body = text.partition("\n\n")
    trees = []
    start = 0
    for number, size in enumerate(_sizes(head, names)):
        trees.append(_tree(number, body[start : start + size], len(names)))
        start += size

    if not _TAIL.fullmatch(body, start):
        raise ValueError("what follows the last tree is not what LightGBM writes")

    return trees


def write(trees: Sequence[Tree], names: Sequence[str]) -> str:
    """Return the text that LightGBM reads back as these trees, which `parse` has checked.

    `names` are those of the scored attributes.
    """
    blocks = [f"Tree={number}\n{_block(tree)}\n\n" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block)) for block in blocks)
    infos = " ".join(["none"] * len(names))
    head = [*_head(names), f"feature_infos={infos}", f"tree_sizes={sizes}"]

    return "\n".join(head) + "\n\n" + "".join(blocks) + "end of trees\n"


def _head(names: Sequence[str]) -> list[str]:
    """Return the first lines of a booster's text."""
    return [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={len(names) - 1}",
        "objective=binary sigmoid:1",
        f"feature_names={' '.join(names)}",
    ]


def _sizes(head: str, names: Sequence[str]) -> list[int]:
    """Return the sizes of the trees that the head of a booster's text states."""
    lines, first = head.split("\n"), _head(names)
    monotone = lines.pop(len(first)) if len(lines) == len(first) + 3 else None
    if lines[: len(first)] != first or len(lines) != len(first) + 2:
        raise ValueError("the head is not that of a booster over the scored attributes")

    if monotone is not None:
        _numbers(monotone, "monotone_constraints", len(names), -1, 1)
    if not _INFOS.fullmatch(lines[-2]) or lines[-2].count(" ") != len(names) - 1:
        raise ValueError("feature_infos is not what LightGBM writes")

    n_trees = lines[-1].count(" ") + 1
    if n_trees > MAX_TREES:
        raise ValueError(f"{n_trees} trees; the fast paths take at most {MAX_TREES}")

    return [int(size) for size in _numbers(lines[-1], "tree_sizes", n_trees, 1, MAX_TREE_SIZE)]


def _tree(number: int, block: str, n_features: int) -> Tree:
    """Return the tree that a part of a booster's text describes."""
    lines = block.split("\n")
    if len(lines) != len(_LINES) + 8 or lines[0] != f"Tree={number}" or lines[-3:] != ["", "", ""]:
        raise ValueError(
            f"tree {number} is not as long as tree_sizes says, or not what LightGBM writes"
        )

    try:
        tree = _tree_of_lines(lines)
        _check(tree, n_features)
    except ValueError as error:
        raise ValueError(f"tree {number}: {error}") from None

    return tree


def _tree_of_lines(lines: list[str]) -> Tree:
    n_leaves = int(_numbers(lines[1], "num_leaves", 1, 1, MAX_LEAVES)[0])
    if lines[2] != "num_cat=0" or lines[-5] != "is_linear=0":
        raise ValueError("it has categorical splits or linear leaves")
    _numbers(lines[-4], "shrinkage", 1, 0, _LARGE)

    sizes = {"leaf": n_leaves, "node": n_leaves - 1}
    found = {
        name: _numbers(line, name, sizes[size], low, high)
        for line, (name, size, low, high) in zip(lines[3:-5], _LINES, strict=True)
    }

    return Tree(
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


def _check(tree: Tree, n_features: int) -> None:
    """Refuse nodes that do not form a tree over so many attributes.

    In a tree, each node but the first, and each leaf, is a child exactly once, and a node's parent
    comes before it.
    """
    if any(feature >= n_features for feature in tree.feature):
        raise ValueError("a split is of no scored attribute")
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
    """Return the lines of a tree that LightGBM needs to score and to explain."""
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

    # A number's shortest text is read back as the same number.
    return "".join(f"{name}={' '.join(map(repr, numbers))}\n" for name, numbers in lines.items())
