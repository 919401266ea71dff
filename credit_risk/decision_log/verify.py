"""Whether a decision log is whole: every number, every batch with all its decisions, every approval."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import RED

# So many batches' decisions are read at once.
TOGETHER = 500


class LogDamaged(ValueError):
    """Something of the log is missing; the message says what."""


@dataclass(frozen=True)
class Found:
    """How much is in the log."""

    batches: int
    decisions: int
    approvals: int

    @property
    def words(self) -> str:
        """One line for people."""
        return (
            f"the decision log is whole: {self.decisions:,} decisions in {self.batches:,} batches, "
            f"{self.approvals:,} approvals"
        )


def verify(log: DecisionLog) -> Found:
    """Read the whole log.

    Parameters
    ----------
    log : DecisionLog
        With a million decisions it takes some seconds.

    Raises
    ------
    LogDamaged
        When a number is missing, or a batch has not the decisions that its record counts.
    LogUnavailable
        When it cannot be read, or the file of a large batch is gone.
    """
    records = log.batches(kind=None)
    _gapless("batch", (record.seq for record in records))
    approvals = log.approvals()
    _gapless("approval", (int(approval["_id"]) for approval in approvals))
    _gapless("event", (int(event["_id"]) for event in log.events()))
    decided = [record for record in records if record.kind == "decision"]  # previews lose theirs after a day
    small = [record for record in decided if record.stored == "documents"]
    for start in range(0, len(small), TOGETHER):
        _counted(log, small[start : start + TOGETHER])
    for record in decided:
        if record.stored != "documents":
            _counted(log, [record])
    # The first one carries what was approved before they had a collection of their own.
    n_approvals = sum(len(approval.get("earlier", [approval])) for approval in approvals)
    return Found(len(decided), sum(record.n_decided for record in decided), n_approvals)


def _gapless(what: str, numbers: Iterable[int]) -> None:
    for wanted, number in enumerate(numbers, start=1):
        if number != wanted:
            raise LogDamaged(f"{what} {wanted} is missing")


def _counted(log: DecisionLog, records: Sequence[BatchRecord]) -> None:
    table = log.read(*records, columns=("batch", "prediction"))
    batch = table["batch"].to_numpy(zero_copy_only=False)
    red = pc.equal(table["prediction"], RED).to_numpy(zero_copy_only=False)
    n_decided, n_red = Counter(batch), Counter(batch[red])
    for record in records:
        found = n_decided[record.id], n_red[record.id]
        if found != (record.n_decided, record.n_red):
            raise LogDamaged(
                f"batch {record.id} of {record.n_decided:,} decisions, {record.n_red:,} of them red, "
                f"has {found[0]:,}, {found[1]:,} of them red"
            )
