"""The decision log: what was asked, what was decided, and what people did about it afterwards.

It appends batches, one request or one file each: first the decisions, then one batch record as the commit mark, so that
a batch is in the log whole or not at all without any transaction. Batch records are numbered without gaps, in the order
in which they were committed: a reader that has seen number n asks for what came after n and misses nothing.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from ulid import ULID

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import ATTRIBUTES, GREEN, RED
from credit_risk.schema.codec import decode
from credit_risk.scoring.model import Decided
from credit_risk.settings import Settings
from credit_risk.storage.blobs import BlobMissing, Blobs, open_blobs
from credit_risk.storage.documents import Document, Documents, DuplicateId, LogUnavailable, open_documents

__all__ = [
    "DECISION_SCHEMA",
    "AlreadyCommitted",
    "Batch",
    "BatchLost",
    "BatchRecord",
    "DecisionLog",
    "LogUnavailable",
    "open_log",
]

# Up to here a decision is a document; a bigger batch is one Parquet file (a million documents take half a minute, the
# file a third of a second).
MAX_DOCUMENTS = 10_000
# So many values are looked up, and so many outcomes written, at once: others get in between.
AT_ONCE = 1000
_MAX_DIGITS = 18  # no row has a number of more, and no file could be asked for it
# A bigger batch is worked on in parts of so many rows: few enough to stay in the processor's caches.
PART_ROWS = 32_768
# So long a preview can be looked at: nothing rests on it, and nobody needs its client's data.
PREVIEWS_KEPT = timedelta(days=1)
OUTCOMES = "outcomes"
OPEN = "open"  # the caller where nobody has to say who they are
Kind = Literal["decision", "preview"]

DECISION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("batch", pa.string()),
        ("row", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("client_id", pa.string()),
        ("label", pa.string()),
        *((a.name, pa.string() if a.kind == "category" else pa.int64()) for a in ATTRIBUTES),
        ("risk", pa.float64()),
        ("prediction", pa.string()),
        ("confidence", pa.float64()),
        ("warnings", pa.list_(pa.string())),
        ("model_version", pa.string()),
    ]
)


def decision_schema(columns: Sequence[str] = ()) -> pa.Schema:
    """Return some of the columns of `DECISION_SCHEMA`, in the order given; all where none are."""
    return pa.schema([DECISION_SCHEMA.field(name) for name in columns]) if columns else DECISION_SCHEMA


@dataclass(frozen=True)
class Batch:
    """What one request or file came to, ready to be committed; `decided` is parallel to `applications`.

    `threshold` and `base_rate` are those of the scorer: from which risk it refuses, and for which share of bad clients
    its risks are meant. `caller` is who sent it.
    """

    applications: Applications
    decided: Decided
    model_version: str
    digest: str
    threshold: float
    base_rate: float | None = None
    kind: Kind = "decision"
    source: str | None = None
    sha256: str | None = None
    idempotency_key: str | None = None
    caller: str = OPEN
    id: str = field(default_factory=lambda: str(ULID()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def decision_id(self, row: int) -> str:
        """Return the id of the decision on a data row of the source."""
        return f"{self.id}-{row}"

    @cached_property
    def table(self) -> pa.Table:
        """The decisions with the columns of `DECISION_SCHEMA`; those of few words are dictionary-encoded."""
        starts = range(0, max(1, len(self.applications)), PART_ROWS)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return pa.concat_tables(pool.map(lambda start: _decision_table(self, start), starts))


@dataclass(frozen=True)
class BatchRecord:
    """The commit mark of a batch; `seq` is its place in the log, from 1, without gaps.

    `base_rate` and `caller` are None in records of before they were kept.
    """

    seq: int
    id: str
    time: datetime
    kind: Kind
    model_version: str
    digest: str
    threshold: float
    source: str | None
    sha256: str | None
    idempotency_key: str | None
    n_decided: int
    n_rejected: int
    n_red: int
    reasons: list[dict[str, Any]] = field(hash=False)
    stored: Literal["documents", "parquet"]
    base_rate: float | None = None
    caller: str | None = None


class AlreadyCommitted(ValueError):
    """A batch of the same caller with this idempotency key is in the log; `record` is its mark."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(f"idempotency key {record.idempotency_key!r} was used for batch {record.id}")
        self.record = record


class BatchLost(LogUnavailable):
    """The file with a batch's decisions is gone from the bucket."""


class Brief(NamedTuple):
    """A decision in short: what was decided on whom, and when."""

    id: str
    time: datetime
    client_id: str | None
    prediction: str
    kind: Kind


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


