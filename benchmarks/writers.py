"""The decision log's writers: how many commits of one client a second it takes from several.

    python -m benchmarks.writers
    git worktree add /tmp/before 7adcd5d; python -m benchmarks.writers --before /tmp/before

Each writer is a process with a log of its own. All of them commit one decision after the other to
the same new log, on SQLite and on whichever servers of MongoDB's protocol are on PATH, with an
idempotency key and without one. They begin together, when each has committed a few.

With --before, the code of another checkout takes turns with this one's, in the same run, and the
best of the rounds counts on both sides. Compare the ratios: rates depend on the machine, whose
processors the writers share. FerretDB gets slower the more there is in a log, and who is faster has
more in it after the same time; --commits has both write as much.

The second table has the commands that one commit sends to a server.
"""

import argparse
import csv
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
import pymongo.common
import pymongo.monitoring

from benchmarks.progress import say

OURS = Path(__file__).resolve().parents[1]
WRITERS = (1, 4, 8)
WARM_UP = 2  # commits of each writer that are not measured
COUNTED = 20  # commits whose commands are counted
_AS_WRITER = "--as-writer"


@dataclass(frozen=True)
class Task:
    """What a writer is to do: to which log it commits, and for how long.

    Attributes
    ----------
    url, bucket : str
        The addresses of the log.
    row : mapping
        The client who is decided on.
    keyed : bool
        Whether each commit has an idempotency key.
    seconds : float
        After these it stops...
    commits : int, optional
        ...or after so many commits, whichever comes first.
    oldest : int
        The oldest wire version that pymongo accepts of a server.
    counts : bool
        Whether the commands are counted, which takes some time itself.
    """

    url: str
    bucket: str
    row: Mapping[str, Any]
    keyed: bool
    seconds: float
    commits: int | None = None
    oldest: int = pymongo.common.MIN_SUPPORTED_WIRE_VERSION
    counts: bool = False


@dataclass
class Done:
    """What a writer did, from one time of the machine's clock to another."""

    start: float
    end: float = 0.0
    commits: int = 0
    failed: int = 0
    commands: Mapping[str, int] = field(default_factory=dict)


# A writer, in a process of its own with any checkout's code on its path


def be_writer() -> None:
    """Do the tasks on standard input, a line each: say when ready, wait for a line, answer."""
    sent = _Sent()
    for line in iter(sys.stdin.readline, ""):
        task = Task(**json.loads(line))
        pymongo.common.MIN_SUPPORTED_WIRE_VERSION = task.oldest
        if task.counts:
            pymongo.monitoring.register(sent)

        commit = _committer(task)
        for _ in range(WARM_UP):
            commit()
        print("ready", flush=True)
        sys.stdin.readline()
        sent.commands.clear()
        done = _write(commit, task)
        done.commands = dict(sent.commands)
        print(json.dumps(asdict(done)), flush=True)


def _write(commit: Callable[[], object], task: Task) -> Done:
    now = time.monotonic()
    done, end = Done(now), now + task.seconds
    while now < end and (task.commits is None or done.commits + done.failed < task.commits):
        try:
            commit()
            done.commits += 1
        except ConnectionError:  # LogUnavailable, wherever it is in that checkout
            done.failed += 1
        now = time.monotonic()
    done.end = now
    return done


# Where a checkout has what a writer needs: this one, and those from before it was divided.
_NOW = {
    "open_log": "credit_risk.decision_log.log:open_log",
    "batch": "credit_risk.decision_log.batch:Batch",
    "validator": "credit_risk.schema.validation:Validator",
    "decisions": "credit_risk.scoring.decisions:Decisions",
    "confidence": "credit_risk.scoring.decisions:confidence",
    "settings": "credit_risk.settings:Settings",
}
_BEFORE = {
    "open_log": "credit_risk.decisions:open_log",
    "batch": "credit_risk.decisions:Batch",
    "validator": "credit_risk.application:Validator",
    "decisions": "credit_risk.model:Decided",
    "confidence": "credit_risk.model:confidence",
    "settings": "credit_risk.settings:Settings",
}


def _committer(task: Task) -> Callable[[], object]:
    """Return what commits one client, by the code of the checkout on the path."""
    places = _NOW if find_spec("credit_risk.decision_log") else _BEFORE
    of = {name: resolve_name(place) for name, place in places.items()}

    applications = of["validator"]().rows([task.row])
    if len(applications) != 1:
        raise RuntimeError("this checkout does not accept the client")
    risk = np.array([0.1])
    decided = of["decisions"](risk, risk >= 1 / 6, of["confidence"](risk))

    given = {"decision_log": task.url, "decision_log_flush_ms": 0, "bucket": task.bucket}
    log = of["open_log"](of["settings"](_env_file=None, **given))

    def commit() -> None:
        key = uuid.uuid4().hex if task.keyed else None
        log.commit(of["batch"](applications, decided, "7", "abc", 1 / 6, idempotency_key=key))

    return commit


