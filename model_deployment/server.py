"""The Risk-O-Meter's server: granian, with `app` in each of its processes.

    python -m model_deployment.server

granian (with hyper, in Rust) reads HTTP. A request that it cannot read it answers itself, with 400
or 431 and no body, and it closes the connection.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from credit_risk.access.notice import notices
from credit_risk.settings import Settings, read_settings

# Seconds that a client may take for a request's head, or keep an idle connection open.
HEAD_SECONDS = 30
# Connections per process; more wait until one is closed.
CONNECTIONS = 2048
# Seconds that the requests under way have when the server is stopped.
STOP_SECONDS = 25
# Seconds that a thread of Python runs before another may: a busy one would keep the event loop
# waiting.
SWITCH_SECONDS = 0.001
logger = logging.getLogger("model_deployment.server")
_memory = Path("/dev/shm")  # noqa: S108
_counts = "PROMETHEUS_MULTIPROC_DIR"
_M_ARENA_MAX = -8  # of glibc's malloc.h
_LOGGING: dict[str, Any] = {
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}
    },
    "handlers": {
        "line": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"level": "INFO", "handlers": ["line"]},
    # Clients could fill the log with its messages about single connections.
    "loggers": {
        "_granian": {},
        "_granian.asgi": {"level": "WARNING"},
        "urllib3": {"level": "ERROR"},
    },
}


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
    multiprocessing.set_start_method("fork")

    server = Granian(
        "model_deployment.app:create_app",
        address=settings.bind_address,
        port=settings.riskometer_port,
        interface=Interfaces.ASGINL,
        workers=settings.riskometer_processes,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    for level, text in about_access:  # the log is open now
        logger.log(level, text)

    try:
        server.serve(target_loader=_app, wrap_loader=False)
    finally:
        if counts is not None:
            shutil.rmtree(counts, ignore_errors=True)
    return 0


def _app() -> Any:
    """Return the application of a worker process."""
    from prometheus_client import multiprocess

    from model_deployment.app import create_app

    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    sys.setswitchinterval(SWITCH_SECONDS)

    files = Path(os.environ[_counts]).glob("*.db")
    for pid in {int(file.stem.rpartition("_")[2]) for file in files}:
        if not _lives(pid):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
    return create_app()


def _end_with_parent() -> None:
    """End this worker when the server is killed.

    Otherwise it would hold the port, and answer beside the workers of the next server.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


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
