"""Reads decisions for monitoring: many batches at a time, without those whose file is lost.

Words come as codes into a short list of them, which is how a file holds them: a million decisions
are counted by code, and no text is made of them.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.decision_log.batch import BatchLost, BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.tables import with_schema

# Decisions per part, about: a part is one batch at least.
ROWS = 50_000
# The columns of words that are mostly distinct.
_DISTINCT = ("id", "client_id")
_CODES = pa.dictionary(pa.int32(), pa.string())

logger = logging.getLogger(__name__)


def parts(batches: Sequence[BatchRecord]) -> Iterator[Sequence[BatchRecord]]:
    """Yield consecutive batches of one kind with about `ROWS` decisions, at least one batch."""
    start = total = 0
    for i, record in enumerate(batches):
        another = record.kind != batches[start].kind
        if i > start and (another or total + record.n_decided > ROWS):
            yield batches[start:i]
            start, total = i, 0
        total += record.n_decided
    yield batches[start:]


def coded(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the tables that `read_kept` returns for one of decisions."""
    return pa.schema(
        field.with_type(_CODES)
        if field.type == pa.string() and field.name not in _DISTINCT
        else field
        for field in schema
    )


def read_kept(log: DecisionLog, batches: Sequence[BatchRecord], wanted: pa.Schema) -> pa.Table:
    """Return the decisions of batches, by time and row, without those whose file is lost.

    Monitoring goes on without them. Code that learns from decisions or shows them must not pass
    over any.

    Parameters
    ----------
    wanted : pyarrow.Schema
        Columns, as `decision_schema` names them for some data set.
    """
    schema = coded(wanted)
    tables = [schema.empty_table()]
    by_time = sorted(batches, key=lambda record: (record.time, record.seq))
    for in_files, some in groupby(by_time, key=lambda record: record.stored == "parquet"):
        if in_files:
            tables += [_read_file(log, record, schema) for record in some]
        else:
            tables.append(log.read(*some, schema=wanted).cast(schema))
    return pa.concat_tables(tables)


def as_coded(decisions: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return the columns of a schema out of what `read_kept` returned for a larger one."""
    chosen = decisions.select(wanted.names)
    schema = coded(wanted)
    return chosen if chosen.schema.equals(schema) else with_schema(chosen, schema)


def places_in(words: Sequence[str], column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Return the place of each text of a column among some words; their number if it is none."""
    coded = column.cast(_CODES).combine_chunks()
    known = pc.index_in(coded.dictionary, value_set=pa.array(words, pa.string()))
    places = np.append(known.fill_null(len(words)).to_numpy(), len(words)).astype(np.int32)
    missing = len(coded.dictionary)
    found: NDArray[np.int32] = places[np.asarray(coded.indices.fill_null(missing))]
    return found


def _read_file(log: DecisionLog, record: BatchRecord, schema: pa.Schema) -> pa.Table:
    try:
        return log.storage.files.read(record, schema)
    except BatchLost as error:
        logger.error("%s: its %d decisions are left out", error, record.n_decided)
        return schema.empty_table()
