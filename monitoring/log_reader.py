"""Reads decisions for monitoring: many batches at a time, without those whose file is lost."""

import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa

from credit_risk.decision_log.batch import BatchLost, BatchRecord, decision_schema
from credit_risk.decision_log.log import DecisionLog

# Decisions per part, about: a part is one batch at least.
ROWS = 50_000

logger = logging.getLogger(__name__)


def parts(batches: Sequence[BatchRecord]) -> Iterator[Sequence[BatchRecord]]:
    """Yield consecutive batches that together hold about `ROWS` decisions, at least one batch."""
    start = total = 0
    for i, record in enumerate(batches):
        if i > start and total + record.n_decided > ROWS:
            yield batches[start:i]
            start, total = i, 0
        total += record.n_decided
    yield batches[start:]


def read_kept(log: DecisionLog, batches: Sequence[BatchRecord], columns: Sequence[str]) -> pa.Table:
    """Return the decisions of batches as `DecisionLog.read` does, without those whose file is lost.

    Monitoring goes on without them. Code that learns from decisions or shows them must not pass
    over any.
    """
    try:
        return log.read(*batches, columns=columns)
    except BatchLost as error:
        if len(batches) == 1:
            logger.error("%s: its %d decisions are left out", error, batches[0].n_decided)
            return decision_schema(columns).empty_table()

        return pa.concat_tables([read_kept(log, [batch], columns) for batch in batches])
