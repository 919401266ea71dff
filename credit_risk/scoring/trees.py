"""Boosted trees: growing them, and averaging several boosters into one.

The limits on which the fast paths of scoring rely are defined here: at most 8 leaves a tree, 1,250
trees, numerical splits.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Dataset

MAX_LEAVES = 8
MAX_TREES = 1250
# Bins per attribute, coarse as in a scorecard: finer ones overfit to a thousand clients.
MAX_BIN = 16

_DIRECTIONS = {"more": 1, "less": -1, None: 0}

_FIXED: dict[str, Any] = {
    "objective": "binary",
    "metric": "none",
    # On data this small, more threads are slower; one gives the same trees on every machine.
    "num_threads": 1,
    "deterministic": True,
    # Three settings that change no tree, only the time that it takes, by 20 % and 15 %: each tree
    # sees only some of the attributes, and none of them is sparse.
    "force_col_wise": True,
    "enable_bundle": False,
    "is_enable_sparse": False,
    "max_bin": MAX_BIN,
    # So the bins do not depend on a candidate's leaf size, and all candidates can share them.
    "feature_pre_filter": False,
    "verbosity": -1,
}
_SCALED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


class Bins(NamedTuple):
    """Inputs sorted into bins.

    Attributes
    ----------
    data : lightgbm.Dataset
    directions : list of int
        What `directions` returns for their data set.
    """

    data: lgb.Dataset
    directions: list[int]


def binned(
    inputs: Floats,
    dataset: Dataset,
    bad: ArrayLike | None = None,
    reference: Bins | None = None,
) -> Bins:
    """Return inputs sorted into bins, once for all the trees that grow on them.

    Parameters
    ----------
    inputs : array of shape (n, n_scored)
        What the trees see, as `Inputs.of` returns it.
    bad : array-like of bool, shape (n,), optional
        Who turned out bad. Not needed for inputs that `path` only scores.
    reference : Bins, optional
        The training inputs, if these inputs are to be scored by trees grown on those.
    """
    label = np.zeros(len(inputs)) if bad is None else np.asarray(bad, dtype=np.float64)
    data = lgb.Dataset(
        inputs,
        label,
        reference=reference.data if reference else None,
        feature_name=list(dataset.scored),
        params=dict(_FIXED),
    )
    return Bins(data.construct(), directions(dataset))


def directions(dataset: Dataset) -> list[int]:
    """Return 1 for each scored attribute of which more means more risk, -1 for less, 0 for others.

    The parameter `monotone` holds the trees to it: that costs a little AUC, and saves cost where
    few clients decide a split.
    """
    return [_DIRECTIONS[attribute.direction] for attribute in dataset.scored_attributes]


def grow(bins: Bins, params: dict[str, Any], rounds: int, seed: int) -> lgb.Booster:
    """Return `rounds` trees grown on binned inputs.

    Raises
    ------
    ValueError
        When the parameters ask for more than 8 leaves a tree.
    """
    booster = _start(bins, params, seed)
    for _ in range(rounds):
        booster.update()
    return booster


def path(
    bins: Bins, others: Bins, params: dict[str, Any], rounds: Sequence[int], seed: int
) -> Floats:
    """Return the risks of other clients for several numbers of trees.

    The trees of 200 rounds are the first 200 of those of 250. So the trees are grown once, and the
    risks are read on the way.

    Parameters
    ----------
    others : Bins
        `binned` with `bins` as the reference; n clients.
    rounds : sequence of int
        Numbers of trees, ascending.

    Returns
    -------
    array of shape (len(rounds), n)
    """
    booster = _start(bins, params, seed).add_valid(others.data, "others")
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
    """Return the text of a booster whose raw score is the mean of the given boosters' raw scores.

    All trees are kept, with their values divided by the number of boosters, so contributions are
    averaged too.

    Raises
    ------
    ValueError
        When there are more than 1,250 trees in all, or the boosters do not score the same
        attributes.
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


def _start(bins: Bins, params: dict[str, Any], seed: int) -> lgb.Booster:
    params = params | _FIXED | {"seed": seed}
    if params.pop("monotone", False):
        params["monotone_constraints"] = bins.directions
    if params["num_leaves"] > MAX_LEAVES:
        raise ValueError(
            f"num_leaves is {params['num_leaves']}; the fast paths take at most {MAX_LEAVES}"
        )

    return lgb.Booster(params, bins.data)


def _split(text: str) -> tuple[str, list[str], str]:
    """Return the parts of a booster's text: what is before `tree_sizes`, the trees, what follows.

    The trees come without their numbers.
    """
    head, rest = text.split("tree_sizes=", 1)
    body, end = rest.split("end of trees\n", 1)
    trees = re.split(r"^Tree=\d+\n", body, flags=re.MULTILINE)[1:]

    return head, trees, "end of trees\n" + end


def _scaled(tree: str, factor: float) -> str:
    def scale(line: re.Match[str]) -> str:
        values = [repr(float(value) * factor) for value in line[2].split()]
        return f"{line[1]}=" + " ".join(values)

    return _SCALED.sub(scale, tree)
