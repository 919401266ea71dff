"""The Parquet files in the bucket that hold the decisions of big batches, one file a batch."""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch, BatchLost, BatchRecord, DecisionSummary
from credit_risk.storage.blobs import BlobMissing, Blobs
from credit_risk.storage.documents import LogUnavailable


class DecisionFiles:
    """The decisions of big batches. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    blobs : Blobs
        Where the files are stored.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def write(self, batch: Batch) -> str:
        """Store the decisions of a batch, and return the file's SHA-256."""
        file = codec.parquet(batch)
        self._call(self._blobs.put, codec.parquet_name(batch.id), file)
        return sha256(file).hexdigest()

    def sha256(self, id: str) -> str:
        """Return the SHA-256 of a batch's file.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        return sha256(self._get(id)).hexdigest()

    def read(self, record: BatchRecord, schema: pa.Schema, filters: Any = None) -> pa.Table:
        """Return the decisions of a batch, with the columns of a schema.

        Raises
        ------
        BatchLost
            When the file is gone.
        """
        return codec.table(self._open(record), schema, filters)

    def summaries(
        self, records: Iterable[BatchRecord], column: str, values: Collection[str]
    ) -> Iterator[DecisionSummary]:
        """Yield the decisions with one of these values in a column; small batches are skipped."""
        names = ["id", "time", "client_id", "prediction"]
        wanted = pa.array(values, pa.string())
        for record in records:
            if record.stored != "parquet" or not len(wanted):
                continue
            table = pq.read_table(self._open(record), columns=names)
            rows = table.filter(pc.is_in(table[column], wanted)).select(names)
            for row in rows.to_pylist():
                yield DecisionSummary(**row, kind=record.kind)

    def delete(self, id: str) -> None:
        """Remove the file of a batch; it need not exist."""
        self._call(self._blobs.delete, codec.parquet_name(id))

    def ids(self, since: datetime) -> list[str]:
        """Return the ids of the batches that have a file, from the day of a time on."""
        n_days = (datetime.now(UTC).date() - since.date()).days + 1
        found: list[str] = []
        for days in range(n_days):
            prefix = f"decisions/{since.date() + timedelta(days=days):%Y/%m/%d}/"
            names = self._call(self._blobs.names, prefix)
            found += [name.rpartition("/")[2].removesuffix(".parquet") for name in names]
        return found

    def tidy(self, before: datetime) -> None:
        """Remove half-written files that writers left behind when they died before a time."""
        self._call(self._blobs.tidy, before)

    def _open(self, record: BatchRecord) -> pa.BufferReader:
        return pa.BufferReader(self._get(record.id))

    def _get(self, id: str) -> bytes:
        name = codec.parquet_name(id)
        try:
            return bytes(self._call(self._blobs.get, name))
        except BlobMissing:
            raise BatchLost(f"the bucket behind the decision log has lost {name}") from None

    def _call(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (OSError, GoogleAPIError, GoogleAuthError) as error:
            raise LogUnavailable(f"the bucket behind the decision log: {error}") from error
