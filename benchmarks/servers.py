"""The servers that are compared, each a process with all its state below one folder."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import mlflow
import psutil
import pymongo.common
from pymongo.common import MIN_SUPPORTED_WIRE_VERSION

from benchmarks.clients import DATASET, labelled_clients
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.model import CreditScorer
from credit_risk.storage.backends import open_blobs, open_documents
from credit_risk.storage.documents import LogUnavailable

PATIENCE = 180
JAVA_OLDEST = 8
_ACCEPTING = (
    "import runpy, pymongo.common; pymongo.common.MIN_SUPPORTED_WIRE_VERSION = {}; "
    "runpy.run_module('model_deployment.server', run_name='__main__')"
)
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output has only the table
}


def registered(uri: str, name: str, scorer: CreditScorer) -> None:
    """Register a scorer under a name, as the training flow does.

    Its alias is the one that `mlflow models serve` loads.
    """
    os.environ.update(_QUIET)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(name)
    with mlflow.start_run() as run:
        example = labelled_clients().drop(columns=LABEL).head(3)
        address = log_scorer(scorer, example)

    registry = Registry(uri, name)
    version = registry.register(run.info.run_id, address)
    registry.set_alias(PRODUCTION, version.number)


def appoint(registry: Registry, log: DecisionLog) -> None:
    """Approve the newest version in a log, as a person does."""
    version = registry.versions()[0]
    note_registered(log, version)
    approve(registry, log, version.number, "benchmark", "to be measured")


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run MLflow's server, with all its state below a folder, and yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", f"{folder}/artifacts"]
    log = folder / "mlflow.log"
    with running(command, log, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as process:
        await_answer(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"


class Served(NamedTuple):
    """A running server: where it is asked, and its first process."""

    url: str
    process: psutil.Process


@contextmanager
def mlflow_serving(folder: Path, uri: str, name: str) -> Iterator[Served]:
    """Run `mlflow models serve`, with as many workers as ours has."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve"]
    command += ["--model-uri", f"models:/{name}@{PRODUCTION}", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    environment = {
        "MLFLOW_TRACKING_URI": uri,
        # It looks for uvicorn on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    log = folder / "mlflow-serve.log"
    with running(command, log, environment) as process:
        await_answer(f"http://127.0.0.1:{port}/ping", process, log)
        yield Served(f"http://127.0.0.1:{port}/invocations", psutil.Process(process.pid))


@contextmanager
def pipeline_serving(folder: Path) -> Iterator[Served]:
    """Run a scikit-learn pipeline behind FastAPI, with as many workers as ours has."""
    from benchmarks.peers.pipeline import write

    port, model, log = free_port(), folder / "pipeline.joblib", folder / "pipeline.log"
    write(model)
    command = [sys.executable, "-m", "benchmarks.peers.pipeline", str(model), str(port)]
    with running(command, log, {}) as process:
        await_answer(f"http://127.0.0.1:{port}/ping", process, log)
        yield Served(f"http://127.0.0.1:{port}/score", psutil.Process(process.pid))


@contextmanager
def echo_serving(folder: Path) -> Iterator[Served]:
    """Run ours' server with an application that only returns what was sent."""
    port, log = free_port(), folder / "echo.log"
    command = [sys.executable, "-m", "benchmarks.peers.echo", str(port)]
    with running(command, log, {}) as process:
        await_answer(f"http://127.0.0.1:{port}/", process, log)
        yield Served(f"http://127.0.0.1:{port}/", psutil.Process(process.pid))


class Riskometer(NamedTuple):
    """A running Risk-O-Meter: its address, its first process, its decision log."""

    url: str
    process: psutil.Process
    log: DecisionLog

    def n_batches(self) -> int:
        """Return the number of requests logged."""
        return len(self.log.batches())

    def n_decided(self, batch: str) -> int:
        """Return the number of logged decisions of a batch."""
        record = self.log.batch(batch)
        return record.n_decided if record else 0


def environment_of(folder: Path, uri: str, name: str) -> dict[str, str]:
    """Return the settings of what decides by a model, with its state below a folder."""
    return {
        "VAR_DIR": str(folder / "var"),
        "DECISION_LOG": f"sqlite:///{folder}/var/decisions.db",
        "BUCKET": str(folder / "var/bucket"),
        "MLFLOW_TRACKING_URI": uri,
        "MODEL_NAME": name,
        "DATASET": DATASET.name,
    }


def appointed(environment: Mapping[str, str]) -> DecisionLog:
    """Return the log of these settings, in which a version is put in Production."""
    documents = open_documents(environment["DECISION_LOG"])
    log = DecisionLog(documents, open_blobs(environment["BUCKET"]), DATASET)
    appoint(Registry(environment["MLFLOW_TRACKING_URI"], environment["MODEL_NAME"]), log)
    return log


@contextmanager
def riskometer(
    folder: Path,
    uri: str,
    name: str,
    *,
    decision_log: str | None = None,
    flush_ms: float = 0,
    oldest: int = MIN_SUPPORTED_WIRE_VERSION,
) -> Iterator[Riskometer]:
    """Run the Risk-O-Meter as `make run` does.

    `oldest` is the oldest version of MongoDB's protocol that it accepts of the log's server.
    """
    port = free_port()
    environment = environment_of(folder, uri, name) | {
        "DECISION_LOG_FLUSH_MS": str(flush_ms),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "var/metrics"),
        "RISKOMETER_PORT": str(port),
        "RISKOMETER_PROCESSES": "2",
        "API_KEYS": "",
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    if decision_log:
        environment["DECISION_LOG"] = decision_log

    (folder / "var").mkdir(parents=True, exist_ok=True)
    pymongo.common.MIN_SUPPORTED_WIRE_VERSION = oldest
    log = appointed(environment)

    path = folder / "server.log"
    command = [sys.executable, "-m", "model_deployment.server"]
    if oldest != MIN_SUPPORTED_WIRE_VERSION:
        command = [sys.executable, "-c", _ACCEPTING.format(oldest)]
    with running(command, path, environment) as process:
        for _ in range(20):  # whichever worker is asked
            await_answer(f"http://127.0.0.1:{port}/readyz", process, path)
        yield Riskometer(f"http://127.0.0.1:{port}", psutil.Process(process.pid), log)


@contextmanager
def ferretdb(folder: Path) -> Iterator[str | None]:
    """Run FerretDB, which speaks MongoDB's protocol, and yield its address; None without it."""
    if not shutil.which("ferretdb"):
        yield None
        return

    port = free_port()
    state = folder / "ferretdb"
    state.mkdir(parents=True)
    command = ["ferretdb", "--handler=sqlite"]
    command += [f"--sqlite-url=file:{state}/", f"--state-dir={state}"]
    command += [f"--listen-addr=127.0.0.1:{port}", "--debug-addr=-", "--telemetry=disable"]

    with running(command, folder / "ferretdb.log", {}):
        address = f"mongodb://127.0.0.1:{port}/bench"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(LogUnavailable):
                open_documents(address).ping()
                break
        yield address


@contextmanager
def mongo_java(folder: Path) -> Iterator[str | None]:
    """Run the other server of MongoDB's protocol, and yield its address; None without it.

    It keeps everything in memory, and has the protocol of MongoDB 4.2 (`JAVA_OLDEST`).
    """
    if not shutil.which("mongo-java-server"):
        yield None
        return

    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with running(["mongo-java-server", str(port)], folder / "mongo-java-server.log", {}):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"mongodb://127.0.0.1:{port}/bench"


def memory(process: psutil.Process) -> int:
    """Return the bytes that a process and its children use; what they share counts once."""
    # Only Linux reports what is shared; elsewhere it counts for each.
    used = [member.memory_full_info() for member in (process, *process.children(recursive=True))]
    return sum(getattr(each, "pss", each.rss) for each in used)


@contextmanager
def running(
    command: list[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env=os.environ | _QUIET | environment,
            start_new_session=True,
        )

    try:
        yield process
    finally:
        for signal in (15, 9):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal)
                process.wait(10)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
            return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer; its log ends: {log.read_text()[-2000:]}")
