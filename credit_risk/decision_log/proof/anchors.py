"""Anchors: what the log's chains ended with, written to the bucket once a day and never changed.

Whoever can write to the database can change a record and compute every hash after it anew. They
cannot make the new hashes equal those in the bucket. That holds as far as they cannot change what
is below `anchors/` there: lock these objects. A folder on the same machine only shows accidents.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from credit_risk.decision_log.chains.numbered import linked
from credit_risk.decision_log.chains.position import chain_and_place
from credit_risk.decision_log.chains.writer import CHAINS, RECORDS
from credit_risk.decision_log.log import DecisionLog, Storage
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.storage.blobs import Blobs

FOLDER = "anchors/"
# Records that are looked up per query.
_TOGETHER = 500

# The hash of the last document of each chain: of each writer's, by its chain, and of the
# collections with a single chain.
Heads = Mapping[str, Mapping[int, str]]


def write(log: DecisionLog, heads: Heads) -> str:
    """Write an anchor, and return its address.

    Parameters
    ----------
    log : DecisionLog
    heads : mapping of str to mapping of int to str
        By collection, the hash of the last document of each chain, by its number. Those that the
        last anchors have already are left out.

    Raises
    ------
    BlobExists
        When there is an anchor of this second.
    """
    blobs = log.storage.blobs
    known: dict[str, dict[int, str]] = {}
    previous = ""
    for _, content in _stored(blobs):
        previous = sha256(content).hexdigest()
        for collection, hashes in _heads(content).items():
            known.setdefault(collection, {}).update(hashes)

    new = {
        collection: {
            str(number): hash
            for number, hash in hashes.items()
            if known.get(collection, {}).get(number) != hash
        }
        for collection, hashes in heads.items()
    }
    now = datetime.now(UTC)
    anchor = {"time": now.isoformat(timespec="seconds"), "heads": new, "previous": previous}
    return blobs.put(
        name_at(now), orjson.dumps(anchor, option=orjson.OPT_SORT_KEYS), "application/json"
    )


def name_at(time: datetime) -> str:
    """Return the name of an anchor of a time; names sort by time."""
    return f"{FOLDER}{time.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}.json"


def is_recent(name: str) -> bool:
    """Return whether a blob is an anchor of the last hour, which a backup leaves out.

    The bucket is copied after the log, so such an anchor may name records that the copy lacks.
    Without it the copy is whole, and the next anchor is as good.
    """
    return name.startswith(FOLDER) and name > name_at(datetime.now(UTC) - timedelta(hours=1))


def check(storage: Storage) -> int:
    """Compare the log with all anchors, and return how many there are.

    Raises
    ------
    LogDamaged
        When a record that an anchor names is missing or is another one, or when an anchor is
        missing.
    """
    previous, n = "", 0
    for name, content in _stored(storage.blobs):
        if orjson.loads(content)["previous"] != previous:
            raise LogDamaged(f"the anchor before {name} is missing or was changed")
        previous, n = sha256(content).hexdigest(), n + 1
        for collection, hashes in _heads(content).items():
            _compare(storage, name, collection, hashes)
    return n


def _stored(blobs: Blobs) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each anchor, the oldest first."""
    for name in blobs.names(FOLDER):
        yield name, blobs.get(name)


def _heads(content: bytes) -> dict[str, dict[int, str]]:
    heads: dict[str, dict[str, Any]] = orjson.loads(content)["heads"]
    return {
        collection: {int(number): str(hash) for number, hash in hashes.items()}
        for collection, hashes in heads.items()
    }


def _compare(storage: Storage, name: str, collection: str, hashes: Mapping[int, str]) -> None:
    numbers = sorted(hashes)
    for at in range(0, len(numbers), _TOGETHER):
        wanted = numbers[at : at + _TOGETHER]
        found = {
            document["_id"]: linked(document)
            for document in storage.documents.find(
                collection, {"_id": {"$in": wanted}}, without=("decisions",)
            )
        }
        for number in wanted:
            what = described(collection, number)
            if number not in found:
                raise LogDamaged(f"{what} is missing, which {name} names")
            if found[number] != hashes[number]:
                raise LogDamaged(f"{what} is not the one that {name} names")


def described(collection: str, number: int) -> str:
    """Return what a document is called in messages."""
    if collection == RECORDS:
        chain, place = chain_and_place(number)
        return f"record {place} of chain {chain}" if chain else f"batch {place}"
    return (
        "the registration of chain " + str(number)
        if collection == CHAINS
        else (f"{collection.removesuffix('s')} {number}")
    )
