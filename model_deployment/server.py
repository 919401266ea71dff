"""The Risk-O-Meter's server: granian, with `app` in each of its processes.

    python -m model_deployment.server

What is HTTP and what is none, granian says (hyper, in Rust): what it cannot read it answers itself, with 400 or 431 and
no body, and hangs up.
"""

import ctypes
import gc
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

from credit_risk.settings import Settings, read_settings

# So long a client may take for a request's head, and keep a connection open on which it asks nothing.
HEAD_SECONDS = 30
# So many connections each process has at a time; more wait until one is closed.
CONNECTIONS = 2048
# So long the requests under way have when the server is told to stop.
STOP_SECONDS = 25
# So long one thread of Python runs before another may: a heavy one would keep the event loop waiting.
SWITCH_SECONDS = 0.001
_memory = Path("/dev/shm")  # noqa: S108
_counts = "PROMETHEUS_MULTIPROC_DIR"
_M_ARENA_MAX = -8  # of glibc's malloc.h
_LOGGING: dict[str, Any] = {
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["line"]},
    # What it tells of single connections, clients could fill the log with.
    "loggers": {"_granian": {}, "_granian.asgi": {"level": "WARNING"}, "urllib3": {"level": "ERROR"}},
}


def main() -> int:
    """Serve until told to stop."""
    settings = read_settings()
    _share_one_heap()
    _take_small_pages()
    _allow_files()
    counts = _counts_folder(settings)
    # Importing takes seconds. Done once here, each worker starts at once, also in the place of one that died, and they
    # share the memory. Nothing is opened by it.
    import model_deployment.app  # noqa: F401

    # What is imported is no garbage: looked through, each worker would copy its memory.
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
    for pid in {int(file.stem.rpartition("_")[2]) for file in Path(os.environ[_counts]).glob("*.db")}:
        if not _lives(pid):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
    return create_app()


def _end_with_parent() -> None:
    """End this worker where the server was killed: it would hold the port, and answer beside the next one's."""
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
    """Have all threads allocate from one heap, which gives back what is freed.

    With one for each thread, and Arrow's own beside them, a worker kept .4 GB after the file of a million clients, and
    .2 GB with this; it is as fast. Elsewhere than with glibc there is nothing to set.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def _take_small_pages() -> None:
    """Have numpy, which is imported later, not ask for huge pages.

    Where memory is in pieces, as after some days, the system moves others' together first: the codes of a million
    clients then took a third of a second to be written, where in small pages they never take more than a tenth.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")


def _allow_files() -> None:
    """Allow each process as many open files as its connections need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _counts_folder(settings: Settings) -> str | None:
    """Wipe what workers of an earlier run counted; return the folder of the counts, where we made it."""
    made = None
    if not os.environ.get(_counts):
        os.environ[_counts] = str(settings.var_dir / "riskometer-metrics")
        if _memory.is_dir():
            # They are counted in mapped memory: where that is a file on a full disk, the next count ends the worker.
            os.environ[_counts] = made = tempfile.mkdtemp(prefix="risk-o-meter-", dir=_memory)
    counts = Path(os.environ[_counts])
    # prometheus_client would add the old figures to the new.
    counts.mkdir(parents=True, exist_ok=True)
    for file in counts.glob("*.db"):
        file.unlink()
    return made


if __name__ == "__main__":
    sys.exit(main())
