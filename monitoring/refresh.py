"""Keeping the figures up to date: reads what is new in the log, and measures drift where something changed."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

import pandas as pd

from credit_risk.decisions import GREEN, RED, DecisionLog, LogUnavailable
from credit_risk.registry import NoSuchVersion, Registry, RegistryUnavailable
from credit_risk.settings import Settings
from monitoring.drift import Drift, Tester, compare
from monitoring.figures import Figures
from monitoring.window import REFRESH, REPORT, Window, read_window, serving_version

PAGE = 5000

logger = logging.getLogger(__name__)


class Refresher:
    """Keeps the figures up to date with log and registry.

    Parameters
    ----------
    tester : callable, optional
        Who computes the p-values; see `drift.compare`.
    """

    def __init__(self, log: DecisionLog, registry: Registry, settings: Settings, tester: Tester | None = None) -> None:
        self.figures = Figures()
        self._log = log
        self._registry = registry
        self._settings = settings
        self._tester = tester
        self._reference = lru_cache(maxsize=2)(registry.reference)
        self._cursor = 0
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[str] = Counter()
        self._measured: tuple[int, str | None] | None = None
        self._window: Window | None = None
        self._trouble: dict[str, str] = {}

    def refresh(self) -> Figures:
        """Bring the figures up to date and return them.

        What cannot be read stays as it was, and so does the time until when everything is known.
        """
        now = datetime.now(UTC)
        for name, part in (("Production", self._look_up), ("counts", self._count), ("drift", self._measure)):
            try:
                part(now)
            except (LogUnavailable, RegistryUnavailable, NoSuchVersion) as error:
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
        number = serving_version(self._registry, self._log)
        if number != self.figures.model_version:
            trained = self._registry.version(number).created if number else None
            self.figures = replace(self.figures, model_version=number, trained=trained)

    def _count(self, now: datetime) -> None:
        """Count the batches that were committed since the last time, at first all.

        The counts are handed over when all are counted and not before: a counter that starts low and catches up looks
        like a burst of decisions.
        """
        while batches := self._log.batches(after=self._cursor, limit=PAGE):
            for batch in batches:
                for prediction, n in ((RED, batch.n_red), (GREEN, batch.n_decided - batch.n_red)):
                    self._decisions[prediction, batch.model_version] += n
                for fault in batch.reasons:
                    self._rejected[fault["reason"]] += fault["n"]
            self._cursor = batches[-1].seq
        if version := self.figures.model_version:
            for prediction in (RED, GREEN):
                self._decisions[prediction, version] += 0  # a counter's first increase shows when it was there before
        last = self._log.reports(REPORT, limit=1)
        self.figures = replace(
            self.figures,
            decisions=dict(self._decisions),
            rejected=dict(self._rejected),
            reported=datetime.fromisoformat(last[0]["time"]) if last else None,
        )

    def _measure(self, now: datetime) -> None:
        """Measure drift, where there are other decisions in the window or another version in Production."""
        started = time.perf_counter()
        version = self.figures.model_version
        if self._measured == (self._cursor, version) and self._window and not self._window.outdated(now):
            return
        window = read_window(self._log, self._settings, now)
        self.figures = replace(self.figures, n_window=len(window))
        drift = self._judge(window, version)
        self.figures = replace(self.figures, drift=drift, seconds=time.perf_counter() - started)
        self._log.put_report(REFRESH, self.figures.as_dict())
        self._window, self._measured = window, (self._cursor, version)

    def _judge(self, window: Window, version: str | None) -> Drift | None:
        if version is None or not window.enough:
            return None
        reference = self._reference(version)
        return compare(reference, window.as_scored_by(version), self._settings.drift_min_rows, self._tester)


def evidently(reference: pd.DataFrame, window: pd.DataFrame, features: Sequence[str]) -> Mapping[str, float]:
    """Return the p-values that Evidently computes (a `drift.Tester`), importing it at the first call."""
    from monitoring import evidence

    return evidence.p_values(reference, window, features)
