"""The Risk-O-Meter's server, with `app` in each process: `python -m model_deployment.server`."""

import ctypes
import gc
import logging
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from credit_risk.access.notice import notices
from credit_risk.settings import Settings, read_settings
from model_deployment.http.serving import Server

# Connections per process; more wait until one is closed.
CONNECTIONS = 2048
# Seconds that a thread of Python runs before another may: a busy one would keep the event loop
# waiting.
SWITCH_SECONDS = 0.001
logger = logging.getLogger("model_deployment.server")
_memory = Path("/dev/shm")  # noqa: S108
_counts = "PROMETHEUS_MULTIPROC_DIR"
_M_ARENA_MAX = -8  # of glibc's malloc.h


def main() -> int:
    """Serve until stopped."""
    settings = read_settings()
    about_access = notices(settings, settings.riskometer_port)
    _share_one_heap()
    _take_small_pages()
    _allow_files()
    counts = _counts_folder(settings)

    # Importing takes seconds. It is done once here, so that each worker starts at once, also one
    # that replaces another, and they share the memory. It opens nothing.
    import model_deployment.app  # noqa: F401

    # Imported objects are not garbage: a collection would touch them, and each worker would copy
    # their memory.
    gc.freeze()
    server = Server(
        "model_deployment.app:create_app",
        settings.bind_address,
        settings.riskometer_port,
        workers=settings.riskometer_processes,
        connections=CONNECTIONS,
    )
    for level, text in about_access:  # the log is open now
        logger.log(level, text)

    try:
        server.serve(_app)
    finally:
        if counts is not None:
            shutil.rmtree(counts, ignore_errors=True)
    return 0


def _app() -> Any:
    """Return the application of a worker process."""
    from prometheus_client import multiprocess

    from model_deployment.app import create_app

    sys.setswitchinterval(SWITCH_SECONDS)

    files = Path(os.environ[_counts]).glob("*.db")
    for pid in {int(file.stem.rpartition("_")[2]) for file in files}:
        if not _lives(pid):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
    return create_app()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _share_one_heap() -> None:
    """Have all threads allocate from one heap, which returns freed memory to the system.

    With one heap per thread and Arrow's own, a worker kept .4 GB after the file of a million
    clients; with this it keeps .2 GB and is as fast. Without glibc there is nothing to set.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def _take_small_pages() -> None:
    """Keep numpy, which is imported later, from requesting huge pages.

    Where memory is fragmented, as after some days, the system first compacts it: writing the codes
    of a million clients then took a third of a second. In small pages it never takes more than a
    tenth.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")


def _allow_files() -> None:
    """Allow each process as many open files as its connections need, if the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _counts_folder(settings: Settings) -> str | None:
    """Delete the counts of an earlier run; return the folder of the counts if it was made here."""
    made = None
    if not os.environ.get(_counts):
        os.environ[_counts] = str(settings.var_dir / "riskometer-metrics")
        if _memory.is_dir():
            # Counts are in mapped memory: if that is a file on a full disk, the next count ends the
            # worker.
            os.environ[_counts] = made = tempfile.mkdtemp(prefix="risk-o-meter-", dir=_memory)

    counts = Path(os.environ[_counts])
    # prometheus_client would add the old figures to the new.
    counts.mkdir(parents=True, exist_ok=True)
    for file in counts.glob("*.db"):
        file.unlink()
    return made


if __name__ == "__main__":
    sys.exit(main())
