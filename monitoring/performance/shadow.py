"""The challenger in shadow: it scores what Production decides, and nobody acts on its scores.

How often both agree needs no outcomes. What each one's decisions cost does: before there are any,
it is estimated under the risks of each, because a model looks best by its own risks. With outcomes
it is observed, on funded clients of matured vintages; Production accepted all of them, so this
shows what the challenger's refusals would have saved or lost, and nothing about clients whom it
would have accepted and Production did not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from credit_risk.decision_log.batch import decision_schema
from credit_risk.decision_log.log import DecisionLog
from credit_risk.metrics.cost import mean_cost
from credit_risk.months import month_of, month_start
from credit_risk.registry.registry import CHALLENGER, PRODUCTION
from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Costs
from monitoring.challenger import Challenger
from monitoring.log_reader import read_kept
from monitoring.performance.loan_book import LoanBook, Month
from monitoring.performance.performance import Mask
from monitoring.performance.vintages import defaulted

# Decisions of matured vintages that are scored at most, the newest vintages first.
MATURED = 100_000


@dataclass(frozen=True)
class Shadow:
    """Both models on the decisions of the window that Production made.

    Attributes
    ----------
    version : str
        The challenger.
    n : int
        The number of decisions.
    agreement : float
        The share of equal ones.
    green : float
        The share that the challenger would accept.
    cost : mapping of (decisions, risks) to float
        Expected on average: whose decisions, by whose risks.
    """

    version: str
    n: int
    agreement: float
    green: float
    cost: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Observed:
    """Both models on funded clients of matured vintages whom the challenger was not trained on.

    Attributes
    ----------
    version : str
        The challenger.
    n : int
        The number of clients.
    agreement : float
        The share that the challenger would accept too.
    cost : mapping of str to float
        Whose decisions, on average.
    """

    version: str
    n: int
    agreement: float
    cost: Mapping[str, float]


def shadow(
    version: str,
    threshold: float,
    risk: Floats,
    green: Mask,
    other: Floats,
    costs: Costs,
    weight: Floats | None = None,
) -> Shadow | None:
    """Return how the challenger compares with Production; None where Production decided nothing.

    Parameters
    ----------
    version, threshold : str, float
        The challenger's: its number, and the risk from which it refuses.
    risk, green : arrays of shape (n,)
        Production's risks, and whom it accepted.
    other : array of shape (n,)
        The challenger's risks of the same clients.
    costs : Costs
        Of wrong decisions.
    weight : array of shape (n,), optional
        What each client counts for in the mean cost.
    """
    if not len(risk):
        return None

    theirs = other < threshold
    decisions = {PRODUCTION: green, CHALLENGER: theirs}
    risks = {PRODUCTION: risk, CHALLENGER: other}
    cost = {
        (d, r): mean_cost(decisions[d], risks[r], costs, weight) for d in decisions for r in risks
    }
    return Shadow(version, len(risk), float(np.mean(green == theirs)), float(theirs.mean()), cost)


class Matured:
    """The challenger's risks for matured vintages; one vintage a call keeps refreshes short."""

    def __init__(self, log: DecisionLog, challenger: Challenger, maturity: int) -> None:
        self.challenger = challenger
        self._log = log
        self._maturity = maturity
        self._risks: dict[int, Floats] = {}  # NaN where it was trained on the client

    def advance(self, book: LoanBook, now: datetime) -> bool:
        """Score one more vintage, and return whether there was one.

        Raises
        ------
        LogUnavailable
            When the decision log is.
        """
        for month in self._months(book, now):
            if len(self._risks.get(month, ())) != len(book.months[month].rows):
                self._risks[month] = self._score(month)
                return True
        return False

    def observed(self, book: LoanBook, now: datetime) -> Observed | None:
        """Return what both models' decisions cost; None while no client counts."""
        pairs = [
            (book.months[m], self._risks[m]) for m in self._months(book, now) if m in self._risks
        ]
        found = [self._of(month, risk) for month, risk in pairs if len(month.rows) == len(risk)]
        if not found or not sum(len(bad) for _, bad, _ in found):
            return None

        theirs, bad, weight = (np.concatenate(parts) for parts in zip(*found, strict=True))
        costs = self._log.dataset.costs
        cost = {
            CHALLENGER: mean_cost(theirs, bad, costs, weight),
            PRODUCTION: mean_cost(np.full(len(bad), True), bad, costs, weight),
        }
        return Observed(self.challenger.version, len(bad), float(theirs.mean()), cost)

    def _of(self, month: Month, risk: Floats) -> tuple[Mask, Floats, Floats]:
        """Return whom the challenger would accept, who is bad, and what each counts for."""
        counted = month.rows["final"] & ~np.isnan(risk)
        rows = month.rows[counted]
        bad = defaulted(rows, self._maturity).astype(np.float64)
        return risk[counted] < self.challenger.scorer.threshold, bad, rows["weight"]

    def _months(self, book: LoanBook, now: datetime) -> list[int]:
        """Return the matured months, the newest first, as many as are scored."""
        if book.outcomes_as_of is None:
            return []

        last = month_of(min(book.outcomes_as_of, now)) - self._maturity - 1
        chosen: list[int] = []
        n = 0
        for month in sorted((m for m in book.months if m <= last), reverse=True):
            n += len(book.months[month].rows)
            if chosen and n > MATURED:
                break
            chosen.append(month)
        return chosen

    def _score(self, month: int) -> Floats:
        """Return the risks of a month's decisions, in the book's order: that of commit and row."""
        batches = self._log.between(month_start(month), month_start(month + 1))
        dataset = self.challenger.dataset
        decisions = read_kept(self._log, batches, decision_schema(dataset, dataset.names))
        return np.where(self.challenger.unseen(decisions), self.challenger.risk(decisions), np.nan)
