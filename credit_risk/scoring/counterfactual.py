"""What would change a refusal: the smallest change of an application that turns it green.

Only attributes that a client can influence are changed, as the definition's levers say: a lower
amount, a shorter loan, savings one class up, a guarantor. All combinations are scored exactly, by
adding up the trees' leaves over a grid of these attributes. The result is then scored once more by
the scorer itself.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from credit_risk.schema.attributes import Attribute, Floats, Labels
from credit_risk.schema.dataset import Dataset, Lever
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.tree_text import Tree

# Points of the grid: as many take a quarter of a second with 1,250 trees.
MAX_POINTS = 200_000
# LightGBM takes values as near to 0 as this for 0.
_TINY = 1e-35


@dataclass(frozen=True)
class Change:
    """A change that turns a red client green.

    Attributes
    ----------
    codes : array of shape (n_attributes,)
        The changed application.
    attributes : tuple of str
        Which attributes are changed.
    risk : float
        Risk of the changed application; below the threshold.
    text : str
        The change in words.
    """

    codes: Floats
    attributes: tuple[str, ...]
    risk: float
    text: str


def counterfactual(
    scorer: CreditScorer,
    codes: Floats,
    levers: Collection[str] | None = None,
    labels: Labels = "meaning",
) -> Change | None:
    """Return the smallest change that turns a red client green.

    That is the one with the fewest attributes, and among those the least relative change.

    Parameters
    ----------
    codes : array of shape (n_attributes,)
        One encoded application.
    levers : collection of str, optional
        Which of the definition's levers may be pulled; all by default.
    labels : str
        What the text says of a value: what it means, or the word of the file.

    Returns
    -------
    Change or None
        None when no change within the training ranges is enough, or the client is green already.

    Raises
    ------
    ValueError
        When a lever is not one of the definition's.
    """
    known = [lever.attribute for lever in scorer.dataset.levers]
    if unknown := set(levers or ()) - set(known):
        raise ValueError(f"{sorted(unknown)} cannot be changed; choose of {', '.join(known)}")

    codes = np.asarray(codes, dtype=np.float64)
    if not scorer.decide(codes[None]).red[0]:
        return None
    return _smallest(scorer, codes, known if levers is None else levers, labels)


def _smallest(
    scorer: CreditScorer, codes: Floats, pulled: Collection[str], labels: Labels
) -> Change | None:
    axes = [
        _Axis(scorer, lever, codes)
        for lever in scorer.dataset.levers
        if lever.attribute in pulled and not np.isnan(codes[_place(scorer.dataset, lever)])
    ]
    _thin(axes)
    limit = np.log(scorer.threshold / (1 - scorer.threshold)) - scorer.shift
    size = _sizes(axes)
    size[_raw_scores(scorer, codes, axes) >= limit] = np.inf

    for flat in np.argsort(size, axis=None, kind="stable"):
        point = np.unravel_index(int(flat), size.shape)
        if not np.isfinite(size[point]):
            break

        changed = codes.copy()
        for i, axis in zip(point, axes, strict=True):
            changed[axis.place] = axis.values[i]

        decided = scorer.decide(changed[None])
        # Sums in another order may differ in their last digit, so a point right at the threshold
        # may still be red. Then the next one is tried.
        if not decided.red[0]:
            moved = [axis for axis in axes if changed[axis.place] != axis.present]
            names = tuple(axis.attribute.name for axis in moved)
            texts = [axis.text(changed[axis.place], labels) for axis in moved]
            text = "Would be green with " + " and ".join(texts)
            return Change(changed, names, float(decided.risk[0]), text)

    return None


class _Axis:
    """The values that a lever may give an attribute.

    Attributes
    ----------
    place : int
        The attribute's place among all.
    present : float
        Its code in the application.
    values : list of float
        The codes that it may have, ascending as the trees see them; the present one is among them.
    """

    def __init__(self, scorer: CreditScorer, lever: Lever, codes: Floats) -> None:
        self.place = _place(scorer.dataset, lever)
        self.attribute: Attribute = scorer.dataset.attributes[self.place]
        self.present = float(codes[self.place])
        self._lever = lever
        ranks = scorer.inputs.ranks.get(lever.attribute)
        self._ranks = None if ranks is None else np.array(ranks)
        self._width = 0.0

        found = self._lower(scorer) if lever.way == "lower" else self._categories(scorer)
        self.values = sorted(found, key=self.seen)

    def seen(self, code: float) -> float:
        """Return what the trees see of a code."""
        return code if self._ranks is None else float(self._ranks[int(code)])

    def size(self, value: float) -> float:
        """Return how large a change is, in [0, 1].

        A quantity: the share by which it is lower, or, where it may be 0 or less, the share of its
        range. The next of some values: one of their steps. Another value: 1.
        """
        if self._lever.way == "set":
            return float(value != self.present)
        if self._lever.way == "next":
            return abs(value - self.present) / (len(self.attribute.categories) - 1)
        whole = self.present if value >= 0 and self.present > 0 else self._width
        return (self.present - value) / whole if whole else 0.0

    def text(self, value: float, labels: Labels) -> str:
        """Return the change to a value in words."""
        if self.attribute.is_quantity:
            old, new = self.attribute.value(self.present), self.attribute.value(value)
            return self._lever.text.format(new=f"{new:,}", old=f"{old:,}", other=new)

        old, _ = self.attribute.shown(self.attribute.recorded(self.present), labels)
        new, other = self.attribute.shown(self.attribute.recorded(value), labels)
        return self._lever.text.format(new=new, old=old, other=other or new)

    def _lower(self, scorer: CreditScorer) -> set[float]:
        """Return the present amount and the lower ones that matter.

        Between two thresholds of the trees the score does not change, so the highest number below
        each threshold is enough.
        """
        feature = scorer.dataset.scored.index(self.attribute.name)
        low, high = scorer.domain.ranges.get(self.attribute.name, (self.present, self.present))
        self._width = high - low
        unit = 10**self.attribute.decimals

        amounts = {self.present}
        for tree in scorer.trees:
            for split, threshold in zip(tree.feature, tree.threshold, strict=True):
                amount = float(np.floor(threshold * unit) / unit)
                if split == feature and low <= amount < self.present:
                    amounts.add(amount)
        return amounts

    def _categories(self, scorer: CreditScorer) -> set[float]:
        """Return the present value, and the one that the lever leads to, if training saw it."""
        categories, lever = self.attribute.categories, self._lever
        if lever.way == "next":
            better = int(self.present) + 1
        elif lever.of and categories[int(self.present)] != lever.of:
            return {self.present}
        else:
            better = categories.index(lever.to)

        seen = scorer.domain.categories.get(self.attribute.name, ())
        if better < len(categories) and categories[better] in seen:
            return {self.present, float(better)}
        return {self.present}


def _place(dataset: Dataset, lever: Lever) -> int:
    return dataset.names.index(lever.attribute)


def _thin(axes: list[_Axis]) -> None:
    """Leave out every other value of the longest axis until the grid is small enough to score."""
    while math.prod(len(axis.values) for axis in axes) > MAX_POINTS:
        longest = max(axes, key=lambda axis: len(axis.values))
        kept = [v for i, v in enumerate(longest.values) if i % 2 == 0 or v == longest.present]
        longest.values = kept


def _sizes(axes: list[_Axis]) -> Floats:
    """Return how large the change is at each point of the grid."""
    size = np.zeros([len(axis.values) for axis in axes])
    for number, axis in enumerate(axes):
        changes = [axis.size(value) for value in axis.values]
        # Each relative change is at most 1, so one more attribute outweighs all the others' sizes.
        steps = np.array([10 + change if change else 0.0 for change in changes])
        size += steps.reshape([-1 if i == number else 1 for i in range(len(axes))])

    return size


def _raw_scores(scorer: CreditScorer, codes: Floats, axes: list[_Axis]) -> Floats:
    """Return the raw score at each point of the grid, with the other attributes unchanged."""
    inputs = scorer.inputs.of(codes[None])[0]
    order = {
        scorer.dataset.scored.index(axis.attribute.name): number for number, axis in enumerate(axes)
    }
    values = [np.array([axis.seen(value) for value in axis.values]) for axis in axes]
    total = np.zeros([len(v) for v in values])
    for tree in scorer.trees:
        # Nodes to visit, each with the part of the grid that reaches it.
        open_ = [(0 if len(tree.feature) else -1, tuple((0, n) for n in total.shape))]
        while open_:
            node, box = open_.pop()
            if node < 0:
                total[tuple(slice(*ends) for ends in box)] += tree.value[~node]
                continue

            feature, threshold = tree.feature[node], tree.threshold[node]
            left, right = tree.left[node], tree.right[node]
            if feature not in order:
                open_.append((left if _goes_left(tree, node, inputs[feature]) else right, box))
                continue

            axis = order[feature]
            start, end = box[axis]
            cut = min(max(int(np.searchsorted(values[axis], threshold, side="right")), start), end)
            for child, ends in ((left, (start, cut)), (right, (cut, end))):
                if ends[0] < ends[1]:
                    open_.append((child, (*box[:axis], ends, *box[axis + 1 :])))

    return total


def _goes_left(tree: Tree, node: int, value: float) -> bool:
    """Return whether a value goes left at a node, as LightGBM decides; see `Tree`."""
    decision = tree.decision[node]
    if np.isnan(value):
        if decision & 12:
            return bool(decision & 2)
        value = 0.0
    if decision & 4 and abs(value) <= _TINY:
        return bool(decision & 2)
    return value <= tree.threshold[node]
