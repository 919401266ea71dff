"""Trying out stored files in a process of their own, before a service loads them.

    python -m credit_risk.registry.trial scorer < model.skops
    python -m credit_risk.registry.trial reference < definition-and-reference > reference.arrow

Anybody may have written such a file. LightGBM and Arrow are C++, and a crafted file can make them
crash, run forever or take all memory. Here that ends only the child process, which has limits and
gets no credentials.
"""

import argparse
import hashlib
import io
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from credit_risk.schema.attributes import BAD, GOOD, LABEL, Floats
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.counterfactual import counterfactual
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused, read

# Limits of the child process. Importing takes 2 to 8 s of them, more when the machine is busy.
CPU_SECONDS = 120
SECONDS = 300
# Address space, of which the libraries take 0.7 GB.
MEMORY_BYTES = 1_500_000_000
# How long a file that did not pass is not tried again.
AGAIN_SECONDS = 600
MAX_REFERENCE_BYTES = 50_000_000
MAX_REFERENCE_ROWS = 1_000_000
PROBE_ROWS = 64

_COMMAND = (sys.executable, "-m", "credit_risk.registry.trial")
_REFUSED = 3
_ROOT = Path(__file__).parents[2]
# Environment variables that Python and its libraries need. No others, such as credentials, are
# passed on.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "SYSTEMROOT")
# One thread for each library, and no memory reserved in advance.
_FRUGAL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_passed: set[str] = set()
_refused: dict[str, tuple[float, str]] = {}


def try_scorer(data: bytes) -> None:
    """Load a stored scorer in a child process, and use it once.

    A scorer that has passed is not tried again by this process.

    Raises
    ------
    ModelRefused
        When the child process refuses it, crashes, or takes too much time or memory.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest in _passed:
        return

    when, why = _refused.get(digest, (-math.inf, ""))
    if time.monotonic() - when < AGAIN_SECONDS:
        raise ModelRefused(why)

    try:
        _run("scorer", data)
    except ModelRefused as error:
        _refused[digest] = time.monotonic(), str(error)
        raise

    _passed.add(digest)


def read_reference(data: bytes, dataset: Dataset) -> pd.DataFrame:
    """Return a version's training data, read and checked in a child process.

    Parameters
    ----------
    data : bytes
        A Parquet file of applications with their class and their out-of-fold risk.
    dataset : Dataset
        The version's, by which they are checked.

    Raises
    ------
    ModelRefused
        When the file is not Parquet, is too large, holds anything but valid applications, or cannot
        be read.
    """
    if len(data) > MAX_REFERENCE_BYTES:
        raise ModelRefused(
            f"the reference has {len(data):,} bytes, more than {MAX_REFERENCE_BYTES:,}"
        )

    definition = dataset.text.encode()
    frame: pd.DataFrame = _table(definition + b"\n" + data).to_pandas()
    return frame


@lru_cache(maxsize=2)  # for Production and the challenger
def _table(sent: bytes) -> pa.Table:
    with pa.ipc.open_stream(_run("reference", sent)) as stream:
        return stream.read_all()


def _run(what: str, data: bytes) -> bytes:
    """Return the output of a child process for a file."""
    command = [*_COMMAND, what]
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _FRUGAL
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, cwd=_ROOT, env=env, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ModelRefused(f"the {what} was tried out and not done within {SECONDS} s") from None

    if done.returncode == _REFUSED:
        why = done.stderr.decode(errors="replace").strip()[-300:]
        raise ModelRefused(f"the {what} was tried out, and {why}")
    if done.returncode:
        raise ModelRefused(f"the {what} was tried out, and {_how_it_ended(done.returncode)}")

    return done.stdout


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return "it was stopped because it took too much time or memory"

    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"that process crashed ({name})"


def _limit() -> None:
    """Limit this process, if the platform supports it."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _scorer(data: bytes) -> None:
    """Load a scorer as a service does, and call all that a service calls."""
    scorer = read(data)
    scorer.warm_up()

    codes = np.repeat(_example(scorer), PROBE_ROWS, axis=0)
    if not np.isfinite(scorer.decide(codes).risk).all():
        raise ModelRefused("its risks are not numbers")
    if scorer.accepted_ is not None:
        scorer.sentences(codes[:1])
    counterfactual(scorer, codes[0])


def _example(scorer: CreditScorer) -> Floats:
    """Return an application of values that training saw, shape (1, n_attributes)."""
    domain = scorer.domain
    codes = np.full((1, len(scorer.dataset.names)), np.nan)
    for place, attribute in enumerate(scorer.dataset.attributes):
        if seen := domain.categories.get(attribute.name):
            codes[0, place] = attribute.categories.index(seen[-1])
        elif ends := domain.ranges.get(attribute.name):
            codes[0, place] = ends[-1]
    return codes


def _reference(sent: bytes) -> None:
    """Read and check a reference, and write it as an Arrow stream that is safe to read.

    The definition that it is checked by comes before it, as JSON on a line.
    """
    definition, _, data = sent.partition(b"\n")
    dataset = Dataset.model_validate_json(definition)
    names = [*dataset.names, LABEL, "risk"]
    file = pq.ParquetFile(io.BytesIO(data))
    too_many = file.metadata.num_rows > MAX_REFERENCE_ROWS
    if too_many or not set(names) <= set(file.schema_arrow.names):
        raise ModelRefused(
            f"it is not one of attributes, {LABEL} and risk "
            f"of at most {MAX_REFERENCE_ROWS:,} clients"
        )

    frame = file.read(names).to_pandas()
    encode(frame[list(dataset.names)], dataset)
    if not frame[LABEL].isin([GOOD, BAD]).all() or not frame["risk"].between(0, 1).all():
        raise ModelRefused(
            f"a {LABEL} is neither {GOOD} nor {BAD}, or a risk is not between 0 and 1"
        )

    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


def main(arguments: list[str] | None = None) -> int:
    """Try out the file on standard input, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m credit_risk.registry.trial", description=__doc__
    )
    parser.add_argument("what", choices=["scorer", "reference"])
    options = parser.parse_args(arguments)
    try_out = {"scorer": _scorer, "reference": _reference}[options.what]

    _limit()
    data = sys.stdin.buffer.read()
    try:
        try_out(data)
    except (ValueError, MemoryError, pa.ArrowException) as error:
        print(f"it was refused: {error or type(error).__name__}", file=sys.stderr)
        return _REFUSED

    return 0


if __name__ == "__main__":
    sys.exit(main())
