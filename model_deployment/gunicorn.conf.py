# ruff: noqa: N999 - the name is gunicorn's
"""gunicorn's settings: gunicorn --config model_deployment/gunicorn.conf.py "model_deployment.app:create_app()".

No `preload_app`: each worker makes its own app after the fork, with its own watch of the alias and its own connections.
"""

import ctypes
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from credit_risk.settings import Settings

_settings = Settings()
_memory = Path("/dev/shm")  # noqa: S108
_counts = "PROMETHEUS_MULTIPROC_DIR"
_M_ARENA_MAX = -8  # of glibc's malloc.h
_libc = ctypes.CDLL(None)
_BIG_BODY = 10_000_000

bind = f"{_settings.host}:{_settings.riskometer_port}"
proc_name = "risk-o-meter"
workers = _settings.riskometer_processes
worker_class = "model_deployment.worker.Worker"  # gthread, but for how it stops
# Those that work, and those that wait for slow bodies (see receiving.py). A thread is made when it is first needed.
threads = _settings.riskometer_threads + _settings.riskometer_uploads
logger_class = "model_deployment.worker.QuietLogger"
keepalive = 75
timeout = 120  # writing the answer to a million clients as JSON keeps a worker from its heartbeat for seconds
graceful_timeout = 25
control_socket_disable = True  # gunicorn 26 would open one in the home folder, which may be read-only
if _memory.is_dir():  # a disk that stalls must not look like a worker that does
    worker_tmp_dir = str(_memory)
logconfig_dict = {
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["line"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["line"], "propagate": False}},
}


def _share_one_heap() -> None:
    """Have all threads allocate from one heap, which gives back what is freed.

    With one for each thread, and Arrow's own beside them, a worker kept .4 GB after the file of a million clients, and
    .2 GB with this; it is as fast. Elsewhere than with glibc there is nothing to set.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def _take_small_pages() -> None:
    """Have numpy, which is imported later, not ask for huge pages.

    Where memory is in pieces, as after some days, the system moves others' together first: the codes of a million
    clients then took a third of a second to be written, where in small pages they never take more than a tenth.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")


def on_starting(server: Any) -> None:
    """Wipe what workers of an earlier run counted, and import what ours need."""
    _share_one_heap()
    _take_small_pages()
    if not os.environ.get(_counts):
        os.environ[_counts] = str(_settings.var_dir / "riskometer-metrics")
        if _memory.is_dir():
            # They are counted in mapped memory: where that is a file on a full disk, the next count ends the worker.
            os.environ[_counts] = server.counts_of_ours = tempfile.mkdtemp(prefix="risk-o-meter-", dir=_memory)
    counts = Path(os.environ[_counts])
    # prometheus_client would add the old figures to the new.
    counts.mkdir(parents=True, exist_ok=True)
    for file in counts.glob("*.db"):
        file.unlink()
    # Importing takes seconds. Done once here, each worker starts at once, also in the place of one that died, and they
    # share the memory. Nothing is opened by it.
    import model_deployment.app  # noqa: F401

    # What is imported is no garbage: looked through, each worker would copy its memory, and stop seconds later.
    gc.freeze()


def on_exit(server: Any) -> None:
    """Remove the folder of counts, where we made it."""
    if folder := getattr(server, "counts_of_ours", None):
        shutil.rmtree(folder, ignore_errors=True)


def post_worker_init(worker: Any) -> None:
    """Have gunicorn refuse what is no HTTP in the one shape that all our errors have, and keep its settings at hand."""
    import gunicorn.util

    from model_deployment.problems import write_error

    gunicorn.util.write_error = write_error
    # It would look up some thirty of them for each request, by a function each.
    vars(worker.cfg).update({name: setting.get() for name, setting in worker.cfg.settings.items()})


def post_request(worker: Any, req: Any, environ: dict[str, Any], resp: Any) -> None:
    """Give back what a big file has left free between what stays: some .2 GB."""
    if int(environ.get("CONTENT_LENGTH") or 0) > _BIG_BODY and hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def child_exit(server: Any, worker: Any) -> None:
    """Have a dead worker's live gauges forgotten."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
