"""The figures that the exporter serves, as data: the results of one refresh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from credit_risk.schema.attributes import Floats
from credit_risk.scoring.decisions import confidence
from monitoring.drift.drift import Drift
from monitoring.drift.portfolio import PortfolioFigures
from monitoring.drift.window import Window
from monitoring.exporter.log_counters import Totals
from monitoring.performance.performance import Mask
from monitoring.performance.quality import PerformanceGauges

# Upper bounds up to which risks and confidences are counted.
PARTS = 20
EDGES = np.arange(1, PARTS + 1) / PARTS


@dataclass(frozen=True)
class Predictions:
    """Predictions in short.

    Attributes
    ----------
    green, risk, confidence : float
        The share of green decisions, the mean risk and the mean confidence.
    risks, confidences : tuple of int
        How many of them are not above each of `EDGES`.
    """

    green: float
    risk: float
    confidence: float
    risks: tuple[int, ...]
    confidences: tuple[int, ...]

    @classmethod
    def of(cls, green: Mask, risk: Floats, confidence: Floats) -> "Predictions":
        """Return those of decisions, each array of shape (n,)."""
        return cls(
            float(green.mean()),
            float(risk.mean()),
            float(confidence.mean()),
            _up_to(risk),
            _up_to(confidence),
        )

    @classmethod
    def made(cls, window: Window) -> "Predictions | None":
        """Return those of the serving version's decisions in a window; None where it made none."""
        mine = ~np.isnan(window.rows["risk"])
        if not mine.any():
            return None

        rows = window.rows  # column by column: the rows hold much else
        return cls.of(rows["green"][mine], rows["risk"][mine], rows["confidence"][mine])

    @classmethod
    def expected(cls, window: Window) -> "Predictions | None":
        """Return those of the reference, out of fold.

        None before the threshold is known from a decision.
        """
        if window.threshold is None or "risk" not in window.reference:
            return None

        risk = window.reference["risk"].to_numpy(np.float64)
        clear = confidence(risk, cost_bad=1 / window.threshold - 1, cost_good=1)
        return cls.of(risk < window.threshold, risk, clear)


def _up_to(values: Floats) -> tuple[int, ...]:
    # Arithmetic takes a third of the time of a search. A little is subtracted because a value on an
    # edge is not above it.
    parts = values * PARTS
    parts -= 1e-9
    counts = np.bincount(np.ceil(parts, out=parts).astype(np.int64), minlength=PARTS + 1)
    return tuple(np.cumsum(counts)[1:].tolist())


@dataclass(frozen=True)
class Recent:
    """The window's figures apart from drift.

    Attributes
    ----------
    n : int
        Decisions.
    missing, outside : mapping of attribute to int
        Values that are missing, and numbers outside the range that the serving version saw in
        training.
    made, expected : Predictions
        Of the serving version's decisions, and of its reference.
    """

    n: int
    missing: Mapping[str, int] = field(default_factory=dict)
    outside: Mapping[str, int] = field(default_factory=dict)
    made: Predictions | None = None
    expected: Predictions | None = None

    @classmethod
    def of(cls, window: Window) -> "Recent":
        """Return the figures of a window; without a version, only how many decisions it holds."""
        if window.version is None:
            return cls(len(window))

        predictions = Predictions.made(window), Predictions.expected(window)
        return cls(len(window), window.missing(), window.outside(), *predictions)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return vars(self) | {
            "made": self.made and vars(self.made),
            "expected": self.expected and vars(self.expected),
        }


@dataclass(frozen=True)
class Measurements:
    """What the exporter knows; None where it is unknown, and then it is not served.

    Attributes
    ----------
    totals : Totals
        Over the whole log.
    recent : Recent
        The window's other figures.
    drift : Drift
        The verdict on the window; no feature is judged while the window holds too few decisions.
    newest : Drift
        Evidently's verdict on the window's newest decisions; on all of them where the window holds
        no more than Evidently is given.
    n_newest : int
        The number of these decisions.
    quality : PerformanceGauges
        How good the decisions are.
    portfolio : PortfolioFigures
        The newest portfolio, once all of it is read; it is part of no other figure.
    model_version : str
        The Production version.
    trained : datetime
        When it was registered.
    alias_astray : bool
        Whether MLflow's alias says that another version is in Production.
    refused : bool
        Whether the services refuse the version that the last approval or the alias names.
    break_glass : int
        How many decisions on versions went past the approvals service, of the last day and the one
        in force.
    reported : datetime
        When the report flow last completed.
    seconds : float
        How long the last refresh with something new took.
    time : datetime
        The time up to which everything is known: when log and registry were last read.
    """

    totals: Totals = field(default_factory=Totals)
    recent: Recent | None = None
    drift: Drift | None = None
    newest: Drift | None = None
    n_newest: int | None = None
    quality: PerformanceGauges = field(default_factory=PerformanceGauges)
    portfolio: PortfolioFigures | None = None
    model_version: str | None = None
    trained: datetime | None = None
    alias_astray: bool | None = None
    refused: bool | None = None
    break_glass: int | None = None
    reported: datetime | None = None
    seconds: float | None = None
    time: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        totals = self.totals
        return {
            "decisions": _listed(("prediction", "model_version"), totals.decisions),
            "rejected": [{"reason": reason, "n": n} for reason, n in totals.rejected.items()],
            "rejected_values": _listed(("column", "reason"), totals.values),
            "batches": _listed(("source", "outcome"), totals.batches),
            "n_window": self.recent and self.recent.n,
            "window": self.recent and self.recent.as_dict(),
            "drift": self.drift and self.drift.as_dict(),
            "n_newest": self.n_newest,
            "newest": self.newest and self.newest.as_dict(),
            "quality": self.quality.as_dict(),
            "portfolio": self.portfolio and self.portfolio.as_dict(),
            "model_version": self.model_version,
            "alias_astray": self.alias_astray,
            "refused": self.refused,
            "break_glass": self.break_glass,
            "seconds": self.seconds,
        }


def _listed(names: Sequence[str], counts: Mapping[Any, int]) -> list[dict[str, Any]]:
    return [dict(zip(names, key, strict=True)) | {"n": n} for key, n in counts.items()]