class DecisionLog:
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
        self._documents = documents
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
        if ready is _at_once and self._documents.atomic and _as_documents(batch):
            return self._together(batch)
        self._refuse_twice(batch)
        decided = _decision_documents(batch) if _as_documents(batch) else []
        if not _as_documents(batch):
            self._put_parquet(batch)
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
        mine = _Waiting(batch, _decision_documents(batch))
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
        record: Document = {
            "id": batch.id,
            "time": batch.time.isoformat(timespec="microseconds"),
            "kind": batch.kind,
            "model_version": batch.model_version,
            "digest": batch.digest,
            "threshold": batch.threshold,
            "base_rate": batch.base_rate,
            "source": batch.source,
            "sha256": batch.sha256,
            "idempotency_key": batch.idempotency_key,
            "caller": batch.caller,
            "n_decided": len(batch.applications),
            "n_rejected": batch.applications.n_rejected,
            "n_red": int(np.count_nonzero(batch.decided.red)),
            "reasons": [
                {"column": column, "reason": reason, "n": n}
                for (column, reason), n in batch.applications.reasons.items()
            ],
            "stored": "documents" if _as_documents(batch) else "parquet",
        }
        return _record(self._append("batches", record, lambda: self._refuse_twice(batch)))

    def batches(self, after: int = 0, kind: Kind | None = "decision", limit: int = 0) -> list[BatchRecord]:
        """Return the batches committed after number `after`, in order."""
        where = {"_id": {"$gt": after}} | ({"kind": kind} if kind else {})
        return [_record(d) for d in self._documents.find("batches", where | self._owned, limit=limit)]

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
        where |= _between(since, until) | self._owned
        return map(_record, self._documents.find("batches", where, newest_first=True, limit=limit))

    def batch(self, id: str) -> BatchRecord | None:
        """Return a batch's record, or None when no such batch was committed."""
        found = next(self._documents.find("batches", {"id": id, **self._owned}, limit=1), None)
        return _record(found) if found else None

    def records(self, ids: Collection[str]) -> list[BatchRecord]:
        """Return those of these batches that were committed, in order of id."""
        found = map(_record, self._find_in("batches", "id", sorted(ids)))
        return [record for record in found if self._shows(record)]

    def read(self, *records: BatchRecord, columns: Sequence[str] = ()) -> pa.Table:
        """Return the decisions of batches, in order of commit and row, with the columns named of `DECISION_SCHEMA`.

        Raises
        ------
        BatchLost
            When the file of one is.
        """
        schema = decision_schema(columns)
        parts = {r.id: self._get_parquet(r, schema) for r in records if r.stored == "parquet"}
        small = [r for r in records if r.stored == "documents" and r.n_decided]
        rows: dict[str, list[Document]] = {r.id: [] for r in small}
        for document in self._find_decisions(small):
            if document["batch"] in rows:
                rows[document["batch"]].append(_flat(document))
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
            table = pa.Table.from_pylist([_flat(found)] if found else [], schema=DECISION_SCHEMA)
        else:
            table = self._get_parquet(record, DECISION_SCHEMA, filters=[("row", "=", int(row))])
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows[0] if rows and rows[0]["id"] == id else None  # 7 is also 007

    def briefs(self, ids: Collection[str]) -> dict[str, Brief]:
        """Return those of these decisions that were committed, by id; a question for each thousand."""
        records = {r.id: r for r in self.records({id.rpartition("-")[0] for id in ids})}
        small = {id for id, record in records.items() if record.stored == "documents"}
        wanted = frozenset(ids)
        found = self._find_in("decisions", "_id", sorted(id for id in wanted if id.rpartition("-")[0] in small))
        return {b.id: b for b in (*_briefs(found, records), *self._big(records.values(), "id", wanted))}

    def briefs_of(self, client_ids: Collection[str]) -> list[Brief]:
        """Return the decisions on clients, in no order, previews left out.

        Batches that are one file have no index by client: each of them is read.
        """
        found = list(self._find_in("decisions", "client_id", sorted(client_ids)))
        records = {r.id: r for r in self.records({d["batch"] for d in found}) if r.kind == "decision"}
        big = (record for record in self.latest_batches() if record.stored == "parquet")
        return [*_briefs(found, records), *self._big(big, "client_id", client_ids)]

    def between(self, since: datetime, until: datetime, kind: Kind = "decision") -> list[BatchRecord]:
        """Return the batches from one time up to, but without, another."""
        where = _between(since, until) | {"kind": kind} | self._owned
        return [_record(d) for d in self._documents.find("batches", where, "time")]

    def decisions_of(
        self, client_id: str, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return a client's decisions as dicts of `DECISION_SCHEMA`'s columns, the newest first; no previews.

        Every big batch from `since` to before `until` is looked through: a second for some millions of rows.
        """
        where = {"client_id": client_id} | _between(since, until)
        # Which of them are the owner's only their batches tell.
        most = 0 if self._owned else limit
        documents = list(self._documents.find("decisions", where, "time", newest_first=True, limit=most))
        committed = {r.id for r in self.records({d["batch"] for d in documents}) if r.kind == "decision"}
        found = [_flat(d) for d in documents if d["batch"] in committed]
        for record in self.latest_batches(since=since, until=until):
            if record.stored == "parquet":
                found += self._get_parquet(record, DECISION_SCHEMA, filters=[("client_id", "=", client_id)]).to_pylist()
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
        where = {"kind": "preview", **_between(self._previews_gone, before)}
        for id in self._documents.distinct("batches", "id", where):  # few rows each, so there are no files of them
            self._documents.delete("decisions", {"_id": _ids(id, id)})
        self._previews_gone = before

    # Events: overrides, uploads of outcomes, registered versions

    def append_event(
        self, kind: str, key: str, before: Callable[[], None] = lambda: None, /, **fields: Any
    ) -> dict[str, Any]:
        """Append an event about a decision or a model version, and return it with its number `_id` and `time`.

        `before` is called before each try to write it: whatever event it does not see yet comes after this one. What
        it raises keeps the event from being written.
        """
        return self._append_event("events", kind, key, fields, before)

    def events(
        self, kind: str | None = None, key: str | None = None, after: int = 0, *, batch: str | None = None
    ) -> list[dict[str, Any]]:
        """Return events in order, of one kind, about one key or any decision of a batch, after one number."""
        where: dict[str, Any] = {"_id": {"$gt": after}}
        where |= ({"kind": kind} if kind else {}) | ({"key": key} if key else {})
        if batch:
            where["key"] = _ids(batch, batch)
        return list(self._documents.find("events", where))

    def events_about(self, kind: str, keys: Collection[str]) -> list[dict[str, Any]]:
        """Return the events of one kind about any of these keys, in order."""
        found = self._find_in("events", "key", sorted(keys))
        return sorted((event for event in found if event["kind"] == kind), key=lambda event: int(event["_id"]))

    def last_event(self) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return self._documents.last("events")

    # What people decided on Production: of its own, for only the approver's credential may write there

    def append_approval(self, kind: str, key: str, **fields: Any) -> dict[str, Any]:
        """Append what a person decided about a model version, and return it with its number `_id` and `time`."""
        return self._append_event("approvals", kind, key, fields)

    def approvals(self) -> list[dict[str, Any]]:
        """Return all of them in order."""
        return list(self._documents.find("approvals", {}))

    # Outcomes: one document each, and an event as the commit mark of all that came together

    def commit_outcomes(
        self, upload: str, outcomes: Sequence[Mapping[str, Any]], before: Callable[[], None], **mark: Any
    ) -> dict[str, Any]:
        """Write outcomes and then their mark, an event of kind `outcomes`; what raises leaves none of them.

        Parameters
        ----------
        upload : str
            A ULID; the mark's key.
        outcomes : sequence of mapping
            Each with `row`, `key` (a decision's id), `decided` (its time), `outcome` and `date`.
        before : callable
            See `append_event`.
        **mark
            Further fields of the mark.
        """
        documents = [
            {"_id": f"{upload}-{o['row']}", "upload": upload, "batch": o["key"].rpartition("-")[0], **o}
            for o in outcomes
        ]
        try:
            for at in range(0, len(documents), AT_ONCE):
                self._documents.insert("outcomes", documents[at : at + AT_ONCE])
            return self.append_event(OUTCOMES, upload, before, **mark)
        except LogUnavailable:
            raise  # the sweep removes what was written
        except Exception:
            self._documents.delete("outcomes", {"upload": upload})
            raise

    def outcomes_of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return the outcomes of these decisions that were committed, by date and then as they came.

        Of one decision the last stands. `number` is that of the mark an outcome came with.
        """
        wanted = frozenset(ids)
        few = len(wanted) <= AT_ONCE
        values = wanted if few else {id.rpartition("-")[0] for id in wanted}
        found = self._find_in("outcomes", "key" if few else "batch", sorted(values))
        return self._committed(d for d in found if d["key"] in wanted)

    def outcomes_between(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return the outcomes of decisions that were made from one time up to another, as `outcomes_of` does."""
        return self._committed(self._documents.find("outcomes", _between(since, until, "decided"), "decided"))

    def outcomes_in(self, upload: str) -> list[dict[str, Any]]:
        """Return the outcomes that came with one mark, its key, by date and then as they stood in the file."""
        return sorted(self._documents.find("outcomes", {"upload": upload}), key=lambda d: (d["date"], d["row"]))

    def _committed(self, outcomes: Iterable[Document]) -> list[dict[str, Any]]:
        found = list(outcomes)
        # The marks are read after what they mark: an outcome whose mark came in between is there whole.
        marks = {event["key"]: event for event in self.events(OUTCOMES)} if found else {}
        marked = [
            d | {"number": mark["_id"], "caller": mark.get("caller")} for d in found if (mark := marks.get(d["upload"]))
        ]
        return sorted(marked, key=lambda d: (d["date"], d["number"], d["row"]))

    # Reports

    def put_report(self, kind: str, body: Mapping[str, Any]) -> str:
        """Store a report's figures as a JSON document and return its id.

        Numbers that JSON has no word for become null; `.` and `$` in keys, which MongoDB cannot search, become `_`; a
        list in a list, which not every server of its protocol takes, becomes `{"values": [...]}`.
        """
        id = str(ULID())
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        self._documents.insert("reports", [{"_id": id, "kind": kind, "time": now, "body": plain(body)}])
        return id

    def reports(self, kind: str, limit: int = 0) -> list[dict[str, Any]]:
        """Return reports of a kind (`_id`, `time`, `body`), the newest first."""
        return list(self._documents.find("reports", {"kind": kind}, "time", newest_first=True, limit=limit))

    def ping(self) -> None:
        """Return when the log can be read and written."""
        self._documents.ping()

    def _append_event(
        self,
        collection: str,
        kind: str,
        key: str,
        fields: Mapping[str, Any],
        before: Callable[[], None] = lambda: None,
    ) -> Document:
        event = {"kind": kind, "key": key, "time": datetime.now(UTC).isoformat(timespec="microseconds"), **fields}
        written = self._append(collection, event, before)
        self._documents.flush(now=True)
        return written

    def _append(self, collection: str, document: Document, before: Callable[[], None] = lambda: None) -> Document:
        """Add a document under the next number; of two writers, one gets it and the other tries the one after."""
        for attempt in range(200):
            last = self._documents.last(collection)
            before()  # between the look and the write: whatever comes after the look takes the number, and we come back
            numbered = {"_id": last + 1, **document}
            try:
                self._documents.insert(collection, [numbered])
            except DuplicateId:
                time.sleep(0.001 * min(attempt, 20))
                continue
            return numbered
        raise LogUnavailable(f"no number could be had in {collection}: too many writers at once")

    def _refuse_twice(self, batch: Batch) -> None:
        if batch.idempotency_key is None:
            return
        for found in self._documents.find("batches", {"idempotency_key": batch.idempotency_key}):
            record = _record(found)
            if (record.caller or OPEN) == batch.caller:
                raise AlreadyCommitted(record)

    def _shows(self, record: BatchRecord) -> bool:
        return not self._owned or record.caller == self._owned["caller"]

    def _discard(self, id: str) -> None:
        self._documents.delete("decisions", {"_id": _ids(id, id)})
        self._blob_call(self._blobs.delete, _parquet_name(id))

    def _find_in(self, collection: str, field: str, values: Sequence[str]) -> Iterator[Document]:
        for at in range(0, len(values), AT_ONCE):
            yield from self._documents.find(collection, {field: {"$in": list(values[at : at + AT_ONCE])}}, field)

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
        between = self._documents.find("decisions", {"_id": _ids(min(batches), max(batches))})
        return iter(sorted(between, key=lambda d: d["row"]))

    def _put_parquet(self, batch: Batch) -> None:
        sink = pa.BufferOutputStream()
        # Only where words come again a dictionary pays; of the statistics, `decision` looks for a row.
        few = [name for name in DECISION_SCHEMA.names if name not in ("id", "row", "risk", "confidence")]
        ordered = {"id": "DELTA_BYTE_ARRAY", "row": "DELTA_BINARY_PACKED"}
        pq.write_table(
            batch.table,
            sink,
            compression="zstd",
            row_group_size=4 * PART_ROWS,
            use_dictionary=few,
            column_encoding=ordered,
            write_statistics=["row"],
        )
        self._blob_call(self._blobs.put, _parquet_name(batch.id), sink.getvalue().to_pybytes())

    def _get_parquet(self, record: BatchRecord, schema: pa.Schema, filters: Any = None) -> pa.Table:
        table = pq.read_table(self._file(record), columns=schema.names, filters=filters)
        return table.select(schema.names).cast(schema)

    def _file(self, record: BatchRecord) -> pa.BufferReader:
        name = _parquet_name(record.id)
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


def _briefs(documents: Iterable[Document], records: Mapping[str, BatchRecord]) -> Iterator[Brief]:
    for d in documents:
        if record := records.get(d["batch"]):
            when = datetime.fromisoformat(d["time"])
            yield Brief(d["_id"], when, d["client_id"], d["prediction"], record.kind)


def _between(since: datetime | None, until: datetime | None, field: str = "time") -> dict[str, Any]:
    """Return what finds the times from `since` to before `until`."""
    ends = {"$gte": since, "$lt": until}
    texts = {operator: end.astimezone(UTC).isoformat(timespec="microseconds") for operator, end in ends.items() if end}
    return {field: texts} if texts else {}


def _ids(first: str, last: str) -> dict[str, str]:
    """Return what finds the ids of decisions of two batches and of those between them."""
    return {"$gte": f"{first}-", "$lt": f"{last}."}  # "." comes after "-"


def _as_documents(batch: Batch) -> bool:
    return len(batch.applications) <= MAX_DOCUMENTS


def _parquet_name(id: str) -> str:
    return f"decisions/{ULID.from_str(id).datetime:%Y/%m/%d}/{id}.parquet"


def _record(document: Document) -> BatchRecord:
    fields = {name: value for name, value in document.items() if name not in ("_id", "time")}
    return BatchRecord(seq=document["_id"], time=datetime.fromisoformat(document["time"]), **fields)


def _decision_documents(batch: Batch) -> list[Document]:
    """Return a batch's decisions as documents. Cell by cell: for the few rows that come here, Arrow takes longer."""
    a, d = batch.applications, batch.decided
    at = batch.time.isoformat(timespec="microseconds")
    warnings = a.row_warnings
    return [
        {
            "_id": batch.decision_id(row),
            "batch": batch.id,
            "row": row,
            "time": at,
            "client_id": a.client_id[i],
            "label": a.label[i],
            "inputs": {
                attribute.name: _word(attribute.categories, code)
                for attribute, code in zip(ATTRIBUTES, a.codes[i].tolist(), strict=True)
            },
            "risk": float(d.risk[i]),
            "prediction": RED if d.red[i] else GREEN,
            "confidence": float(d.confidence[i]),
            "warnings": warnings.get(i, []),
            "model_version": batch.model_version,
        }
        for i, row in enumerate(a.rows.tolist())
    ]


def _word(categories: tuple[str, ...], code: float) -> str | int | None:
    if code != code:
        return None
    return categories[int(code)] if categories else int(code)


def _flat(document: Document) -> Document:
    flat: Document = (
        {name: value for name, value in document.items() if name not in ("_id", "inputs", "time")}
        | document["inputs"]
        | {"id": document["_id"], "time": datetime.fromisoformat(document["time"])}
    )
    return flat


def _decision_table(batch: Batch, start: int) -> pa.Table:
    """Return a part of a batch's decisions."""
    d, rows = batch.decided, slice(start, start + PART_ROWS)
    a = batch.applications.part(start, start + PART_ROWS)
    n = len(a)
    columns: dict[str, Any] = {
        "id": pc.binary_join_element_wise(batch.id, pa.array(a.rows).cast(pa.string()), "-"),
        "batch": _one_word(batch.id, n),
        "row": a.rows,
        "time": pa.repeat(pa.scalar(batch.time, pa.timestamp("us", "UTC")), n),
        "client_id": pa.array(a.client_id, pa.string()),
        "label": pa.array(a.label, pa.string()),
        **dict(zip((c.name for c in ATTRIBUTES), decode(a.codes).columns, strict=True)),
        "risk": d.risk[rows],
        "prediction": pa.DictionaryArray.from_arrays(pa.array(d.red[rows].astype(np.int8)), pa.array([GREEN, RED])),
        "confidence": d.confidence[rows],
        "warnings": a.warning_lists(),
        "model_version": _one_word(batch.model_version, n),
    }
    return pa.table(columns)


def _one_word(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int8)), pa.array([word]))


def plain(value: Any) -> Any:
    """Return a value in the words that both JSON and MongoDB have."""
    if isinstance(value, Mapping):
        return {str(key).replace(".", "_").replace("$", "_"): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set):
        return [{"values": p} if isinstance(p := plain(item), list) else p for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
