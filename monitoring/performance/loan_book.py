"""The book of loans: every decision of the last years in short, with its final word and what became of the client.

It is kept by the month of the decision, and read as it grows: decisions, then overrides and outcomes as the events that
they are. Of a decision's outcomes the one of the latest date stands. Some 30 bytes a decision are kept, and nothing
that names a client.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.events import OUTCOMES
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DEFAULTED, REPAID
from credit_risk.decision_log.overrides import OVERRIDE
from credit_risk.months import month_of
from credit_risk.schema.attributes import GREEN
from credit_risk.schema.protected_groups import groups
from monitoring.log_reader import PAGE, parts, read_kept

Rows = NDArray[Any]
Ints = NDArray[np.int64]

COLUMNS = ("batch", "row", "time", "risk", "prediction", "age", "personal_status", "foreign_worker")
# So many decisions are read at a time: at the start the log's years must not keep today's drift waiting.
AT_A_TIME = 100_000

# What became of a client.
OPEN, REPAID_CODE, DEFAULTED_CODE = 0, 1, 2
CODES = {REPAID: REPAID_CODE, DEFAULTED: DEFAULTED_CODE}

DTYPE = np.dtype(
    [
        ("key", "i8"),  # the batch's place in the book, and the row
        ("day", "i4"),  # of the decision, since 1970
        ("risk", "f8"),
        ("green", "?"),  # what the model said
        ("final", "?"),  # whether the client was funded, after overrides
        ("outcome", "i1"),
        ("outcome_day", "i4"),
        ("groups", "u2"),  # one bit for each group that the client belongs to
    ]
)


class Month:
    """The decisions of one month; `changes` counts how often they were added to or altered."""

    def __init__(self) -> None:
        self.changes = 0
        self._rows: Rows = np.empty(64, DTYPE)
        self._n = 0

    @property
    def rows(self) -> Rows:
        """The decisions, in order of commit and row."""
        return self._rows[: self._n]

    def append(self, rows: Rows) -> None:
        """Add decisions."""
        n = self._n + len(rows)
        if n > len(self._rows):
            grown = np.empty(2 * n, DTYPE)
            grown[: self._n] = self.rows
            self._rows = grown
        self._rows[self._n : n] = rows
        self._n = n
        self.changes += 1

    def put(self, keys: Ints, **values: Any) -> None:
        """Alter decisions, where they are in the book; of several alterations of one the last stands.

        An outcome alters nothing where the book has one of a later day.
        """
        known = self.rows["key"]
        places = np.searchsorted(known, keys)
        there = places < len(known)
        there[there] = known[places[there]] == keys[there]  # not those of a file that is lost
        if "outcome_day" in values:
            held = self.rows[places[there]]
            there[there] = (held["outcome"] == OPEN) | (held["outcome_day"] <= values["outcome_day"][there])
        for name, value in values.items():
            self.rows[name][places[there]] = value[there]
        self.changes += 1


class Book:
    """The decisions of the last months.

    Parameters
    ----------
    log : DecisionLog
        Where they are.
    reach : int
        How many months before the present one are kept.

    Attributes
    ----------
    months : dict of int to Month
        By months since 1970.
    groups : list of (attribute, group)
        What the bits of `groups` mean, the lowest first.
    told : datetime or None
        When outcomes last came; nothing is known of what happened later.
    """

    def __init__(self, log: DecisionLog, reach: int) -> None:
        self.months: dict[int, Month] = {}
        self.groups: list[tuple[str, str]] = []
        self.told: datetime | None = None
        self._log = log
        self._reach = reach
        self._cursor = self._seen = 0
        # Each batch's id, and the month of its decisions, by its place in the book.
        self._batches = pa.array([], pa.string())
        self._month_of: Ints = np.empty(0, np.int64)

    def advance(self, now: datetime) -> bool:
        """Read on, and return whether all is read: before that the book is not worth looking at.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was read by then stays, and the next call reads on.
        """
        first = month_of(now) - self._reach
        for month in [month for month in self.months if month < first]:
            del self.months[month]
        # Looked up before the decisions are read, so that each event until then finds its decision in the book.
        last = self._log.last_event()
        if not self._read(first):
            return False
        for event in self._log.events(after=self._seen):
            if event["_id"] <= last:
                self._hear(event)
                self._seen = event["_id"]
        return True

    def _read(self, first: int) -> bool:
        n = 0
        while batches := self._log.batches(after=self._cursor, limit=PAGE):
            for some in parts(batches):
                if n >= AT_A_TIME:
                    return False
                n += self._add([record for record in some if month_of(record.time) >= first and record.n_decided])
                self._cursor = some[-1].seq
        return True

    def _add(self, records: Sequence[BatchRecord]) -> int:
        if not records:
            return 0
        decisions = read_kept(self._log, records, COLUMNS)
        ids = pa.array([record.id for record in records])
        months = np.array([month_of(record.time) for record in records])
        batch = pc.index_in(decisions["batch"], value_set=ids).to_numpy().astype(np.int64)
        rows = np.zeros(decisions.num_rows, DTYPE)
        rows["key"] = ((batch + len(self._batches)) << 32) + decisions["row"].to_numpy()
        rows["day"] = decisions["time"].cast(pa.date32()).cast(pa.int32()).to_numpy()
        rows["risk"] = decisions["risk"].to_numpy()
        rows["green"] = rows["final"] = pc.equal(decisions["prediction"], GREEN).to_numpy()
        rows["groups"] = self._groups_of(decisions)
        for month in np.unique(months).tolist():
            self.months.setdefault(month, Month()).append(rows[months[batch] == month])
        self._batches = pa.concat_arrays([self._batches, ids])
        self._month_of = np.concatenate([self._month_of, months])
        return len(rows)

    def _groups_of(self, decisions: pa.Table) -> NDArray[np.uint16]:
        bits = np.zeros(decisions.num_rows, np.uint16)
        for attribute, group, members in groups(decisions.select(COLUMNS[-3:]).to_pandas()):
            if (attribute, group) not in self.groups:
                self.groups.append((attribute, group))
            bits[members] |= np.uint16(1 << self.groups.index((attribute, group)))
        return bits

    def _hear(self, event: dict[str, Any]) -> None:
        if event["kind"] == OVERRIDE:
            self._put([event["key"]], final=[event["prediction"] == GREEN])
        elif event["kind"] == OUTCOMES:
            came = self._log.outcomes_in(event["key"])
            days = np.array([o["date"] for o in came], "M8[D]").astype(np.int64)
            self._put([o["key"] for o in came], outcome=[CODES[o["outcome"]] for o in came], outcome_day=days)
            self.told = datetime.fromisoformat(event["time"])

    def _put(self, ids: Sequence[str], **values: Sequence[Any] | Ints) -> None:
        """Alter decisions by their ids; those that are too old for the book are passed over."""
        if not ids or not len(self._batches):
            return
        parted = [id.rpartition("-") for id in ids]
        batch = pc.index_in(pa.array([batch for batch, _, _ in parted]), value_set=self._batches)
        known = batch.is_valid().to_numpy(zero_copy_only=False)
        place = batch.fill_null(0).to_numpy()
        keys = (place.astype(np.int64) << 32) + np.array([int(row) for _, _, row in parted])
        months = self._month_of[place]
        for month in np.unique(months[known]).tolist():
            if month in self.months:
                these = known & (months == month)
                self.months[month].put(keys[these], **{name: np.asarray(v)[these] for name, v in values.items()})
