"""Trying out what somebody else has stored in a process of its own, before a process that people wait for takes it.

    python -m credit_risk.registry.trial scorer < model.skops
    python -m credit_risk.registry.trial reference < reference.parquet > reference.arrow

LightGBM and Arrow are C++, and a file may be made to crash them, to keep them at it for ever or to take all memory.
Here that ends a process that nobody misses, which has its limits and is given no credentials.
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

from credit_risk.schema.attributes import BAD, GOOD, LABEL, NAMES
from credit_risk.schema.codec import encode
from credit_risk.scoring.stored import ModelRefused, read

# What it may take. Importing takes 2 to 8 s of it, more where the machine is busy.
CPU_SECONDS = 120
SECONDS = 300
# Address space; 0.7 GB of it are the libraries' own.
MEMORY_BYTES = 1_500_000_000
# How long a file is not tried again that did not pass.
AGAIN_SECONDS = 600
MAX_REFERENCE_BYTES = 50_000_000
MAX_REFERENCE_ROWS = 1_000_000
PROBE_ROWS = 64

_COMMAND = (sys.executable, "-m", "credit_risk.registry.trial")
_REFUSED = 3
_ROOT = Path(__file__).parents[2]
# What of the environment Python and its libraries need; all else, credentials among it, stays here.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "SYSTEMROOT")
# One thread each, and no memory set aside that is not used.
_FRUGAL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_passed: set[str] = set()
_refused: dict[str, tuple[float, str]] = {}


def try_scorer(data: bytes) -> None:
    """Have a stored scorer loaded and used once elsewhere; what has passed is not tried again by this process.

    Raises
    ------
    ModelRefused
        When that process refuses it, crashes, or takes too long or too much memory.
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


def read_reference(data: bytes) -> pd.DataFrame:
    """Return what a model version was trained on, read and checked elsewhere.

    Parameters
    ----------
    data : bytes
        A Parquet file of applications with their class and their out-of-fold risk.

    Raises
    ------
    ModelRefused
        When the file is none, it is too large, it holds anything but valid applications, or reading it fails.
    """
    if len(data) > MAX_REFERENCE_BYTES:
        raise ModelRefused(f"the reference has {len(data):,} bytes, more than {MAX_REFERENCE_BYTES:,}")
    frame: pd.DataFrame = _table(data).to_pandas()
    return frame


@lru_cache(maxsize=2)  # Production's and the challenger's
def _table(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(_run("reference", data)) as stream:
        return stream.read_all()


def _run(what: str, data: bytes) -> bytes:
    """Return what a process of its own makes of a file."""
    command = [*_COMMAND, what]
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _FRUGAL
    try:
        done = subprocess.run(command, input=data, capture_output=True, cwd=_ROOT, env=env, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ModelRefused(f"the {what} was tried out and not done within {SECONDS} s") from None
    if done.returncode == _REFUSED:
        raise ModelRefused(f"the {what} was tried out, and {done.stderr.decode(errors='replace').strip()[-300:]}")
    if done.returncode:
        raise ModelRefused(f"the {what} was tried out, and {_how_it_ended(done.returncode)}")
    return done.stdout


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return "it was ended, for it took too much time or memory"
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"that process crashed ({name})"


def _limit() -> None:
    """Limit this process, where the platform can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _scorer(data: bytes) -> None:
    """Load a scorer as a service does, and use all of it."""
    scorer = read(data)
    scorer.warm_up()
    codes = np.zeros((PROBE_ROWS, len(NAMES)))
    if not np.isfinite(scorer.decide(codes).risk).all():
        raise ModelRefused("its risks are no numbers")
    if scorer.accepted_ is not None:
        scorer.sentences(codes[:1] + 1)


def _reference(data: bytes) -> None:
    """Read a reference, and write it in a form that can be read without care."""
    names = [*NAMES, LABEL, "risk"]
    file = pq.ParquetFile(io.BytesIO(data))
    if file.metadata.num_rows > MAX_REFERENCE_ROWS or not set(names) <= set(file.schema_arrow.names):
        raise ModelRefused(f"it is not one of attributes, {LABEL} and risk of at most {MAX_REFERENCE_ROWS:,} clients")
    frame = file.read(names).to_pandas()
    encode(frame[list(NAMES)])
    if not frame[LABEL].isin([GOOD, BAD]).all() or not frame["risk"].between(0, 1).all():
        raise ModelRefused(f"a {LABEL} is neither {GOOD} nor {BAD}, or a risk is no share")
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


def main(arguments: list[str] | None = None) -> int:
    """Try out what stands on standard input, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m credit_risk.registry.trial", description=__doc__)
    parser.add_argument("what", choices=["scorer", "reference"])
    options = parser.parse_args(arguments)
    _limit()
    data = sys.stdin.buffer.read()
    try:
        {"scorer": _scorer, "reference": _reference}[options.what](data)
    except (ValueError, MemoryError, pa.ArrowException) as error:
        print(f"it was refused: {error or type(error).__name__}", file=sys.stderr)  # noqa: T201
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
