"""JSON documents in an SQLite file, which stands in for MongoDB."""

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from credit_risk.storage.documents import (
    CLIENTS,
    Document,
    DuplicateId,
    LogUnavailable,
    Where,
)
from credit_risk.storage.sqlite_tables import column_of, create_tables, path_of

# Seconds to wait for a lock that another process holds.
SQLITE_PATIENCE = 10
# Documents per query.
PAGE = 1000
# Pages of 4 kB that the write-ahead log grows to before it is merged into the file. The write that
# triggers the merge waits some milliseconds; with SQLite's default of 1,000 pages, every hundredth
# decision would.
MERGED_AT = 10_000
# Seconds between two attempts to begin a transaction while another process writes, which takes a
# fraction of a millisecond.
_RETRY_SECONDS = 0.0002
# The bits of SQLite's codes for errors that name the kind; the others say more of it.
_PRIMARY = 0xFF
_OPERATORS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class SqliteDocuments:
    """Collections as tables of an SQLite file.

    Each has an id, the document as JSON, and indexes on the fields that are looked up.
    """

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
            # Nobody would ever read what is written to the file that is still open.
            raise LogUnavailable(
                f"{self._path} was replaced by another file; start the service again"
            )
        return connection

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=SQLITE_PATIENCE)
        connection.create_function("contains", 2, _contains, deterministic=True)
        _patiently(connection, _write_ahead)
        _patiently(connection, create_tables)

        # From here on a transaction survives this process, but not a power cut: `flush` sees to
        # that, once for all earlier transactions, and without blocking other writers meanwhile.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={MERGED_AT}")

        self._local.connection, self._local.file = connection, self._file()
        return connection

    def _file(self) -> tuple[int, int] | None:
        """Return the device and inode of the file at the path, or None where there is none."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """See `Documents.insert`."""
        rows = [(d["_id"], orjson.dumps(d).decode()) for d in documents]
        statement = f"INSERT INTO {collection} VALUES (?, ?)"  # noqa: S608 - names are ours
        with self._connection() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `Documents.together`."""
        # SQLite's own wait retries every few milliseconds, at growing intervals.
        if not self._writing.acquire(timeout=SQLITE_PATIENCE):
            raise LogUnavailable(
                f"{self._path}: others write to it for more than {SQLITE_PATIENCE} s"
            )
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
            self._flusher = threading.Thread(
                target=self._keep_flushing, name="log-flush", daemon=True
            )
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
        """Have the disk store what SQLite has written to its write-ahead log.

        Where there is no such log, SQLite has merged it, and synced the file then.
        """
        try:
            file = os.open(f"{self._path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            if sys.platform == "darwin":
                os.fsync(file)
            else:
                os.fdatasync(file)
        finally:
            os.close(file)

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
        step, direction = ("<", " DESC") if newest_first else (">", "")
        body = f"json_remove(body, {', '.join(map(path_of, without))})" if without else "body"
        by = [column_of(field) for field in dict.fromkeys((order, "_id"))]
        place = ", ".join(by)
        condition, values = _condition(where)
        # The indexes hold no documents without the field.
        there = "" if order == "_id" else f"{column_of(order)} IS NOT NULL"
        after: tuple[Any, ...] = ()

        left = limit or sys.maxsize
        while left:
            # A log of many batches is read in order, and most readers stop early.
            size = min(left, PAGE)
            beyond = f"({place}) {step} ({', '.join('?' * len(by))})" if after else ""
            query = f"SELECT {body}, {place} FROM {collection} {_where(condition, there, beyond)} "  # noqa: S608 - names are ours
            query += f"ORDER BY {', '.join(column + direction for column in by)} LIMIT {size}"

            # All rows at once: no cursor may stay open while the caller works.
            with self._connection() as connection:
                rows = connection.execute(query, [*values, *after]).fetchall()
            for text, *_ in rows:
                yield orjson.loads(text)

            left = left - size if len(rows) == size else 0
            if left:
                after = rows[-1][1:]

    def last(self, collection: str) -> int:
        """See `Documents.last`."""
        query = (
            f"SELECT max(coalesce((SELECT max(_id) FROM {collection}), 0), "  # noqa: S608 - names are ours
            "coalesce((SELECT number FROM numbers_given WHERE name = ?), 0))"
        )
        with self._connection() as connection:
            (number,) = connection.execute(query, [collection]).fetchone()
        return int(number)

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """See `Documents.distinct`."""
        condition, values = _condition(where)
        query = f"SELECT DISTINCT {column_of(field)} FROM {collection} {_where(condition)}"  # noqa: S608
        with self._connection() as connection:
            return {value for (value,) in connection.execute(query, values)}

    def delete(self, collection: str, where: Where) -> int:
        """See `Documents.delete`."""
        condition, values = _condition(where)
        statement = f"DELETE FROM {collection} {_where(condition)}"  # noqa: S608 - names are ours
        with self._connection() as connection:
            return connection.execute(statement, values).rowcount

    def ping(self) -> None:
        """See `Documents.ping`; succeeds only where the file can be written as well.

        To make sure, it writes a number that has no meaning.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA user_version=1")


def _contains(text: str, part: str) -> bool:
    """Return whether a text contains a part in lower case; SQLite itself only knows ASCII's."""
    return part in text.lower()


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write as soon as no other process does."""
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
                time.sleep(_RETRY_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout={SQLITE_PATIENCE * 1000}")


def _patiently(
    connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], None]
) -> None:
    """Make a change, and try again for as long as another process makes it at the same time.

    SQLite then refuses one of the two without waiting.
    """
    end = time.monotonic() + SQLITE_PATIENCE
    while True:
        try:
            change(connection)
            return
        except sqlite3.OperationalError as error:
            connection.rollback()
            is_busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the mode in which readers never wait for the writer."""
    connection.execute("PRAGMA journal_mode=WAL")


def _where(*terms: str) -> str:
    """Return the WHERE clause of these terms, of which some may be empty."""
    there = [term for term in terms if term]
    return "WHERE " + " AND ".join(there) if there else ""


def _condition(where: Where) -> tuple[str, list[Any]]:
    """Return the terms of a query's WHERE clause, and the values of their placeholders."""
    terms: list[str] = []
    values: list[Any] = []
    for field, wanted in where.items():
        ranges = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        column = "client_id" if field == CLIENTS else column_of(field)
        compared = []
        for operator, value in ranges.items():
            if operator == "$in":
                # As one value, for SQLite limits the number of placeholders in a statement.
                compared.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 - names are ours
                values.append(orjson.dumps(value).decode())
            elif operator == "$contains":
                compared.append(f"{column} IS NOT NULL AND contains({column}, ?)")
                values.append(value.lower())
            else:
                compared.append(f"{column} {_OPERATORS[operator]} ?")
                values.append(value)

        term = " AND ".join(compared)
        if field == CLIENTS:
            term = f"_id IN (SELECT record FROM batches_clients WHERE {term})"  # noqa: S608 - names are ours
        terms.append(term)
    return " AND ".join(terms), values
