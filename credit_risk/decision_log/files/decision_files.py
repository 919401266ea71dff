"""The Parquet files in the bucket that hold the decisions of big batches, one file a batch.

Beside each is an index of its clients.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import (
    Batch,
    BatchLost,
    BatchRecord,
    DecisionSummary,
    summary_schema,
)
from credit_risk.decision_log.files.client_index import (
    Checksums,
    Rows,
    client_index,
    index_name,
    row_groups,
    rows_of_clients,
    sorted_checksums,
)
from credit_risk.decision_log.tables import with_schema
from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.storage.blobs import BlobMissing, Blobs
from credit_risk.storage.documents import LogUnavailable

_MAX_DIGITS = 18  # of a row's number: no row has more
_SUMMARY = summary_schema("id", "time", "client_id", "prediction")


class Written(NamedTuple):
    """The SHA-256 of what was stored of a batch: its decisions, and the index of its clients."""

    decisions_hash: str
    clients_hash: str | None


class DecisionFiles:
    """The decisions of big batches. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    blobs : Blobs
        Where the files are stored.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def write(self, batch: Batch) -> Written:
        """Store the decisions of a batch and the index of its clients."""
        with ThreadPoolExecutor(1) as aside:
            indexed = aside.submit(client_index, batch.applications)
            file = codec.parquet(batch)
            index = indexed.result()

        with _bucket_errors():
            # In this order, for the sweep looks for the decisions of batches without a record.
            self._blobs.put(codec.parquet_name(batch.id), file)
            if index is not None:
                self._blobs.put(index_name(batch.id), index)
        return Written(
            sha256(file).hexdigest(), None if index is None else sha256(index).hexdigest()
        )

    def sha256(self, id: str) -> str:
        """Return the SHA-256 of a batch's file.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        return self._digest(codec.parquet_name(id))

    def clients_sha256(self, id: str) -> str:
        """Return the SHA-256 of the index of a batch's clients.

        Raises
        ------
        BatchLost
            When the index is gone.
        """
        return self._digest(index_name(id))

    def read(self, record: BatchRecord, schema: pa.Schema) -> pa.Table:
        """Return the decisions of a batch, with the columns of a schema.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        with self._opened(record) as opened:
            about = pq.read_metadata(opened)
            # A word that is wanted as a code is not decoded first, which takes much longer.
            codes = [
                field.name
                for field in schema
                if pa.types.is_dictionary(field.type) and field.name in about.schema.names
            ]
            file = pq.ParquetFile(opened, metadata=about, read_dictionary=codes)
            return with_schema(file.read(_present(file, schema)), schema)

    def schema(self, record: BatchRecord) -> pa.Schema:
        """Return the columns of a batch's file.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        with self._opened(record) as opened:
            return _without_dictionaries(pq.ParquetFile(opened).schema_arrow)

    def with_ids(self, record: BatchRecord, ids: Collection[str], schema: pa.Schema) -> pa.Table:
        """Return those of a batch's decisions that have one of these ids, by row.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        numbers = [id.rpartition("-")[2] for id in ids]
        rows = {int(n) for n in numbers if n.isdecimal() and len(n) <= _MAX_DIGITS}
        return self._find(record, "id", ids, schema, np.array(sorted(rows), np.int64))

    def of_clients(
        self, record: BatchRecord, client_ids: Collection[str], schema: pa.Schema
    ) -> pa.Table:
        """Return a batch's decisions on these clients, by row.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        return self._of_clients(record, client_ids, sorted_checksums(client_ids), schema)

    def summaries(
        self, records: Iterable[BatchRecord], ids: Collection[str]
    ) -> Iterator[DecisionSummary]:
        """Yield those of these decisions that are in these batches."""
        of_batches = defaultdict(list)
        for id in ids:
            of_batches[id.rpartition("-")[0]].append(id)
        for record in records:
            yield from _summaries(self.with_ids(record, of_batches[record.id], _SUMMARY), record)

    def summaries_of(
        self, records: Iterable[BatchRecord], client_ids: Collection[str]
    ) -> Iterator[DecisionSummary]:
        """Yield the decisions on clients that are in these batches, those of a batch by row."""
        # Once: a file of outcomes may name half a million clients, and a log has many files.
        sums = sorted_checksums(client_ids)
        for record in records:
            found = self._of_clients(record, client_ids, sums, _SUMMARY)
            yield from _summaries(found, record)

    def newest_of(
        self, records: Iterable[BatchRecord], client_id: str, limit: int, schema: pa.Schema
    ) -> list[dict[str, Any]]:
        """Return at least `limit` of a client's decisions, where these batches have so many.

        The batches have to come with the newest first: no more are read than it takes.
        """
        found: list[dict[str, Any]] = []
        for record in records:
            found += self.of_clients(record, [client_id], schema).to_pylist()
            if len(found) >= limit:
                break
        return found

    def delete(self, id: str) -> None:
        """Remove the file of a batch and the index of its clients; they need not exist."""
        with _bucket_errors():
            # In this order, for the sweep finds batches by their files.
            self._blobs.delete(index_name(id))
            self._blobs.delete(codec.parquet_name(id))

    def ids(self, since: datetime) -> list[str]:
        """Return the ids of the batches that have a file, from the day of a time on."""
        n_days = (datetime.now(UTC).date() - since.date()).days + 1
        found: list[str] = []
        for days in range(n_days):
            prefix = f"decisions/{since.date() + timedelta(days=days):%Y/%m/%d}/"
            with _bucket_errors():
                names = self._blobs.names(prefix)
            found += [name.rpartition("/")[2].removesuffix(".parquet") for name in names]
        return found

    def tidy(self, before: datetime) -> None:
        """Remove half-written files that writers left behind when they died before a time."""
        with _bucket_errors():
            self._blobs.tidy(before)

    def _of_clients(
        self, record: BatchRecord, client_ids: Collection[str], sums: Checksums, schema: pa.Schema
    ) -> pa.Table:
        rows = self._rows_of_clients(record, sums)
        return self._find(record, CLIENT_ID, client_ids, schema, rows)

    def _rows_of_clients(self, record: BatchRecord, sums: Checksums) -> Rows | None:
        """Return the rows that clients may be in; None where there is no index that tells."""
        # No client has an id, or the batch is of an earlier version. An index that is there all
        # the same is not of the log.
        if record.clients_hash is None:
            return None
        try:
            with _bucket_errors(), self._blobs.open(index_name(record.id)) as index:
                return rows_of_clients(index, sums)
        # What it says can be found without it; verification reports the loss.
        except (BlobMissing, pa.ArrowException):
            return None

    def _find(
        self,
        record: BatchRecord,
        column: str,
        values: Collection[str],
        schema: pa.Schema,
        rows: Rows | None,
    ) -> pa.Table:
        """Return the decisions with one of these values in a column.

        Only the parts of the file that have one of `rows` are looked at; all where it is None.
        """
        found = [schema.empty_table()]
        if rows is not None and not len(rows):
            return found[0]
        wanted = pa.array(values, pa.string())
        with self._opened(record) as opened:
            file = pq.ParquetFile(opened)
            every = range(file.num_row_groups)
            for group in every if rows is None else row_groups(file, "row", rows):
                # One column first: most parts that are looked at in vain end here.
                is_wanted = pc.is_in(file.read_row_group(group, [column])[column], wanted)
                if pc.any(is_wanted).as_py():
                    part = file.read_row_group(group, _present(file, schema))
                    found.append(with_schema(part.filter(is_wanted), schema))
        return pa.concat_tables(found)

    @contextmanager
    def _opened(self, record: BatchRecord) -> Iterator[BinaryIO]:
        name = codec.parquet_name(record.id)
        try:
            with _bucket_errors(), self._blobs.open(name) as file:
                yield file
        except BlobMissing:
            raise _lost(name) from None

    def _digest(self, name: str) -> str:
        try:
            with _bucket_errors():
                return sha256(self._blobs.get(name)).hexdigest()
        except BlobMissing:
            raise _lost(name) from None


def _summaries(table: pa.Table, record: BatchRecord) -> Iterator[DecisionSummary]:
    return (DecisionSummary(**row, kind=record.kind) for row in table.to_pylist())


def _present(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """Return the columns of a schema that a file has."""
    names = set(file.schema_arrow.names)
    return [name for name in schema.names if name in names]


def _without_dictionaries(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the values themselves where a file has them dictionary-encoded."""
    return pa.schema(
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in schema
    )


def _lost(name: str) -> BatchLost:
    return BatchLost(f"the bucket behind the decision log has lost {name}")


@contextmanager
def _bucket_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, GoogleAPIError, GoogleAuthError) as error:
        raise LogUnavailable(f"the bucket behind the decision log: {error}") from error
