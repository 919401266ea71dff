"""Starting processes for tests, waiting for them, and the ports that they get."""

import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


def need(program: str, how: str) -> str:
    """Return the path of a program, or skip the test, saying how to get it.

    With `REQUIRE_PARTS=1` the test fails instead.
    """
    path = shutil.which(program)
    if path:
        return path
    reason = f"{program} is not on this machine ({how})"
    if os.environ.get("REQUIRE_PARTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# Ports below those that the system assigns itself: a share for each process of pytest.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(10_000 + 2_500 * _WORKER, 12_500 + 2_500 * _WORKER)
_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; the same one never twice."""
    while True:
        port = random.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def wait_for(answers: Callable[[], Any], seconds: float = 60, what: str = "it") -> Any:
    """Call until the answer is true, and return it; errors count as not yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := answers():
                return last
        except Exception as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what} was not there within {seconds} s: {last!r}")


def answers(url: str) -> bool:
    """Return whether a server answers below 500."""
    with urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status < 500)


def listens(port: int) -> bool:
    """Return True if something accepts connections at a port of this machine; else raise."""
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


@contextmanager
def running(
    command: list[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own group, and end the whole group at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | (env or {}),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for signal in (15, 9):
            try:
                os.killpg(process.pid, signal)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
