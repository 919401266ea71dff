"""Keeps up to date how good the decisions are: before outcomes, with them, and the challenger's."""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from credit_risk.months import month_of
from credit_risk.registry.errors import NoSuchVersion
from credit_risk.registry.registry import CHALLENGER, Registry
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from monitoring.challenger import Challenger
from monitoring.drift.window import Window
from monitoring.log_feed import LogFeed
from monitoring.performance.loan_book import LoanBook
from monitoring.performance.performance import expected, out_of_fold
from monitoring.performance.quality import PerformanceGauges
from monitoring.performance.shadow import Matured, shadow
from monitoring.performance.vintages import Vintages, overridden

logger = logging.getLogger(__name__)


class PerformanceMonitor:
    """What is known of the decisions' quality.

    Parameters
    ----------
    feed : LogFeed
        Where decisions, overrides and outcomes come from.
    registry : Registry
    settings : Settings

    Attributes
    ----------
    quality : PerformanceGauges
        As of the last call.
    challenger : Challenger or None
        The version that scores in shadow.
    """

    def __init__(self, feed: LogFeed, registry: Registry, settings: Settings) -> None:
        self.quality = PerformanceGauges()
        self.challenger: Challenger | None = None
        self._feed = feed
        self._registry = registry
        self._maturity = settings.outcome_maturity_months
        self._book = LoanBook(feed.log.dataset, settings.vintage_months)
        self._vintages = Vintages(self._maturity, feed.log.dataset.costs)
        self._matured: Matured | None = None
        self._looked_at: str | None = None
        self._state: Any = None
        # A log that is no longer than the window is so read once for both.
        self._book.follow(feed, datetime.now(UTC))

    def look_up(self, production: str | None) -> None:
        """Look up the challenger; there is none where the alias names the version in Production.

        Raises
        ------
        RegistryUnavailable
            When MLflow is. Whoever was in shadow stays there.
        """
        number = self._registry.alias(CHALLENGER)
        number = None if number == production else number
        if number == self._looked_at:
            return

        challenger = None if number is None else self._load(number)
        version, matured = None, None
        if challenger is not None:
            version = challenger.version
            matured = Matured(self._feed.log, challenger, self._maturity)

        self.challenger = challenger
        self._matured = matured
        self._looked_at = number
        self.quality = replace(self.quality, challenger=version, shadow=None, observed=None)

    def measure(self, window: Window) -> None:
        """Estimate how good the decisions of a window are."""
        enough = window.version is not None and window.enough
        rows = window.rows if enough else window.rows[:0]
        mine = ~np.isnan(rows["risk"])
        # Column by column: the rows hold much else.
        risk, green, weight = rows["risk"][mine], rows["green"][mine], rows["weight"][mine]
        dataset = window.cells.dataset

        beside = None
        if window.challenger is not None:
            about = window.challenger.version, window.challenger.scorer.threshold
            beside = shadow(*about, risk, green, rows["shadow"][mine], dataset.costs, weight)

        before = None
        if window.version is not None:
            before = out_of_fold(window.reference, dataset, window.threshold)

        self.quality = replace(
            self.quality,
            estimated=expected(risk, green, dataset.costs, weight),
            out_of_fold=before,
            shadow=beside,
        )

    def follow(self, now: datetime) -> None:
        """Read on in the loan book, and rate what changed.

        Raises
        ------
        LogUnavailable
            When the decision log is.
        """
        if not self._book.advance(self._feed, now):
            return

        scored = self._matured is not None and self._matured.advance(self._book, now)
        state = (
            month_of(now),
            self._book.outcomes_as_of,
            [(m, month.changes) for m, month in self._book.months.items()],
        )
        if state == self._state and not scored:
            return

        self._state = state
        self.quality = replace(
            self.quality,
            vintages=self._vintages.of(self._book, now),
            overrides=overridden(self._book),
            outcomes_as_of=self._book.outcomes_as_of,
            observed=self._matured.observed(self._book, now) if self._matured else None,
        )

    def _load(self, number: str) -> Challenger | None:
        """Return a version to put in shadow, or None where it is unavailable: the rest goes on."""
        try:
            scorer = self._registry.load(number)
            return Challenger(number, scorer, self._registry.reference(number, scorer.dataset))
        except (ModelRefused, NoSuchVersion) as error:
            logger.warning("the challenger is not put in shadow: %s", error)
            return None
