"""The decision log's writers: how many commits of one client a second it takes from several.

    git worktree add /tmp/before 7adcd5d; make bench ARGS="--only writers --before /tmp/before"

Each writer is a process with a log of its own. All of them commit one decision after the other to
the same new log, on SQLite and on whichever servers of MongoDB's protocol are on PATH, with an
idempotency key and without one. They begin together, when each has committed a few. The peers are
one writer alone and, with --before, the code of another checkout.

FerretDB gets slower the more there is in a log, and who is faster has more in it after the same
time. Writers share the machine's processors.
"""

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pymongo.common import MIN_SUPPORTED_WIRE_VERSION

from benchmarks.harness import OURS, Line, Side, alternate, lines_of
from benchmarks.log.writer import Task
from benchmarks.log.writers import Writer, rate, together, writers_of
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import JAVA_OLDEST, ferretdb, mongo_java
from tools.paths import ROOT

WRITERS = (1, 4, 8)
SECONDS = 1.0
COUNTED = 20  # commits whose commands are counted
BEFORE = "before"


class Server(NamedTuple):
    """A kind of log: `address` returns that of a new one with a name."""

    name: str
    address: Callable[[str], str]
    has_commands: bool = True
    oldest: int = MIN_SUPPORTED_WIRE_VERSION


@contextmanager
def servers(folder: Path) -> Iterator[tuple[list[Server], list[str]]]:
    """Start those servers that are on the machine; also yield the names of those that are not."""
    found = [Server("SQLite", lambda name: f"sqlite:///{folder}/{name}.db", has_commands=False)]
    missing = []
    with ExitStack() as stack:
        for what, start, oldest in (
            ("FerretDB", ferretdb, MIN_SUPPORTED_WIRE_VERSION),
            ("mongo-java-server", mongo_java, JAVA_OLDEST),
        ):
            address = stack.enter_context(start(folder / "servers"))
            if address is None:
                missing.append(what)
                continue
            base = address.rpartition("/")[0]
            found.append(Server(what, _database(base), oldest=oldest))
        yield found, missing


def _database(base: str) -> Callable[[str], str]:
    return lambda name: f"{base}/{name}"


class Tasks:
    """Makes tasks, each for a new log."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._numbers = itertools.count(1)
        with open("data/credit-g.csv", newline="") as file:
            self._row = next(csv.DictReader(file))
        del self._row["class"]

    def new(self, server: Server, *, keyed: bool, **more: Any) -> Task:
        """Return a task for a new log on a server."""
        name = f"log{next(self._numbers)}"
        bucket = str(self._folder / f"{name}-bucket")
        given = {"seconds": self._seconds, "oldest": server.oldest} | more
        return Task(server.address(name), bucket, self._row, keyed, **given)


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of each log and number of writers, and the commands of a commit."""
    folder = place.folder("writers")
    checkouts = {OURS: ROOT} | ({BEFORE: sizes.before} if sizes.before else {})
    tasks = Tasks(folder, min(SECONDS, sizes.seconds))

    with servers(folder) as (found, missing):
        with ExitStack() as stack:
            many = {
                name: stack.enter_context(writers_of(checkout, max(WRITERS)))
                for name, checkout in checkouts.items()
            }
            for server, keyed in itertools.product(found, (False, True)):
                yield from _rates(many, tasks, server, keyed, sizes.long_rounds)

        for server, keyed in itertools.product(found, (False, True)):
            if server.has_commands:
                yield from _commands(checkouts, tasks, server, keyed)
    for name in missing:
        for what in (f"{name}, {_writers(1)}", f"commands of a commit, {name}"):
            yield Line(what, left_out=f"there is no {name} here")


def _rates(
    many: Mapping[str, Sequence[Writer]], tasks: Tasks, server: Server, keyed: bool, rounds: int
) -> Iterator[Line]:
    """Yield a log's lines: each number of writers beside one writer and the other checkout's."""
    failed = dict.fromkeys(WRITERS, 0)

    def write(name: str, n: int) -> Callable[[], float]:
        def once() -> float:
            all_done = together(many[name][:n], tasks.new(server, keyed=keyed))
            if name == OURS:
                failed[n] += sum(done.failed for done in all_done)
            return rate(all_done)

        return once

    sides = {f"{name} {n}": write(name, n) for n, name in itertools.product(WRITERS, many)}
    taken = alternate(sides, rounds)
    for n in WRITERS:
        beside = {OURS: taken[f"{OURS} {n}"]}
        if BEFORE in many:
            beside[BEFORE] = taken[f"{BEFORE} {n}"]
        if n > 1:
            beside["1 writer"] = taken[f"{OURS} 1"]
        note = f"{failed[n]} failed" if failed[n] else ""
        yield from lines_of(f"{_log(server, keyed)}, {_writers(n)}", "/s", beside, note=note)


def _commands(
    checkouts: Mapping[str, Path], tasks: Tasks, server: Server, keyed: bool
) -> Iterator[Line]:
    """Yield the line of how many commands a commit sends to a server."""
    counted, note = {}, ""
    for name, checkout in checkouts.items():
        task = tasks.new(server, keyed=keyed, seconds=60, commits=COUNTED, counts=True)
        with writers_of(checkout, 1) as writers:
            (done,) = together(writers, task)
        n = done.commits + done.failed
        counted[name] = sum(done.commands.values()) / n
        if name == OURS:
            note = ", ".join(f"{what} {sent / n:.3g}" for what, sent in done.commands.items())
    peer = Side(BEFORE, (counted[BEFORE],)) if BEFORE in counted else None
    scenario = f"commands of a commit, {_log(server, keyed)}"
    yield Line(scenario, "commands", (counted[OURS],), peer, note=note)


def _log(server: Server, keyed: bool) -> str:
    return f"{server.name}, with a key" if keyed else server.name


def _writers(n: int) -> str:
    return "1 writer" if n == 1 else f"{n} writers"
