"""Seals what was written before records had hashes: one event holds the digest of all of it.

Nothing old is rewritten. The digest is over every record, decision, event and approval without a
hash, so that it can be computed again from what is stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from credit_risk.decision_log import codec
from credit_risk.decision_log.chains.hashes import document_hash
from credit_risk.decision_log.chains.position import PLACES
from credit_risk.decision_log.chains.reader import CONTENT
from credit_risk.decision_log.chains.writer import RECORDS
from credit_risk.decision_log.commit import DECISIONS
from credit_risk.decision_log.log import DecisionLog, Storage
from credit_risk.storage.documents import Document

SEAL = "seal"
# The collections with records from before, and the last number that such a record can have.
_COLLECTIONS = {RECORDS: PLACES, "events": 2**62, "approvals": 2**62}


def seal(log: DecisionLog) -> dict[str, Any] | None:
    """Write the seal, unless there is one already, and return what was written.

    Reads everything old: some seconds for a hundred thousand decisions. Where nothing is old, the
    seal says so, and nothing can pretend to be.
    """
    if log.events(SEAL):
        return None

    numbers = _last_numbers(log.storage)
    digest = digest_of_old(log.storage, numbers)
    return log.append_event(SEAL, "old", **numbers, digest=digest)


def digest_of_old(storage: Storage, numbers: Mapping[str, int]) -> str:
    """Return the digest of what has no hash, up to a number in each collection."""
    digest = sha256()
    for collection, last in numbers.items():
        where = {"_id": {"$lte": last}}
        for document in storage.documents.find(collection, where):
            if "hash" in document:
                continue
            digest.update(document_hash(document).encode())
            if collection == RECORDS:
                digest.update("".join(_content(storage, document)).encode())
    return digest.hexdigest()


def _content(storage: Storage, record: Document) -> Iterator[str]:
    """Yield the hashes of an old batch's decisions; previews have lost theirs."""
    if record["kind"] != "decision":
        return
    if record["stored"] == "parquet":
        yield storage.files.sha256(record["id"])
        return
    where = {"_id": codec.ids_between(record["id"], record["id"])}
    for decision in storage.documents.find(DECISIONS, where):
        yield document_hash(decision)


def _last_numbers(storage: Storage) -> dict[str, int]:
    """Return the number of the last record without a hash in each collection; 0 where none is."""
    return {
        collection: max(_old_numbers(storage, collection, end), default=0)
        for collection, end in _COLLECTIONS.items()
    }


def _old_numbers(storage: Storage, collection: str, end: int) -> Iterable[int]:
    documents = storage.documents.find(collection, {"_id": {"$lt": end}}, without=CONTENT)
    return (int(document["_id"]) for document in documents if "hash" not in document)
