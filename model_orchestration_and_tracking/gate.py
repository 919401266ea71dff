"""Whether a challenger may become Production: both recipes refitted on the same folds.

A stored version is not scored on the challenger's clients, because it may have been trained on
them. Instead, the recipes of both are fitted on the same training clients, and judged on those that
they had not seen.

A person still decides. A failed gate only means that the approval has to be forced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from credit_risk.schema.dataset import Dataset
from model_orchestration_and_tracking.evaluation.fairness import MIN_GATED, Slice, slices
from model_orchestration_and_tracking.evaluation.metrics import mean_se
from model_orchestration_and_tracking.tuning import Average, Validated

# The metrics that are compared, what they are called (with the unit of costs), and whether more is
# better.
COMPARED = {
    "auc": ("AUC", True),
    "brier": ("Brier score", False),
    "decision_cost": ("cost per {unit}", False),
}


@dataclass(frozen=True)
class Difference:
    """A figure of both recipes, and the challenger's less Production's.

    The difference is paired over the folds and has a 95 % interval.
    """

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

    def __str__(self) -> str:
        return (
            f"{self.name} {self.challenger:.4f} against {self.production:.4f} "
            f"(difference {self.value:+.4f}, 95 % interval {self.low:+.4f} to {self.high:+.4f})"
        )


@dataclass(frozen=True)
class Ratio:
    """How often a group is accepted compared with all others, by both recipes.

    The challenger's ratio has a 95 % interval.
    """

    group: str
    challenger: float
    low: float
    high: float
    production: float

    @property
    def worse(self) -> bool:
        """Whether the interval lies below Production's ratio."""
        return self.high < self.production

    def __str__(self) -> str:
        return (
            f"{self.group} accepted {self.challenger:.2f} times as often as others "
            f"(95 % interval {self.low:.2f} to {self.high:.2f}), "
            f"with Production {self.production:.2f} times"
        )


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
        if self.trouble:
            return [self.trouble]

        worse = [str(difference) for difference in self.differences if difference.worse]
        worse += [str(ratio) for ratio in self.ratios if ratio.worse]
        return worse

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the challenger."""
        return not self.failures

    @property
    def summary(self) -> str:
        """The verdict's reasons on one line."""
        if self.production is None:
            return "no Production version to compare with"
        return "; ".join(self.failures) or f"nowhere worse than version {self.production}"

    def tags(self) -> dict[str, str]:
        """Return what the registered version is tagged with."""
        return {"gate": "passed" if self.passed else "failed", "gate_reasons": self.summary}

    def table(self) -> pd.DataFrame:
        """Return a row for each comparison: what, challenger, production, low, high, worse.

        The interval is that of the difference for a figure, and that of the challenger's ratio for
        a group.
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


def judge(
    clients: pd.DataFrame,
    dataset: Dataset,
    challenger: Validated[Average],
    production: Validated[Average],
    version: str,
) -> Gate:
    """Compare a challenger with Production.

    Parameters
    ----------
    clients : DataFrame of n rows
        The training clients, with their class.
    dataset : Dataset
        Names the groups and the costs.
    challenger, production : Validated
        Both recipes on the same folds of them.
    version : str
        Production's number.
    """
    differences = []
    for name, (title, more_is_better) in COMPARED.items():
        values = ([fold[name] for fold in v.folds] for v in (challenger, production))
        title = title.format(unit=dataset.costs.unit)
        differences.append(_difference(title, more_is_better, *values))

    ours, theirs = (slices(clients, v.risk, dataset) for v in (challenger, production))
    # A ratio depends on the other clients as much as on the group.
    pairs = zip(ours, theirs, strict=True)
    ratios = [_ratio(a, b) for a, b in pairs if a.gated and len(clients) - a.n >= MIN_GATED]
    return Gate(version, differences, ratios)


def _difference(
    name: str, more_is_better: bool, challenger: list[float], production: list[float]
) -> Difference:
    gaps = np.subtract(challenger, production)
    found = mean_se(gaps, len(gaps))
    reach = found["se"] * float(t.ppf(0.975, len(gaps) - 1))
    mean = found["mean"]

    return Difference(
        name,
        float(np.mean(challenger)),
        float(np.mean(production)),
        mean,
        mean - reach,
        mean + reach,
        more_is_better,
    )


def _ratio(ours: Slice, theirs: Slice) -> Ratio:
    found = ours.figures["acceptance_ratio"]
    group = f"{ours.attribute} {ours.group}"
    return Ratio(
        group, found.value, found.low, found.high, theirs.figures["acceptance_ratio"].value
    )
