"""How long `make verify-log` takes: a log of one-client batches, and the same decisions in files.

The log is on SQLite and in a folder.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
from ulid import ULID

from benchmarks.clients import DATASET, labelled_clients
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.progress import say
from benchmarks.scenarios import Place, Sizes
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.proof.verify import verify
from credit_risk.schema.validation import Validator
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.folder import Folder
from credit_risk.storage.sqlite import SqliteDocuments

# Rows of each batch that is a file.
IN_A_FILE = 100_000


def batch_of(n: int) -> Batch:
    """Return a batch of n clients of the data, again and again."""
    clients = labelled_clients().to_dict("records")
    rows = [clients[i % len(clients)] for i in range(n)]
    risks = np.full(n, 0.1)
    decided = Decisions(risks, risks > 1, confidence(risks))
    applications = Validator(DATASET).rows(rows)
    return Batch(applications, decided, "1", "0" * 64, 1 / 6, caller="key: branch-12")


def fill(log: DecisionLog, n: int, rows: int) -> None:
    """Commit n decisions in batches of some rows."""
    batch = batch_of(rows)
    for at in range(0, n, rows):
        log.commit(replace(batch, id=str(ULID()), time=datetime.now(UTC)))
        if at % 100_000 == 0:
            say(f"{at:,} decisions written")


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of a log of one-client batches, and of one of files."""
    n = sizes.verified
    for what, decisions, rows in (
        ("one-client batches", n // 10, 1),
        ("files", n, min(n, IN_A_FILE)),
    ):
        folder = place.folder(f"verified {what}")
        # A second between two flushes, so that filling the log is not what takes the time.
        documents = SqliteDocuments(folder / "decisions.db", flush_seconds=1)
        log = DecisionLog(documents, Folder(folder / "bucket"), DATASET)
        fill(log, decisions, rows)
        taken = alternate({OURS: seconds_of(partial(verified, log, decisions))}, sizes.long_rounds)
        yield from lines_of(f"make verify-log, {decisions:,} decisions in {what}", "s", taken)


def verified(log: DecisionLog, n: int) -> None:
    """Verify a log of n decisions.

    Raises
    ------
    RuntimeError
        When it has another number of them.
    """
    found = verify(log)
    if found.decisions != n:
        raise RuntimeError(f"{found.decisions:,} of {n:,} decisions were verified")
