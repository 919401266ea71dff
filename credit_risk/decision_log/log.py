"""The decision log: what was asked, what was decided, and what people did about it afterwards.

It appends batches; a batch is one request or one file. First come the decisions, then a single
batch record as the commit mark, so that a batch is in the log as a whole or not at all, without any
transaction. Batch records are numbered without gaps in the order in which they were committed: a
reader that has seen number n asks for what came after n and misses nothing.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from ulid import ULID

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import (
    DECISION_SCHEMA,
    OPEN,
    PREVIEWS_KEPT,
    AlreadyCommitted,
    Batch,
    BatchRecord,
    DecisionSummary,
    Kind,
    decision_schema,
)
from credit_risk.decision_log.decision_files import DecisionFiles
from credit_risk.decision_log.events import OUTCOMES, Conflict, EventLog, attempts
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs, open_documents
from credit_risk.storage.blobs import Blobs
from credit_risk.storage.documents import Document, Documents, LogUnavailable

_MAX_DIGITS = 18  # of a row's number: no row has more, and a filter on a file takes no more


def open_log(settings: Settings) -> "DecisionLog":
    """Return the decision log of the settings; it connects at the first call, not before."""
    return DecisionLog(
        open_documents(settings.decision_log, settings.decision_log_flush_ms / 1000),
        open_blobs(settings.bucket),
    )


def _at_once() -> None:
    """Wait for nothing."""


@dataclass
class _Pending:
    """A batch that waits to be written, and the result: its record, or an error."""

    batch: Batch
    documents: list[Document]
    result: BatchRecord | Exception | None = None


class DecisionLog(EventLog):
    """Batches, decisions, events and reports. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds everything except the decisions of big batches.
    blobs : Blobs
        Holds those.
    owner : str, optional
        The caller whose batches are shown; everybody's when not given.
    """

    def __init__(self, documents: Documents, blobs: Blobs, owner: str | None = None) -> None:
        super().__init__(documents)
        self._blobs = blobs
        self._files = DecisionFiles(blobs)
        self._pending: deque[_Pending] = deque()
        self._turn = threading.Lock()
        self._owned: dict[str, Any] = {} if owner is None else {"caller": owner}
        self._previews_removed_until: datetime | None = None

    def of(self, owner: str) -> "DecisionLog":
        """Return the log with only one caller's batches and the decisions in them."""
        return DecisionLog(self._documents, self._blobs, owner)

    def commit(self, batch: Batch, ready: Callable[[], object] = _at_once) -> BatchRecord:
        """Write a batch: it is in the log for good when this returns, and is not when it raises.

        Parameters
        ----------
        batch : Batch
        ready : callable
            Called when everything but the commit mark is written or ready to be; where it raises,
            the batch is not committed.

        Raises
        ------
        AlreadyCommitted
            When the same caller has used the idempotency key before.
        """
        in_documents = codec.as_documents(batch)
        if ready is _at_once and self._documents.atomic and in_documents:
            return self._commit_in_group(batch)

        self._refuse_twice(batch)
        decisions = codec.documents(batch) if in_documents else []
        if not in_documents:
            self._files.write(batch)

        try:
            ready()
            with self._documents.together():
                written = self._write(batch, decisions)
        except LogUnavailable:
            raise  # the sweep removes what was written
        except Exception:
            self._discard(batch.id)
            raise

        self._flush([batch])
        return written

    def _commit_in_group(self, batch: Batch) -> BatchRecord:
        """Write a batch with all others that wait, in one transaction and one wait for the disk."""
        mine = _Pending(batch, codec.documents(batch))
        self._pending.append(mine)
        with self._turn:
            if mine.result is None:  # else the thread that had the turn before wrote it
                self._write_all([self._pending.popleft() for _ in range(len(self._pending))])

        if isinstance(mine.result, Exception):
            raise mine.result
        assert mine.result is not None
        return mine.result

    def _write_all(self, group: Sequence[_Pending]) -> None:
        try:
            with self._documents.together():
                for pending in group:
                    try:
                        pending.result = self._write(pending.batch, pending.documents)
                    except AlreadyCommitted as error:  # before anything of it was written
                        pending.result = error
            self._flush([pending.batch for pending in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LogUnavailable):
                # Written one by one, only the batch at fault fails.
                for pending in group:
                    self._write_all([pending])
                return
            for pending in group:
                pending.result = error

    def _flush(self, batches: Sequence[Batch]) -> None:
        # The last moment before a power cut may be lost for a single client, who can be sent
        # again; nobody decides on a whole file twice.
        self._documents.flush(now=any(len(batch.applications) != 1 for batch in batches))

    def _write(self, batch: Batch, decisions: Sequence[Document]) -> BatchRecord:
        """Write the documents of a batch, and then its mark."""
        self._refuse_twice(batch)
        if decisions:
            self._documents.insert("decisions", decisions)
        for _ in attempts():
            last = self._documents.last("batches")
            self._refuse_twice(batch)
            with suppress(Conflict):
                return codec.record(self._append("batches", codec.mark(batch), last))
        raise AssertionError("the attempts end with an error")

    def batches(
        self, after: int = 0, kind: Kind | None = "decision", limit: int = 0
    ) -> list[BatchRecord]:
        """Return the batches committed after number `after`, in order."""
        where = {"_id": {"$gt": after}, **_of_kind(kind), **self._owned}
        return list(map(codec.record, self._documents.find("batches", where, limit=limit)))

    def latest_batches(
        self,
        kind: Kind | None = "decision",
        limit: int = 0,
        *,
        before: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[BatchRecord]:
        """Yield batches, the newest first.

        Only those with a number less than `before`, and from `since` to before `until`.
        """
        where = {**_of_kind(kind), **codec.times(since, until), **self._owned}
        if before is not None:
            where["_id"] = {"$lt": before}
        found = self._documents.find("batches", where, newest_first=True, limit=limit)
        return map(codec.record, found)

    def batch(self, id: str) -> BatchRecord | None:
        """Return a batch's record, or None when no such batch was committed."""
        found = next(self._documents.find("batches", {"id": id, **self._owned}, limit=1), None)
        return codec.record(found) if found else None

    def records(self, ids: Collection[str]) -> list[BatchRecord]:
        """Return those of these batches that were committed, in order of id."""
        found = map(codec.record, self._find_in("batches", "id", sorted(ids)))
        return [record for record in found if self._shows(record)]

    def read(self, *records: BatchRecord, columns: Sequence[str] = ()) -> pa.Table:
        """Return the decisions of batches, in order of commit and row.

        `columns` names those of `DECISION_SCHEMA` that are wanted; all when it is empty.

        Raises
        ------
        BatchLost
            When the file of a batch is gone.
        """
        schema = decision_schema(columns)
        tables = {r.id: self._files.read(r, schema) for r in records if r.stored == "parquet"}
        small = [r for r in records if r.stored == "documents" and r.n_decided]
        rows: dict[str, list[Document]] = {r.id: [] for r in small}
        for document in self._find_decisions(small):
            if document["batch"] in rows:
                rows[document["batch"]].append(codec.flat(document))
        for id, found in rows.items():
            tables[id] = pa.Table.from_pylist(found, schema=schema)

        committed = sorted(records, key=lambda record: record.seq)
        in_order = [tables[record.id] for record in committed if record.id in tables]
        return pa.concat_tables([schema.empty_table(), *in_order])

    def decision(self, id: str) -> dict[str, Any] | None:
        """Return one committed decision as a dict of `DECISION_SCHEMA`'s columns, or None."""
        batch_id, _, row = id.rpartition("-")
        record = self.batch(batch_id)
        if record is None or not row.isdecimal() or len(row) > _MAX_DIGITS:
            return None

        if record.stored == "documents":
            found = [codec.flat(d) for d in self._documents.find("decisions", {"_id": id}, limit=1)]
            table = pa.Table.from_pylist(found, schema=DECISION_SCHEMA)
        else:
            table = self._files.read(record, DECISION_SCHEMA, [("row", "=", int(row))])

        rows: list[dict[str, Any]] = table.to_pylist()
        return rows[0] if rows and rows[0]["id"] == id else None  # row 7 may be asked for as 007

    def summaries(self, ids: Collection[str]) -> dict[str, DecisionSummary]:
        """Return those of these decisions that were committed, by id, with a query per thousand."""
        wanted = frozenset(ids)
        records = {r.id: r for r in self.records({id.rpartition("-")[0] for id in wanted})}
        small = {id for id, record in records.items() if record.stored == "documents"}
        in_documents = sorted(id for id in wanted if id.rpartition("-")[0] in small)

        documents = self._find_in("decisions", "_id", in_documents)
        found = {summary.id: summary for summary in codec.summaries(documents, records)}
        for summary in self._files.summaries(records.values(), "id", wanted):
            found[summary.id] = summary
        return found

    def summaries_of(self, client_ids: Collection[str]) -> list[DecisionSummary]:
        """Return the decisions on clients, in no particular order, without previews.

        Batches that are files have no index by client: each of them is read.
        """
        found = list(self._find_in("decisions", "client_id", sorted(client_ids)))
        records = {r.id: r for r in self._decided({d["batch"] for d in found})}
        in_files = self._files.summaries(self.latest_batches(), "client_id", client_ids)
        return [*codec.summaries(found, records), *in_files]

    def between(
        self, since: datetime, until: datetime, kind: Kind = "decision"
    ) -> list[BatchRecord]:
        """Return the batches from `since` to before `until`."""
        where = {**codec.times(since, until), "kind": kind, **self._owned}
        return list(map(codec.record, self._documents.find("batches", where, "time")))

    def decisions_of(
        self,
        client_id: str,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Return a client's decisions, the newest first, without previews.

        Each is a dict of `DECISION_SCHEMA`'s columns. Every big batch from `since` to before
        `until` is searched, which takes a second for a few million rows.
        """
        where = {"client_id": client_id, **codec.times(since, until)}
        # Only the batches tell which decisions are the owner's.
        most = 0 if self._owned else limit
        documents = list(
            self._documents.find("decisions", where, "time", newest_first=True, limit=most)
        )
        committed = {record.id for record in self._decided({d["batch"] for d in documents})}
        found = [codec.flat(d) for d in documents if d["batch"] in committed]

        of_client = [("client_id", "=", client_id)]
        for record in self.latest_batches(since=since, until=until):
            if record.stored == "parquet":
                found += self._files.read(record, DECISION_SCHEMA, of_client).to_pylist()

        return sorted(found, key=lambda row: (row["time"], row["row"]), reverse=True)[:limit]

    def sweep(
        self, older_than: timedelta = timedelta(hours=1), within: timedelta = timedelta(days=7)
    ) -> int:
        """Remove decisions whose batch was never committed, because its writer died.

        Looks at everything written between `within` and `older_than` ago, which an id tells, since
        it starts with the time. The decisions of previews are removed after `PREVIEWS_KEPT`; the
        marks of their batches, which hold no clients' data, stay. Returns how many batches and
        uploads of outcomes were removed.
        """
        now = datetime.now(UTC)
        self._files.tidy(now - older_than)
        start = str(ULID.from_datetime(now - within))
        end = str(ULID.from_datetime(now - older_than))

        in_time = {"$gt": start, "$lt": end}
        written = self._documents.distinct("decisions", "batch", {"_id": in_time})
        written |= {id for id in self._files.ids(now - within) if start < id < end}
        committed = self._documents.distinct("batches", "id", {"id": {"$gt": start}})
        for id in written - committed:
            self._discard(id)

        uploads = self._documents.distinct("outcomes", "upload", {"upload": in_time})
        unmarked = uploads - {event["key"] for event in self.events(OUTCOMES)}
        for id in unmarked:
            self.discard_outcomes(id)

        self._remove_previews(now - PREVIEWS_KEPT)
        return len(written - committed) + len(unmarked)

    def _remove_previews(self, before: datetime) -> None:
        # The first call looks at all. Previews have few rows each, so none of them is a file.
        where = {"kind": "preview", **codec.times(self._previews_removed_until, before)}
        for id in self._documents.distinct("batches", "id", where):
            self._documents.delete("decisions", {"_id": codec.ids_between(id, id)})
        self._previews_removed_until = before

    # Reports

    def put_report(self, kind: str, body: Mapping[str, Any]) -> str:
        """Store a report's figures as a JSON document and return its id.

        Numbers that JSON cannot express become null; `.` and `$` in keys, which MongoDB cannot
        search, become `_`; a list within a list, which not every server that speaks MongoDB's
        protocol accepts, becomes `{"values": [...]}`.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        report = {"_id": str(ULID()), "kind": kind, "time": now, "body": codec.plain(body)}
        self._documents.insert("reports", [report])
        return str(report["_id"])

    def reports(self, kind: str, limit: int = 0) -> list[dict[str, Any]]:
        """Return reports of a kind (`_id`, `time`, `body`), the newest first."""
        found = self._documents.find(
            "reports", {"kind": kind}, "time", newest_first=True, limit=limit
        )
        return list(found)

    def ping(self) -> None:
        """Return when the log can be read and written."""
        self._documents.ping()

    def _refuse_twice(self, batch: Batch) -> None:
        if batch.idempotency_key is None:
            return
        for found in self._documents.find("batches", {"idempotency_key": batch.idempotency_key}):
            record = codec.record(found)
            if (record.caller or OPEN) == batch.caller:
                raise AlreadyCommitted(record)

    def _shows(self, record: BatchRecord) -> bool:
        return not self._owned or record.caller == self._owned["caller"]

    def _decided(self, ids: Collection[str]) -> list[BatchRecord]:
        """Return those of these batches that were committed and are not previews."""
        return [record for record in self.records(ids) if record.kind == "decision"]

    def _discard(self, id: str) -> None:
        self._documents.delete("decisions", {"_id": codec.ids_between(id, id)})
        self._files.delete(id)

    def _find_decisions(self, records: Sequence[BatchRecord]) -> list[Document]:
        """Return the documents of these batches, and maybe of others between them, by row."""
        ids = sorted(record.id for record in records)
        if not ids:
            return []
        where = {"_id": codec.ids_between(ids[0], ids[-1])}
        return sorted(self._documents.find("decisions", where), key=lambda d: d["row"])


def _of_kind(kind: Kind | None) -> dict[str, str]:
    return {} if kind is None else {"kind": kind}
