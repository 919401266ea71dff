"""Maturation of outcomes: which accepted clients may be used for training.

A default is reported when it happens, a repayment at the end of the loan. Outcomes that are used as
they come in include the defaults of many loans whose repayments are still ahead, so a model would
learn from too many bad clients. Therefore neither kind of outcome counts before the client is due.
That is a number of months (a setting) after the end of the month of the decision, and, where the
data set has a term, not before that is over. So clients of the same month and term are included at
the same age, which depends on what was asked for and when, never on how the loan went.

Clients who become due in the same month are a cohort, and are included together: when at most a
tenth of them has no outcome yet, because late reports may be mostly of one kind; or, `PATIENCE`
months later, without those who have none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DEFAULTED
from credit_risk.decision_log.outcomes import outcome_schema, read_outcomes
from credit_risk.months import month_name, month_of, month_start
from credit_risk.schema.attributes import GREEN, Floats
from credit_risk.schema.dataset import Dataset

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Share of a cohort that may be without an outcome.
MOST_OPEN = 0.1
# Months after which a cohort is included without them.
PATIENCE = 3

Report = Callable[[str], None]


@dataclass(frozen=True)
class Cohort:
    """The accepted clients who became due at the start of one month.

    Attributes
    ----------
    due : str
        That month, as 2026-01.
    n, n_open, n_bad : int
        All clients, those without an outcome, those who defaulted.
    taken : bool
        Whether they are used for training.
    """

    due: str
    n: int
    n_open: int
    n_bad: int
    taken: bool

    @property
    def summary(self) -> str:
        """The cohort on one line."""
        state = "" if self.taken else "; it waits for their outcomes"
        return (
            f"due {self.due}: {self.n:,} clients, "
            f"{self.n_bad:,} defaulted, {self.n_open:,} still open{state}"
        )


@dataclass(frozen=True)
class Matured:
    """The clients to use for training.

    Attributes
    ----------
    rows : Table
        Their rows, with the columns of `outcome_schema`, ordered by id. Each has an outcome.
    cohorts : list of Cohort
        All cohorts that are due, including those that are not used yet.
    """

    rows: pa.Table
    cohorts: list[Cohort]


def matured(
    log: DecisionLog, months: int, now: datetime | None = None, report: Report = lambda _: None
) -> Matured:
    """Return the accepted clients whose outcomes have matured.

    Parameters
    ----------
    months : int
        Earliest time that a client is due, in months after the month of the decision.
    now : datetime, optional
        An aware time; by default the present.
    report : callable, optional
        Progress callback, called with a line for each month.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    """
    today = month_of(now or datetime.now(UTC))
    tables = [outcome_schema(log.dataset).empty_table()]
    dues = [np.empty(0, np.int64)]

    for month in _months(log, until=today - months):
        accepted = _accepted(log, month)
        due = month + 1 + np.maximum(_terms(accepted, log.dataset), months)
        is_due = due <= today
        rows = accepted.filter(pa.array(is_due))
        tables.append(rows)
        dues.append(due[is_due])

        n, n_due = len(accepted), len(rows)
        n_reported = n_due - rows["outcome"].null_count
        report(
            f"{month_name(month)}: {n:,} accepted, {n_due:,} of them due, "
            f"{n_reported:,} with an outcome"
        )

    return _settled(pa.concat_tables(tables), np.concatenate(dues), today)


def _terms(rows: pa.Table, dataset: Dataset) -> NDArray[np.int64]:
    """Return the whole months that loans run; 0 where that is unknown."""
    if not dataset.term:
        return np.zeros(len(rows), np.int64)
    terms: Floats = rows[dataset.term].cast(pa.float64()).fill_null(0.0).to_numpy()
    return np.ceil(terms).astype(np.int64)


def _settled(rows: pa.Table, due: np.ndarray, today: int) -> Matured:
    """Keep the rows that have an outcome, of cohorts that need not wait any longer."""
    is_open = rows["outcome"].is_null().to_numpy()
    bad = pc.equal(rows["outcome"], DEFAULTED).to_numpy()

    cohorts, kept = [], np.zeros(len(rows), bool)
    for month in np.unique(due).tolist():
        in_cohort = due == month
        reported = in_cohort & ~is_open
        n, n_open = int(in_cohort.sum()), int((in_cohort & is_open).sum())
        n_bad = int(np.sum(bad[reported]))

        taken = n_open < n and (n_open <= MOST_OPEN * n or today - month >= PATIENCE)
        cohorts.append(Cohort(month_name(month), n, n_open, n_bad, taken))
        kept |= taken & reported

    return Matured(rows.filter(pa.array(kept)).sort_by("id"), cohorts)


def _months(log: DecisionLog, until: int) -> Iterator[int]:
    """Yield the months with decisions before the month `until`."""
    records = log.between(EPOCH, month_start(until))
    yield from sorted({month_of(record.time) for record in records if record.n_decided})


def _accepted(log: DecisionLog, month: int) -> pa.Table:
    table = read_outcomes(log, month_start(month), month_start(month + 1))
    return table.filter(pc.equal(table["final"], GREEN))
