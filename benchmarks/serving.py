"""Serving: baselines beside ours, over HTTP, each target beside what was reached.

    make bench

All are measured in one run.

One client: `mlflow models serve` and the Risk-O-Meter serve the same registered model, with two
workers each, and get requests in turn from the same client (`benchmarks.load`): on 1, 8 and 64 open
connections, on each one row of JSON after the other. Both validate and decide by cost; ours has
each decision in its log before it answers.

A file: read_csv, encoding, `Booster.predict` and to_csv in pandas, from disk to disk, and reading
and writing alone by pyarrow, beside an upload to the Risk-O-Meter whose answer, a scored CSV, is
written to disk; all decisions are in its log by then.

The page: from handing over a file to seeing the result in a real Chromium.

The best of several rounds counts on all sides. Compare the ratios: seconds depend on the machine,
and with other work on it the ratios of the files fall, because ours and pyarrow use all processors.
"""

import argparse
import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow.csv

from benchmarks import scoring
from benchmarks.load import Load, ask
from benchmarks.page import has_browser, seconds_to_result
from benchmarks.pandas_way import score
from benchmarks.progress import say
from benchmarks.servers import (
    Riskometer,
    ferretdb,
    mlflow_server,
    mlflow_serving,
    registered,
    riskometer,
)
from credit_risk.schema.attributes import ATTRIBUTES, LABEL, SCORED
from credit_risk.schema.codec import decode
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training

_PART = "risk-o-meter-benchmark"
# The inputs of a scorer, with the categories of each; none where it is a number.
INPUTS = {a.name: a.categories for a in ATTRIBUTES if a.name in SCORED}


class Line(NamedTuple):
    """A row of the table; `reached` is compared with the bar, which is a minimum or a maximum."""

    scenario: str
    baseline: str
    ours: str
    reached: float
    bar: float
    least: bool
    unit: str = "x"

    def __str__(self) -> str:
        met = self.reached >= self.bar if self.least else self.reached <= self.bar
        bar = f"{'at least' if self.least else 'at most'} {self.bar:.3g} {self.unit}"
        verdict = "yes" if met else "no"
        reached = f"{self.reached:.3g} {self.unit}"
        return (
            f"| {self.scenario} | {self.baseline} | {self.ours} | {reached} | {bar} | {verdict} |"
        )


class Sizes(NamedTuple):
    """How much is measured: rows of the file, seconds of a round for one client, rounds."""

    rows: int
    seconds: float
    rounds: int


def scorers() -> dict[str, CreditScorer]:
    """Return the scorers whose speed is measured; both give reasons."""
    clients = read_training("data/credit-g.csv")
    found = scoring.scorers()
    for scorer in found.values():
        # These risks are not out of fold, which changes the reasons, but not the time to find them.
        scorer.fit(clients, clients[LABEL], scorer.predict_proba(clients)[:, 0])
    return found


# One client

# Numbers of connections on which one client is asked about at the same time.
CONNECTIONS = (1, 8, 64)


def one_client(folder: Path, uri: str, name: str, sizes: Sizes) -> list[Line]:
    """Return the lines of one client that is asked about again and again."""
    row = json.loads(
        read_training("data/credit-g.csv").drop(columns=LABEL).head(1).to_json(orient="records")
    )
    theirs, ours = json.dumps({"dataframe_records": row}).encode(), json.dumps(row).encode()
    score, reasons = "/api/v1/score", "/api/v1/score?reasons=true"

    with (
        mlflow_serving(folder, uri, name) as other,
        riskometer(folder / "strict", uri, name) as strict,
    ):
        baseline, plain = {}, {}
        for n in CONNECTIONS:
            asked = [(other, theirs), (strict.url + score, ours)]
            baseline[n], plain[n] = _in_turn(asked, sizes, n)
        _, explained = _in_turn([(other, theirs), (strict.url + reasons, ours)], sizes)

        lines = _together("decision on disk before its answer", baseline, plain)
        what = "one client, with reasons; decision on disk before its answer"
        lines.append(_rate(what, baseline[1], explained, 5))

        with riskometer(folder / "soon", uri, name, flush_ms=100) as soon:
            (load,) = _in_turn([(soon.url + score, ours)], sizes)
            if soon.n_batches() < len(load.seconds):
                raise RuntimeError("decisions are missing in the log")
        lines.append(_rate("one client; decision on disk within 100 ms", baseline[1], load, 7))

        with ferretdb(folder) as mongodb:
            if mongodb:
                with riskometer(folder / "mongodb", uri, name, decision_log=mongodb) as server:
                    (load,) = _in_turn([(server.url + score, ours)], sizes)
                what = "one client; MongoDB's protocol (FerretDB)"
                lines.append(_rate(what, baseline[1], load, 1))

    return lines


