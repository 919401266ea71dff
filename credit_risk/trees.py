"""Boosted trees: grow them, read their scores while they grow, average several into one.

The house's limits stand here: at most 8 leaves a tree, 1,250 trees, numerical splits. The fast paths of scoring rely on
them.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike

from credit_risk.application import SCORED, Floats

MAX_LEAVES = 8
MAX_TREES = 1250
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
_SCALED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


class Tree(NamedTuple):
    """One tree: node i goes left where `feature[i] <= threshold[i]`; a child below 0 is the leaf of number `~child`.

    `decision` are LightGBM's bits: 1 for a categorical split, 2 where missing values go left, 4 where NaN and 0 are
    missing, 8 where NaN alone is; with neither, NaN counts as 0. `node_count` and `leaf_count` are training clients.
    """

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]
    decision: list[int]
    node_count: list[int]
    leaf_count: list[int]


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
    """Return the trees of a booster's text."""
    return [_parse(tree) for tree in _split(text)[1]]


def _parse(tree: str) -> Tree:
    fields = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)

    def whole(name: str) -> list[int]:
        return [int(word) for word in fields.get(name, "").split()]

    def real(name: str) -> list[float]:
        return [float(word) for word in fields.get(name, "").split()]

    return Tree(
        feature=whole("split_feature"),
        threshold=real("threshold"),
        left=whole("left_child"),
        right=whole("right_child"),
        value=real("leaf_value"),
        decision=whole("decision_type"),
        node_count=whole("internal_count"),
        leaf_count=whole("leaf_count"),
    )


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
