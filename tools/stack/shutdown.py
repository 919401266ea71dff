"""Stopping the local stack in good order."""

import contextlib
import time
from xmlrpc.client import Fault

from tools.stack import processes
from tools.stack.console import Console
from tools.stack.local_stack import Stack
from tools.stack.services import SERVICES

GONE = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
"""States of supervisord in which a service has no process."""
STOP_SECONDS = 90
"""supervisord itself kills a service that takes longer than its stopwaitsecs, which are fewer."""


def halt(stack: Stack, console: Console) -> None:
    """Stop every service, servers last, then supervisord, then what else has its mark."""
    mark = str(stack.var)

    for servers in (False, True):
        names = {service.name for service in SERVICES if service.server == servers}
        for name in names:
            with contextlib.suppress(OSError, Fault):  # no supervisord, or nothing to stop
                stack.call("stopProcess", name, False)

        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and (alive := running(stack, names)):
            console.progress(f"stopping {', '.join(alive)}")
            time.sleep(0.2)

        found = processes.processes_of(mark)
        processes.end(process for process, name in found if name in names)

    with contextlib.suppress(OSError, Fault):
        stack.call("shutdown")

    left = [process for process, _ in processes.processes_of(mark)]
    processes.end(left, patience=10)


def running(stack: Stack, names: set[str]) -> list[str]:
    """Return which of these services have a process."""
    return [
        name
        for name, process in stack.processes().items()
        if name in names and process["statename"] not in GONE
    ]
