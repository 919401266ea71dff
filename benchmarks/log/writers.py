"""The writers, as seen from here: started, begun together, and counted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.log import writer
from benchmarks.log.writer import Done, Task


class Writer:
    """A writer's process, with the code of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            # Without -P, the modules beside that file would hide others of the same name.
            [sys.executable, "-P", writer.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            text=True,
        )

    def prepare(self, task: Task) -> None:
        """Have it open its log, and return when it has committed the first few."""
        self._send(json.dumps(asdict(task)))
        self._receive()

    def go(self) -> None:
        """Have it begin."""
        self._send("go")

    def done(self) -> Done:
        """Wait until it has finished, and return what it did."""
        return Done(**json.loads(self._receive()))

    def end(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()

    def _send(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _receive(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a writer ended early; what it said is above")
        return line


@contextmanager
def writers_of(checkout: Path, n: int) -> Iterator[list[Writer]]:
    """Start n writers with the code of a checkout, and end them."""
    with ExitStack() as stack:
        found = []
        for _ in range(n):
            one = Writer(checkout)
            stack.callback(one.end)
            found.append(one)
        yield found


def together(writers: Sequence[Writer], task: Task) -> list[Done]:
    """Have all of them do the same task, begun at once, and return what each did."""
    for one in writers:  # the first creates what the log consists of
        one.prepare(task)
    for one in writers:
        one.go()
    return [one.done() for one in writers]


def rate(all_done: Sequence[Done]) -> float:
    """Return how many commits a second came from writers that began together."""
    passed = max(done.end for done in all_done) - min(done.start for done in all_done)
    commits = sum(done.commits for done in all_done)
    return commits / passed
