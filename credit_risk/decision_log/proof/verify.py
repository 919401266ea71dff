"""Verifies that nothing in a decision log was changed or removed since it was written.

What this proves, and what it does not, is in `SECURITY.md`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import BatchRecord, summary_schema
from credit_risk.decision_log.chains.hashes import document_hash, joint_hash, record_hash
from credit_risk.decision_log.chains.numbered import linked
from credit_risk.decision_log.chains.position import chain_and_place, number
from credit_risk.decision_log.chains.writer import CHAINS, CLOSING, RECORDS
from credit_risk.decision_log.commit import DECISIONS
from credit_risk.decision_log.events import outcomes_hash
from credit_risk.decision_log.log import DecisionLog, Storage
from credit_risk.decision_log.proof import anchors
from credit_risk.decision_log.proof.anchors import described
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.decision_log.proof.seal import SEAL, digest_of_old
from credit_risk.schema.attributes import RED
from credit_risk.storage.documents import Document

ERASURE = "erasure"
# Records per query: of 100 decisions each they take about 70 MB.
_PAGE = 1000
# Decisions between two reports of progress.
_REPORTED = 100_000
_PREDICTION = summary_schema("prediction")


def _silent(_: str) -> None:
    """Report nothing."""


@dataclass
class Verification:
    """How much is in the log, and how its chains end.

    Attributes
    ----------
    batches, decisions, approvals : int
    old : int
        Records from before there were hashes that no seal covers.
    anchors : int
        How many anchors the log agrees with.
    heads : dict
        See `anchors.write`.
    """

    batches: int = 0
    decisions: int = 0
    approvals: int = 0
    old: int = 0
    anchors: int = 0
    heads: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line for people."""
        old = f"; {self.old:,} records of an earlier version are not sealed yet" if self.old else ""
        return (
            f"the decision log is whole: {self.decisions:,} decisions in {self.batches:,} batches, "
            f"{self.approvals:,} approvals, {self.anchors:,} anchors{old}"
        )


def verify(log: DecisionLog, report: Callable[[str], None] = _silent) -> Verification:
    """Read the whole log, and return how much is in it.

    Parameters
    ----------
    log : DecisionLog
        A million decisions take about ten seconds.
    report : callable, optional
        Progress callback; called with a line of text.

    Raises
    ------
    LogDamaged
        When something is not as it was written; the message names the first such record.
    LogUnavailable
        When the log cannot be read, or the file of a big batch is gone.
    """
    return _Verifier(log, report).run()


