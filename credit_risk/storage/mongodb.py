"""JSON documents in MongoDB, or in a server that speaks its protocol."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any
from urllib.parse import parse_qsl

import pymongo
import pymongo.errors

from credit_risk.storage.documents import (
    INDEXES,
    NUMBERED,
    UNIQUE_KEY,
    Document,
    DuplicateId,
    LogUnavailable,
    Where,
)

# How long MongoDB may take, in milliseconds, where its address does not say.
MONGODB_PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 60_000,
}
# For people who query MongoDB by hand; the log itself finds both by the `_id` of a decision.
BY_HAND: dict[str, list[tuple[str, ...]]] = {"decisions": [("batch", "row"), ("time",)]}

# The collections that hold a document for each number that was given in one of `NUMBERED`. Nothing
# is updated in place: servers differ in what of an update is atomic.
GIVEN = {collection: f"{collection}_given" for collection in NUMBERED}

_DUPLICATE_KEY = 11000


class MongoDocuments:
    """Collections of a MongoDB database.

    The address names the database, `mongodb://.../NAME`; without a name it is `credit_risk`.
    """

    atomic = False

    def __init__(self, url: str) -> None:
        # pymongo prefers a keyword to the address; here the address takes precedence.
        in_address = {name.lower() for name, _ in parse_qsl(url.partition("?")[2])}
        patience = {
            name: ms for name, ms in MONGODB_PATIENCE.items() if name.lower() not in in_address
        }

        # Nothing is sent before the first call: a server that starts later is not an error.
        self._client: pymongo.MongoClient[Document] = pymongo.MongoClient(
            url, tz_aware=True, **patience
        )
        self._database = self._client.get_default_database("credit_risk")
        self._indexed: set[str] = set()

    def _collection(self, name: str) -> pymongo.collection.Collection[Document]:
        collection = self._database[name]
        if name not in self._indexed:
            create_indexes(collection)
            self._indexed.add(name)
        return collection

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """See `Documents.insert`."""
        with _mongo_errors():
            # pymongo writes `_id` into what it is given; a copy keeps the caller's as they were.
            self._collection(collection).insert_many([dict(d) for d in documents])
        if collection in NUMBERED:
            given = [{"_id": d["_id"]} for d in documents]
            with suppress(DuplicateId), _mongo_errors():  # a number may have been given before
                self._database[GIVEN[collection]].insert_many(given)

    def find(
        self,
        collection: str,
        where: Where,
        order: str = "_id",
        *,
        newest_first: bool = False,
        limit: int = 0,
        without: Sequence[str] = (),
    ) -> Iterator[Document]:
        """See `Documents.find`."""
        direction = pymongo.DESCENDING if newest_first else pymongo.ASCENDING
        by = [(field, direction) for field in dict.fromkeys((order, "_id"))]
        fields = dict.fromkeys(without, 0) or None
        with _mongo_errors():
            found = self._collection(collection).find(_condition(where), fields)
            yield from found.sort(by).limit(limit)

    def last(self, collection: str) -> int:
        """See `Documents.last`."""
        with _mongo_errors():
            newest = [
                int(document["_id"])
                for name in (collection, GIVEN[collection])
                for document in self._database[name].find({}, {"_id": 1}).sort("_id", -1).limit(1)
            ]
        return max(newest, default=0)

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """See `Documents.distinct`."""
        with _mongo_errors():
            return set(self._collection(collection).distinct(field, _condition(where)))

    def delete(self, collection: str, where: Where) -> int:
        """See `Documents.delete`."""
        with _mongo_errors():
            return self._collection(collection).delete_many(_condition(where)).deleted_count

    def together(self) -> AbstractContextManager[None]:
        """See `Documents.together`; transactions would need a replica set."""
        return nullcontext()

    def flush(self, *, now: bool) -> None:
        """See `Documents.flush`; the write concern in the address decides on the journal."""

    def ping(self) -> None:
        """See `Documents.ping`."""
        with _mongo_errors():
            self._client.admin.command("ping")


def create_indexes(collection: pymongo.collection.Collection[Any], name: str = "") -> None:
    """Create the missing indexes of a collection in MongoDB; `name` is the one that it will have.

    It lists them first, which every service may do; not every service may create one.
    """
    existing, name = collection.index_information(), name or collection.name
    for fields in [*INDEXES.get(name, []), *BY_HAND.get(name, [])]:
        unique = {"unique": True, "sparse": True} if fields == (UNIQUE_KEY,) else {}
        index = pymongo.IndexModel([(field, pymongo.ASCENDING) for field in fields], **unique)
        if index.document["name"] not in existing:
            collection.create_indexes([index])


def _condition(where: Where) -> dict[str, Any]:
    """Return the condition as MongoDB has it: a part of a text is found by a pattern."""
    found = dict(where)
    for field, wanted in where.items():
        if isinstance(wanted, dict) and "$contains" in wanted:
            found[field] = {"$regex": re.escape(wanted["$contains"]), "$options": "i"}
    return found


@contextmanager
def _mongo_errors() -> Iterator[None]:
    try:
        yield
    except pymongo.errors.DuplicateKeyError as error:
        raise DuplicateId(str(error)) from None
    except pymongo.errors.BulkWriteError as error:
        write_errors = (error.details or {}).get("writeErrors", [])
        if any(e.get("code") == _DUPLICATE_KEY for e in write_errors):
            raise DuplicateId("an _id is taken") from None
        # Its text quotes the documents, which hold personal data: it must appear neither in a
        # message nor as a cause.
        raise LogUnavailable("MongoDB did not take all documents") from None
    except pymongo.errors.PyMongoError as error:
        raise LogUnavailable(f"MongoDB does not answer: {error}") from error
