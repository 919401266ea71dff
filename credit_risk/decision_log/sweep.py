"""Removes from the log what no reader sees, and what has had its time."""

from datetime import UTC, datetime, timedelta

from ulid import ULID

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import PREVIEWS_KEPT
from credit_risk.decision_log.chains.position import PLACES
from credit_risk.decision_log.chains.reader import ChainReader
from credit_risk.decision_log.chains.writer import RECORDS
from credit_risk.decision_log.commit import DECISIONS, PREVIEWS, BatchWriter
from credit_risk.decision_log.events import OUTCOMES, EventLog
from credit_risk.decision_log.files.decision_files import DecisionFiles
from credit_risk.storage.documents import Documents


class Sweeper:
    """Removes what killed writers left behind, and old previews; see `DecisionLog.sweep`."""

    def __init__(
        self,
        documents: Documents,
        events: EventLog,
        writer: BatchWriter,
        files: DecisionFiles,
        chains: ChainReader,
    ) -> None:
        self._documents = documents
        self._events = events
        self._writer = writer
        self._files = files
        self._chains = chains
        self._old_removed_until: datetime | None = None

    def sweep(self, older_than: timedelta, within: timedelta) -> int:
        """Sweep, and return how many batches and uploads of outcomes were removed."""
        now = datetime.now(UTC)
        self._files.tidy(now - older_than)
        start = str(ULID.from_datetime(now - within))
        end = str(ULID.from_datetime(now - older_than))

        in_time = {"$gt": start, "$lt": end}
        written = self._documents.distinct(DECISIONS, "batch", {"_id": in_time})
        written |= {id for id in self._files.ids(now - within) if start < id < end}
        committed = self._documents.distinct(RECORDS, "id", {"id": {"$gt": start}})
        for id in written - committed:
            self._writer.discard(id)

        uploads = self._documents.distinct("outcomes", "upload", {"upload": in_time})
        unmarked = uploads - {event["key"] for event in self._events.events(OUTCOMES)}
        for id in unmarked:
            self._events.discard_outcomes(id)

        self._remove_previews(now - PREVIEWS_KEPT)
        self._chains.close_idle()
        return len(written - committed) + len(unmarked)

    def _remove_previews(self, before: datetime) -> None:
        self._documents.delete(PREVIEWS, codec.times(None, before))

        # Those from before they had a collection of their own; the first call looks at all.
        old = {"kind": "preview", "_id": {"$lt": PLACES}}
        where = {**old, **codec.times(self._old_removed_until, before)}
        for id in self._documents.distinct(RECORDS, "id", where):
            self._documents.delete(DECISIONS, {"_id": codec.ids_between(id, id)})
        self._old_removed_until = before