class _Sent(pymongo.monitoring.CommandListener):
    """Counts the commands that this process sends, by name."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        """See the base class."""
        self.commands[event.command_name] += 1

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """See the base class."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """See the base class."""


# The writers, as seen from here


class Writer:
    """A writer's process, with the code of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            # Without -P, the modules beside this file would hide others of the same name.
            [sys.executable, "-P", __file__, _AS_WRITER],
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
            writer = Writer(checkout)
            stack.callback(writer.end)
            found.append(writer)
        yield found


class Rate(NamedTuple):
    """How many commits a second came from all writers, and how many failed."""

    per_second: float
    failed: int

    def __str__(self) -> str:
        rate = f"{self.per_second:,.0f}" if self.per_second >= 10 else f"{self.per_second:.1f}"
        return f"{rate}/s ({self.failed} failed)" if self.failed else f"{rate}/s"


def together(writers: Sequence[Writer], task: Task) -> list[Done]:
    """Have all of them do the same task, begun at once, and return what each did."""
    for writer in writers:  # the first creates what the log consists of
        writer.prepare(task)
    for writer in writers:
        writer.go()
    return [writer.done() for writer in writers]


def rate(all_done: Sequence[Done]) -> Rate:
    """Return the rate of writers that began together."""
    passed = max(done.end for done in all_done) - min(done.start for done in all_done)
    commits = sum(done.commits for done in all_done)
    return Rate(commits / passed, sum(done.failed for done in all_done))


# What they write to


class Server(NamedTuple):
    """A kind of log: `address` returns that of a new one with a name."""

    name: str
    address: Callable[[str], str]
    has_commands: bool = True
    oldest: int = pymongo.common.MIN_SUPPORTED_WIRE_VERSION


@contextmanager
def servers(folder: Path, only: Sequence[str]) -> Iterator[list[Server]]:
    """Start those servers that are on the machine, and stop them at the end."""
    # Not at the top: a writer has another checkout's code on its path, and starts sooner.
    from benchmarks.servers import ferretdb

    with ExitStack() as stack:
        found = []
        if "sqlite" in only:
            sqlite = Server("SQLite", lambda name: f"sqlite:///{folder}/{name}.db", False)
            found.append(sqlite)

        if "ferretdb" in only:
            ferret = stack.enter_context(ferretdb(folder / "servers"))
            if ferret is None:
                say("FerretDB: left out, for there is no ferretdb here")
            else:
                base = ferret.rpartition("/")[0]
                found.append(Server("FerretDB", lambda name: f"{base}/{name}"))

        if "java" in only:
            java = stack.enter_context(mongo_java_server(folder / "servers"))
            if java is None:
                say("mongo-java-server: left out, for it is not here")
            else:
                # It has the wire version of MongoDB 4.2.
                found.append(Server("mongo-java-server", lambda name: f"{java}/{name}", oldest=8))
        yield found


@contextmanager
def mongo_java_server(folder: Path) -> Iterator[str | None]:
    """Run the other server of MongoDB's protocol, and yield its address; None without it."""
    from benchmarks.servers import PATIENCE, _free_port, _running

    if not shutil.which("mongo-java-server"):
        yield None
        return

    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = ["mongo-java-server", str(port)]
    with _running(command, folder / "mongo-java-server.log", {}):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"mongodb://127.0.0.1:{port}"


# The tables


class Sizes(NamedTuple):
    """How much is measured: seconds and commits of each writer, rounds, numbers of writers."""

    seconds: float
    commits: int | None
    rounds: int
    writers: Sequence[int]


