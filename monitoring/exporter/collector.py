"""Keeps the figures up to date: reads what is new in the log, measures drift after a change."""

import logging
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import DECISIONS, Approval, history
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import Registry
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from monitoring.drift.drift import Tester
from monitoring.drift.portfolio import PORTFOLIOS, Portfolio
from monitoring.drift.window import Window
from monitoring.exporter.log_counters import LogCounters
from monitoring.exporter.measurements import Measurements, Recent
from monitoring.kinds import REFRESH, REPORT
from monitoring.log_feed import LogFeed
from monitoring.performance.performance_monitor import PerformanceMonitor

BREAK_GLASS_SHOWN = timedelta(days=1)

logger = logging.getLogger(__name__)


class Collector:
    """Keeps the figures up to date with log and registry.

    Parameters
    ----------
    tester : callable, optional
        Computes the p-values of the newest decisions; see `drift.compare`.
    """

    def __init__(
        self, log: DecisionLog, registry: Registry, settings: Settings, tester: Tester | None = None
    ) -> None:
        self.figures = Measurements()
        self._log = log
        self._registry = registry
        self._settings = settings
        self._tester = tester
        self._feed = LogFeed(log)
        self._counters = LogCounters()
        self._feed.add(self._counters)
        self._portfolio = Portfolio()
        self._feed.add(self._portfolio, kinds=PORTFOLIOS)
        self._performance = PerformanceMonitor(self._feed, registry, settings)
        self._approval: Approval | None = None
        self._window: Window | None = None
        self._served: tuple[str, str] | None = None
        self._due = False
        self._trouble: dict[str, str] = {}

    def refresh(self) -> Measurements:
        """Bring the figures up to date and return them.

        Figures that cannot be read stay as they were, and so does the time until which everything
        is known.
        """
        now = datetime.now(UTC)
        parts = {
            "Production": self._look_up,
            "counts": self._count,
            "challenger": self._look_for_challenger,
            "drift": self._measure,
            "outcomes": self._follow,
            "portfolio": self._measure_portfolio,
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
        """Look up which version decides, and whether anybody went past the approvals service."""
        break_glass = _break_glass(history(self._log), now, needs_two=self._settings.needs_two)
        self.figures = replace(self.figures, break_glass=break_glass)

        found = in_force(self._registry, self._log, follow_alias=self._settings.follow_alias)
        if not found.keeps_serving:
            self._approval = found.approval

        number = self._approval.version if self._approval else None
        trained = self.figures.trained if number == self.figures.model_version else None
        self.figures = replace(self.figures, model_version=number, trained=trained)

        if found.alias_mismatch is None:
            raise RegistryUnavailable("MLflow cannot be asked where its alias is")

        refused = bool(found.refused) or found.alias_refused
        self.figures = replace(
            self.figures, alias_astray=bool(found.alias_mismatch), refused=refused
        )

        if number is not None and trained is None:
            self.figures = replace(self.figures, trained=self._registry.version(number).created)

    def _count(self, now: datetime) -> None:
        """Count the batches that were committed since the last time, at first all."""
        self._feed.begin()
        self._feed.advance(self._counters)
        totals = self._counters.totals(self.figures.model_version)

        last = self._log.reports(REPORT, limit=1)
        reported = datetime.fromisoformat(last[0]["time"]) if last else None
        self.figures = replace(self.figures, totals=totals, reported=reported)

    def _look_for_challenger(self, now: datetime) -> None:
        """Look up which version is in shadow."""
        self._performance.look_up(self.figures.model_version)

    def _follow(self, now: datetime) -> None:
        """Take in overrides and outcomes, and measure what they change.

        This comes late, because a log of years takes several calls.
        """
        self._performance.follow(now)
        self.figures = replace(self.figures, quality=self._performance.quality)

    def _measure_portfolio(self, now: datetime) -> None:
        """Read on in the newest portfolio; a big one takes several calls."""
        if (portfolio := self._portfolio.advance(self._log)) is not None:
            self.figures = replace(self.figures, portfolio=portfolio)

    def _measure(self, now: datetime) -> None:
        """Measure drift, if the window's decisions or the version in Production changed."""
        started = time.perf_counter()
        window = self._window_of(self._approval)
        self._due |= window.advance(self._feed, now)
        if not self._due:
            return

        self.figures = replace(
            self.figures, recent=Recent.of(window), drift=None, newest=None, n_newest=None
        )
        if window.version is not None:
            self.figures = replace(self.figures, drift=window.judge())
            if window.enough:
                newest = window.judge_newest(self._tester)
                self.figures = replace(self.figures, newest=newest, n_newest=len(window.newest))

        self._performance.measure(window)
        self.figures = replace(self.figures, quality=self._performance.quality)

        self.figures = replace(self.figures, seconds=time.perf_counter() - started)
        self._log.put_report(REFRESH, self.figures.as_dict())
        self._due = False

    def _window_of(self, approval: Approval | None) -> Window:
        """Return the window on what a version was trained on: the present one, or a new one.

        A new one is read from the log's recent part; the feed's other folds stay where they are.
        """
        challenger = self._performance.challenger
        served = (approval.version, approval.digest) if approval else None
        window = self._window
        if window is not None and self._served == served and window.challenger is challenger:
            return window

        version = reference = None
        dataset = self._log.dataset
        if approval is not None:
            version = approval.version
            dataset = self._registry.load(version, approval.digest).dataset
            reference = self._registry.reference(version, dataset, approval.reference_digest)

        if window is not None:
            self._feed.remove(window)
        self._window = Window(self._settings, dataset, version, reference, challenger)
        if window is None or self._served != served:
            self._portfolio.compare_with(self._window.cells, version)
        self._served = served
        self._due = True
        return self._window


def _break_glass(entries: Sequence[Approval], now: datetime, *, needs_two: bool) -> int:
    """Return how many entries went past the approvals service: of the last day, and the decision.

    Where two people are needed, an entry that no token proves did so as well, of the last day only:
    older ones may be from before.
    """
    since = now - BREAK_GLASS_SHOWN
    recent = [entry for entry in entries if entry.time and entry.time > since]
    past_service = [e for e in recent if e.break_glass or (needs_two and not e.verified)]
    decisions = [e for e in entries if e.kind in DECISIONS]
    standing = [e for e in decisions[-1:] if e.break_glass and e not in recent]
    return len(past_service) + len(standing)


def evidently(
    measured: Set[str], reference: pd.DataFrame, window: pd.DataFrame, features: Sequence[str]
) -> Mapping[str, float]:
    """Return the p-values that Evidently computes (a `drift.Tester`).

    Evidently is imported at the first call.
    """
    from monitoring.drift import evidently_adapter

    return evidently_adapter.p_values(measured, reference, window, features)
