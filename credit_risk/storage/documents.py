"""JSON documents in MongoDB, or in an SQLite file that stands in for it.

Just what the decision log needs and no more: unique ids, equality and ranges on fields, one order, a limit. No
transactions, no change streams, no aggregation: what works here works the same on both.
"""

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson
import pymongo
import pymongo.errors

Document = dict[str, Any]
# A field's value, a range such as {"$gt": 3}, or several values, {"$in": [3, 4]}.
Where = Mapping[str, Any]

# So many seconds a lock that another process holds is waited for.
SQLITE_PATIENCE = 10
# Milliseconds that MongoDB may take, where its address says nothing else.
MONGODB_PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 60_000,
}

# So often it is looked whether another process still writes, which takes a fraction of a millisecond.
_LOOK_SECONDS = 0.0002

# So many documents are fetched from SQLite at once.
PAGE = 1000
# So many pages of 4 kB its log grows to before they are merged into the file: whose write comes to it waits for some
# milliseconds. With SQLite's own 1,000 that is every hundredth decision.
MERGED_AT = 10_000

# What is looked up; each collection's `_id` is unique by itself. An index adds some 6 us to the commit of one client's
# decision, which takes 50: there is none where another, or `_id`, does it.
INDEXES: dict[str, list[tuple[str, ...]]] = {
    "decisions": [("client_id",)],
    "batches": [("id",), ("time",), ("idempotency_key",)],
    "events": [("kind", "_id"), ("key", "_id")],
    "approvals": [],
    "outcomes": [("upload",), ("batch",), ("key",), ("decided",)],
    "reports": [("kind", "time")],
}
# Those whose `_id` is a number, which SQLite takes as its own number of a row.
NUMBERED = {"batches", "events", "approvals"}
# For people who ask MongoDB by hand; the log itself finds both by the `_id` of a decision.
BY_HAND: dict[str, list[tuple[str, ...]]] = {"decisions": [("batch", "row"), ("time",)]}


class LogUnavailable(ConnectionError):
    """The database behind the decision log cannot be reached, or cannot be written."""


class DuplicateId(ValueError):
    """The `_id` is taken."""


class Documents(Protocol):
    """Collections of JSON documents. Every call may raise `LogUnavailable`.

    Attributes
    ----------
    atomic : bool
        Whether what is inserted `together` comes at once.
    """

    atomic: bool

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """Add documents.

        Raises
        ------
        DuplicateId
            When an `_id` is taken; some of the others may have been added.
        """

    def find(
        self, collection: str, where: Where, order: str = "_id", *, newest_first: bool = False, limit: int = 0
    ) -> Iterator[Document]:
        """Yield the documents whose fields have these values or lie in these ranges, in order of one field."""

    def last(self, collection: str) -> int:
        """Return the highest `_id` of a collection whose ids are numbers; 0 where it is empty."""

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """Return the values that a field has in the documents found."""

    def delete(self, collection: str, where: Where) -> int:
        """Remove documents and return how many."""

    def together(self) -> AbstractContextManager[None]:
        """Have what the calling thread inserts meanwhile come at once, where the database can; in MongoDB one by one.

        Where an exception ends it, nothing comes, where the database can.
        """

    def flush(self, *, now: bool) -> None:
        """Return when what was inserted outlives a power cut; not `now`: when that will be so in a moment."""

    def ping(self) -> None:
        """Return when the database answers."""


def open_documents(url: str, flush_seconds: float = 0) -> Documents:
    """Return the collections at `mongodb://...` or `sqlite:///PATH`.

    Parameters
    ----------
    url : str
    flush_seconds : float
        The moment of `Documents.flush` in SQLite. MongoDB has its own.

    Raises
    ------
    ValueError
        When the address is of neither kind.
    """
    if url.startswith(("mongodb://", "mongodb+srv://")):
        return MongoDocuments(url)
    if url.startswith("sqlite:///"):
        return SqliteDocuments(Path(url.removeprefix("sqlite:///")), flush_seconds)
    kind = url.split(":", 1)[0]
    raise ValueError(f"the decision log's address must start with mongodb:// or sqlite:///, not {kind!r}")


