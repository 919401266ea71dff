"""How groups of clients fare: out-of-fold decisions by group, with intervals.

The groups are those of `credit_risk.schema.protected_groups`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from credit_risk.metrics.cost import costs, threshold, weights
from credit_risk.schema.attributes import BAD, LABEL, Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.protected_groups import Mask, groups

DRAWS = 1000
# A smaller group is shown, but the gate does not judge it.
MIN_GATED = 100
MIN_PER_CLASS = 20


@dataclass(frozen=True)
class Figure:
    """A share or mean with its 95 % bootstrap interval; NaN where no client is counted."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return it JSON-able, NaN as None."""
        return {
            name: None if np.isnan(value) else round(value, 4) for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Slice:
    """A group's figures.

    Attributes
    ----------
    figures : dict
        `acceptance` (share called green), `acceptance_ratio` (over that of all others), `recall`
        (share of its good clients called green), `bad_rate` (share of bad ones among its accepted),
        `cost` (mean per client), `calibration` (share of bad ones less mean risk) and, with 20
        clients of each class, `auc`.
    """

    attribute: str
    group: str
    n: int
    n_bad: int
    figures: dict[str, Figure]

    @property
    def gated(self) -> bool:
        """Whether it is large enough to be judged by the gate."""
        return self.n >= MIN_GATED

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-able."""
        return {
            "attribute": self.attribute,
            "group": self.group,
            "n": self.n,
            "n_bad": self.n_bad,
            "gated": self.gated,
            **{name: figure.as_dict() for name, figure in self.figures.items()},
        }


def slices(
    clients: pd.DataFrame,
    risk: Floats,
    dataset: Dataset,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Slice]:
    """Return the figures of each group, with intervals from resampling its clients.

    Parameters
    ----------
    clients : DataFrame of n rows
        The protected attributes and `class`, and the amount where costs depend on it.
    risk : array of shape (n,) or (repeats, n)
        Out-of-fold risks; decisions of several repeats are pooled.
    dataset : Dataset
        Names the groups and the costs.
    """
    cost_bad, cost_good = dataset.costs.bad, dataset.costs.good
    risks = np.atleast_2d(risk)
    bad = clients[LABEL].to_numpy() == BAD
    green = (risks < threshold(cost_bad, cost_good)).mean(axis=0)

    weight = weights(clients, dataset)

    # A client's share of each figure; a group's figures are sums of them, so that resampling only
    # takes counts.
    parts = np.column_stack(
        [
            np.ones(len(bad)),
            green,
            ~bad,
            green * ~bad,
            green * bad,
            weight * costs(green, bad, cost_bad, cost_good),
            weight,
            bad - risks.mean(axis=0),
        ]
    )

    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(bad), np.full(len(bad), 1 / len(bad)), size=draws)
    times = np.vstack([np.ones(len(bad)), drawn.astype(np.float64)])

    found = []
    for attribute, group, members in groups(clients, dataset):
        sums = times[:, members] @ parts[members]
        others = times[:, ~members] @ parts[~members]
        figures = {name: _figure(value) for name, value in _figures(sums, others).items()}
        if min(bad[members].sum(), (~bad)[members].sum()) >= MIN_PER_CLASS:
            figures["auc"] = _auc(bad[members], risks.mean(axis=0)[members], random, draws)
        found.append(Slice(attribute, group, int(members.sum()), int(bad[members].sum()), figures))

    return found


def frame(found: Sequence[Slice]) -> pd.DataFrame:
    """Return a row for each group: a column for each figure and for each end of its interval."""
    rows = []
    for group in found:
        row: dict[str, Any] = {
            "attribute": group.attribute,
            "group": group.group,
            "n": group.n,
            "n_bad": group.n_bad,
        }
        for name, figure in group.figures.items():
            row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        rows.append(row)

    return pd.DataFrame(rows)


def slice_table(found: Sequence[Slice]) -> str:
    """Return the fairness slices as a Markdown table; groups too small to be judged are marked."""
    names = ["acceptance", "acceptance_ratio", "recall", "bad_rate", "cost", "calibration", "auc"]
    lines = [
        "| attribute | group | n | accepted | over others' | recall | bad of accepted | cost "
        "| calibration | AUC |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    for group in found:
        cells = []
        for name in names:
            figure = group.figures.get(name)
            cells.append(
                f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]" if figure else ""
            )
        n = f"{group.n}" if group.gated else f"{group.n} (shown only)"
        lines.append(f"| {group.attribute} | {group.group} | {n} | " + " | ".join(cells) + " |")

    return "\n".join(lines)


def _figures(sums: Floats, others: Floats) -> dict[str, Floats]:
    """Return each figure for each row of sums: the clients as they are, then each sample."""
    with np.errstate(divide="ignore", invalid="ignore"):
        n, green, good, green_good, green_bad, cost, weight, gap = sums.T
        return {
            "acceptance": green / n,
            "acceptance_ratio": (green / n) / (others[:, 1] / others[:, 0]),
            "recall": green_good / good,
            "bad_rate": green_bad / green,
            "cost": cost / weight,
            "calibration": gap / n,
        }


def _figure(values: Floats) -> Figure:
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(drawn):
        return Figure(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(float(values[0]), float(low), float(high))


def _auc(bad: Mask, risk: Floats, random: np.random.Generator, draws: int) -> Figure:
    n = len(bad)
    drawn = np.vstack([np.arange(n), random.integers(0, n, (draws, n))])

    # Risks are sorted once: a sample is its number of bad and good clients at each risk.
    risks, place = np.unique(risk, return_inverse=True)
    shape = len(drawn), len(risks)
    cells = (place[drawn] + np.arange(len(drawn))[:, None] * len(risks)).ravel()

    def counts(counted: Mask) -> Floats:
        weights = counted[drawn].ravel().astype(np.float64)
        flat = np.bincount(cells, weights, shape[0] * shape[1])
        return np.asarray(flat.reshape(shape), dtype=np.float64)

    bads, goods = counts(bad), counts(~bad)
    below = goods.cumsum(axis=1) - goods / 2  # a tie counts half
    return _figure((bads * below).sum(axis=1) / (bads.sum(axis=1) * goods.sum(axis=1)))
