"""The decision log: what was asked, what was decided, and what people did about it afterwards.

It appends batches; a batch is one request or one file. The record of a batch of up to
`codec.MAX_INLINE` rows carries its decisions; the decisions of a bigger one are stored first, and
then its record, so that a batch is in the log as a whole or not at all, without any transaction.
Each writer has a chain of records (`decision_log.chains`), and a reader keeps a position in them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any, NamedTuple

import pyarrow as pa

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import (
    COMMITTED,
    ONLY_DECISIONS,
    Batch,
    BatchRecord,
    DecisionSummary,
    Kind,
    decision_schema,
    summary_schema,
)
from credit_risk.decision_log.chains.position import START, Position
from credit_risk.decision_log.chains.reader import CONTENT, ChainReader
from credit_risk.decision_log.chains.writer import RECORDS
from credit_risk.decision_log.commit import DECISIONS, PREVIEWS, BatchWriter, at_once
from credit_risk.decision_log.events import AT_ONCE, EventLog
from credit_risk.decision_log.files.decision_files import DecisionFiles
from credit_risk.decision_log.sweep import Sweeper
from credit_risk.decision_log.tables import fields_of, table_of, with_others
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs, open_documents
from credit_risk.storage.blobs import Blobs
from credit_risk.storage.documents import CLIENTS, Document, Documents, Where

Kinds = Collection[Kind]

# What a search by client tells of each decision.
FOUND = ("id", "batch", "row", "time", "client_id", "risk", "prediction", "model_version")


def open_log(settings: Settings) -> "DecisionLog":
    """Return the decision log of the settings; it connects at the first call, not before."""
    return DecisionLog(
        open_documents(settings.decision_log, settings.decision_log_flush_ms / 1000),
        open_blobs(settings.bucket),
        load_dataset(settings.dataset),
    )


class Storage(NamedTuple):
    """Where a log is stored."""

    documents: Documents
    files: DecisionFiles
    blobs: Blobs


class DecisionLog(EventLog):
    """Batches, decisions, events and reports. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds everything except the decisions of big batches.
    blobs : Blobs
        Holds those.
    dataset : Dataset
        The stack's. Tables of decisions have its attributes; values that a decision has not, since
        it was made by another definition, are null.
    only : mapping, optional
        Fields of the batches that are shown, with their values; all batches when not given.
    """

    def __init__(
        self, documents: Documents, blobs: Blobs, dataset: Dataset, only: Where | None = None
    ) -> None:
        super().__init__(documents)
        self.dataset = dataset
        self._blobs = blobs
        self._files = DecisionFiles(blobs)
        self._writer = BatchWriter(documents, self._files)
        self._chains = ChainReader(documents)
        self._sweeper = Sweeper(documents, self, self._writer, self._files, self._chains)
        self._only = dict(only or {})

    def of(self, caller: str | None = None, *, branch: str | None = None) -> "DecisionLog":
        """Return the log with only the batches of a caller or a branch, and their decisions."""
        wanted = {"caller": caller, "branch": branch}
        only = {name: value for name, value in wanted.items() if value is not None}
        return DecisionLog(self._documents, self._blobs, self.dataset, only)

    @property
    def storage(self) -> Storage:
        """Where everything is stored, for those who verify it."""
        return Storage(self._documents, self._files, self._blobs)

    def commit(self, batch: Batch, ready: Callable[[], object] = at_once) -> BatchRecord:
        """Write a batch: it is in the log for good when this returns.

        It is not when this raises, except that nobody knows after `LogUnavailable`: the same key
        finds it, or commits it.

        Parameters
        ----------
        batch : Batch
        ready : callable
            Called when everything but the record is written or ready to be; where it raises,
            the batch is not committed.

        Raises
        ------
        AlreadyCommitted
            When the same caller has used the idempotency key before.
        """
        return self._writer.commit(batch, ready)

    def batches(
        self, after: Position = START, limit: int = 0, kinds: Kinds = ONLY_DECISIONS
    ) -> list[BatchRecord]:
        """Return the batches committed after a position, those of several writers by time."""
        found = (codec.record(d) for d in self._chains.after(after) if d["kind"] in kinds)
        return list(islice(filter(self._shows, found), limit or None))

    def position_at(self, time: datetime, kinds: Kinds = ONLY_DECISIONS) -> Position:
        """Return a position before every batch that is later than a time; see `ChainReader.at`."""
        return self._chains.at(time, kinds)

    def latest_batches(
        self,
        limit: int = 0,
        *,
        before: BatchRecord | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Kinds = ONLY_DECISIONS,
        source: str = "",
    ) -> Iterator[BatchRecord]:
        """Yield batches, the newest first.

        Only those that come after `before` in this order, from `since` to before `until`, and
        whose source contains a text in any case.
        """
        # First, for SQLite then reads only its index of records with another source.
        named = {"source": {"$contains": source}} if source else {}
        if before is None:
            return self._newest({**named, **_of(kinds, since, until)}, limit)

        is_within = (since is None or before.time >= since) and (
            until is None or before.time < until
        )
        at_its_time: Iterator[BatchRecord] = iter(())
        if is_within:
            at_its_time = self._newest({**named, **_of(kinds), "time": codec.text(before.time)})
        others = (record for record in at_its_time if record.seq < before.seq)
        end = before.time if until is None else min(before.time, until)
        older = self._newest({**named, **_of(kinds, since, end)}, limit)
        return islice(chain(others, older), limit or None)

    def _newest(self, where: Where, limit: int = 0) -> Iterator[BatchRecord]:
        found = self._documents.find(
            RECORDS,
            {**where, **self._only},
            "time",
            newest_first=True,
            limit=limit,
            without=CONTENT,
        )
        return map(codec.record, found)

    def batch(self, id: str) -> BatchRecord | None:
        """Return a batch's record, or None when no such batch was committed."""
        return next(iter(self.records([id])), None)

    def records(self, ids: Collection[str]) -> list[BatchRecord]:
        """Return those of these batches that were committed, in order of id."""
        records = list(map(codec.record, self._find_records(ids, CONTENT)))
        return sorted(filter(self._shows, records), key=lambda record: record.id)

    def read(self, *records: BatchRecord, schema: pa.Schema | None = None) -> pa.Table:
        """Return the decisions of batches, by time and row.

        They have the columns of a schema, such as `decision_schema` of some data set; without one,
        those of the stack's data set, and the further attributes that the batches have.

        Raises
        ------
        BatchLost
            When the file of a batch is gone.
        """
        rows: dict[str, list[Document]] = {r.id: [] for r in records if r.stored != "parquet"}
        for row in codec.rows(self._find_decisions(records)):
            if row["batch"] in rows:
                rows[row["batch"]].append(row)
        in_files = [r for r in records if r.stored == "parquet"]
        if schema is None:
            schema = decision_schema(self.dataset)
            others = [field for record in in_files for field in self._files.schema(record)]
            others += [field for found in rows.values() for field in fields_of(found, schema)]
            schema = with_others(schema, others)

        tables = {record.id: self._files.read(record, schema) for record in in_files}
        tables |= {id: table_of(found, schema) for id, found in rows.items()}
        by_time = sorted(records, key=lambda record: (record.time, record.seq))
        in_order = [tables[record.id] for record in by_time]
        return pa.concat_tables([schema.empty_table(), *in_order])

    def decision(self, id: str) -> dict[str, Any] | None:
        """Return one committed decision as a dict of the columns that `read` returns, or None."""
        batch_id, _, row = id.rpartition("-")
        record = self.batch(batch_id)
        if record is None or not row.isdecimal():
            return None

        schema = decision_schema(self.dataset)
        if record.stored == "parquet":
            schema = with_others(schema, self._files.schema(record))
            table = self._files.with_ids(record, [id], schema)
        else:
            stored = self._find_inline([record]) if record.stored == "inline" else []
            if record.stored == "documents":
                stored = list(self._documents.find(DECISIONS, {"_id": id}, limit=1))
            found = list(codec.rows(d for d in stored if d["_id"] == id))
            table = table_of(found, with_others(schema, fields_of(found, schema)))

        rows: list[dict[str, Any]] = table.to_pylist()
        return rows[0] if rows and rows[0]["id"] == id else None  # row 7 may be asked for as 007

    def summaries(self, ids: Collection[str]) -> dict[str, DecisionSummary]:
        """Return those of these decisions that were committed, by id, with a query per thousand."""
        wanted = frozenset(ids)
        records = {r.id: r for r in self.records({id.rpartition("-")[0] for id in wanted})}
        inline = [record for record in records.values() if record.stored == "inline"]
        small = {id for id, record in records.items() if record.stored == "documents"}
        in_documents = sorted(id for id in wanted if id.rpartition("-")[0] in small)

        documents = [*self._find_inline(inline), *self._find_in(DECISIONS, "_id", in_documents)]
        found = {summary.id: summary for summary in codec.summaries(documents, records)}
        found = {id: summary for id, summary in found.items() if id in wanted}
        in_files = [record for record in records.values() if record.stored == "parquet"]
        return found | {summary.id: summary for summary in self._files.summaries(in_files, wanted)}

    def summaries_of(self, client_ids: Collection[str]) -> list[DecisionSummary]:
        """Return the decisions on clients' applications, those of a batch by row.

        Batches that are files are looked through by their own indexes of clients, one by one.
        """
        wanted = frozenset(client_ids)
        documents = self._find_in(DECISIONS, "client_id", sorted(wanted))
        carriers = self._find_in(RECORDS, CLIENTS, sorted(wanted))
        found, records = self._of_batches(documents, carriers, ONLY_DECISIONS)

        of_clients = sorted(
            (d for d in found if d.get("client_id") in wanted), key=lambda d: int(d["row"])
        )
        files = self._that_are_files(ONLY_DECISIONS) if wanted else ()
        in_files = self._files.summaries_of(files, wanted)
        return [*codec.summaries(of_clients, records), *in_files]

    def between(self, since: datetime, until: datetime) -> list[BatchRecord]:
        """Return the batches of decisions from `since` to before `until`."""
        where = {**_of(ONLY_DECISIONS, since, until), **self._only}
        return list(
            map(codec.record, self._documents.find(RECORDS, where, "time", without=CONTENT))
        )

    def decisions_of(
        self,
        client_id: str,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Return a client's decisions and scores in portfolios, the newest first.

        Each is a dict of the columns `FOUND`. The newest big batches from `since` on come first,
        and each takes some milliseconds.
        """
        times = codec.times(since, until)
        # Only the batches tell whose a decision is.
        most = 0 if self._only else limit
        documents = self._documents.find(
            DECISIONS, {"client_id": client_id, **times}, "time", newest_first=True, limit=most
        )
        carriers = self._documents.find(
            RECORDS, {CLIENTS: client_id, **times}, "time", newest_first=True, limit=most
        )
        in_batches, _ = self._of_batches(documents, carriers, COMMITTED)
        found = [
            {name: row[name] for name in FOUND}
            for row in codec.rows(in_batches)
            if row["client_id"] == client_id
        ]

        files = self._that_are_files(COMMITTED, since, until, newest_first=True)
        found += self._files.newest_of(files, client_id, limit, summary_schema(*FOUND))
        return sorted(found, key=lambda row: (row["time"], row["row"]), reverse=True)[:limit]

    def sweep(
        self, older_than: timedelta = timedelta(hours=1), within: timedelta = timedelta(days=7)
    ) -> int:
        """Remove decisions whose batch was never committed, because its writer died.

        Looks at everything written between `within` and `older_than` ago, which an id tells, since
        it starts with the time. Previews are removed after `PREVIEWS_KEPT`, and chains that nobody
        writes to any more are closed. Returns how many batches and uploads of outcomes were
        removed.
        """
        return self._sweeper.sweep(older_than, within)

    def ping(self) -> None:
        """Return when the log can be read and written."""
        self._documents.ping()

    def _shows(self, record: BatchRecord) -> bool:
        return all(getattr(record, name) == value for name, value in self._only.items())

    def _that_are_files(
        self,
        kinds: Kinds,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        newest_first: bool = False,
    ) -> Iterator[BatchRecord]:
        where = {"stored": "parquet", **_of(kinds, since, until), **self._only}
        found = self._documents.find(RECORDS, where, "time", newest_first=newest_first)
        return map(codec.record, found)

    def _find_records(self, ids: Collection[str], without: Sequence[str] = ()) -> list[Document]:
        """Return the records of those of these batches that were committed, previews included."""
        found: list[Document] = []
        for collection, field in ((RECORDS, "id"), (PREVIEWS, "_id")):
            missing = sorted(set(ids) - {record["id"] for record in found})
            for at in range(0, len(missing), AT_ONCE):
                where = {field: {"$in": missing[at : at + AT_ONCE]}}
                found += self._documents.find(collection, where, without=without)
        return found

    def _of_batches(
        self, documents: Iterable[Document], carriers: Iterable[Document], kinds: Kinds
    ) -> tuple[list[Document], dict[str, BatchRecord]]:
        """Return decisions in batches of some kinds, and the records of these by id.

        Parameters
        ----------
        documents : iterable of dict
            Decisions with documents of their own; those whose batch has none are left out.
        carriers : iterable of dict
            Records that carry decisions; one may come twice.
        """
        own = list(documents)
        records = {r.id: r for r in self.records({d["batch"] for d in own}) if r.kind in kinds}
        found = [
            decision
            for decision in own
            if (record := records.get(decision["batch"]))
            and record.stored == "documents"
            and decision["_id"] == f"{record.id}-{decision['row']}"
        ]
        for carrier in {carrier["_id"]: carrier for carrier in carriers}.values():
            record = codec.record(carrier)
            if record.stored == "inline" and record.kind in kinds and self._shows(record):
                records[record.id] = record
                found += codec.documents(carrier, carrier["decisions"])
        return found, records

    def _find_decisions(self, records: Sequence[BatchRecord]) -> list[Document]:
        """Return the decisions of these batches that are in no file, and maybe others, by row."""
        found = self._find_inline([r for r in records if r.stored == "inline" and r.n_decided])
        ids = sorted(r.id for r in records if r.stored == "documents" and r.n_decided)
        if ids:
            where = {"_id": codec.ids_between(ids[0], ids[-1])}
            found += self._documents.find(DECISIONS, where)
        return sorted(found, key=lambda decision: int(decision["row"]))

    def _find_inline(self, records: Sequence[BatchRecord]) -> list[Document]:
        """Return the decisions that are in the records of these batches."""
        numbers = sorted(record.seq for record in records if record.seq)
        previews = [record.id for record in records if not record.seq]
        found = [*self._find_in(RECORDS, "_id", numbers), *self._find_in(PREVIEWS, "_id", previews)]
        return [d for record in found for d in codec.documents(record, record["decisions"])]


def _of(
    kinds: Kinds, since: datetime | None = None, until: datetime | None = None
) -> dict[str, Any]:
    """Return the condition that finds batches of some kinds, from `since` to before `until`."""
    return {"kind": {"$in": list(kinds)}, **codec.times(since, until)}
