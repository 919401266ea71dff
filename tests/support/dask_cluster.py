"""A Dask cluster for tests: a real scheduler and workers, as processes on this machine."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port, running, wait_for

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    # The workers unpickle functions of our packages.
    "PYTHONPATH": str(ROOT),
    # One thread each, as the scheduler thinks.
    "OMP_NUM_THREADS": "1",
    "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


@dataclass(frozen=True)
class DaskCluster:
    """A running cluster.

    Attributes
    ----------
    address : str
        What the setting DASK_SCHEDULER takes.
    workers : list of Popen
        The workers without a nanny: a worker that is killed does not come back.
    """

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def dask_cluster(
    folder: Path,
    workers: int = 2,
    env: dict[str, str] | None = None,
    cores: Sequence[int] = (),
) -> Iterator[DaskCluster]:
    """Run a scheduler and its workers of one thread each, all of which are there when it yields.

    Parameters
    ----------
    folder : Path
        For logs and for what workers spill.
    env : dict, optional
        Further environment variables of all processes.
    cores : sequence of int, optional
        The core of each worker; without it the system chooses.
    """
    port, http = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    scheduler += ["--host=127.0.0.1", f"--port={port}", f"--dashboard-address=127.0.0.1:{http}"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
    worker += ["--host=127.0.0.1", "--dashboard-address=127.0.0.1:0", "--no-nanny"]
    worker += ["--nworkers=1", "--nthreads=1", "--death-timeout=60"]
    variables = ENVIRONMENT | (env or {})

    def n_workers() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/json/counts.json", timeout=2) as r:
            return int(json.load(r)["workers"])

    with ExitStack() as stack:
        first = stack.enter_context(running(scheduler, folder / "scheduler.log", variables))
        others = []
        for number in range(workers):
            command = [*worker, f"--name={number}", f"--local-directory={folder}"]
            log = folder / f"worker-{number}.log"
            others.append(stack.enter_context(running(command, log, variables)))
        for process, core in zip(others, cores, strict=False):
            os.sched_setaffinity(process.pid, {core})

        wait_for(lambda: n_workers() == workers, 60, "the Dask cluster")
        yield DaskCluster(address, first, others)
