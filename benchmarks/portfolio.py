"""A whole portfolio: by two workers of a Dask cluster beside one, and beside a bare loop.

Each worker has one thread and one core. The bare loop runs on one core too; it reads the same file,
scores with the same kernel and writes the same two files of each part, but it validates nothing,
hashes nothing, waits for no disk and has no log. Workers have loaded the model before they are
timed, as they have where a portfolio takes a night.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.clients import DATASET, FEW_TREES, many_clients
from benchmarks.harness import OURS, Line, alternate, lines_of
from benchmarks.progress import say
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import appointed, environment_of
from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.codec import codes_of, decode
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from model_deployment.portfolio.plan import Order
from model_deployment.portfolio.run import score_portfolio
from tests.support.dask_cluster import DaskCluster, dask_cluster

N_PARTS = 8
_SCORES = ("risk", "prediction", "confidence", "warnings", "model_version", "id")


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield lines of a portfolio of as many clients as the biggest file has, in `N_PARTS` parts."""
    rows = max(sizes.rows)
    folder = place.folder("portfolio")
    portfolio = write_portfolio(rows, folder / "portfolio.parquet")
    settings = settings_of(place, folder)
    scorer = place.scorer(FEW_TREES)
    name, part_rows = f"a portfolio of {rows:,} clients", -(-rows // N_PARTS)

    say(f"{name}, on one core each...")
    with (
        clusters(folder, settings, (1, 2)) as (one, two),
        ProcessPoolExecutor(1, get_context("spawn"), _on_one_core) as alone,
    ):
        runs: dict[str, Callable[[], float]] = {
            "two workers": lambda: scored(portfolio, folder, settings, two, part_rows),
            "one worker": lambda: scored(portfolio, folder, settings, one, part_rows),
            "bare loop": lambda: _result(alone.submit(bare, portfolio, folder, scorer, part_rows)),
        }
        for run in runs.values():  # loads the model, and makes the kernel
            run()
        processes = [two.scheduler.pid, two.workers[0].pid]
        before = [cpu_seconds(pid) for pid in processes]
        taken = alternate(runs, sizes.long_rounds)
        busy = [cpu_seconds(pid) - at for pid, at in zip(processes, before, strict=True)]

    rates = {side: [rows / seconds for seconds in rounds] for side, rounds in taken.items()}
    note = "processor time: scheduler {:.1f} s, each worker {:.1f} s".format(*busy)
    pair = {OURS: rates["two workers"], "one worker": rates["one worker"]}
    yield from lines_of(f"{name}, two workers", "rows/s", pair, note=note)
    pair = {OURS: rates["one worker"], "bare loop": rates["bare loop"]}
    yield from lines_of(f"{name}, one worker", "rows/s", pair, floors=["bare loop"])


def write_portfolio(rows: int, target: Path) -> Path:
    """Write a Parquet file of clients with ids, in row groups of 250,000."""
    with pq.ParquetWriter(target, _clients(0, 1).schema) as writer:
        for start in range(0, rows, 250_000):
            writer.write_table(_clients(start, min(250_000, rows - start)))
    return target


def _clients(start: int, n: int) -> pa.Table:
    table = pa.table(decode(many_clients(n), DATASET))
    ids = pa.array([f"C{i:09d}" for i in range(start, start + n)])
    return table.add_column(0, CLIENT_ID, ids)


def settings_of(place: Place, folder: Path) -> Settings:
    """Return the settings of a log in a folder, in which a version is in Production."""
    place.scorer(FEW_TREES)
    environment = environment_of(folder, place.registry, FEW_TREES)
    appointed(environment)
    values = {name.lower(): value for name, value in environment.items()}
    return Settings.model_validate(values)


@contextmanager
def clusters(
    folder: Path, settings: Settings, sizes: tuple[int, ...]
) -> Iterator[list[DaskCluster]]:
    """Yield clusters of so many workers, each on a core of its own."""
    values = settings.model_dump(mode="json")
    told = ("decision_log", "bucket", "mlflow_tracking_uri", "model_name", "dataset", "var_dir")
    environment = {name.upper(): str(values[name]) for name in told}
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        made = []
        for n in sizes:
            here = folder / f"cluster-{n}"
            here.mkdir()
            made.append(
                stack.enter_context(dask_cluster(here, n, environment, [*cores, *cores][:n]))
            )
        yield made


def scored(
    portfolio: Path, folder: Path, settings: Settings, cluster: DaskCluster, part_rows: int
) -> float:
    """Score a portfolio on a cluster, and return how many seconds that took."""
    output = folder / "scored"
    on = settings.model_copy(update={"dask_scheduler": cluster.address})
    order = Order(str(portfolio), str(output), id_column=CLIENT_ID, part_rows=part_rows)
    start = time.perf_counter()
    score_portfolio(order, on, say)
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return seconds


def bare(portfolio: Path, folder: Path, scorer: CreditScorer, part_rows: int) -> float:
    """Read, score and write a portfolio, and return how many seconds that took."""
    target = folder / "bare"
    target.mkdir()
    start = time.perf_counter()
    _bare(portfolio, target, scorer, part_rows)
    seconds = time.perf_counter() - start
    shutil.rmtree(target)
    return seconds


def _bare(portfolio: Path, target: Path, scorer: CreditScorer, part_rows: int) -> None:
    file = pq.ParquetFile(portfolio)
    for number, read in enumerate(file.iter_batches(part_rows, use_threads=False)):
        table = pa.Table.from_batches([read])
        codes = codes_of(table, scorer.dataset)
        n = len(codes)
        applications = Applications(
            scorer.dataset,
            codes,
            np.arange(n),
            table[CLIENT_ID].to_pylist(),
            [None] * n,
            np.zeros_like(codes, dtype=bool),
            n,
        )
        decided = scorer.decide(codes)
        batch = Batch(applications, decided, "1", "", scorer.threshold)
        (target / f"log-{number}.parquet").write_bytes(codec.parquet(batch))
        result = batch.table.select([CLIENT_ID, *_SCORES])
        pq.write_table(result, target / f"out-{number}.parquet", compression="zstd")


def _result(future: "Future[float]") -> float:
    return future.result()


def _on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
