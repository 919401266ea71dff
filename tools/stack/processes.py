"""Processes on this machine: those of one stack, by a mark in their environment, and port holders.

Every process of a local stack inherits `CREDIT_RISK_STACK`, the absolute path of its `var/`. Unlike
a parent, a process group or a pid file, the mark is still right when the supervisor was killed, and
it never names a process that is not ours.
"""

import contextlib
import time
from collections.abc import Iterable

import psutil

STACK = "CREDIT_RISK_STACK"
SERVICE = "SUPERVISOR_PROCESS_NAME"  # set by supervisord for what it starts


def processes_of(stack: str) -> list[tuple[psutil.Process, str]]:
    """Return the processes of a stack, each with the name of its service.

    The name is empty for the supervisor itself. This process and its parents are left out.
    """
    me = psutil.Process()
    mine = {me.pid, *(parent.pid for parent in me.parents())}
    found = []
    for process in psutil.process_iter():
        # A process that ends meanwhile, or that belongs to another user, is not ours.
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(STACK) == stack and process.pid not in mine and _runs(process):
                found.append((process, environment.get(SERVICE, "")))
    return found


def end(processes: Iterable[psutil.Process], patience: float = 5.0) -> None:
    """Terminate processes, wait for at most `patience` seconds, then kill those that still run."""
    alive = list(processes)
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                ask(process)

        deadline = time.monotonic() + patience
        alive = list(filter(_runs, alive))
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = list(filter(_runs, alive))


def _runs(process: psutil.Process) -> bool:
    # A process that has ended stays in the table until its parent asks for it, and an orphan's
    # parent may never do so.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def holder(port: int) -> str | None:
    """Return who listens on a TCP port, as "pid 12 (python -m http.server)"; None if unknown."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"pid {process.pid} ({_command(process)})"
    return None


def _command(process: psutil.Process) -> str:
    command = " ".join(process.cmdline()) or process.name()
    return command if len(command) <= 60 else f"{command[:57]}..."
