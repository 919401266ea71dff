"""The tables, indexes and triggers of an SQLite file that holds collections of documents."""

import sqlite3
from collections.abc import Sequence

from credit_risk.storage.documents import CLIENTS, INDEXES, NUMBERED, UNIQUE_KEY

# The collections whose `_id` is a number, which SQLite uses as its own row number. None of their
# records is ever changed or removed. Whoever has the file can drop the triggers that see to that:
# they stop mistakes, and edits by hand; others are found by the hashes.
KEPT = ("batches", *NUMBERED)


def create_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing: a table for each collection, indexes, and triggers.

    They share one transaction, because SQLite waits for the disk at the end of each.
    """
    connection.execute("BEGIN")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS numbers_given (name TEXT PRIMARY KEY, number INTEGER NOT NULL)"
    )
    for name, indexes in INDEXES.items():
        key = "INTEGER PRIMARY KEY" if name in KEPT else "PRIMARY KEY"
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (_id {key}, body TEXT NOT NULL)")
        for fields in indexes:
            _create_index(connection, name, fields)
    _drop_earlier(connection)
    for name in KEPT:
        _keep(connection, name)
    for name in NUMBERED:
        _keep_number(connection, name)
    connection.commit()


def _drop_earlier(connection: sqlite3.Connection) -> None:
    """Drop a trigger that allowed no erasure, and indexes that another has taken the place of."""
    query = "SELECT sql FROM sqlite_master WHERE name = 'batches_update'"
    if any("erasure" not in sql for (sql,) in connection.execute(query)):
        connection.execute("DROP TRIGGER batches_update")
    for name in ("batches_time", "batches_time__id"):
        connection.execute(f"DROP INDEX IF EXISTS {name}")


def _create_index(connection: sqlite3.Connection, name: str, fields: Sequence[str]) -> None:
    if fields == (CLIENTS,):
        _create_clients(connection, name)
        return

    index = f"{name}_{'_'.join(fields)}"
    columns = [column_of(field) for field in fields]
    unique = "UNIQUE" if fields == (UNIQUE_KEY,) else ""
    # Many documents have no client id and no key, and nobody looks for these.
    connection.execute(
        f"CREATE {unique} INDEX IF NOT EXISTS {index} ON {name} ({', '.join(columns)}) "
        f"WHERE {columns[0]} IS NOT NULL"
    )


def _create_clients(connection: sqlite3.Connection, name: str) -> None:
    """Index the clients in a document's list of decisions, for which SQLite needs a table."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {name}_clients (client_id TEXT, record INTEGER, "
        "PRIMARY KEY (client_id, record)) WITHOUT ROWID"
    )
    listed = (
        f"INSERT OR IGNORE INTO {name}_clients "  # noqa: S608 - names are ours
        "SELECT json_extract(value, '$.client_id'), NEW._id "
        "FROM json_each(NEW.body, '$.decisions') "
        "WHERE json_extract(value, '$.client_id') IS NOT NULL"
    )
    connection.execute(
        f"CREATE TRIGGER IF NOT EXISTS {name}_listed AFTER INSERT ON {name} BEGIN {listed}; END"
    )
    forget = f"DELETE FROM {name}_clients WHERE record = NEW._id"  # noqa: S608 - names are ours
    connection.execute(
        f"CREATE TRIGGER IF NOT EXISTS {name}_erased AFTER UPDATE ON {name} "
        f"BEGIN {forget}; {listed}; END"
    )


# What an erasure may do to a batch: empty the decision that an event of kind `erasure` names, but
# for its row and its hash.
_ERASURE = """EXISTS (
    SELECT 1 FROM json_each(OLD.body, '$.decisions') AS d
    JOIN events ON json_extract(events.body, '$.kind') = 'erasure'
        AND json_extract(events.body, '$.key')
            = json_extract(OLD.body, '$.id') || '-' || json_extract(d.value, '$.row')
    WHERE NEW._id = OLD._id AND NEW.body = json_replace(
        OLD.body, d.fullkey, json_object(
            'row', json_extract(d.value, '$.row'), 'hash', json_extract(d.value, '$.hash')
        )
    )
)"""


def _keep(connection: sqlite3.Connection, name: str) -> None:
    """Have SQLite refuse whatever would change or remove a record of a collection."""
    taken = f"EXISTS (SELECT 1 FROM {name} WHERE _id = NEW._id)"  # noqa: S608 - names are ours
    changed = f"NOT {_ERASURE}" if name == "batches" else "1"
    # `REPLACE` removes a record without a DELETE.
    for action, when in (("UPDATE", changed), ("DELETE", "1"), ("INSERT", taken)):
        connection.execute(
            f"CREATE TRIGGER IF NOT EXISTS {name}_{action.lower()} BEFORE {action} ON {name} "
            f"WHEN {when} BEGIN SELECT RAISE(ABORT, '{name} are never changed or removed'); END"
        )


def _keep_number(connection: sqlite3.Connection, name: str) -> None:
    """Have SQLite keep the highest number that a collection has had."""
    connection.execute(
        f"CREATE TRIGGER IF NOT EXISTS {name}_numbered AFTER INSERT ON {name} BEGIN "  # noqa: S608
        f"INSERT INTO numbers_given VALUES ('{name}', NEW._id) "
        "ON CONFLICT DO UPDATE SET number = max(number, excluded.number); END"
    )


def path_of(field: str) -> str:
    """Return the JSON path of a field, quoted for SQL.

    Raises
    ------
    ValueError
        When it is not the name of a field.
    """
    if not field.replace("_", "").isalnum():
        raise ValueError(f"{field!r} is not a field")
    return f"'$.{field}'"


def column_of(field: str) -> str:
    """Return the SQL for the value of a field."""
    return "_id" if field == "_id" else f"json_extract(body, {path_of(field)})"
