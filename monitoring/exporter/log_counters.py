"""Counts over the whole log, from its batch records: decisions, rejected rows and files.

Previews never count.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.schema.attributes import GREEN, RED

DECIDED = "decided"
PARTLY = "partly rejected"
REJECTED = "rejected"
SOURCES = ("file", "request")


@dataclass(frozen=True)
class Totals:
    """Counts over the whole log.

    Attributes
    ----------
    decisions : mapping of (prediction, model version) to int
    rejected : mapping of reason to int
        Faults of rejected rows.
    values : mapping of (column, reason) to int
        The same by column too; the column is empty where the row as a whole was not an application.
    rows : mapping of `decided` and `rejected` to int
    batches : mapping of (source, outcome) to int
        Source is `file` or `request`; outcome `decided` (every row was), `partly rejected` or
        `rejected` (no row was decided).
    """

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[tuple[str, str], int] = field(default_factory=dict)


class LogCounters:
    """Counts the batches that a log feed hands over, from the first one on."""

    schema = pa.schema([])

    def __init__(self) -> None:
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._values: Counter[tuple[str, str]] = Counter()
        # A series that starts at zero shows its first increase.
        self._rows: Counter[str] = Counter({DECIDED: 0, REJECTED: 0})
        outcomes = (DECIDED, PARTLY, REJECTED)
        self._batches: Counter[tuple[str, str]] = Counter(
            {(s, outcome): 0 for s in SOURCES for outcome in outcomes}
        )

    def wants(self, record: BatchRecord) -> bool:
        """Return whether a batch's decisions are needed: never, its record has the counts."""
        return False

    def ingest(self, records: Sequence[BatchRecord], decisions: pa.Table) -> None:
        """Count batches."""
        for record in records:
            self._add(record)

    def totals(self, version: str | None) -> Totals:
        """Return the counts; those of a version that has decided nothing yet are zeros.

        To be called only when all batches have been handed over: a counter that starts low and
        catches up looks like a burst of decisions.
        """
        if version:
            for prediction in (RED, GREEN):
                self._decisions[prediction, version] += 0

        rejected: Counter[str] = Counter()
        for (_, reason), n in self._values.items():
            rejected[reason] += n

        return Totals(
            dict(self._decisions),
            dict(rejected),
            dict(self._values),
            dict(self._rows),
            dict(self._batches),
        )

    def _add(self, batch: BatchRecord) -> None:
        for prediction, n in ((RED, batch.n_red), (GREEN, batch.n_decided - batch.n_red)):
            self._decisions[prediction, batch.model_version] += n

        for fault in batch.reasons:
            self._values[fault["column"], fault["reason"]] += fault["n"]

        self._rows[DECIDED] += batch.n_decided
        self._rows[REJECTED] += batch.n_rejected

        source = "request" if batch.source is None else "file"
        if not batch.n_decided:
            outcome = REJECTED
        else:
            outcome = PARTLY if batch.n_rejected else DECIDED
        self._batches[source, outcome] += 1