class MongoDocuments:
    """Collections of a MongoDB database; `mongodb://.../NAME` names it, `credit_risk` where the address does not."""

    atomic = False

    def __init__(self, url: str) -> None:
        # pymongo lets a keyword win over the address; what an address says is meant so.
        said = {name.lower() for name, _ in parse_qsl(url.partition("?")[2])}
        patience = {name: ms for name, ms in MONGODB_PATIENCE.items() if name.lower() not in said}
        # Nothing is sent before the first call: a server that comes up later is no error.
        self._client: pymongo.MongoClient[Document] = pymongo.MongoClient(url, tz_aware=True, **patience)
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

    def find(
        self, collection: str, where: Where, order: str = "_id", *, newest_first: bool = False, limit: int = 0
    ) -> Iterator[Document]:
        """See `Documents.find`."""
        direction = pymongo.DESCENDING if newest_first else pymongo.ASCENDING
        with _mongo_errors():
            yield from self._collection(collection).find(dict(where)).sort(order, direction).limit(limit)

    def last(self, collection: str) -> int:
        """See `Documents.last`."""
        with _mongo_errors():
            newest = self._collection(collection).find_one({}, {"_id": 1}, sort=[("_id", pymongo.DESCENDING)])
        return int(newest["_id"]) if newest else 0

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """See `Documents.distinct`."""
        with _mongo_errors():
            return set(self._collection(collection).distinct(field, dict(where)))

    def delete(self, collection: str, where: Where) -> int:
        """See `Documents.delete`."""
        with _mongo_errors():
            return self._collection(collection).delete_many(dict(where)).deleted_count

    def together(self) -> AbstractContextManager[None]:
        """See `Documents.together`; transactions would need a replica set."""
        return nullcontext()

    def flush(self, *, now: bool) -> None:
        """See `Documents.flush`; the server keeps its journal, as the write concern in the address says."""

    def ping(self) -> None:
        """See `Documents.ping`."""
        with _mongo_errors():
            self._client.admin.command("ping")


def create_indexes(collection: pymongo.collection.Collection[Document]) -> None:
    """Make the indexes of a collection of MongoDB that are not there: to look is a right that every service has."""
    there = collection.index_information()
    for fields in [*INDEXES.get(collection.name, []), *BY_HAND.get(collection.name, [])]:
        index = pymongo.IndexModel([(field, pymongo.ASCENDING) for field in fields])
        if index.document["name"] not in there:
            collection.create_indexes([index])


@contextmanager
def _mongo_errors() -> Iterator[None]:
    try:
        yield
    except pymongo.errors.DuplicateKeyError as error:
        raise DuplicateId(str(error)) from None
    except pymongo.errors.BulkWriteError as error:
        if any(e.get("code") == 11000 for e in (error.details or {}).get("writeErrors", [])):
            raise DuplicateId("an _id is taken") from None
        # Its text quotes the documents, which are people's: neither in a message nor as a cause.
        raise LogUnavailable("MongoDB did not take all documents") from None
    except pymongo.errors.PyMongoError as error:
        raise LogUnavailable(f"MongoDB does not answer: {error}") from error


