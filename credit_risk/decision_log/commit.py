"""Commits batches: stores their decisions, and then the record that makes them part of the log."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import OPEN, AlreadyCommitted, Batch, BatchRecord
from credit_risk.decision_log.chains.hashes import joint_hash
from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.chains.reader import CONTENT
from credit_risk.decision_log.chains.writer import RECORDS, Chain, WriterChains
from credit_risk.decision_log.files.decision_files import DecisionFiles
from credit_risk.storage.documents import Document, Documents, DuplicateId, LogUnavailable

DECISIONS = "decisions"
PREVIEWS = "previews"


def at_once() -> None:
    """Wait for nothing."""


@dataclass
class _Pending:
    """A batch that waits to be written, and the result: its record, or an error."""

    batch: Batch
    record: Document
    documents: Sequence[Document]
    result: BatchRecord | Exception | None = None


class BatchWriter:
    """Writes batches. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds everything except the decisions of big batches.
    files : DecisionFiles
        Holds those.
    """

    def __init__(self, documents: Documents, files: DecisionFiles) -> None:
        self._documents = documents
        self._files = files
        self._chains = WriterChains(documents)
        self._waiting: deque[_Pending] = deque()
        self._turn = threading.Lock()
        self._has_old: bool | None = None

    def commit(self, batch: Batch, ready: Callable[[], object]) -> BatchRecord:
        """Write a batch; see `DecisionLog.commit`."""
        if batch.kind == "preview":
            return self._write_preview(batch, ready)

        form = codec.form_of(batch)
        if ready is at_once and self._documents.atomic and form != "parquet":
            return self._commit_in_group(_pending(batch))

        self._refuse_known_key(batch)
        if form == "parquet":
            pending = _Pending(batch, codec.mark(batch, *self._files.write(batch)), ())
        else:
            pending = _pending(batch)
        try:
            if pending.documents:
                self._documents.insert(DECISIONS, pending.documents)
            ready()
            self._append(pending)
        except (LogUnavailable, DuplicateId):
            raise  # the sweep removes what was written, unless it is that of an earlier commit
        except Exception:
            if form != "inline":
                self.discard(batch.id)
            raise

        self._flush([batch])
        assert isinstance(pending.result, BatchRecord)
        return pending.result

    def discard(self, id: str) -> None:
        """Remove the decisions of a batch that has no record."""
        self._documents.delete(DECISIONS, {"_id": codec.ids_between(id, id)})
        self._files.delete(id)

    def _write_preview(self, batch: Batch, ready: Callable[[], object]) -> BatchRecord:
        pending = _pending(batch)
        ready()
        self._documents.insert(PREVIEWS, [{"_id": batch.id, **pending.record}])
        return codec.record(pending.record)

    def _append(self, pending: _Pending) -> None:
        """Add the record of a batch whose other documents are stored."""
        for _ in attempts():
            with suppress(Conflict), self._chains.one() as chain:
                linked = chain.link([pending.record])
                self._store([pending], chain, linked)
                pending.result = codec.record(linked[0])
                return

    def _commit_in_group(self, mine: _Pending) -> BatchRecord:
        """Write a batch with all others that wait, in one transaction and one wait for the disk."""
        self._waiting.append(mine)
        with self._turn:
            if mine.result is None:  # else the thread that had the turn before wrote it
                self._write_all([self._waiting.popleft() for _ in range(len(self._waiting))])

        if isinstance(mine.result, Exception):
            raise mine.result
        assert mine.result is not None
        return mine.result

    def _write_all(self, group: Sequence[_Pending]) -> None:
        """Write batches together, and note the result of each."""
        try:
            for _ in attempts():
                with suppress(Conflict):
                    self._write_together([pending for pending in group if pending.result is None])
                    break
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LogUnavailable):
                # Written one by one, only the batch at fault fails.
                for pending in group:
                    self._write_all([pending])
                return
            for pending in group:
                pending.result = pending.result or error
            return

        try:
            self._flush([pending.batch for pending in group])
        except Exception as error:  # they are stored; nobody knows whether for good
            for pending in group:
                pending.result = error

    def _write_together(self, group: Sequence[_Pending]) -> None:
        if not group:
            return
        with self._chains.one() as chain:
            # Hashed before the transaction begins, for others wait for its end.
            linked = chain.link([pending.record for pending in group])
            with self._documents.together():
                for pending in group:
                    self._refuse_in_group(pending)
                    if pending.documents:
                        self._documents.insert(DECISIONS, pending.documents)
                self._store(group, chain, linked)

        for pending, record in zip(group, linked, strict=True):
            pending.result = codec.record(record)

    def _refuse_in_group(self, pending: _Pending) -> None:
        """Have the others written without a batch whose key was used.

        Raises
        ------
        Conflict
            When its key was used.
        """
        try:
            self._refuse_known_key(pending.batch)
        except AlreadyCommitted as error:
            pending.result = error
            raise Conflict from None

    def _store(self, group: Sequence[_Pending], chain: Chain, linked: Sequence[Document]) -> None:
        """Add the records of batches to a chain.

        Raises
        ------
        AlreadyCommitted
            When another writer has used the key of the only batch.
        DuplicateId
            When one of several cannot be added, or the chain is new, so that nobody has closed it.
        Conflict
            When the chain was closed.
        """
        try:
            chain.store(linked)
        except DuplicateId:
            if len(group) > 1:
                raise
            self._refuse_used_key(group[0].batch)
            if chain.place == 0:
                raise
            chain.retire()
            raise Conflict from None

    def _flush(self, batches: Sequence[Batch]) -> None:
        # The last moment before a power cut may be lost for a single client, who can be sent
        # again; nobody decides on a whole file twice.
        self._documents.flush(now=any(len(batch.applications) != 1 for batch in batches))

    def _refuse_known_key(self, batch: Batch) -> None:
        """Refuse a key that was used, before more is done for the batch, where that is needed.

        Otherwise a key that was used is found when the record is stored, for it is unique.
        """
        if batch.idempotency_key is None:
            return
        if codec.form_of(batch) != "inline" or self._holds_old():
            self._refuse_used_key(batch)

    def _holds_old(self) -> bool:
        """Return whether there are records of an earlier version, whose keys are not unique."""
        if self._has_old is None:
            self._has_old = any(self._documents.find(RECORDS, {"_id": 1}, limit=1))
        return self._has_old

    def _refuse_used_key(self, batch: Batch) -> None:
        if batch.idempotency_key is None:
            return
        where = {"idempotency_key": batch.idempotency_key}
        for found in self._documents.find(RECORDS, where, without=CONTENT):
            record = codec.record(found)
            if (record.caller or OPEN) == batch.caller:
                raise AlreadyCommitted(record)


def _pending(batch: Batch) -> _Pending:
    """Return a batch of up to some thousand rows as it is to be written."""
    decisions = codec.decisions(batch)
    record = codec.mark(batch, joint_hash(d["hash"] for d in decisions))
    if codec.form_of(batch) == "documents":
        return _Pending(batch, record, codec.documents(record, decisions))
    return _Pending(batch, record | {"decisions": decisions}, ())
