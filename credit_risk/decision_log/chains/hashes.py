"""Hashes of decisions and records: SHA-256 (FIPS 180-4), as 64 hexadecimal digits.

A decision's hash is over all of it, a random salt included, so that nobody who has only the hash
can find the client by trying out values. A record's hash is over everything in it but the content
of its decisions, for which it has their hashes. So the content of a decision can be erased, its
salt with it, while its hash and the record still prove what else was decided.
"""

import secrets
from collections.abc import Iterable
from hashlib import sha256

import orjson

from credit_risk.storage.documents import Document

_SALT_BYTES = 16


def salt() -> str:
    """Return 16 random bytes, as hexadecimal digits."""
    return secrets.token_hex(_SALT_BYTES)


def document_hash(document: Document, without: Iterable[str] = ("hash",)) -> str:
    """Return the hash of a document as JSON with sorted keys, without some of its fields.

    MongoDB and SQLite both return numbers and texts exactly as they were stored, so the hash can be
    computed from what is read.
    """
    content = dict(document)
    for name in without:
        content.pop(name, None)
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def record_hash(record: Document) -> str:
    """Return the hash of a record in a chain."""
    return document_hash(record, ("hash", "decisions"))


def joint_hash(hashes: Iterable[str]) -> str:
    """Return the hash over the hashes of a batch's decisions, in the order of their rows."""
    return sha256("".join(hashes).encode()).hexdigest()