def _in_turn(asked: Sequence[tuple[str, bytes]], sizes: Sizes, connections: int = 1) -> list[Load]:
    """Return the best round of each, by requests per second."""

    def one_round() -> list[Load]:
        return [ask(url, body, sizes.seconds, connections) for url, body in asked]

    rounds = [one_round() for _ in range(sizes.rounds)]
    best = [max(each, key=lambda load: load.per_second) for each in zip(*rounds, strict=True)]

    rates = "; ".join(f"{load.per_second:.0f}/s" for load in best)
    say(f"{connections} connections: {rates}")
    return best


def _together(how: str, baseline: Mapping[int, Load], ours: Mapping[int, Load]) -> list[Line]:
    """Return the lines of each number of connections, beside the baseline and ours on one."""
    lines = [_rate(f"one client; {how}", baseline[1], ours[1], 7)]

    for n in CONNECTIONS:
        if n > 1:
            what = f"one client, on {n} connections; beside ours on one"
            lines.append(_rate(what, ours[1], ours[n], 1.5))
            lines.append(_rate(f"one client, on {n} connections; {how}", baseline[n], ours[n], 7))

        what = f"one client, on {n} connections; 99 % answered within"
        theirs, own = baseline[n].p99, ours[n].p99
        cells = f"{theirs * 1e3:.1f} ms", f"{own * 1e3:.1f} ms"
        lines.append(Line(what, *cells, own / theirs, 1 / 2, least=False))

    return lines


def _rate(what: str, baseline: Load, ours: Load, bar: float) -> Line:
    theirs, own = baseline.per_second, ours.per_second
    return Line(what, f"{theirs:,.0f}/s", f"{own:,.0f}/s", own / theirs, bar, least=True)


# The page


def page(folder: Path, uri: str, name: str, sizes: Sizes) -> list[Line]:
    """Return the line of a clerk's wait for the result of 1,000 clients.

    Without Chromium there is none.
    """
    if not has_browser():
        say("the page: left out, for there is no chromium with chromedriver here")
        return []

    source = folder / "thousand.csv"
    write_clients(1000, source)
    with riskometer(folder / "page", uri, name) as server:
        waited = seconds_to_result(server.url, source, 1000, sizes.rounds)
    what = "1,000 rows on the page, until the result is seen"
    return [Line(what, "", f"{waited:.2f} s", waited, 1, least=False, unit="s")]


# A file


def one_file(
    folder: Path, uri: str, name: str, scorer: CreditScorer, source: Path, sizes: Sizes, most: float
) -> list[Line]:
    """Return the lines of one file.

    `most` is the bar for the time it takes, as a multiple of reading and writing it.
    """
    target = folder / "result.csv"
    with riskometer(folder / f"files {name}", uri, name) as server:
        ways: list[Callable[[], object]] = [
            lambda: pandas_way(scorer, source, target),
            lambda: pyarrow_way(source, target),
            lambda: upload(server, source, target, sizes.rows),
        ]
        taken = [[_seconds(way) for way in ways] for _ in range(sizes.rounds)]
        by_pandas, by_pyarrow, ours = np.min(taken, axis=0)

        with peak_memory(server.process) as peak:
            upload(server, source, target, sizes.rows)

    what, memory = f"{sizes.rows:,} rows, {name}", peak[0] / 1e9
    seconds = [f"{by_pandas:.1f} s", f"{by_pyarrow:.2f} s", f"{ours:.2f} s"]
    say(
        f"{what}: pandas {by_pandas:.2f} s, pyarrow {by_pyarrow:.2f} s, ours {ours:.2f} s, "
        f"{memory:.2f} GB"
    )
    return [
        Line(f"{what}; pandas", seconds[0], seconds[2], ours / by_pandas, 1 / 8, least=False),
        Line(
            f"{what}; pyarrow, no scoring",
            seconds[1],
            seconds[2],
            ours / by_pyarrow,
            most,
            least=False,
        ),
        Line(f"{what}; peak memory", "", f"{memory:.2f} GB", memory, 1.5, least=False, unit="GB"),
    ]