class SqliteDocuments:
    """Collections as tables of an SQLite file: an id, the document as JSON, and indexes on what is looked up."""

    atomic = True

    def __init__(self, path: Path, flush_seconds: float = 0) -> None:
        self._path = path.absolute()
        self._local = threading.local()
        self._flush_seconds = flush_seconds
        self._flusher: threading.Thread | None = None
        self._written = threading.Event()
        self._failed: OSError | None = None
        self._writing = threading.Lock()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Give the calling thread its connection."""
        try:
            if getattr(self._local, "together", False):
                yield self._local.connection
                return
            with self._current() as connection:
                yield connection
        except sqlite3.IntegrityError as error:
            raise DuplicateId(str(error)) from None
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def _current(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        file = self._file()
        if connection is None or file is None:
            return self._open()
        if file != self._local.file:
            # What is written to the one that is still open, nobody reads again.
            raise LogUnavailable(f"{self._path} was replaced by another file; start the service again")
        return connection

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=SQLITE_PATIENCE)
        _log_ahead(connection)
        for name, indexes in INDEXES.items():
            key = "INTEGER PRIMARY KEY" if name in NUMBERED else "PRIMARY KEY"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (_id {key}, body TEXT NOT NULL)")
            for fields in indexes:
                columns = [_column(field) for field in fields]
                index = f"CREATE INDEX IF NOT EXISTS {name}_{'_'.join(fields)} ON {name} ({', '.join(columns)})"
                # Many have no client id and no key, and nobody looks for these.
                connection.execute(f"{index} WHERE {columns[0]} IS NOT NULL")
        connection.commit()
        # From here on a transaction outlives us, but not a power cut: `flush` sees to that, once for all that were
        # written before it, and without keeping other writers out meanwhile.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={MERGED_AT}")
        self._local.connection, self._local.file = connection, self._file()
        return connection

    def _file(self) -> tuple[int, int] | None:
        """Return which file stands at the path, or None where none does."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """See `Documents.insert`."""
        rows = [(d["_id"], orjson.dumps(d).decode()) for d in documents]
        with self._connection() as connection:
            connection.executemany(f"INSERT INTO {collection} VALUES (?, ?)", rows)  # noqa: S608 - names are ours

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `Documents.together`."""
        # Who waits in SQLite looks again every few milliseconds, and more and more seldom.
        if not self._writing.acquire(timeout=SQLITE_PATIENCE):
            raise LogUnavailable(f"{self._path}: others write to it for more than {SQLITE_PATIENCE} s")
        try:
            with self._connection() as connection:
                _begin(connection)
                self._local.together = True
                try:
                    yield
                finally:
                    self._local.together = False
        finally:
            self._writing.release()

    def flush(self, *, now: bool) -> None:
        """See `Documents.flush`."""
        failed, self._failed = self._failed, None
        if failed is not None:
            raise LogUnavailable(f"{self._path}: {failed}") from failed
        if now or not self._flush_seconds:
            try:
                self._sync()
            except OSError as error:
                raise LogUnavailable(f"{self._path}: {error}") from error
            return
        if self._flusher is None or not self._flusher.is_alive():  # a fork has no threads
            self._flusher = threading.Thread(target=self._keep_flushing, name="log-flush", daemon=True)
            self._flusher.start()
        self._written.set()

    def _keep_flushing(self) -> None:
        while self._written.wait():
            time.sleep(self._flush_seconds)
            self._written.clear()
            try:
                self._sync()
            except OSError as error:
                self._failed = error

    def _sync(self) -> None:
        """Have the disk take what SQLite has written to its log; where there is none it was merged, and synced then."""
        try:
            file = os.open(f"{self._path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(file) if sys.platform == "darwin" else os.fdatasync(file)
        finally:
            os.close(file)

    def find(
        self, collection: str, where: Where, order: str = "_id", *, newest_first: bool = False, limit: int = 0
    ) -> Iterator[Document]:
        """See `Documents.find`."""
        step, direction = ("$lt", " DESC") if newest_first else ("$gt", "")
        left = limit or sys.maxsize
        while left:
            # A log of many batches is read in order of `_id`, and most readers stop early.
            size = min(left, PAGE) if order == "_id" else left
            condition, values = _condition(where)
            query = f"SELECT _id, body FROM {collection} {condition} "  # noqa: S608 - names are ours
            query += f"ORDER BY {_column(order)}{direction} LIMIT {size}"
            with self._connection() as connection:
                rows = connection.execute(query, values).fetchall()  # no cursor stays open while the caller works
            for _, body in rows:
                yield orjson.loads(body)
            left = left - size if len(rows) == size else 0
            if left:
                where = {**where, "_id": {**where.get("_id", {}), step: rows[-1][0]}}

    def last(self, collection: str) -> int:
        """See `Documents.last`."""
        with self._connection() as connection:
            (number,) = connection.execute(f"SELECT max(_id) FROM {collection}").fetchone()  # noqa: S608
        return number or 0

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """See `Documents.distinct`."""
        condition, values = _condition(where)
        query = f"SELECT DISTINCT {_column(field)} FROM {collection} {condition}"  # noqa: S608
        with self._connection() as connection:
            return {value for (value,) in connection.execute(query, values)}

    def delete(self, collection: str, where: Where) -> int:
        """See `Documents.delete`."""
        condition, values = _condition(where)
        with self._connection() as connection:
            return connection.execute(f"DELETE FROM {collection} {condition}", values).rowcount  # noqa: S608

    def ping(self) -> None:
        """See `Documents.ping`: true only where it can be written as well, which it is, by a number of no meaning."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA user_version=1")


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write, as soon as no other process does."""
    end = time.monotonic() + SQLITE_PATIENCE
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(_LOOK_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout={SQLITE_PATIENCE * 1000}")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the mode in which readers never wait for the writer. Of two who do so, SQLite turns one away."""
    end = time.monotonic() + SQLITE_PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def _column(field: str) -> str:
    if not field.replace("_", "").isalnum():
        raise ValueError(f"{field!r} is not a field")
    return "_id" if field == "_id" else f"json_extract(body, '$.{field}')"


def _condition(where: Where) -> tuple[str, list[Any]]:
    terms: list[str] = []
    values: list[Any] = []
    for field, wanted in where.items():
        ranges = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        for operator, value in ranges.items():
            if operator == "$in":
                # As one value, for SQLite takes only so many in a statement.
                terms.append(f"{_column(field)} IN (SELECT value FROM json_each(?))")  # noqa: S608 - names are ours
                values.append(orjson.dumps(value).decode())
                continue
            terms.append(f"{_column(field)} {'=' if operator == '$eq' else _OPERATORS[operator]} ?")
            values.append(value)
    return ("WHERE " + " AND ".join(terms) if terms else ""), values
