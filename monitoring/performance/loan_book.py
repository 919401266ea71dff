"""The loan book: the decisions of the last years in short, with final decision and outcome.

It is kept by month of decision and read as it grows: decisions first, then overrides and outcomes
as events. Where a decision has several outcomes, the one with the latest date stands. Some 45 bytes
a decision are kept, and nothing that names a client.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.decision_log.batch import BatchRecord, decision_schema
from credit_risk.decision_log.events import OUTCOMES
from credit_risk.decision_log.outcome_file import DEFAULTED, REPAID
from credit_risk.decision_log.overrides import OVERRIDE
from credit_risk.metrics.cost import weights
from credit_risk.months import month_of
from credit_risk.schema.attributes import GREEN
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.protected_groups import groups
from monitoring.log_feed import LogFeed
from monitoring.log_reader import places_in

logger = logging.getLogger(__name__)

Rows = NDArray[Any]
Ints = NDArray[np.int64]

# What is read of a decision beside the attributes that make groups.
BESIDE = ("batch", "row", "time", "risk", "prediction")
# Decisions per call: at the start the log's years must not keep today's drift waiting.
AT_A_TIME = 100_000
# As many as there are bits for.
MAX_GROUPS = 64

# Codes of a client's outcome.
OPEN, REPAID_CODE, DEFAULTED_CODE = 0, 1, 2
CODES = {REPAID: REPAID_CODE, DEFAULTED: DEFAULTED_CODE}

DTYPE = np.dtype(
    [
        ("key", "i8"),  # the batch's place in the book, and the row
        ("day", "i4"),  # of the decision, since 1970
        ("risk", "f8"),
        ("green", "?"),  # what the model decided
        ("final", "?"),  # whether the client was funded, after overrides
        ("outcome", "i1"),
        ("outcome_day", "i4"),
        ("weight", "f8"),  # what the client counts for in a mean cost
        ("groups", "u8"),  # one bit for each group that the client belongs to
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

    def alter(self, keys: Ints, **values: Any) -> None:
        """Alter those of some decisions that are in the book.

        Where one is altered several times the last stands. An outcome alters nothing where the book
        has one of a later day.
        """
        known = self.rows["key"]
        places = np.searchsorted(known, keys)
        there = places < len(known)
        there[there] = known[places[there]] == keys[there]  # not those of a lost file

        if "outcome_day" in values:
            held = self.rows[places[there]]
            there[there] = (held["outcome"] == OPEN) | (
                held["outcome_day"] <= values["outcome_day"][there]
            )

        for name, value in values.items():
            self.rows[name][places[there]] = value[there]
        self.changes += 1


class LoanBook:
    """The decisions of the last months.

    Parameters
    ----------
    dataset : Dataset
        Names the groups for which fairness is measured.
    reach : int
        How many months before the present one are kept.

    Attributes
    ----------
    months : dict of int to Month
        By months since 1970.
    groups : list of (attribute, group)
        What the bits of `groups` mean, the lowest first.
    outcomes_as_of : datetime or None
        When outcomes last came; nothing is known of what happened later.
    """

    def __init__(self, dataset: Dataset, reach: int) -> None:
        self._dataset = dataset
        self._grouping = list(dict.fromkeys(group.attribute for group in dataset.groups))
        names = dict.fromkeys((*BESIDE, *self._grouping, *dataset.cost_columns))
        self.schema = decision_schema(dataset, tuple(names))
        self.months: dict[int, Month] = {}
        self.groups: list[tuple[str, str]] = []
        self._left_out: set[tuple[str, str]] = set()
        self.outcomes_as_of: datetime | None = None
        self._reach = reach
        self._first = 0  # the oldest month that is kept
        self._last_event = 0
        # Each batch's id, and the month of its decisions, by its place in the book.
        self._batches = pa.array([], pa.string())
        self._month_of: Ints = np.empty(0, np.int64)

    def advance(self, feed: LogFeed, now: datetime) -> bool:
        """Read on, and return whether all is read: before that the book is of no use.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was read by then stays, and the next call reads on.
        """
        self.follow(feed, now)
        if not feed.advance(self, AT_A_TIME):
            return False

        for event in feed.log.events(after=self._last_event):
            if event["_id"] <= feed.last_event:  # later ones may be about decisions not yet read
                uploaded = event["kind"] == OUTCOMES
                self.apply_event(event, feed.log.outcomes_in(event["key"]) if uploaded else ())
        return True

    def follow(self, feed: LogFeed, now: datetime) -> None:
        """Be handed the log's decisions from now on, those of the months that are kept."""
        self.drop_before(month_of(now) - self._reach)
        if not feed.follows(self):
            feed.add(self)

    def drop_before(self, first: int) -> None:
        """Drop the months before one, and take in none of them from now on."""
        self._first = first
        for month in [month for month in self.months if month < first]:
            del self.months[month]

    def wants(self, record: BatchRecord) -> bool:
        """Return whether a batch's decisions are needed: not those of months that are not kept."""
        return record.n_decided > 0 and month_of(record.time) >= self._first

    def ingest(self, records: Sequence[BatchRecord], decisions: pa.Table) -> None:
        """Add the decisions of batches (see `monitoring.log_feed`)."""
        wanted = [record for record in records if self.wants(record)]
        if not wanted:
            return

        ids = [record.id for record in wanted]
        months = np.array([month_of(record.time) for record in wanted])
        batch = places_in(ids, decisions["batch"]).astype(np.int64)
        others = batch == len(ids)  # another subscriber wanted these
        if others.any():
            decisions, batch = decisions.filter(~others), batch[~others]

        rows = np.zeros(decisions.num_rows, DTYPE)
        rows["key"] = ((batch + len(self._batches)) << 32) + decisions["row"].to_numpy()
        rows["day"] = decisions["time"].cast(pa.date32()).cast(pa.int32()).to_numpy()
        rows["risk"] = decisions["risk"].to_numpy()
        rows["green"] = rows["final"] = places_in([GREEN], decisions["prediction"]) == 0
        rows["weight"] = weights(decisions, self._dataset)
        rows["groups"] = self._groups_of(decisions)

        for month in np.unique(months).tolist():
            self.months.setdefault(month, Month()).append(rows[months[batch] == month])
        self._batches = pa.concat_arrays([self._batches, pa.array(ids)])
        self._month_of = np.concatenate([self._month_of, months])

    def apply_event(self, event: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Take in what people did about decisions; an event up to the last one changes nothing.

        Parameters
        ----------
        event : mapping
            As the decision log has it.
        outcomes : sequence of mapping
            Those that came with it, by date, where it is an upload of outcomes.
        """
        if event["_id"] <= self._last_event:
            return

        if event["kind"] == OVERRIDE:
            self._alter([event["key"]], final=[event["prediction"] == GREEN])
        elif event["kind"] == OUTCOMES:
            days = np.array([o["date"] for o in outcomes], "M8[D]").astype(np.int64)
            self._alter(
                [o["key"] for o in outcomes],
                outcome=[CODES[o["outcome"]] for o in outcomes],
                outcome_day=days,
            )
            self.outcomes_as_of = datetime.fromisoformat(event["time"])
        self._last_event = event["_id"]

    def _groups_of(self, decisions: pa.Table) -> NDArray[np.uint64]:
        bits = np.zeros(decisions.num_rows, np.uint64)
        clients = decisions.select(self._grouping).to_pandas()
        for attribute, group, members in groups(clients, self._dataset):
            if (bit := self._bit_of((attribute, group))) is not None:
                bits[members] |= np.uint64(1 << bit)
        return bits

    def _bit_of(self, group: tuple[str, str]) -> int | None:
        if group not in self.groups:
            if len(self.groups) == MAX_GROUPS:
                if group not in self._left_out:
                    self._left_out.add(group)
                    logger.warning("no acceptance is given of %s %s: too many groups", *group)
                return None
            self.groups.append(group)
        return self.groups.index(group)

    def _alter(self, ids: Sequence[str], **values: Sequence[Any] | Ints) -> None:
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
                chosen = {name: np.asarray(value)[these] for name, value in values.items()}
                self.months[month].alter(keys[these], **chosen)
