"""Print what is in a decision log, a line of JSON for each batch; needs only `credit_risk`.

It is also sent to a container's Python by its standard input, where this folder is not.
"""

import json

from credit_risk.decision_log.batch import summary_schema
from credit_risk.decision_log.log import open_log
from credit_risk.settings import Settings


def main() -> None:
    """Read every batch with its decisions, and print its key, id and number of rows."""
    log = open_log(Settings())
    for record in log.batches():
        decided = log.read(record, schema=summary_schema("row"))
        line = {
            "key": record.idempotency_key,
            "batch": record.id,
            "rows": decided.num_rows,
            "distinct": len(set(decided["row"].to_pylist())),
            "form": record.stored,
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
