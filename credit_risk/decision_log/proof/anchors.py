"""Anchors: what the log's chains ended with, written to the bucket once a day and never changed.

Whoever can write to the database can change a record and compute every hash after it anew. They
cannot make the new hashes equal those in the bucket. That holds as far as they cannot change what
is below `anchors/` there: lock these objects. A folder on the same machine only shows accidents.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

import orjson

from credit_risk.decision_log.chains.numbered import linked
from credit_risk.decision_log.chains.position import chain_and_place
from credit_risk.decision_log.chains.reader import CONTENT
from credit_risk.decision_log.chains.writer import CHAINS, RECORDS
from credit_risk.decision_log.log import DecisionLog, Storage
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.storage.blobs import Blobs

FOLDER = "anchors/"
# How old an anchor has to be for a backup.
_RECENT = timedelta(hours=12)
# Records that are looked up per query.
_TOGETHER = 500

# The hash of the last document of each chain: of each writer's, by its chain, and of the
# collections with a single chain.
Heads = Mapping[str, Mapping[int, str]]


def write(log: DecisionLog, heads: Heads) -> str:
    """Write the next anchor, and return its address.

    Parameters
    ----------
    log : DecisionLog
    heads : mapping of str to mapping of int to str
        By collection, the hash of the last document of each chain, by its number. Those that the
        last anchors have already are left out.

    Raises
    ------
    BlobExists
        When somebody else wrote an anchor at the same time.
    """
    blobs = log.storage.blobs
    known: dict[str, dict[int, str]] = {}
    previous, last = "", 0
    for name, content in _stored(blobs):
        previous, last = sha256(content).hexdigest(), _number_of(name)
        for collection, hashes in _heads(name, content).items():
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
    content = orjson.dumps(anchor, option=orjson.OPT_SORT_KEYS)
    return blobs.put(f"{FOLDER}{last + 1:08d}.json", content, "application/json")


def is_recent(name: str, content: bytes) -> bool:
    """Return whether a blob is an anchor of the last hours, which a backup leaves out.

    The bucket is copied after the log, so such an anchor may name records that the copy lacks.
    Without it the copy is whole, and the next anchor is as good.
    """
    if not name.startswith(FOLDER):
        return False
    try:
        time = datetime.fromisoformat(orjson.loads(content)["time"])
    except (ValueError, KeyError, TypeError):
        return False  # a verification names what is not an anchor, so the copy has it as well
    return time > datetime.now(UTC) - _RECENT


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
        heads = _heads(name, content)
        if _number_of(name) != n + 1 or orjson.loads(content)["previous"] != previous:
            raise LogDamaged(f"the anchor before {name} is missing or was changed")
        previous, n = sha256(content).hexdigest(), n + 1
        for collection, hashes in heads.items():
            _compare(storage, name, collection, hashes)
    return n


def _stored(blobs: Blobs) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each anchor, the oldest first."""
    for name in blobs.names(FOLDER):
        yield name, blobs.get(name)


def _number_of(name: str) -> int:
    try:
        return int(PurePosixPath(name).stem)
    except ValueError:
        raise LogDamaged(f"{name} is not an anchor, or was changed") from None


def _heads(name: str, content: bytes) -> dict[str, dict[int, str]]:
    """Return the hashes in an anchor, by collection and number."""
    try:
        heads: dict[str, dict[str, Any]] = orjson.loads(content)["heads"]
        return {
            collection: {int(number): str(hash) for number, hash in hashes.items()}
            for collection, hashes in heads.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LogDamaged(f"{name} is not an anchor, or was changed") from None


def _compare(storage: Storage, name: str, collection: str, hashes: Mapping[int, str]) -> None:
    numbers = sorted(hashes)
    for at in range(0, len(numbers), _TOGETHER):
        wanted = numbers[at : at + _TOGETHER]
        found = {
            document["_id"]: linked(document)
            for document in storage.documents.find(
                collection, {"_id": {"$in": wanted}}, without=CONTENT
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
    if collection == CHAINS:
        return f"the registration of chain {number}"
    if collection != RECORDS:
        return f"{collection.removesuffix('s')} {number}"
    chain, place = chain_and_place(number)
    return f"record {place} of chain {chain}" if chain else f"batch {place}"
