"""What would change a refusal: the smallest change of an application that turns it green.

Only attributes that a client can influence are changed: a lower amount, a shorter loan, savings one
class up, a guarantor. All combinations are scored exactly, by adding up the trees' leaves over a
grid of these attributes. The result is then scored once more by the scorer itself.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from credit_risk.schema.attributes import ATTRIBUTE, NAMES, SCORED, Floats
from credit_risk.schema.code_book import meaning
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.tree_text import Tree

LEVERS = ("credit_amount", "duration", "savings_status", "other_parties")

_GUARANTOR = float(ATTRIBUTE["other_parties"].categories.index("guarantor"))
_NOBODY = float(ATTRIBUTE["other_parties"].categories.index("none"))


@dataclass(frozen=True)
class Change:
    """A change that turns a red client green.

    Attributes
    ----------
    codes : array of shape (20,)
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
    scorer: CreditScorer, codes: Floats, levers: Collection[str] = LEVERS
) -> Change | None:
    """Return the smallest change that turns a red client green.

    That is the one with the fewest attributes, and among those the least relative change.

    Parameters
    ----------
    codes : array of shape (20,)
        One encoded application.
    levers : collection of str
        Which of `LEVERS` may be pulled.

    Returns
    -------
    Change or None
        None when no change within the training ranges is enough, or the client is green already.

    Raises
    ------
    ValueError
        When a lever is not one of `LEVERS`.
    """
    if unknown := set(levers) - set(LEVERS):
        raise ValueError(f"{sorted(unknown)} cannot be changed; choose of {', '.join(LEVERS)}")

    codes = np.asarray(codes, dtype=np.float64)
    if not scorer.decide(codes[None]).red[0]:
        return None

    axes = {
        name: _choices(scorer, codes, name) if name in levers else [_present(codes, name)]
        for name in LEVERS
    }
    limit = np.log(scorer.threshold / (1 - scorer.threshold)) - scorer.shift
    size = _sizes(codes, axes)
    size[_raw_scores(scorer.trees, codes, axes) >= limit] = np.inf

    for flat in np.argsort(size, axis=None, kind="stable"):
        point = np.unravel_index(int(flat), size.shape)
        if not np.isfinite(size[point]):
            break

        changed = codes.copy()
        for i, (name, values) in zip(point, axes.items(), strict=True):
            changed[NAMES.index(name)] = values[i]

        decided = scorer.decide(changed[None])
        # Sums in another order may differ in their last digit, so a point right at the threshold
        # may still be red. Then the next one is tried.
        if not decided.red[0]:
            names = tuple(
                name for name in LEVERS if _present(changed, name) != _present(codes, name)
            )
            return Change(changed, names, float(decided.risk[0]), _text(codes, changed, names))

    return None


def _present(codes: Floats, name: str) -> float:
    return float(codes[NAMES.index(name)])


def _choices(scorer: CreditScorer, codes: Floats, name: str) -> list[float]:
    """Return the values that an attribute may take, ascending; the present one is among them."""
    present = _present(codes, name)
    if name in ("credit_amount", "duration"):
        return _lower_amounts(scorer, name, present)
    if name == "other_parties" and present != _NOBODY:
        return [present]

    better = _GUARANTOR if name == "other_parties" else present + 1
    categories = ATTRIBUTE[name].categories
    seen = better < len(categories) and (categories[int(better)] in scorer.domain.categories[name])

    return [present, better] if seen else [present]


def _lower_amounts(scorer: CreditScorer, name: str, present: float) -> list[float]:
    """Return the present amount and the lower ones that matter, ascending.

    Between two thresholds of the trees the score does not change, so the highest whole number below
    each threshold is enough.
    """
    feature = SCORED.index(name)
    low = scorer.domain.ranges[name][0]

    amounts = {present}
    for tree in scorer.trees:
        for split, threshold in zip(tree.feature, tree.threshold, strict=True):
            amount = float(np.floor(threshold))
            if split == feature and low <= amount < present:
                amounts.add(amount)

    return sorted(amounts)


def _sizes(codes: Floats, axes: dict[str, list[float]]) -> Floats:
    """Return how large the change is at each point of the grid."""
    size = np.zeros([len(values) for values in axes.values()])
    for axis, (name, values) in enumerate(axes.items()):
        changes = [_size(name, _present(codes, name), value) for value in values]
        # Each relative change is at most 1, so one more attribute outweighs all the others' sizes.
        steps = np.array([10 + change if change else 0.0 for change in changes])
        size += steps.reshape([-1 if i == axis else 1 for i in range(len(axes))])

    return size


def _size(name: str, present: float, value: float) -> float:
    """Return how large a change is, in [0, 1].

    A quantity: the share by which it is lower. Savings: one of four steps. A guarantor: 1.
    """
    if name == "other_parties":
        return float(value != present)
    if name == "savings_status":
        return abs(value - present) / (len(ATTRIBUTE[name].categories) - 1)

    return (present - value) / present


def _raw_scores(trees: list[Tree], codes: Floats, axes: dict[str, list[float]]) -> Floats:
    """Return the raw score at each point of the grid, with the other attributes unchanged."""
    inputs = {SCORED.index(name): _present(codes, name) for name in SCORED}
    order = {SCORED.index(name): place for place, name in enumerate(axes)}
    values = [np.array(v) for v in axes.values()]
    total = np.zeros([len(v) for v in values])
    for tree in trees:
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
                open_.append((left if inputs[feature] <= threshold else right, box))
                continue

            axis = order[feature]
            start, end = box[axis]
            cut = min(max(int(np.searchsorted(values[axis], threshold, side="right")), start), end)
            for child, ends in ((left, (start, cut)), (right, (cut, end))):
                if ends[0] < ends[1]:
                    open_.append((child, (*box[:axis], ends, *box[axis + 1 :])))

    return total


def _text(codes: Floats, changed: Floats, names: tuple[str, ...]) -> str:
    parts = []
    for name in names:
        old, new = _present(codes, name), _present(changed, name)
        if name == "credit_amount":
            parts.append(f"a loan of {int(new):,} DM instead of {int(old):,}")
        elif name == "duration":
            parts.append(f"{int(new)} months instead of {int(old)}")
        elif name == "other_parties":
            parts.append("a guarantor")
        else:
            before, after = (ATTRIBUTE[name].categories[int(code)] for code in (old, new))
            parts.append(
                f"savings recorded as “{after}” ({meaning(name, after)}) instead of “{before}”"
            )

    return "Would be green with " + " and ".join(parts)
