"""Which accepted clients may be learnt from: those whose time has come, whatever became of them.

A default is told when it happens, a repayment at the end. Who takes outcomes as they come sees the defaults of many
loans whose repayments are still ahead, and learns from too many bad clients. So of a client neither counts before the
client is due: a number of months (a setting) after the end of the month of the decision, and not before the loan's own
term is over. Clients of one month and one term are thus taken at one age, and when that is depends on what was asked
for and when, never on how it went.

Those who come due in one month are a cohort, and enter together: when at most a tenth of them is still open, for what
is told late may be of one kind; or `PATIENCE` months later without the open ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DEFAULTED
from credit_risk.decision_log.outcomes import OUTCOME_SCHEMA, read_outcomes
from credit_risk.months import month_name, month_of, month_start
from credit_risk.schema.attributes import GREEN

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_OPEN = 0.1
PATIENCE = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cohort:
    """The accepted clients who came due at the start of one month.

    Attributes
    ----------
    due : str
        That month, as 2026-01.
    n, n_open, n_bad : int
        All of them, those without an outcome, those who defaulted.
    taken : bool
        Whether they are learnt from.
    """

    due: str
    n: int
    n_open: int
    n_bad: int
    taken: bool

    @property
    def words(self) -> str:
        """The cohort on one line."""
        state = "" if self.taken else "; it waits for their outcomes"
        return f"due {self.due}: {self.n:,} clients, {self.n_bad:,} defaulted, {self.n_open:,} still open{state}"


@dataclass(frozen=True)
class Matured:
    """Whom to learn from: `rows` has the columns of `OUTCOME_SCHEMA`, ordered by id, each with an outcome."""

    rows: pa.Table
    cohorts: list[Cohort]


def matured(log: DecisionLog, months: int, now: datetime | None = None, say: Say = lambda _: None) -> Matured:
    """Return the accepted clients whose outcomes count by now.

    Parameters
    ----------
    months : int
        How long after the month of the decision a client is due at the earliest.
    now : datetime, optional
        Aware.
    say : callable, optional
        Is told how far it is, in words.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    """
    today = month_of(now or datetime.now(UTC))
    tables, dues = [OUTCOME_SCHEMA.empty_table()], [np.empty(0, np.int64)]
    for month in _months(log, until=today - months):
        accepted = _accepted(log, month)
        due = month + 1 + np.maximum(accepted["duration"].to_numpy(), months)
        tables.append(accepted.filter(pa.array(due <= today)))
        dues.append(due[due <= today])
        n_told = len(tables[-1]) - tables[-1]["outcome"].null_count
        n, n_due = len(accepted), len(dues[-1])
        say(f"{month_name(month)}: {n:,} accepted, {n_due:,} of them due, {n_told:,} with an outcome")
    return _settled(pa.concat_tables(tables), np.concatenate(dues), today)


def _settled(rows: pa.Table, due: np.ndarray, today: int) -> Matured:
    """Keep those with an outcome of the cohorts that wait no longer."""
    is_open, bad = rows["outcome"].is_null().to_numpy(), pc.equal(rows["outcome"], DEFAULTED).to_numpy()
    cohorts, kept = [], np.zeros(len(rows), bool)
    for month in np.unique(due).tolist():
        mine = due == month
        n, n_open = int(mine.sum()), int((mine & is_open).sum())
        taken = n_open < n and (n_open <= MOST_OPEN * n or today - month >= PATIENCE)
        cohorts.append(Cohort(month_name(month), n, n_open, int(np.sum(bad[mine & ~is_open])), taken))
        kept |= taken & mine & ~is_open
    return Matured(rows.filter(pa.array(kept)).sort_by("id"), cohorts)


def _months(log: DecisionLog, until: int) -> Iterator[int]:
    """Yield the months with decisions, up to, but without, one."""
    records = log.between(EPOCH, month_start(until))
    yield from sorted({month_of(record.time) for record in records if record.n_decided})


def _accepted(log: DecisionLog, month: int) -> pa.Table:
    table = read_outcomes(log, month_start(month), month_start(month + 1))
    return table.filter(pc.equal(table["final"], GREEN))
