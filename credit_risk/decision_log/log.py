"""The decision log: what was asked, what was decided, and what people did about it afterwards.

It appends batches, one request or one file each: first the decisions, then one batch record as the commit mark, so that
a batch is in the log whole or not at all without any transaction. Batch records are numbered without gaps, in the order
in which they were committed: a reader that has seen number n asks for what came after n and misses nothing.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from ulid import ULID

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import (
    DECISION_SCHEMA,
    OPEN,
    PREVIEWS_KEPT,
    AlreadyCommitted,
    Batch,
    BatchLost,
    BatchRecord,
    Brief,
    Kind,
    decision_schema,
)
from credit_risk.decision_log.events import OUTCOMES, EventLog
from credit_risk.settings import Settings
from credit_risk.storage.blobs import BlobMissing, Blobs, open_blobs
from credit_risk.storage.documents import Document, Documents, LogUnavailable, open_documents

_MAX_DIGITS = 18  # no row has a number of more, and no file could be asked for it


def open_log(settings: Settings) -> "DecisionLog":
    """Return the decision log that the settings name; nothing is connected before the first call."""
    return DecisionLog(
        open_documents(settings.decision_log, settings.decision_log_flush_ms / 1000), open_blobs(settings.bucket)
    )


def _at_once() -> None:
    """Wait for nothing."""


@dataclass
class _Waiting:
    """A batch that is to be written, and what came of it."""

    batch: Batch
    documents: list[Document]
    found: BatchRecord | Exception | None = None


class DecisionLog(EventLog):
    """Batches, decisions, events and reports. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds all of it, but for big batches' decisions.
    blobs : Blobs
        Holds those.
    owner : str, optional
        Whose batches it shows; without, everybody's.
    """

    def __init__(self, documents: Documents, blobs: Blobs, owner: str | None = None) -> None:
        super().__init__(documents)
        self._blobs = blobs
        self._waiting: deque[_Waiting] = deque()
        self._turn = threading.Lock()
        self._owned: dict[str, Any] = {} if owner is None else {"caller": owner}
        self._previews_gone: datetime | None = None

    def of(self, owner: str) -> "DecisionLog":
        """Return the log as one caller may read it: their batches and the decisions in these, and no others'."""
        return DecisionLog(self._documents, self._blobs, owner)

    # Batches and decisions

    def commit(self, batch: Batch, ready: Callable[[], object] = _at_once) -> BatchRecord:
        """Write a batch; when this returns it is in the log for good, when it raises it is not.

        Parameters
        ----------
        batch : Batch
        ready : callable
            Called when all is ready to be written, or is, but for the commit mark; where it raises, the batch is not
            committed.

        Raises
        ------
        AlreadyCommitted
            When its caller used its idempotency key before.
        """
        if ready is _at_once and self._documents.atomic and codec.as_documents(batch):
            return self._together(batch)
        self._refuse_twice(batch)
        decided = codec.documents(batch) if codec.as_documents(batch) else []
        if not codec.as_documents(batch):
            self._blob_call(self._blobs.put, codec.parquet_name(batch.id), codec.parquet(batch))
        try:
            ready()
            with self._documents.together():
                written = self._write(batch, decided)
        except LogUnavailable:
            raise  # the sweep removes what was written
        except Exception:
            self._discard(batch.id)
            raise
        self._flush([batch])
        return written

    def _together(self, batch: Batch) -> BatchRecord:
        """Write a batch with all that wait for their turn, in one transaction and with one wait for the disk."""
        mine = _Waiting(batch, codec.documents(batch))
        self._waiting.append(mine)
        with self._turn:
            if mine.found is None:  # else whoever had the turn before wrote it
                self._write_all([self._waiting.popleft() for _ in range(len(self._waiting))])
        if isinstance(mine.found, Exception):
            raise mine.found
        assert mine.found is not None
        return mine.found

    def _write_all(self, waiting: Sequence["_Waiting"]) -> None:
        try:
            with self._documents.together():
                for one in waiting:
                    try:
                        one.found = self._write(one.batch, one.documents)
                    except AlreadyCommitted as error:  # before anything of it was written
                        one.found = error
            self._flush([one.batch for one in waiting])
        except Exception as error:
            if len(waiting) > 1 and not isinstance(error, LogUnavailable):  # whose it is shows when each is alone
                for one in waiting:
                    self._write_all([one])
                return
            for one in waiting:
                one.found = error

    def _flush(self, batches: Sequence[Batch]) -> None:
        # A client alone may be asked about again; nobody decides on a file twice because of its last moment.
        self._documents.flush(now=any(len(batch.applications) != 1 for batch in batches))

    def _write(self, batch: Batch, decided: Sequence[Document]) -> BatchRecord:
        """Write the documents of a batch, and then its mark."""
        self._refuse_twice(batch)
        if decided:
            self._documents.insert("decisions", decided)
        return codec.record(self._append("batches", codec.mark(batch), lambda: self._refuse_twice(batch)))

    def batches(self, after: int = 0, kind: Kind | None = "decision", limit: int = 0) -> list[BatchRecord]:
        """Return the batches committed after number `after`, in order."""
        where = {"_id": {"$gt": after}} | ({"kind": kind} if kind else {})
        return [codec.record(d) for d in self._documents.find("batches", where | self._owned, limit=limit)]

    def latest_batches(
        self,
        kind: Kind | None = "decision",
        limit: int = 0,
        *,
        before: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[BatchRecord]:
        """Yield batches, the newest first: those before a number, and from `since` to before `until`."""
        where: dict[str, Any] = {"kind": kind} if kind else {}
        where |= {"_id": {"$lt": before}} if before is not None else {}
        where |= codec.times(since, until) | self._owned
        return map(codec.record, self._documents.find("batches", where, newest_first=True, limit=limit))

    def batch(self, id: str) -> BatchRecord | None:
        """Return a batch's record, or None when no such batch was committed."""
        found = next(self._documents.find("batches", {"id": id, **self._owned}, limit=1), None)
        return codec.record(found) if found else None

    def records(self, ids: Collection[str]) -> list[BatchRecord]:
        """Return those of these batches that were committed, in order of id."""
        found = map(codec.record, self._find_in("batches", "id", sorted(ids)))
        return [record for record in found if self._shows(record)]

    def read(self, *records: BatchRecord, columns: Sequence[str] = ()) -> pa.Table:
        """Return the decisions of batches, in order of commit and row, with the columns named of `DECISION_SCHEMA`.

        Raises
        ------
        BatchLost
            When the file of one is.
        """
        schema = decision_schema(columns)
        parts = {r.id: codec.table(self._file(r), schema) for r in records if r.stored == "parquet"}
        small = [r for r in records if r.stored == "documents" and r.n_decided]
        rows: dict[str, list[Document]] = {r.id: [] for r in small}
        for document in self._find_decisions(small):
            if document["batch"] in rows:
                rows[document["batch"]].append(codec.flat(document))
        parts |= {id: pa.Table.from_pylist(found, schema=schema) for id, found in rows.items()}
        in_order = [parts[r.id] for r in sorted(records, key=lambda r: r.seq) if r.id in parts]
        return pa.concat_tables([schema.empty_table(), *in_order])

    def decision(self, id: str) -> dict[str, Any] | None:
        """Return one committed decision as a dict of `DECISION_SCHEMA`'s columns, or None."""
        batch_id, _, row = id.rpartition("-")
        record = self.batch(batch_id)
        if record is None or not row.isdecimal() or len(row) > _MAX_DIGITS:
            return None
        if record.stored == "documents":
            found = next(self._documents.find("decisions", {"_id": id}, limit=1), None)
            table = pa.Table.from_pylist([codec.flat(found)] if found else [], schema=DECISION_SCHEMA)
        else:
            table = codec.table(self._file(record), DECISION_SCHEMA, filters=[("row", "=", int(row))])
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows[0] if rows and rows[0]["id"] == id else None  # 7 is also 007

    def briefs(self, ids: Collection[str]) -> dict[str, Brief]:
        """Return those of these decisions that were committed, by id; a question for each thousand."""
        records = {r.id: r for r in self.records({id.rpartition("-")[0] for id in ids})}
        small = {id for id, record in records.items() if record.stored == "documents"}
        wanted = frozenset(ids)
        found = self._find_in("decisions", "_id", sorted(id for id in wanted if id.rpartition("-")[0] in small))
        return {b.id: b for b in (*codec.briefs(found, records), *self._big(records.values(), "id", wanted))}

    def briefs_of(self, client_ids: Collection[str]) -> list[Brief]:
        """Return the decisions on clients, in no order, previews left out.

        Batches that are one file have no index by client: each of them is read.
        """
        found = list(self._find_in("decisions", "client_id", sorted(client_ids)))
        records = {r.id: r for r in self.records({d["batch"] for d in found}) if r.kind == "decision"}
        big = (record for record in self.latest_batches() if record.stored == "parquet")
        return [*codec.briefs(found, records), *self._big(big, "client_id", client_ids)]

    def between(self, since: datetime, until: datetime, kind: Kind = "decision") -> list[BatchRecord]:
        """Return the batches from one time up to, but without, another."""
        where = codec.times(since, until) | {"kind": kind} | self._owned
        return [codec.record(d) for d in self._documents.find("batches", where, "time")]

    def decisions_of(
        self, client_id: str, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return a client's decisions as dicts of `DECISION_SCHEMA`'s columns, the newest first; no previews.

        Every big batch from `since` to before `until` is looked through: a second for some millions of rows.
        """
        where = {"client_id": client_id} | codec.times(since, until)
        # Which of them are the owner's only their batches tell.
        most = 0 if self._owned else limit
        documents = list(self._documents.find("decisions", where, "time", newest_first=True, limit=most))
        committed = {r.id for r in self.records({d["batch"] for d in documents}) if r.kind == "decision"}
        found = [codec.flat(d) for d in documents if d["batch"] in committed]
        for record in self.latest_batches(since=since, until=until):
            if record.stored == "parquet":
                found += codec.table(
                    self._file(record), DECISION_SCHEMA, filters=[("client_id", "=", client_id)]
                ).to_pylist()
        return sorted(found, key=lambda row: (row["time"], row["row"]), reverse=True)[:limit]

    def sweep(self, older_than: timedelta = timedelta(hours=1), within: timedelta = timedelta(days=7)) -> int:
        """Remove decisions whose batch was never committed, because its writer died; return how many batches went.

        Looks at what was written between `within` and `older_than` ago, which its id tells: it starts with the time.
        The decisions of previews go after `PREVIEWS_KEPT`; their batches' marks, which have no client's data, stay.
        """
        now = datetime.now(UTC)
        self._blob_call(self._blobs.tidy, now - older_than)
        end = str(ULID.from_datetime(now - older_than))
        start = str(ULID.from_datetime(now - within))
        written = self._documents.distinct("decisions", "batch", {"_id": {"$gt": start, "$lt": end}})
        files = (name.rpartition("/")[2].removesuffix(".parquet") for name in self._blob_names(now - within))
        written |= {id for id in files if start < id < end}
        committed = self._documents.distinct("batches", "id", {"id": {"$gt": start}})
        for id in written - committed:
            self._discard(id)
        uploads = self._documents.distinct("outcomes", "upload", {"upload": {"$gt": start, "$lt": end}})
        left = uploads - {event["key"] for event in self.events(OUTCOMES)}
        for id in left:
            self._documents.delete("outcomes", {"upload": id})
        self._forget_previews(now - PREVIEWS_KEPT)
        return len(written - committed) + len(left)

    def _forget_previews(self, before: datetime) -> None:
        """Remove the decisions of previews from before a time; the first call looks at all there ever were."""
        where = {"kind": "preview", **codec.times(self._previews_gone, before)}
        for id in self._documents.distinct("batches", "id", where):  # few rows each, so there are no files of them
            self._documents.delete("decisions", {"_id": codec.ids_between(id, id)})
        self._previews_gone = before

    # Reports

    def put_report(self, kind: str, body: Mapping[str, Any]) -> str:
        """Store a report's figures as a JSON document and return its id.

        Numbers that JSON has no word for become null; `.` and `$` in keys, which MongoDB cannot search, become `_`; a
        list in a list, which not every server of its protocol takes, becomes `{"values": [...]}`.
        """
        id = str(ULID())
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        self._documents.insert("reports", [{"_id": id, "kind": kind, "time": now, "body": codec.plain(body)}])
        return id

    def reports(self, kind: str, limit: int = 0) -> list[dict[str, Any]]:
        """Return reports of a kind (`_id`, `time`, `body`), the newest first."""
        return list(self._documents.find("reports", {"kind": kind}, "time", newest_first=True, limit=limit))

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

    def _discard(self, id: str) -> None:
        self._documents.delete("decisions", {"_id": codec.ids_between(id, id)})
        self._blob_call(self._blobs.delete, codec.parquet_name(id))

    def _big(self, records: Iterable[BatchRecord], column: str, values: Collection[str]) -> Iterator[Brief]:
        """Yield the decisions whose column has one of these values, of those batches that are one file."""
        names = ["id", "time", "client_id", "prediction"]
        chosen = pa.array(values, pa.string())
        for record in records:
            if record.stored == "parquet" and len(chosen):
                table = pq.read_table(self._file(record), columns=names)
                rows = table.filter(pc.is_in(table[column], chosen)).select(names)
                for row in rows.to_pylist():
                    yield Brief(**row, kind=record.kind)

    def _find_decisions(self, records: Sequence[BatchRecord]) -> Iterator[Document]:
        """Yield the documents of these batches, and maybe of others between them, in order of row."""
        if not records:
            return iter(())
        batches = [r.id for r in records]
        between = self._documents.find("decisions", {"_id": codec.ids_between(min(batches), max(batches))})
        return iter(sorted(between, key=lambda d: d["row"]))

    def _file(self, record: BatchRecord) -> pa.BufferReader:
        name = codec.parquet_name(record.id)
        try:
            return pa.BufferReader(self._blob_call(self._blobs.get, name))
        except BlobMissing:
            raise BatchLost(f"the bucket behind the decision log has lost {name}") from None

    def _blob_names(self, since: datetime) -> list[str]:
        days = range((datetime.now(UTC).date() - since.date()).days + 1)
        prefixes = [f"decisions/{since.date() + timedelta(days=d):%Y/%m/%d}/" for d in days]
        return [name for prefix in prefixes for name in self._blob_call(self._blobs.names, prefix)]

    def _blob_call(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (OSError, GoogleAPIError, GoogleAuthError) as error:
            raise LogUnavailable(f"the bucket behind the decision log: {error}") from error