class Bench:
    """Measures the code of checkouts, by name, in turn, each time on a new log."""

    def __init__(self, folder: Path, checkouts: Mapping[str, Path], sizes: Sizes) -> None:
        self._folder = folder
        self._checkouts = checkouts
        self._sizes = sizes
        self._writers: dict[str, list[Writer]] = {}
        self._numbers = itertools.count(1)
        with open("data/credit-g.csv", newline="") as file:
            self._row = next(csv.DictReader(file))
        del self._row["class"]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have the writers' processes run, those of all checkouts at the same time."""
        with ExitStack() as stack:
            for name, checkout in self._checkouts.items():
                found = stack.enter_context(writers_of(checkout, max(self._sizes.writers)))
                self._writers[name] = found
            yield

    def rates(self, found: Sequence[Server]) -> list[str]:
        """Return the rows of all servers: each checkout's, and their ratio."""
        logs = list(itertools.product(found, (False, True)))
        best: dict[str, dict[str, dict[int, Rate]]] = {
            _log(server, keyed): {name: {} for name in self._checkouts} for server, keyed in logs
        }
        # The rounds are far apart, for what disturbs one of them may last some seconds.
        for _, (server, keyed) in itertools.product(range(self._sizes.rounds), logs):
            log = _log(server, keyed)
            for n, name in itertools.product(self._sizes.writers, self._checkouts):
                task = self._task(server, keyed, self._sizes.seconds, self._sizes.commits)
                reached = rate(together(self._writers[name][:n], task))
                say(f"{log}, {name}, {_writers(n)}: {reached}")
                best[log][name][n] = max(reached, best[log][name].get(n, reached))

        lines = []
        for log, sides in best.items():
            lines += [_row(log, name, rates) for name, rates in sides.items()]
            if len(sides) == 2:
                lines.append(_ratios(log, *sides.values()))
        return lines

    def commands(self, server: Server) -> list[str]:
        """Return the rows of the commands that a commit sends to a server."""
        lines = []
        for keyed, (name, checkout) in itertools.product((False, True), self._checkouts.items()):
            with writers_of(checkout, 1) as writers:
                task = self._task(server, keyed, seconds=60, commits=COUNTED, counts=True)
                (done,) = together(writers, task)
            n = done.commits + done.failed
            each = ", ".join(f"{name} {sent / n:.3g}" for name, sent in done.commands.items())
            total = sum(done.commands.values()) / n
            lines.append(f"| {_log(server, keyed)} | {name} | {total:.3g} | {each} |")
        return lines

    def _task(
        self,
        server: Server,
        keyed: bool,
        seconds: float,
        commits: int | None,
        *,
        counts: bool = False,
    ) -> Task:
        """Return a task for a new log."""
        name = f"log{next(self._numbers)}"
        bucket = str(self._folder / f"{name}-bucket")
        address, oldest = server.address(name), server.oldest
        return Task(address, bucket, self._row, keyed, seconds, commits, oldest, counts)


def _log(server: Server, keyed: bool) -> str:
    return f"{server.name}, with a key" if keyed else server.name


def _writers(n: int) -> str:
    return "1 writer" if n == 1 else f"{n} writers"


def _row(log: str, name: str, rates: Mapping[int, Rate]) -> str:
    few, many = min(rates), max(rates)
    cells = [str(found) for found in rates.values()]
    cells.append(f"{rates[many].per_second / rates[few].per_second:.2g}")
    return f"| {log} | {name} | {' | '.join(cells)} |"


def _ratios(log: str, before: Mapping[int, Rate], now: Mapping[int, Rate]) -> str:
    cells = [f"{now[n].per_second / before[n].per_second:.2g} x" for n in now]
    return f"| {log} | now / before | {' | '.join(cells)} | |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.writers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", type=Path, help="another checkout, such as a worktree")
    parser.add_argument("--seconds", type=float, default=1, help="of writing, each time (1)")
    parser.add_argument("--commits", type=int, help="of each writer at most (no limit)")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts (2)")
    parser.add_argument(
        "--writers", type=int, nargs="+", default=WRITERS, help="at the same time (1 4 8)"
    )
    parser.add_argument(
        "--only", choices=("sqlite", "ferretdb", "java"), nargs="+", help="some of the servers"
    )
    options = parser.parse_args(arguments)

    checkouts = {"before": options.before.resolve()} if options.before else {}
    checkouts["now"] = OURS
    sizes = Sizes(options.seconds, options.commits, options.rounds, sorted(options.writers))
    only = options.only or ("sqlite", "ferretdb", "java")

    commands = []
    with (
        tempfile.TemporaryDirectory(prefix="credit-risk-bench-") as temporary,
        servers(Path(temporary), only) as found,
    ):
        bench = Bench(Path(temporary), checkouts, sizes)
        with bench.running():
            rates = bench.rates(found)
        for server in found:
            if server.has_commands:
                commands += bench.commands(server)

    few, many = min(sizes.writers), max(sizes.writers)
    heads = [_writers(n) for n in sizes.writers]
    print(f"| log | code | {' | '.join(heads)} | {many} / {few} |")
    print("|---|---|" + "---|" * (len(heads) + 1))
    print("\n".join(rates))
    if commands:
        print("\n| log | code | commands of a commit | of which |\n|---|---|---|---|")
        print("\n".join(commands))
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == [_AS_WRITER]:
        be_writer()
    else:
        sys.exit(main())
