"""Keeping the figures up to date: reads what is new in the log, and measures drift where something changed."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approvals import Approval, in_force
from credit_risk.registry.registry import NoSuchVersion, Registry, RegistryUnavailable
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from monitoring.drift.drift import Tester
from monitoring.drift.window import Window
from monitoring.exporter.figures import Figures, Recent
from monitoring.exporter.log_counters import Counting
from monitoring.kinds import REFRESH, REPORT
from monitoring.performance.performance_monitor import Appraisal

logger = logging.getLogger(__name__)


class Refresher:
    """Keeps the figures up to date with log and registry.

    Parameters
    ----------
    tester : callable, optional
        Who computes the p-values of the newest decisions; see `drift.compare`.
    """

    def __init__(self, log: DecisionLog, registry: Registry, settings: Settings, tester: Tester | None = None) -> None:
        self.figures = Figures()
        self._log = log
        self._registry = registry
        self._settings = settings
        self._tester = tester
        self._counting = Counting(log)
        self._appraisal = Appraisal(log, registry, settings)
        self._approval: Approval | None = None
        self._window: Window | None = None
        self._served: tuple[str, str] | None = None
        self._due = False
        self._trouble: dict[str, str] = {}

    def refresh(self) -> Figures:
        """Bring the figures up to date and return them.

        What cannot be read stays as it was, and so does the time until when everything is known.
        """
        now = datetime.now(UTC)
        parts = {
            "Production": self._look_up,
            "counts": self._count,
            "challenger": self._look_for_challenger,
            "drift": self._measure,
            "outcomes": self._follow,
        }
        for name, part in parts.items():
            try:
                part(now)
            except (LogUnavailable, RegistryUnavailable, NoSuchVersion, ModelRefused) as error:
                if self._trouble.get(name) != str(error):
                    logger.warning("%s cannot be brought up to date: %s", name, error)
                self._trouble[name] = str(error)
            else:
                if self._trouble.pop(name, None):
                    logger.info("%s can be brought up to date again", name)
        if not self._trouble:
            self.figures = replace(self.figures, time=now)
        return self.figures

    def _look_up(self, now: datetime) -> None:
        """Look which version decides."""
        found = in_force(self._registry, self._log, follow_alias=self._settings.follow_alias)
        if not found.goes_on:
            self._approval = found.approval
        number = self._approval.version if self._approval else None
        trained = self.figures.trained if number == self.figures.model_version else None
        self.figures = replace(self.figures, model_version=number, trained=trained)
        if found.astray is None:
            raise RegistryUnavailable("MLflow cannot be asked where its alias is")
        refused = bool(found.refused) or found.alias_refused
        self.figures = replace(self.figures, alias_astray=bool(found.astray), refused=refused)
        if number is not None and trained is None:
            self.figures = replace(self.figures, trained=self._registry.version(number).created)

    def _count(self, now: datetime) -> None:
        """Count the batches that were committed since the last time, at first all."""
        totals = self._counting.totals(self.figures.model_version)
        last = self._log.reports(REPORT, limit=1)
        reported = datetime.fromisoformat(last[0]["time"]) if last else None
        self.figures = replace(self.figures, totals=totals, reported=reported)

    def _look_for_challenger(self, now: datetime) -> None:
        """Look which version is in shadow."""
        self._appraisal.look_up(self.figures.model_version)

    def _follow(self, now: datetime) -> None:
        """Take in what became of clients, and measure what that changes; last, for a log of years takes some calls."""
        self._appraisal.follow(now)
        self.figures = replace(self.figures, quality=self._appraisal.quality)

    def _measure(self, now: datetime) -> None:
        """Measure drift, where there are other decisions in the window or another version in Production."""
        started = time.perf_counter()
        window = self._window_of(self._approval)
        self._due |= window.advance(now)
        if not self._due:
            return
        self.figures = replace(self.figures, recent=Recent.of(window), drift=None, newest=None, n_newest=None)
        if window.version is not None:
            self.figures = replace(self.figures, drift=window.judge())
            if window.enough:
                newest = window.judge_newest(self._tester)
                self.figures = replace(self.figures, newest=newest, n_newest=len(window.newest))
        self._appraisal.measure(window)
        self.figures = replace(self.figures, quality=self._appraisal.quality)
        self.figures = replace(self.figures, seconds=time.perf_counter() - started)
        self._log.put_report(REFRESH, self.figures.as_dict())
        self._due = False

    def _window_of(self, approval: Approval | None) -> Window:
        """Return the window against what a version was trained on: the one at hand, or all read anew from the log."""
        challenger = self._appraisal.challenger
        window, served = self._window, (approval.version, approval.digest) if approval else None
        if window is None or self._served != served or window.challenger is not challenger:
            version = reference = None
            if approval is not None:
                version = approval.version
                reference = self._registry.reference(version, approval.reference_digest)
            self._window = window = Window(self._log, self._settings, version, reference, challenger)
            self._served = served
            self._due = True
        return window


def evidently(reference: pd.DataFrame, window: pd.DataFrame, features: Sequence[str]) -> Mapping[str, float]:
    """Return the p-values that Evidently computes (a `drift.Tester`), importing it at the first call."""
    from monitoring.drift import evidently_adapter

    return evidently_adapter.p_values(reference, window, features)
