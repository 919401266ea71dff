"""The index of clients beside the file of a big batch, by which a client is found in it quickly.

It has an entry for each client with an id: the CRC-32 of the id in UTF-8, and the row, sorted by
the former. Clients may share a checksum, so an entry is only a hint where to look in the file.
"""

from collections.abc import Collection
from typing import BinaryIO
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ulid import ULID

from credit_risk.schema.applications import Applications

# Entries that are read together. One client is in one such group, which takes a millisecond.
_GROUP = 16_384
_BITS = np.uint64(32)

Rows = NDArray[np.int64]
Checksums = NDArray[np.uint64]


def index_name(id: str) -> str:
    """Return the name of the index of a batch."""
    return f"clients/{ULID.from_str(id).datetime:%Y/%m/%d}/{id}.parquet"


def client_index(applications: Applications) -> bytes | None:
    """Return the index of a batch's clients as a Parquet file; None where no client has an id."""
    ids, rows = applications.client_id, applications.rows
    if None in ids:
        rows = rows[np.fromiter((id is not None for id in ids), np.bool_, len(ids))]
    if not len(rows):
        return None

    # Checksum and row as one number, which sorts in a fraction of the time.
    sums = _checksums([id for id in ids if id is not None])
    entries = np.sort(sums << _BITS | rows.astype(np.uint64))
    table = pa.table(
        {
            "checksum": (entries >> _BITS).astype(np.uint32),
            "row": entries.astype(np.uint32),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_GROUP,
        use_dictionary=False,
        compression="zstd",
        write_statistics=["checksum"],
    )
    return bytes(sink.getvalue().to_pybytes())


def rows_of_clients(index: BinaryIO, sums: Checksums) -> Rows:
    """Return the rows that clients may be in, in ascending order.

    Parameters
    ----------
    index : file
    sums : array
        The clients' checksums, as `sorted_checksums` returns them.
    """
    file = pq.ParquetFile(index)
    found = file.read_row_groups(row_groups(file, "checksum", sums))
    is_theirs = np.isin(found["checksum"].to_numpy(), sums)
    return np.sort(found["row"].to_numpy()[is_theirs].astype(np.int64))


def row_groups(file: pq.ParquetFile, column: str, values: NDArray[np.generic]) -> list[int]:
    """Return the row groups of a file that can have one of these values.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
    column : str
        The file is sorted by it, and has its statistics.
    values : array
        In ascending order.
    """
    place = file.schema_arrow.get_field_index(column)
    chosen = []
    for group in range(file.num_row_groups):
        ends = file.metadata.row_group(group).column(place).statistics
        first = int(np.searchsorted(values, ends.min))
        if first < len(values) and values[first] <= ends.max:
            chosen.append(group)
    return chosen


def sorted_checksums(ids: Collection[str]) -> Checksums:
    """Return the checksums of clients' ids, in ascending order."""
    return np.sort(_checksums(ids))


def _checksums(ids: Collection[str]) -> Checksums:
    return np.fromiter(map(crc32, map(str.encode, ids)), np.uint64, len(ids))
