"""The whole stack as `make run` starts it: until its first decision, at rest, and training.

From an empty state on free ports. The training flow's peer is the search of the pipeline that
people commonly build on this data, with as many candidates, which compares, logs and registers
nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import DATASET, labelled_clients, one_client
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import free_port
from benchmarks.serving.client import SCORE
from credit_risk.schema.attributes import BAD, LABEL
from model_orchestration_and_tracking.baselines import usual
from tools.paths import ROOT
from tools.stack import processes

PATIENCE = 600
N_ITER = 5  # of the first model
QUIET_SECONDS = 20  # until the services are at rest
PORTS = ("MLFLOW", "PREFECT", "RISKOMETER", "PROMETHEUS", "ALERTMANAGER", "EXPORTER")


@dataclass(frozen=True)
class Stack:
    """A running stack: its state, and the environment of commands that find it."""

    var: Path
    environment: dict[str, str]
    output: Path

    @property
    def url(self) -> str:
        """The address of its Risk-O-Meter."""
        return f"http://127.0.0.1:{self.environment['RISKOMETER_PORT']}"

    def await_ready(self) -> None:
        """Wait until its table is printed."""
        end = time.monotonic() + PATIENCE
        while "Ctrl-C" not in self.output.read_text():
            if time.monotonic() > end:
                raise RuntimeError(self.output.read_text())
            time.sleep(0.2)

    def train(self, n_iter: int) -> None:
        """Run the training flow to its end, as `make model-train-flow` does."""
        command = [sys.executable, "-m", "tools.stack", "exec", "python", "-m"]
        command += ["model_orchestration_and_tracking.run", "credit-risk-training/sunday-night"]
        command += ["--param", f"n_iter={n_iter}"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def memory(self) -> dict[str, float]:
        """Return the megabytes of each service; what its processes share counts once."""
        used: dict[str, float] = defaultdict(float)
        for process, service in processes.processes_of(str(self.var)):
            info = process.memory_full_info()
            used[service or "supervisor"] += getattr(info, "pss", info.rss) / 1e6
        return dict(used)


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start a stack with its state below a folder, yield it at once, and stop it at the end."""
    var, output = folder / "var", folder / "run.txt"
    environment = os.environ | {
        "VAR_DIR": str(var),
        "DATASET": DATASET.name,
        "DATA": "",
        "DECISION_LOG": f"sqlite:///{var}/decisions.db",
        "BUCKET": str(var / "bucket"),
        "STACK": "local",
        "N_ITER": str(N_ITER),
        "RISKOMETER_PROCESSES": "2",
        "API_KEYS": "",
        **{f"{name}_PORT": str(free_port()) for name in PORTS},
    }
    with output.open("wb") as out:
        runner = subprocess.Popen(
            [sys.executable, "-m", "tools.stack", "run"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Stack(var, environment, output)
    finally:
        runner.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            runner.wait(120)
        runner.kill()
        processes.end(process for process, _ in processes.processes_of(str(var)))


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of a cold start, of memory at rest and of a training run."""
    cold, used = [], {}
    for number in range(sizes.long_rounds):
        folder, last = place.folder(f"stack-{number}"), number == sizes.long_rounds - 1
        began = time.perf_counter()
        with running(folder) as stack:
            _first_decision(stack)
            cold.append(time.perf_counter() - began)
            if last:
                stack.await_ready()
                time.sleep(min(QUIET_SECONDS, 10 * sizes.seconds))
                used = stack.memory()
                trained = list(_training(stack, sizes))
        shutil.rmtree(folder)

    yield Line("make run, from nothing to the first decision", "s", tuple(cold))
    yield from trained
    for service, megabytes in sorted(used.items()):
        yield Line(f"memory at rest: {service}", "MB", (megabytes,))


def _first_decision(stack: Stack) -> None:
    body, end = json.dumps(one_client()).encode(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        request = urllib.request.Request(  # noqa: S310 - our own address
            stack.url + SCORE, body, {"Content-Type": "application/json"}
        )
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return
        time.sleep(0.1)
    raise RuntimeError(f"no decision within {PATIENCE} s: {stack.output.read_text()}")


def _training(stack: Stack, sizes: Sizes) -> Iterator[Line]:
    clients = labelled_clients()
    inputs, bad = clients.drop(columns=LABEL), (clients[LABEL] == BAD).to_numpy()
    # Of other parameters than the version in Production, or there would be nothing new.
    n_iter = sizes.n_iter + (sizes.n_iter == N_ITER)
    sides = {
        OURS: seconds_of(lambda: stack.train(n_iter)),
        "usual pipeline, search alone": seconds_of(
            lambda: usual(0, DATASET, n_iter=n_iter, folds=10).fit(inputs, bad)
        ),
    }
    taken = alternate(sides, sizes.long_rounds)
    yield from lines_of(f"make model-train-flow, {n_iter} candidates", "s", taken)
