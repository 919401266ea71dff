"""Collections with a single chain, numbered from 1: events, approvals, and the list of chains.

They are written to rarely, so their writers can compete for the next number.
"""

import time
from collections.abc import Iterator
from contextlib import suppress

from credit_risk.decision_log.chains.hashes import document_hash
from credit_risk.storage.documents import Document, Documents, DuplicateId, LogUnavailable

_ATTEMPTS = 200


class Conflict(Exception):
    """Something was appended after the number that the writer had looked at."""


def attempts() -> Iterator[None]:
    """Yield once for each attempt to look at the log and append to it, with a pause in between.

    Raises
    ------
    LogUnavailable
        When every attempt ended in a conflict.
    """
    for attempt in range(_ATTEMPTS):
        yield
        time.sleep(0.001 * min(attempt, 20))
    raise LogUnavailable("too many others write to the log at once")


def append(
    documents: Documents, collection: str, document: Document, expected: int | None = None
) -> Document:
    """Add a document under the next number, with the hash of the one before it, and return it.

    When two writers want one number, one gets it, and the other tries the next.

    Parameters
    ----------
    documents : Documents
    collection : str
    document : dict
        Without `_id`, `previous` and `hash`.
    expected : int, optional
        The highest number when the caller looked.

    Raises
    ------
    Conflict
        When the highest number is another than expected; then nothing is written.
    """
    if expected is not None:
        return _insert(documents, collection, document, expected)

    for _ in attempts():
        with suppress(Conflict):
            return _insert(documents, collection, document, documents.last(collection))
    raise AssertionError("the attempts end with an error")


def linked(previous: Document) -> str:
    """Return what the document after this one has as `previous`.

    Documents from before there were hashes are hashed as they are.
    """
    return str(previous["hash"]) if "hash" in previous else document_hash(previous)


def _insert(documents: Documents, collection: str, document: Document, last: int) -> Document:
    newest = next(documents.find(collection, {}, newest_first=True, limit=1), None)
    numbered: Document = {
        "_id": last + 1,
        **document,
        "previous": linked(newest) if newest else "",
    }
    numbered["hash"] = document_hash(numbered)
    # The newest may have come after `last` was looked up; then this number is taken.
    try:
        documents.insert(collection, [numbered])
    except DuplicateId:
        raise Conflict from None
    return numbered
