"""Verifies that a decision log is whole.

That is: no number is missing, and every batch has all its decisions.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import RED

# Batches whose decisions are read per query.
TOGETHER = 500


class LogDamaged(ValueError):
    """A part of the log is missing; the message says which."""


@dataclass(frozen=True)
class Found:
    """How much is in the log."""

    batches: int
    decisions: int
    approvals: int

    @property
    def summary(self) -> str:
        """One line for people."""
        return (
            f"the decision log is whole: {self.decisions:,} decisions in {self.batches:,} batches, "
            f"{self.approvals:,} approvals"
        )


def verify(log: DecisionLog) -> Found:
    """Read the whole log, and return how much is in it.

    Parameters
    ----------
    log : DecisionLog
        A million decisions take some seconds.

    Raises
    ------
    LogDamaged
        When a number is missing, or a batch does not have the decisions that its record counts.
    LogUnavailable
        When the log cannot be read, or the file of a big batch is gone.
    """
    records = log.batches(kind=None)
    _check_numbers("batch", (record.seq for record in records))
    approvals = log.approvals()
    _check_numbers("approval", (int(approval["_id"]) for approval in approvals))
    _check_numbers("event", (int(event["_id"]) for event in log.events()))

    # Previews lose their decisions after a day.
    decided = [record for record in records if record.kind == "decision"]
    small = [record for record in decided if record.stored == "documents"]
    for start in range(0, len(small), TOGETHER):
        _check_counts(log, small[start : start + TOGETHER])
    for record in decided:
        if record.stored != "documents":
            _check_counts(log, [record])

    # The first approval lists those from before approvals had a collection of their own.
    n_approvals = sum(len(approval.get("earlier", [approval])) for approval in approvals)
    return Found(len(decided), sum(record.n_decided for record in decided), n_approvals)


def _check_numbers(what: str, numbers: Iterable[int]) -> None:
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise LogDamaged(f"{what} {expected} is missing")


def _check_counts(log: DecisionLog, records: Sequence[BatchRecord]) -> None:
    table = log.read(*records, columns=("batch", "prediction"))
    batch = table["batch"].to_numpy(zero_copy_only=False)
    red = pc.equal(table["prediction"], RED).to_numpy(zero_copy_only=False)
    n_decided_by_batch, n_red_by_batch = Counter(batch), Counter(batch[red])

    for record in records:
        n_decided, n_red = n_decided_by_batch[record.id], n_red_by_batch[record.id]
        if (n_decided, n_red) != (record.n_decided, record.n_red):
            raise LogDamaged(
                f"batch {record.id} of {record.n_decided:,} decisions, {record.n_red:,} of them "
                f"red, has {n_decided:,}, {n_red:,} of them red"
            )
