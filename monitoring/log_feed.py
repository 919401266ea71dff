"""The exporter's only reader of batches: it reads each once and passes it to its subscribers.

The counters, the window and the loan book all need the same new batches, but not in one straight
pass. The counters need the records of the whole log and no decisions, and must not wait for a
bucket that is down. The window starts a few hours back, and a new one is built for another version.
The loan book needs years, but only so many decisions a call. So each subscriber has a position of
its own, and two things are shared:

- Records are read a page at a time, and the last pages are kept, so that a second subscriber finds
  them.
- A part's decisions are read once, with the columns of all subscribers at the same position, and
  passed to all of these.

A subscriber gets batches of the kinds that it was added for, by default only decisions. A part
holds batches of one kind, so that the decisions of one never reach a subscriber of the other.

Subscribers that have caught up are at the same position: in this steady state each record and each
batch's decisions are read once. For that, all reading between two calls of `begin` ends with the
same batch, however many are committed meanwhile. Never more than one part's decisions are held.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from credit_risk.decision_log.batch import COMMITTED, ONLY_DECISIONS, BatchRecord
from credit_risk.decision_log.chains.position import START, Position
from credit_risk.decision_log.log import DecisionLog, Kinds
from credit_risk.decision_log.tables import wider
from monitoring.log_reader import as_coded, coded, parts, read_kept

# Batch records per page, and how many pages are kept: more than come in between two refreshes.
PAGE = 5000
PAGES_KEPT = 4


class Subscriber(Protocol):
    """Something that is made of batches as they come; it gets each one after its start, in order.

    Attributes
    ----------
    schema : pyarrow.Schema
        What it needs of the decisions (`decision_schema`), `batch` included where it `wants` only
        some batches; empty where the records are enough.
    """

    schema: pa.Schema

    def wants(self, record: BatchRecord) -> bool:
        """Return whether it needs this batch's decisions."""

    def ingest(self, records: Sequence[BatchRecord], decisions: pa.Table) -> None:
        """Take in consecutive batches.

        Parameters
        ----------
        records : sequence of BatchRecord
        decisions : Table
            The columns of `schema` of the decisions of those that it wants, in order of commit and
            row. Decisions of the others may be there too, as another subscriber wanted them; those
            whose file is lost are not. Words are codes (see `monitoring.log_reader`).
        """


class LogFeed:
    """Passes the batches of a log to subscribers; previews are left out.

    Parameters
    ----------
    log : DecisionLog
        Where the batches are.

    Attributes
    ----------
    last_event : int
        The number of the newest event at the last `begin`: every decision that an event up to it is
        about has been passed on when a subscriber is up to date.
    """

    def __init__(self, log: DecisionLog) -> None:
        self.log = log
        self.last_event = 0
        self._positions: dict[Subscriber, Position] = {}
        self._kinds: dict[Subscriber, Kinds] = {}
        self._pages: deque[tuple[Position, Sequence[BatchRecord]]] = deque(maxlen=PAGES_KEPT)
        self._end: Position | None = None

    def begin(self) -> None:
        """Begin to read what is new; until the next call all subscribers are read to one end.

        Raises
        ------
        LogUnavailable
            When the decision log is.
        """
        self._end = None
        self.last_event = self.log.last_event()

    def follows(self, subscriber: Subscriber) -> bool:
        """Return whether a subscriber was added."""
        return subscriber in self._positions

    def add(
        self, subscriber: Subscriber, after: Position = START, kinds: Kinds = ONLY_DECISIONS
    ) -> None:
        """Pass a subscriber the batches of some kinds that come after a position in the log."""
        self._positions[subscriber] = after
        self._kinds[subscriber] = kinds

    def remove(self, subscriber: Subscriber) -> None:
        """Pass a subscriber nothing more."""
        self._positions.pop(subscriber, None)
        self._kinds.pop(subscriber, None)

    def advance(self, subscriber: Subscriber, at_most: int | None = None) -> bool:
        """Bring a subscriber up to date, and with it those at the same position.

        Parameters
        ----------
        subscriber : Subscriber
        at_most : int, optional
            From how many decisions on no further part is read.

        Returns
        -------
        bool
            Whether the subscriber is up to date.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was passed on by then stays, and the next call reads
            on.
        """
        n = 0
        while records := self._records(self._positions[subscriber]):
            n_passed_on = 0
            for part in parts(records):
                if at_most is not None and n >= at_most:
                    # The next call begins here.
                    self._pages.append((self._positions[subscriber], records[n_passed_on:]))
                    return False

                n += self._pass_on(part, subscriber)
                n_passed_on += len(part)
        return True

    def _records(self, after: Position) -> Sequence[BatchRecord]:
        """Return some records after a position, up to the end; none where that is reached."""
        if after == self._end:
            return ()

        page = self._kept(after)
        if not page:
            page = self.log.batches(after=after, limit=PAGE, kinds=COMMITTED)
            if self._end is None and len(page) < PAGE:
                self._end = after.past(page)
            if page:
                self._pages.append((after, page))

        return [record for record in page if self._end is None or self._end.covers(record)]

    def _kept(self, after: Position) -> Sequence[BatchRecord]:
        """Return the page that begins after a position, if it is kept."""
        return next((page for start, page in self._pages if start == after), ())

    def _pass_on(self, part: Sequence[BatchRecord], subscriber: Subscriber) -> int:
        """Pass on consecutive batches, and return how many decisions were read for that."""
        position, after = self._positions[subscriber], self._positions[subscriber].past(part)
        # A subscriber that needs only records never waits for decisions that others need.
        together = [
            other
            for other, at in self._positions.items()
            if at == position and (len(subscriber.schema) or not len(other.schema))
        ]
        subscribers = [other for other in together if part[0].kind in self._kinds[other]]

        wanted = [
            record
            for record in part
            if record.n_decided and any(other.wants(record) for other in subscribers)
        ]
        schema = _joint([other.schema for other in subscribers])
        if wanted:
            decisions = read_kept(self.log, wanted, schema)
        else:
            decisions = coded(schema).empty_table()

        for other in together:
            if other in subscribers:
                other.ingest(part, as_coded(decisions, other.schema))
            self._positions[other] = after
        return int(decisions.num_rows)


def _joint(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return all columns of some schemas, each in a type that holds the values of all.

    They differ while an attribute becomes another kind, for two versions know it differently.
    """
    fields: dict[str, pa.Field] = {}
    for field in (field for schema in schemas for field in schema):
        fields[field.name] = wider(fields.get(field.name, field), field)
    return pa.schema(fields.values())
