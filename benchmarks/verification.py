"""How long `make verify-log` takes: a log of one-client batches, and the same decisions in files.

    make bench

The log is on SQLite and in a folder. Seconds depend on the machine; the bar is 30 s for a million
decisions on 2 processors.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ulid import ULID

from benchmarks.progress import say
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.proof.verify import verify
from credit_risk.schema.validation import Validator
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.folder import Folder
from credit_risk.storage.sqlite import SqliteDocuments
from credit_risk.training_data.data import read_training

DATA = Path(__file__).parents[1] / "data" / "credit-g.csv"
# Rows of each batch that is a file.
IN_A_FILE = 100_000


def batch_of(n: int) -> Batch:
    """Return a batch of n clients of the data, again and again."""
    clients = read_training(str(DATA)).to_dict("records")
    rows = [clients[i % len(clients)] for i in range(n)]
    risks = np.full(n, 0.1)
    decided = Decisions(risks, risks > 1, confidence(risks))
    return Batch(Validator().rows(rows), decided, "1", "0" * 64, 1 / 6, caller="key: branch-12")


def fill(log: DecisionLog, n: int, rows: int) -> None:
    """Commit n decisions in batches of some rows."""
    batch = batch_of(rows)
    for at in range(0, n, rows):
        log.commit(replace(batch, id=str(ULID()), time=datetime.now(UTC)))
        if at % 100_000 == 0:
            say(f"{at:,} decisions written")


def seconds(n: int, rows: int) -> float:
    """Return how long it takes to verify n decisions in batches of some rows."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # A second between two flushes, so that filling the log is not what takes the time.
        documents = SqliteDocuments(folder / "decisions.db", flush_seconds=1)
        log = DecisionLog(documents, Folder(folder / "bucket"))
        fill(log, n, rows)

        began = time.perf_counter()
        found = verify(log)
        took = time.perf_counter() - began
    if found.decisions != n:
        raise RuntimeError(f"{found.decisions:,} of {n:,} decisions were verified")
    return took


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, default=100_000, help="decisions (default %(default)s)")
    n = parser.parse_args(arguments).rows

    print(f"| {n:,} decisions | verified in |\n|---|---|")
    for what, rows in (("one-client batches", 1), ("Parquet files", min(n, IN_A_FILE))):
        print(f"| as {what} | {seconds(n, rows):.3g} s |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