def pandas_way(scorer: CreditScorer, source: Path, target: Path) -> None:
    """Score a file in pandas."""
    score(scorer.booster, INPUTS, scorer.threshold, source, target)


def pyarrow_way(source: Path, target: Path) -> None:
    """Read a file and write it, and nothing else."""
    pyarrow.csv.write_csv(pyarrow.csv.read_csv(source), target)


def upload(server: Riskometer, source: Path, target: Path, rows: int) -> None:
    """Have the Risk-O-Meter decide on a file, and write its answer to disk.

    Raises
    ------
    RuntimeError
        When the answer is not 200, or the decisions are not in the log.
    """
    disposition = 'form-data; name="file"; filename="clients.csv"'
    head = f"--{_PART}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    tail = f"\r\n--{_PART}--\r\n".encode()

    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    connection.putrequest("POST", "/api/v1/files")
    connection.putheader("Accept", "text/csv")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={_PART}")
    connection.putheader("Content-Length", str(len(head) + source.stat().st_size + len(tail)))
    connection.endheaders(head)
    with source.open("rb") as file:
        connection.sock.sendfile(file)
    connection.send(tail)

    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read().decode())
    with target.open("wb") as result:
        shutil.copyfileobj(answer, result, 1 << 20)
    connection.close()

    if server.n_decided(answer.headers["Batch"]) != rows:
        raise RuntimeError("the decisions are not in the log")


@contextmanager
def peak_memory(process: psutil.Process) -> Iterator[list[int]]:
    """Yield a list whose one number becomes the peak memory of a process and its children.

    Memory that they share counts once.
    """
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            family = [process, *process.children(recursive=True)]
            # Only Linux reports what is shared; elsewhere it counts for each.
            used = [member.memory_full_info() for member in family]
            peak[0] = max(peak[0], sum(getattr(each, "pss", each.rss) for each in used))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def write_clients(rows: int, target: Path) -> None:
    """Write a CSV of clients."""
    plain = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(decode(scoring.many_clients(rows)), target, plain)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="clients of the file (1000000)")
    parser.add_argument(
        "--seconds", type=float, default=4, help="of asking for one client, each round (4)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (3)")
    parser.add_argument("--only", choices=("client", "page", "file"), help="a part of it")
    options = parser.parse_args(arguments)

    sizes = Sizes(options.rows, options.seconds, options.rounds)
    lines: list[Line] = []
    with (
        tempfile.TemporaryDirectory(prefix="credit-risk-bench-") as temporary,
        mlflow_server(Path(temporary)) as uri,
    ):
        folder = Path(temporary)
        source = folder / "clients.csv"
        write_clients(sizes.rows, source)

        for (name, scorer), most in zip(scorers().items(), (3, 6), strict=True):
            say(f"{name}...")
            registered(uri, name, scorer)
            if options.only in (None, "client") and most == 3:
                lines += one_client(folder, uri, name, sizes)
            if options.only in (None, "page") and most == 3:
                lines += page(folder, uri, name, sizes)
            if options.only in (None, "file"):
                lines += one_file(folder, uri, name, scorer, source, sizes, most)

    print("| serving | baseline | ours | ours / baseline | bar | met |\n|---|---|---|---|---|---|")
    print("\n".join(map(str, lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
