"""Whether a challenger may become Production: its recipe beside Production's, both refitted on the same folds.

A stored version is not scored on the challenger's clients, for it may have been trained on them. What is compared is
what the two recipes make of the same training clients, each judged on those that it had not seen.

A person still decides. A failed gate only means that the approval has to be forced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from model_orchestration_and_tracking.evaluation.fairness import MIN_GATED, Slice, slices
from model_orchestration_and_tracking.evaluation.metrics import mean_se
from model_orchestration_and_tracking.tuning import Average, Validated

# What is compared, what it is called, and whether more of it is better.
COMPARED = {"auc": ("AUC", True), "brier": ("Brier score", False), "decision_cost": ("cost per client", False)}


@dataclass(frozen=True)
class Difference:
    """A figure of both recipes, and challenger less Production with its 95 % interval, paired over the folds."""

    name: str
    challenger: float
    production: float
    value: float
    low: float
    high: float
    more_is_better: bool

    @property
    def worse(self) -> bool:
        """Whether the interval lies wholly on the worse side."""
        return self.high < 0 if self.more_is_better else self.low > 0


@dataclass(frozen=True)
class Ratio:
    """How often a group is accepted over all others: the challenger's, with its 95 % interval, and Production's."""

    group: str
    challenger: float
    low: float
    high: float
    production: float

    @property
    def worse(self) -> bool:
        """Whether the interval lies below what Production does."""
        return self.high < self.production


@dataclass(frozen=True)
class Gate:
    """A verdict with its reasons.

    Attributes
    ----------
    production : str or None
        The version that was compared with; None where there is none, and the challenger passes.
    trouble : str
        Why it could not be compared with that version; it fails then.
    """

    production: str | None = None
    differences: Sequence[Difference] = ()
    ratios: Sequence[Ratio] = ()
    trouble: str = ""

    @property
    def failures(self) -> list[str]:
        """What speaks against the challenger, in words."""
        worse = [
            f"{d.name} {d.challenger:.4f} against {d.production:.4f} (difference {d.value:+.4f}, 95 % interval "
            f"{d.low:+.4f} to {d.high:+.4f})"
            for d in self.differences
            if d.worse
        ]
        worse += [
            f"{r.group} accepted {r.challenger:.2f} times as often as others (95 % interval {r.low:.2f} to {r.high:.2f}"
            f"), with Production {r.production:.2f} times"
            for r in self.ratios
            if r.worse
        ]
        return [self.trouble] if self.trouble else worse

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the challenger."""
        return not self.failures

    @property
    def words(self) -> str:
        """The verdict's reasons on one line."""
        if self.production is None:
            return "no Production version to compare with"
        return "; ".join(self.failures) or f"nowhere worse than version {self.production}"

    def tags(self) -> dict[str, str]:
        """Return what the registered version is tagged with."""
        return {"gate": "passed" if self.passed else "failed", "gate_reasons": self.words}

    def table(self) -> pd.DataFrame:
        """Return a row for each comparison: what, challenger, production, low, high, worse.

        The interval is that of the difference for a figure, and that of the challenger's ratio for a group.
        """
        rows: list[dict[str, Any]] = [
            {
                "compared": d.name,
                "challenger": d.challenger,
                "production": d.production,
                "difference": d.value,
                "low": d.low,
                "high": d.high,
                "worse": d.worse,
            }
            for d in self.differences
        ]
        rows += [
            {
                "compared": f"acceptance over others': {r.group}",
                "challenger": r.challenger,
                "production": r.production,
                "low": r.low,
                "high": r.high,
                "worse": r.worse,
            }
            for r in self.ratios
        ]
        columns = ["compared", "challenger", "production", "difference", "low", "high", "worse"]
        return pd.DataFrame(rows, columns=columns)


def judge(clients: pd.DataFrame, challenger: Validated[Average], production: Validated[Average], version: str) -> Gate:
    """Compare a challenger with Production.

    Parameters
    ----------
    clients : DataFrame of n rows
        The training clients, with their class.
    challenger, production : Validated
        Both recipes on the same folds of them.
    version : str
        Production's number.
    """
    differences = [
        _difference(*told, [fold[name] for fold in challenger.folds], [fold[name] for fold in production.folds])
        for name, told in COMPARED.items()
    ]
    pairs = zip(slices(clients, challenger.risk), slices(clients, production.risk), strict=True)
    # A ratio rests on the others as much as on the group.
    ratios = [_ratio(a, b) for a, b in pairs if a.gated and len(clients) - a.n >= MIN_GATED]
    return Gate(version, differences, ratios)


def _difference(name: str, more_is_better: bool, challenger: list[float], production: list[float]) -> Difference:
    gaps = np.subtract(challenger, production)
    found = mean_se(gaps, len(gaps))
    reach = found["se"] * float(t.ppf(0.975, len(gaps) - 1))
    mean = found["mean"]
    return Difference(
        name, float(np.mean(challenger)), float(np.mean(production)), mean, mean - reach, mean + reach, more_is_better
    )


def _ratio(ours: Slice, theirs: Slice) -> Ratio:
    found = ours.figures["acceptance_ratio"]
    group = f"{ours.attribute} {ours.group}"
    return Ratio(group, found.value, found.low, found.high, theirs.figures["acceptance_ratio"].value)
