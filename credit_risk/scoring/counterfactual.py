"""What would change a refusal: the smallest change of an application that turns it green.

Only what a client can do something about is changed: a lower amount, a shorter loan, savings one class up, a guarantor.
All combinations are scored exactly, by adding up the trees' leaves over a grid of those few attributes; what is found
is scored once more, the usual way, before it is said.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from credit_risk.schema.attributes import ATTRIBUTE, NAMES, SCORED, Floats
from credit_risk.schema.code_book import meaning
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.trees import Tree

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
        Of the changed application; below the threshold.
    text : str
        The change in words.
    """

    codes: Floats
    attributes: tuple[str, ...]
    risk: float
    text: str


def what_would_change_it(scorer: CreditScorer, codes: Floats, levers: Collection[str] = LEVERS) -> Change | None:
    """Return the smallest change that turns a red client green: fewest attributes, then least relative change.

    Parameters
    ----------
    codes : array of shape (20,)
        One encoded application.
    levers : collection of str
        Which of `LEVERS` may be pulled.

    Returns
    -------
    Change or None
        None when nothing within the training ranges turns it, or the client is green already.

    Raises
    ------
    ValueError
        When a lever is none of `LEVERS`.
    """
    if unknown := set(levers) - set(LEVERS):
        raise ValueError(f"{sorted(unknown)} cannot be changed; choose of {', '.join(LEVERS)}")
    codes = np.asarray(codes, dtype=np.float64)
    if not scorer.decide(codes[None]).red[0]:
        return None
    axes = {name: _choices(scorer, codes, name) if name in levers else [_present(codes, name)] for name in LEVERS}
    limit = np.log(scorer.threshold / (1 - scorer.threshold)) - scorer.shift
    size = np.zeros([len(values) for values in axes.values()])
    for place, (name, values) in enumerate(axes.items()):
        # One attribute more outweighs any relative change of the others, each of which is at most 1.
        changes = [_size(name, _present(codes, name), value) for value in values]
        steps = np.array([10 + change if change else 0.0 for change in changes])
        size += steps.reshape([-1 if i == place else 1 for i in range(len(axes))])
    size[_raw(scorer.trees, codes, axes) >= limit] = np.inf
    for flat in np.argsort(size, axis=None, kind="stable"):
        point = np.unravel_index(int(flat), size.shape)
        if not np.isfinite(size[point]):
            break
        changed = codes.copy()
        for i, (name, values) in zip(point, axes.items(), strict=True):
            changed[NAMES.index(name)] = values[i]
        decided = scorer.decide(changed[None])
        # Sums in another order may differ in their last digit, so at the very threshold the next one is taken.
        if not decided.red[0]:
            names = tuple(name for name in LEVERS if _present(changed, name) != _present(codes, name))
            return Change(changed, names, float(decided.risk[0]), _words(codes, changed, names))
    return None


def _present(codes: Floats, name: str) -> float:
    return float(codes[NAMES.index(name)])


def _choices(scorer: CreditScorer, codes: Floats, name: str) -> list[float]:
    """Return the values that an attribute may take, ascending; the present one is among them."""
    present, domain = _present(codes, name), scorer.domain
    if name in ("credit_amount", "duration"):
        # Between two thresholds of the trees nothing changes: the highest whole number below each will do.
        feature, (low, _) = SCORED.index(name), domain.ranges[name]
        splits = {t for tree in scorer.trees for f, t in zip(tree.feature, tree.threshold, strict=True) if f == feature}
        return sorted({float(np.floor(t)) for t in splits if low <= np.floor(t) < present} | {present})
    better = _GUARANTOR if name == "other_parties" else present + 1
    if name == "other_parties" and present != _NOBODY:
        return [present]
    categories = ATTRIBUTE[name].categories
    seen = better < len(categories) and categories[int(better)] in domain.categories[name]
    return [present, better] if seen else [present]


def _size(name: str, present: float, value: float) -> float:
    """Return how large a change is: the share that a quantity goes down; one of four steps; all of it."""
    if name == "other_parties":
        return float(value != present)
    if name == "savings_status":
        return abs(value - present) / (len(ATTRIBUTE[name].categories) - 1)
    return (present - value) / present


def _raw(trees: list[Tree], codes: Floats, axes: dict[str, list[float]]) -> Floats:
    """Return the raw score at each point of the grid, all else as it is."""
    inputs = {SCORED.index(name): _present(codes, name) for name in SCORED}
    order = {SCORED.index(name): place for place, name in enumerate(axes)}
    values = [np.array(v) for v in axes.values()]
    total = np.zeros([len(v) for v in values])
    for tree in trees:
        # A node, and the part of the grid that gets there.
        open_ = [(0 if len(tree.feature) else -1, tuple((0, n) for n in total.shape))]
        while open_:
            node, box = open_.pop()
            if node < 0:
                total[tuple(slice(*ends) for ends in box)] += tree.value[~node]
                continue
            feature, threshold = tree.feature[node], tree.threshold[node]
            if feature not in order:
                open_.append((tree.left[node] if inputs[feature] <= threshold else tree.right[node], box))
                continue
            axis = order[feature]
            start, end = box[axis]
            cut = min(max(int(np.searchsorted(values[axis], threshold, side="right")), start), end)
            for child, ends in ((tree.left[node], (start, cut)), (tree.right[node], (cut, end))):
                if ends[0] < ends[1]:
                    open_.append((child, (*box[:axis], ends, *box[axis + 1 :])))
    return total


def _words(codes: Floats, changed: Floats, names: tuple[str, ...]) -> str:
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
            parts.append(f"savings recorded as “{after}” ({meaning(name, after)}) instead of “{before}”")
    return "Would be green with " + " and ".join(parts)
