"""How long a search of the history and the probes take in a big log, and the writing of a file.

    make bench

Nine tenths of the decisions are in Parquet files, the others in small batches. The log is on SQLite
and in a folder. Seconds depend on the machine; the bar is 1 s for ten million decisions on 2
processors.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ulid import ULID

from benchmarks.clients import DATASET, labelled_clients
from benchmarks.progress import say
from credit_risk.decision_log import codec, history
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.chains.hashes import joint_hash
from credit_risk.decision_log.chains.writer import WriterChains
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.validation import Validator
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.folder import Folder
from credit_risk.storage.sqlite import SqliteDocuments

# Rows of the files and of the small batches: few big files, and many small ones.
SHAPES = ((1_000_000, 100), (100_000, 1))
# No version has this digest.
UNKNOWN_DIGEST = "0" * 64
# Small batches per transaction.
_TOGETHER = 100
_ROUNDS = 3


def batch_of(n: int, client: str, digest: str, **more: Any) -> Batch:
    """Return a batch of n clients of the data, again and again, each with an id of its own.

    They are decided by version 1, which has the digest.
    """
    few = Validator(DATASET).rows(labelled_clients().to_dict("records"))
    chosen = np.arange(n) % len(few)
    applications = replace(
        few,
        codes=few.codes[chosen],
        rows=np.arange(n),
        client_id=[f"{client}{row:07d}" for row in range(n)],
        label=[few.label[row] for row in chosen.tolist()],
        outside=few.outside[chosen],
        n_rows=n,
    )
    risks = np.random.default_rng(0).uniform(0, 0.5, n)
    decided = Decisions(risks, risks >= 1 / 6, confidence(risks))
    return Batch(applications, decided, "1", digest, 1 / 6, **more)


def again(batch: Batch, **more: Any) -> Batch:
    """Return a batch that is decided once more."""
    return replace(batch, id=str(ULID()), time=datetime.now(UTC), **more)


def fill_files(log: DecisionLog, n: int, rows: int, digest: str = UNKNOWN_DIGEST) -> float:
    """Commit n scores in portfolio files of some rows; return the seconds that the last one took.

    Every file has the same clients.
    """
    batch = batch_of(rows, "p", digest, kind="portfolio")
    took = 0.0
    for night in range(max(1, n // rows)):
        began = time.perf_counter()
        log.commit(again(batch, source=f"portfolio-{night}.csv"))
        took = time.perf_counter() - began
    return took


def fill_small(log: DecisionLog, n: int, rows: int, digest: str = UNKNOWN_DIGEST) -> None:
    """Write n decisions in small batches, many in one transaction, and as many clients."""
    documents = log.storage.documents
    batch = batch_of(max(n, rows), "s", digest)
    with WriterChains(documents).one() as chain:
        for start in range(0, n, rows * _TOGETHER):
            starts = range(start, min(n, start + rows * _TOGETHER), rows)
            records = [_record(batch, at, rows) for at in starts]
            with documents.together():
                chain.store(chain.link(records))
            if start % 100_000 == 0:
                say(f"{start:,} decisions in small batches")


def _record(batch: Batch, start: int, rows: int) -> dict[str, Any]:
    """Return the record of a small batch, a part of another, with its decisions."""
    part = slice(start, start + rows)
    d = batch.decided
    small = again(
        batch,
        applications=batch.applications.part(part.start, part.stop),
        decided=Decisions(d.risk[part], d.red[part], d.confidence[part]),
        source=None if rows == 1 else f"branch-{start}.csv",
    )
    decisions = codec.decisions(small)
    mark = codec.mark(small, joint_hash(decision["hash"] for decision in decisions))
    return mark | {"decisions": decisions}


@contextmanager
def big_log(n: int, in_a_file: int, in_a_batch: int) -> Iterator[tuple[DecisionLog, float]]:
    """Give a log of n decisions, and the seconds that its last file took to commit."""
    with tempfile.TemporaryDirectory() as place:
        documents = SqliteDocuments(Path(place) / "decisions.db", flush_seconds=1)
        log = DecisionLog(documents, Folder(Path(place) / "bucket"), DATASET)
        fill_small(log, n // 10, in_a_batch)
        took = fill_files(log, n - n // 10, in_a_file)
        yield log, took


def searches(log: DecisionLog) -> dict[str, Callable[[], int]]:
    """Return what people ask the history and the service, each with the number of its results."""

    def found(text: str) -> int:
        hits = history.search(log, text)
        return len(hits.batches) + len(hits.decisions)

    def opened(text: str) -> int:
        """Open what a search finds."""
        (decision, *_) = history.search(log, text).decisions
        return len(log.decision(decision["id"]) or ())

    def pinged() -> int:
        log.ping()
        return 1

    return {
        "the newest files": lambda: found(""),
        "a file by its name": lambda: found("portfolio-0"),
        "a name that no file has": lambda: found("no such file"),
        "a client of every file": lambda: found("p0000007"),
        "a client of a small batch": lambda: found("s0000007"),
        "a decision in a file": lambda: opened("p0000007"),
        "readiness": pinged,
    }


def seconds(n: int, in_a_file: int, in_a_batch: int) -> dict[str, tuple[float, int]]:
    """Return the worst of some rounds, and the number of results, by what is asked."""
    measured: dict[str, tuple[float, int]] = {}
    with big_log(n, in_a_file, in_a_batch) as (log, took):
        measured[f"commit of a file of {in_a_file:,} rows"] = took, in_a_file
        for what, ask in searches(log).items():
            times = []
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                results = ask()
                times.append(time.perf_counter() - began)
            measured[what] = max(times), results
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="decisions (default %(default)s)"
    )
    n = parser.parse_args(arguments).rows

    for in_a_file, in_a_batch in SHAPES:
        rows = min(n - n // 10, in_a_file)
        say(f"files of {rows:,} rows, small batches of {in_a_batch}...")
        print(f"| {n:,} decisions, files of {rows:,}, batches of {in_a_batch} | results | worst |")
        print("|---|---|---|")
        for what, (took, results) in seconds(n, rows, in_a_batch).items():
            print(f"| {what} | {results:,} | {took:.3g} s |", flush=True)
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
