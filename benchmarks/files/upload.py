"""A file: an upload whose answer, a scored CSV, is written to disk.

Ours validates, decides, and has all decisions in its log by the time it answers. The peer is
read_csv or read_parquet, encoding, `Booster.predict` and to_csv in pandas, from disk to disk; it
validates and logs nothing. The floor is reading and writing alone, by pyarrow or polars, whichever
is faster.
"""

import http.client
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.clients import FEW_TREES, INPUTS, MANY_TREES, write_clients
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.peers.copying import WAYS
from benchmarks.peers.pandas_way import score
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import Riskometer, memory, riskometer
from credit_risk.scoring.model import CreditScorer

PANDAS = "pandas + LightGBM"
_PART = "risk-o-meter-benchmark"
_PARQUET_ROWS = 100_000
_TOO_MANY = "refused: as CSV it has more than 25 MB. `make batch-score` takes any number"
_SHORT = 10_000  # rows of a file that takes no time worth sparing


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of files of each size, and of more trees for the biggest."""
    folder = place.folder("files")
    most = max(sizes.rows)
    with riskometer(folder / "few", place.registry, _named(place, FEW_TREES)) as server:
        for rows in sizes.rows:
            rounds = sizes.rounds if rows <= _SHORT or sizes.name == "quick" else sizes.long_rounds
            for kind, n in (("csv", rows), ("parquet", min(rows, _PARQUET_ROWS))):
                source = folder / f"{n}.{kind}"
                write_clients(n, source)
                yield from _lines(place.scorer(FEW_TREES), server, source, n, rounds, FEW_TREES)
                if n < rows:
                    yield Line(f"{rows:,} rows, Parquet, {FEW_TREES}", left_out=_TOO_MANY)

        source = folder / f"{most}.csv"
        with peak_memory(server.process) as peak:
            upload(server, source, folder / "result.csv", most)
        yield Line(f"{most:,} rows, CSV, {FEW_TREES}: peak memory", "GB", (peak[0] / 1e9,))

    if sizes.name != "quick":
        with riskometer(folder / "many", place.registry, _named(place, MANY_TREES)) as server:
            rounds, scorer = sizes.long_rounds, place.scorer(MANY_TREES)
            yield from _lines(scorer, server, source, most, rounds, MANY_TREES)


def _named(place: Place, name: str) -> str:
    """Have a scorer registered under its name, and return the name."""
    place.scorer(name)
    return name


def _lines(
    scorer: CreditScorer, server: Riskometer, source: Path, rows: int, rounds: int, trees: str
) -> Iterator[Line]:
    target = source.with_name("result.csv")
    sides = {OURS: seconds_of(lambda: upload(server, source, target, rows))}
    sides[PANDAS] = seconds_of(lambda: pandas_way(scorer, source, target))
    for name, copy in WAYS.items():
        sides[name] = seconds_of(lambda copy=copy: copy(source, target))  # type: ignore[misc]
    for work in sides.values():  # the first of each does not count
        if rows <= _SHORT:
            work()

    kind = "Parquet" if source.suffix == ".parquet" else "CSV"
    yield from lines_of(f"{rows:,} rows, {kind}, {trees}", "s", alternate(sides, rounds), [*WAYS])


def pandas_way(scorer: CreditScorer, source: Path, target: Path) -> None:
    """Score a file in pandas."""
    score(scorer.booster, INPUTS, scorer.threshold, source, target)


def upload(server: Riskometer, source: Path, target: Path, rows: int) -> None:
    """Have the Risk-O-Meter decide on a file, and write its answer to disk.

    Raises
    ------
    RuntimeError
        When the answer is not 200, or the decisions are not in the log.
    """
    disposition = f'form-data; name="file"; filename="{source.name}"'
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
        while True:  # at least once, however short it is
            peak[0] = max(peak[0], memory(process))
            if done.wait(0.02):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
