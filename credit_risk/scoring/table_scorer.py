"""Scores and exact contributions from tables, faster than LightGBM's walk from node to node.

A tree of at most 8 leaves has at most 7 splits, so their outcomes make at most 128 patterns. What
the tree adds to the score, and its SHAP value of each attribute, are computed once for each
pattern; those of a client are then looked up and added (`credit_risk.scoring._numba`).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from credit_risk.schema.attributes import Attribute, Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring._numba import Bytes, Splits, Tables, add_up
from credit_risk.scoring.tree_text import Tree
from credit_risk.scoring.trees import MAX_LEAVES

MAX_SPLITS = MAX_LEAVES - 1
# Largest difference of risks and contributions from LightGBM's.
TOLERANCE = 1e-6

# Rows per thread and turn. For fewer than two lots, threads cost more than they save.
_LOT = 16_384
_PATTERNS = np.arange(2**MAX_SPLITS, dtype=np.uint8)
# A bin that no value exceeds, for the splits that a smaller tree lacks: they never go right.
_NEVER = 255
_PROBE_ROWS = 256
_PROBE_EXPLAINED = 32


class UnsupportedModel(ValueError):
    """The kernel does not support the trees, or its figures differ from LightGBM's.

    The message says which.
    """


class Kernel:
    """Trees as tables.

    Parameters
    ----------
    trees : sequence of Tree
        Over the scored attributes, as `credit_risk.scoring.tree_text.parse` returns them: small,
        with numerical splits, and with training clients at each node.
    dataset : Dataset
        Whose applications they score.

    Raises
    ------
    UnsupportedModel
        When an attribute has more than 255 thresholds.
    """

    def __init__(self, trees: Sequence[Tree], dataset: Dataset) -> None:
        self._dataset = dataset
        self._splits = _splits(trees, dataset.scored_columns)
        self._scores, self._contributions = _tables(trees)
        self._bias = sum(_expected(tree) for tree in trees)

    def scores(self, codes: Floats) -> Floats:
        """Return the raw scores, log-odds, shape (n,).

        Parameters
        ----------
        codes : array of shape (n, n_attributes)
            Encoded applications, as `Inputs.ranked` returns them.
        """
        return self._sums(codes, self._scores, 1)[:, 0]

    def risks(self, codes: Floats) -> Floats:
        """Return the risks, shape (n,); see `scores`."""
        return np.asarray(1 / (1 + np.exp(-self.scores(codes))))

    def contributions(self, codes: Floats) -> Floats:
        """Return SHAP values, shape (n, n_scored + 1); see `scores`. The last one is the bias."""
        found = self._sums(codes, self._contributions, len(self._dataset.scored) + 1)
        found[:, -1] = self._bias
        return found

    def check(self, booster: lgb.Booster) -> None:
        """Compare the kernel with LightGBM on a probe of varied clients.

        Raises
        ------
        UnsupportedModel
            When a risk or a contribution differs by more than a millionth.
        """
        codes = self._probe()
        inputs = codes[:, self._dataset.scored_columns]
        _same("risks", self.risks(codes), booster.predict(inputs, num_threads=1))

        codes, inputs = codes[:_PROBE_EXPLAINED], inputs[:_PROBE_EXPLAINED]
        explained = booster.predict(inputs, pred_contrib=True, num_threads=1)
        _same("contributions", self.contributions(codes), explained)

    def _probe(self) -> Floats:
        """Return clients, the same each time, with values on either side of every split."""
        random = np.random.default_rng(0)
        codes = np.empty((_PROBE_ROWS, len(self._dataset.names)))
        for place, attribute in enumerate(self._dataset.attributes):
            choices = self._choices(place, attribute)
            codes[:, place] = random.choice(choices, _PROBE_ROWS)
        return codes

    def _choices(self, place: int, attribute: Attribute) -> Floats:
        """Return values of an attribute that its splits tell apart."""
        first, thresholds = self._splits.first, self._splits.thresholds
        low, high = attribute.minimum, attribute.maximum
        if attribute.categories:
            high = len(attribute.categories) - 1

        values = [np.linspace(low, high, 64).round(attribute.decimals)]
        step = 10.0**-attribute.decimals
        for column in np.flatnonzero(self._splits.attribute == place):
            edges = np.floor(thresholds[first[column] : first[column + 1]] / step) * step
            values += [edges, edges + step]

        choices = np.unique(np.clip(np.concatenate(values), low, high))
        return np.append(choices, np.nan) if attribute.missing else choices

    def _sums(self, codes: Floats, tables: Tables, n_sums: int) -> Floats:
        # For arrays that are read-only or of another layout, numba would compile once more.
        if codes.dtype != np.float64 or not codes.flags.carray:
            codes = np.require(codes, np.float64, ["C", "A", "W"])

        sums = np.empty((len(codes), n_sums))
        if len(codes) < 2 * _LOT:
            add_up(codes, self._splits, tables, sums)
            return sums

        def lot(start: int) -> None:
            part = slice(start, start + _LOT)
            add_up(codes[part], self._splits, tables, sums[part])

        # New threads each time: a pool would not survive the fork that makes a server's workers.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lot, range(0, len(codes), _LOT)))

        return sums


def _same(what: str, ours: Floats, theirs: Floats) -> None:
    if not np.allclose(ours, theirs, rtol=0, atol=TOLERANCE):
        difference = np.abs(ours - theirs).max()
        raise UnsupportedModel(
            f"its {what} are not LightGBM's; they differ by up to {difference:.2g}"
        )


def _splits(trees: Sequence[Tree], scored_columns: NDArray[np.int64]) -> Splits:
    """Return all trees' splits, with each column's thresholds numbered."""
    # A column is an attribute and the way of its missing values: one column per attribute, unless
    # training saw missing ones.
    found: dict[tuple[int, int], set[float]] = {}
    keys = []
    for tree in trees:
        ways = [decision if decision & 12 else 0 for decision in tree.decision]
        keys.append(list(zip(tree.feature, ways, strict=True)))
        for key, threshold in zip(keys[-1], tree.threshold, strict=True):
            found.setdefault(key, set()).add(threshold)

    thresholds = [sorted(values) for values in found.values()]
    if max(map(len, thresholds), default=0) > _NEVER:
        raise UnsupportedModel(f"an attribute has more than {_NEVER} thresholds")

    place = {key: number for number, key in enumerate(found)}
    bins = [{threshold: number for number, threshold in enumerate(values)} for values in thresholds]
    column = np.zeros((len(trees), MAX_SPLITS), dtype=np.int64)
    cut = np.full((len(trees), MAX_SPLITS), _NEVER, dtype=np.uint8)
    for t, tree in enumerate(trees):
        for i, (key, threshold) in enumerate(zip(keys[t], tree.threshold, strict=True)):
            column[t, i] = place[key]
            cut[t, i] = bins[place[key]][threshold]

    all_thresholds = [threshold for values in thresholds for threshold in values]
    return Splits(
        attribute=scored_columns[[feature for feature, _ in found]],
        at_nan=np.array([_replacement(way) if way & 12 else 0.0 for _, way in found]),
        at_zero=np.array([_replacement(way) if way & 4 else 0.0 for _, way in found]),
        first=np.cumsum([0, *map(len, thresholds)]),
        thresholds=np.array(all_thresholds, dtype=np.float64),
        column=column,
        cut=cut,
    )


def _replacement(decision: int) -> float:
    """Return the value that goes the way of missing values at every split.

    That is -inf to the left, as it exceeds no threshold, and NaN to the right.
    """
    return -np.inf if decision & 2 else np.nan


def _tables(trees: Sequence[Tree]) -> tuple[Tables, Tables]:
    """Return the tables of the scores, and those of the contributions.

    The latter add to one sum per scored attribute.
    """
    paths = _Paths(trees)
    scores = np.zeros((len(trees), len(_PATTERNS)))
    shap = np.zeros((len(trees), MAX_SPLITS, len(_PATTERNS)))

    for leaf in range(MAX_LEAVES):
        value = paths.value[:, leaf, None]
        follows = (_PATTERNS & paths.mask[:, leaf, :, None]) == paths.right[:, leaf, :, None]
        scores += np.where(follows.all(axis=1), value, 0.0)
        shap += value[..., None] * _shapley(follows, paths.share[:, leaf, :, None])

    one_each = np.arange(len(trees) + 1)
    used = paths.attribute >= 0
    return (
        Tables(first=one_each, target=np.zeros(len(trees), dtype=np.int64), values=scores),
        Tables(
            first=np.concatenate([[0], np.cumsum(used.sum(axis=1))]),
            target=paths.attribute[used],
            values=shap[used],
        ),
    )


def _shapley(follows: NDArray[np.bool_], share: Floats) -> Floats:
    """Return the attributes' Shapley values of reaching a leaf of value 1.

    They are computed for T trees and 128 patterns at once. The leaf's game is a product: for each
    known attribute, whether its splits let the client pass; for each other, the share of training
    clients that they let pass. Its Shapley values are integrals over u of the product in which each
    other attribute is known with probability u. That is a polynomial of degree 6 at most, for which
    the four-point rule is exact.

    Parameters
    ----------
    follows : array of bool, shape (T, 7, 128)
        Whether the client takes the path at all splits of an attribute; true for attributes that
        are not on the path.
    share : array of shape (T, 7, 1)
        The share of training clients that takes the path there; 1 for attributes not on it.

    Returns
    -------
    array of shape (T, 7, 128)

    References
    ----------
    Lundberg, Erion and Lee, Consistent individualized feature attribution for tree ensembles, 2018.
    """
    total = np.zeros(follows.shape)
    for node, weight in zip(*np.polynomial.legendre.leggauss(4), strict=True):
        known = (1 + node) / 2
        passes = np.where(follows, share + known * (1 - share), share * (1 - known))
        total += weight / 2 * passes.prod(axis=1, keepdims=True) / passes

    return np.asarray((follows - share) * total)


class _Paths:
    """The path to each leaf, by the attributes that a tree uses, at most 7.

    Attributes
    ----------
    attribute : array of shape (T, 7)
        Number of the scored attribute; -1 where a tree uses fewer.
    mask, right : array of shape (T, 8, 7)
        Which splits are of the attribute and on the path to the leaf, and which of these go right;
        as bits.
    share : array of shape (T, 8, 7)
        The share of training clients that takes the path at these splits.
    value : array of shape (T, 8)
        The leaf's value; 0 where a tree has fewer leaves.
    """

    def __init__(self, trees: Sequence[Tree]) -> None:
        shape = (len(trees), MAX_LEAVES, MAX_SPLITS)
        self.attribute = np.full((len(trees), MAX_SPLITS), -1)
        self.mask: Bytes = np.zeros(shape, dtype=np.uint8)
        self.right: Bytes = np.zeros(shape, dtype=np.uint8)
        self.share = np.ones(shape)
        self.value = np.zeros(shape[:2])

        for t, tree in enumerate(trees):
            used = list(dict.fromkeys(tree.feature))
            self.attribute[t, : len(used)] = used
            self.value[t, : len(tree.value)] = tree.value
            for leaf, path in _leaf_paths(tree):
                for node, child in path:
                    at = t, leaf, used.index(tree.feature[node])
                    self.mask[at] |= 1 << node
                    self.right[at] |= (child == tree.right[node]) << node
                    self.share[at] *= _count(tree, child) / tree.node_count[node]


def _leaf_paths(tree: Tree) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return each leaf's number, and the nodes on the path to it with the child that follows."""
    if not tree.feature:
        return [(0, [])]

    found = []
    ahead: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    while ahead:
        node, path = ahead.pop()
        for child in (tree.left[node], tree.right[node]):
            longer = [*path, (node, child)]
            if child < 0:
                found.append((~child, longer))
            else:
                ahead.append((child, longer))

    return found


def _count(tree: Tree, node: int) -> int:
    return tree.node_count[node] if node >= 0 else tree.leaf_count[~node]


def _expected(tree: Tree) -> float:
    """Return a tree's mean over the training clients, computed as LightGBM does."""
    if not tree.feature:
        return tree.value[0]

    return sum(
        count / tree.node_count[0] * value
        for count, value in zip(tree.leaf_count, tree.value, strict=True)
    )
