"""What the whole log came to, by its batch records: decisions, rejected rows and files; previews never count."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import GREEN, RED
from monitoring.log_reader import PAGE

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
        The same by column too; the column is empty where a row as a whole was no application.
    rows : mapping of `decided` and `rejected` to int
    batches : mapping of (source, outcome) to int
        Source is `file` or `request`; outcome `decided` (every row was), `partly rejected` or `rejected` (no row was
        decided).
    """

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Counting:
    """Counts the batches of a log as they are committed; at first all, so that a restart loses nothing."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        self._cursor = 0
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._values: Counter[tuple[str, str]] = Counter()
        # What is there from the start at zero shows its first increase.
        self._rows: Counter[str] = Counter({DECIDED: 0, REJECTED: 0})
        outcomes = (DECIDED, PARTLY, REJECTED)
        self._batches: Counter[tuple[str, str]] = Counter({(s, outcome): 0 for s in SOURCES for outcome in outcomes})

    def totals(self, version: str | None) -> Totals:
        """Return the counts up to now; those of a version that has decided nothing yet are zeros.

        They are handed over when all are counted and not before: a counter that starts low and catches up looks like a
        burst of decisions.

        Raises
        ------
        LogUnavailable
            When the decision log is.
        """
        while batches := self._log.batches(after=self._cursor, limit=PAGE):
            for batch in batches:
                self._add(batch)
            self._cursor = batches[-1].seq
        if version:
            for prediction in (RED, GREEN):
                self._decisions[prediction, version] += 0
        rejected: Counter[str] = Counter()
        for (_, reason), n in self._values.items():
            rejected[reason] += n
        return Totals(dict(self._decisions), dict(rejected), dict(self._values), dict(self._rows), dict(self._batches))

    def _add(self, batch: BatchRecord) -> None:
        for prediction, n in ((RED, batch.n_red), (GREEN, batch.n_decided - batch.n_red)):
            self._decisions[prediction, batch.model_version] += n
        for fault in batch.reasons:
            self._values[fault["column"], fault["reason"]] += fault["n"]
        self._rows[DECIDED] += batch.n_decided
        self._rows[REJECTED] += batch.n_rejected
        source = "request" if batch.source is None else "file"
        outcome = REJECTED if not batch.n_decided else PARTLY if batch.n_rejected else DECIDED
        self._batches[source, outcome] += 1
