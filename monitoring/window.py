"""The window: the recent decisions that the exporter and the report compare with the serving version's reference."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from credit_risk.application import LABEL, NAMES
from credit_risk.approvals import Barred, admitted
from credit_risk.decisions import DecisionLog
from credit_risk.registry import Registry
from credit_risk.settings import Settings
from monitoring.drift import RISK

VERSION = "model_version"

# Kinds of JSON documents that monitoring leaves in the log.
REFRESH = "refresh"
REPORT = "report"


def serving_version(registry: Registry, log: DecisionLog) -> str | None:
    """Return the version that decides: Production, or what decided last where Production is barred."""
    try:
        approval = admitted(registry, log)
    except Barred:
        last = next(log.latest_batches(limit=1), None)
        return last.model_version if last else None
    return approval.version if approval else None


@dataclass(frozen=True)
class Window:
    """Recent decisions, the newest last; previews are none.

    Attributes
    ----------
    decisions : DataFrame
        The 20 attributes, `class` where the upload had it, `risk`, `model_version`, `batch`, `time`.
    minimum : int
        Fewest decisions that drift is computed on.
    hours : float
        How far back it reaches where that holds enough decisions; else it holds the latest ones, however old.
    read : datetime
        When it was read.
    """

    decisions: pd.DataFrame
    minimum: int
    hours: float
    read: datetime

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def enough(self) -> bool:
        """Whether drift can be computed."""
        return len(self) >= self.minimum

    @property
    def start(self) -> datetime | None:
        """When the oldest decision was made."""
        return self.decisions["time"].iloc[0].to_pydatetime() if len(self) else None

    @property
    def end(self) -> datetime | None:
        """When the newest decision was made."""
        return self.decisions["time"].iloc[-1].to_pydatetime() if len(self) else None

    def outdated(self, now: datetime) -> bool:
        """Whether time alone, without a new decision, has changed what the window holds since it was read."""
        reach = timedelta(hours=self.hours)
        return self.start is not None and self.read - reach <= self.start < now - reach

    def as_scored_by(self, version: str) -> pd.DataFrame:
        """Return the decisions with `risk` missing where another version scored.

        Applications do not depend on the model, so all count; two versions' risks differ without any drift.
        """
        return self.decisions.assign(**{RISK: self.decisions[RISK].where(self.decisions[VERSION] == version)})

    def labelled(self, version: str) -> pd.DataFrame:
        """Return the decisions of a version whose `class` is known."""
        mine = self.decisions[self.decisions[VERSION] == version]
        return mine[mine[LABEL].notna()]


def read_window(log: DecisionLog, settings: Settings, now: datetime | None = None) -> Window:
    """Return the window as of now.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    """
    now = now or datetime.now(UTC)
    since = now - timedelta(hours=settings.drift_window_hours)
    table = log.recent(since, settings.drift_min_rows, settings.drift_window_rows)
    table = table.select([*NAMES, "label", RISK, VERSION, "batch", "time"])
    decisions = table.to_pandas().rename(columns={"label": LABEL})
    return Window(decisions, settings.drift_min_rows, settings.drift_window_hours, now)