class _Verifier:
    def __init__(self, log: DecisionLog, report: Callable[[str], None]) -> None:
        self._log = log
        self._storage: Storage = log.storage
        self._documents = self._storage.documents
        self._report = report
        self._found = Verification()

    def run(self) -> Verification:
        events = self._numbered("events")
        approvals = self._numbered("approvals")
        self._outcomes(events)
        self._records()
        self._numbered(CHAINS)
        self._seal(events, approvals)
        self._found.anchors = anchors.check(self._storage)

        # The first approval lists those from before approvals had a collection of their own.
        self._found.approvals = sum(len(a.get("earlier", [a])) for a in approvals)
        return self._found

    def _numbered(self, collection: str) -> list[Document]:
        """Verify a collection with a single chain, and return its documents."""
        # Others write meanwhile, so what is referred to is read last.
        last = self._documents.last(collection)
        documents = list(self._documents.find(collection, {}))
        previous: Document | None = None
        for expected, document in enumerate(documents, start=1):
            if document["_id"] != expected:
                raise LogDamaged(f"{described(collection, expected)} is missing")
            hashed = "hash" in document
            if hashed and document_hash(document) != document["hash"]:
                raise LogDamaged(f"{described(collection, expected)} was changed")
            if hashed and document["previous"] != (linked(previous) if previous else ""):
                raise LogDamaged(f"{described(collection, max(1, expected - 1))} was changed")
            # Those of an earlier version have neither, and come first.
            is_old = "previous" not in document and not (previous and "hash" in previous)
            if not hashed and not is_old:
                raise LogDamaged(f"{described(collection, expected)} has no hash")
            previous = document

        if last > len(documents):
            raise LogDamaged(f"{described(collection, len(documents) + 1)} is missing")
        if previous:
            self._found.heads[collection] = {len(documents): linked(previous)}
        return documents

    def _outcomes(self, events: Iterable[Document]) -> None:
        for event in events:
            if "outcomes_hash" not in event:
                continue
            if outcomes_hash(self._log.outcomes_in(event["key"])) != event["outcomes_hash"]:
                raise LogDamaged(
                    f"an outcome that came with event {event['_id']} was changed or is missing"
                )

    def _records(self) -> None:
        """Verify the records of all chains, one chain after another."""
        heads = self._found.heads.setdefault(RECORDS, {})
        before: Document | None = None
        for record in self._all_records():
            chain, _ = chain_and_place(record["_id"])
            if before is not None and chain_and_place(before["_id"])[0] != chain:
                heads[before["_id"]] = linked(before)
                before = None

            expected = number(chain, chain_and_place(before["_id"])[1] + 1 if before else 1)
            if record["_id"] != expected:
                raise LogDamaged(f"{described(RECORDS, expected)} is missing")
            try:
                self._record(record, before)
            except (KeyError, TypeError, AttributeError):
                what = described(RECORDS, record["_id"])
                raise LogDamaged(f"{what} is not as a record is{_of_batch(record)}") from None
            before = record
        if before is not None:
            heads[before["_id"]] = linked(before)

    def _all_records(self) -> Iterator[Document]:
        """Yield all records by number: in pages, for MongoDB gives up cursors that wait long."""
        last = 0
        while page := list(self._documents.find(RECORDS, {"_id": {"$gt": last}}, limit=_PAGE)):
            yield from page
            last = page[-1]["_id"]

    def _record(self, record: Document, before: Document | None) -> None:
        """Verify a record, after the one before it in its chain."""
        chain, _ = chain_and_place(record["_id"])
        what = described(RECORDS, record["_id"])
        if before and before["kind"] == CLOSING:
            raise LogDamaged(f"{what} was added after the chain was closed")
        if chain == 0 and record["kind"] != CLOSING:
            self._old_record(record)
            return

        if record.get("hash") != record_hash(record):
            raise LogDamaged(f"{what} was changed{_of_batch(record)}")
        if record["previous"] != (linked(before) if before else self._registration(chain)):
            raise LogDamaged(f"{what} does not follow the one before it{_of_batch(record)}")
        if record.get("stored") != "inline" and "decisions" in record:
            raise LogDamaged(f"decisions were added to {what}{_of_batch(record)}")
        if record["kind"] != CLOSING:
            self._content(record)
            self._count(record)

    def _registration(self, chain: int) -> str:
        """Return the hash that a chain begins with."""
        found = next(self._documents.find(CHAINS, {"_id": chain}, limit=1), None)
        if found is None:
            raise LogDamaged(f"{described(CHAINS, chain)} is missing")
        return linked(found)

    def _content(self, record: Document) -> None:
        """Verify the decisions of a record."""
        if record["stored"] == "parquet":
            if self._storage.files.sha256(record["id"]) != record["decisions_hash"]:
                raise LogDamaged(f"the file of batch {record['id']} was changed")
            self._clients(record)
        elif record["stored"] == "documents":
            self._decisions(record, self._own_documents(record))
        else:
            self._decisions(record, record["decisions"])

    def _clients(self, record: Document) -> None:
        """Verify the index of clients, which batches of earlier versions do not have."""
        clients_hash = record.get("clients_hash")
        if clients_hash and self._storage.files.clients_sha256(record["id"]) != clients_hash:
            raise LogDamaged(f"the index of clients of batch {record['id']} was changed")

    def _own_documents(self, record: Document) -> list[Document]:
        where = {"_id": codec.ids_between(record["id"], record["id"])}
        stored = sorted(self._documents.find(DECISIONS, where), key=lambda d: int(d["row"]))
        bare = list(map(codec.bare, stored))
        for document, wanted in zip(stored, codec.documents(record, bare), strict=True):
            if document != wanted:
                raise LogDamaged(f"decision {document['_id']} was changed")
        return bare

    def _decisions(self, record: Document, decisions: list[Document]) -> None:
        last_row = -1
        for decision in decisions:
            id = f"{record['id']}-{decision['row']}"
            if decision["row"] <= last_row:
                raise LogDamaged(f"decision {id} is there twice, or in another place")
            last_row = decision["row"]

            if codec.is_erased(decision):
                if set(decision) != {"row", "hash"} or not self._log.events(ERASURE, id):
                    raise LogDamaged(f"decision {id} was emptied, and no event says so")
            elif document_hash(decision) != decision["hash"]:
                raise LogDamaged(f"decision {id} was changed")
        if joint_hash(str(d["hash"]) for d in decisions) != record["decisions_hash"]:
            raise LogDamaged(
                f"batch {record['id']} has {len(decisions):,} decisions, which are not the "
                f"{record['n_decided']:,} that it was written with"
            )

    def _old_record(self, document: Document) -> None:
        """Verify that a batch from before there were hashes has the decisions that it counts."""
        if "hash" in document or "decisions" in document:
            raise LogDamaged(f"{described(RECORDS, document['_id'])} was added after its time")
        self._found.old += 1
        if document["kind"] != "decision":  # previews lose their decisions after a day
            return
        record: BatchRecord = codec.record(document)
        predictions = self._log.read(record, schema=_PREDICTION)["prediction"].to_pylist()
        n_decided, n_red = len(predictions), predictions.count(RED)
        if (n_decided, n_red) != (record.n_decided, record.n_red):
            raise LogDamaged(
                f"batch {record.id} of {record.n_decided:,} decisions, {record.n_red:,} of them "
                f"red, has {n_decided:,}, {n_red:,} of them red"
            )
        self._count(document)

    def _count(self, record: Document) -> None:
        before = self._found.decisions // _REPORTED
        self._found.batches += 1
        self._found.decisions += record["n_decided"]
        if self._found.decisions // _REPORTED > before:
            self._report(f"{self._found.decisions:,} decisions verified")

    def _seal(self, events: Iterable[Document], approvals: Iterable[Document]) -> None:
        """Verify what is older than the hashes, by its seal."""
        sealed = next((event for event in events if event["kind"] == SEAL), None)
        old = {
            "events": sum("hash" not in event for event in events),
            "approvals": sum("hash" not in approval for approval in approvals),
        }
        if sealed is None:
            self._found.old += sum(old.values())
            return

        numbers = {name: int(sealed[name]) for name in (RECORDS, *old)}
        if digest_of_old(self._storage, numbers) != sealed["digest"]:
            raise LogDamaged(
                f"something from before records had hashes was changed after event "
                f"{sealed['_id']} sealed it: one of batches 1 to {numbers[RECORDS]}"
            )
        for name, n in {RECORDS: self._found.old, **old}.items():
            if n > numbers[name]:
                what = described(name, numbers[name] + 1)
                raise LogDamaged(f"{what} was added without a hash after the seal")
        self._found.old = 0


def _of_batch(record: Document) -> str:
    return f" (batch {record['id']})" if "id" in record else ""
