"""Processes on this machine: those of one stack, told by a mark in their environment, and who holds a port.

Every process of a local stack inherits `CREDIT_RISK_STACK`, the absolute path of its `var/`. Unlike a parent, a process
group or a pid file, the mark is still right when the supervisor was killed, and it never names a stranger.
"""

import contextlib
import time
from collections.abc import Iterable

import psutil

STACK = "CREDIT_RISK_STACK"
SERVICE = "SUPERVISOR_PROCESS_NAME"  # set by supervisord for what it starts


def of_stack(stack: str) -> list[tuple[psutil.Process, str]]:
    """Return the processes of a stack, each with its service's name; this process and its parents are left out.

    The name is empty for the supervisor itself.
    """
    me = psutil.Process()
    mine = {me.pid, *(parent.pid for parent in me.parents())}
    found = []
    for process in psutil.process_iter():
        # A process that ends meanwhile, or that belongs to somebody else, is none of ours.
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(STACK) == stack and process.pid not in mine and _runs(process):
                found.append((process, environment.get(SERVICE, "")))
    return found


def end(processes: Iterable[psutil.Process], patience: float = 5.0) -> None:
    """End processes: ask, wait for at most `patience` seconds, then kill."""
    alive = list(processes)
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                ask(process)
        deadline = time.monotonic() + patience
        while (alive := [process for process in alive if _runs(process)]) and time.monotonic() < deadline:
            time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    # One that has ended stays in the table until its parent asks for it, and an orphan's may never do so.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def holder(port: int) -> str | None:
    """Return who listens on a TCP port, as "pid 12 (python -m http.server)"; None when that cannot be seen."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    command = " ".join(process.cmdline()) or process.name()
                    return f"pid {process.pid} ({command if len(command) <= 60 else command[:57] + '...'})"
    return None
