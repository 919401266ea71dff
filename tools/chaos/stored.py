"""Print what is in a decision log, a line of JSON for each batch; needs only `credit_risk`.

It is also sent to a container's Python by its standard input, where this folder is not.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord, summary_schema
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.settings import Settings

# Batches that are read together; a slow database takes minutes to find each by itself.
TOGETHER = 200


def main() -> None:
    """Read every batch with its decisions, and print its key, id and number of rows."""
    log = open_log(Settings())
    records = log.batches()
    for at in range(0, len(records), TOGETHER):
        for line in _counted(log, records[at : at + TOGETHER]):
            print(json.dumps(line))


def _counted(log: DecisionLog, records: Sequence[BatchRecord]) -> Iterator[dict[str, Any]]:
    decided = log.read(*records, schema=summary_schema("batch", "row"))
    ids, rows = decided["batch"], decided["row"]
    for record in records:
        own = rows.filter(pc.equal(ids, record.id))
        yield {
            "key": record.idempotency_key,
            "batch": record.id,
            "rows": len(own),
            "distinct": len(own.unique()),
            "form": record.stored,
        }


if __name__ == "__main__":
    main()
