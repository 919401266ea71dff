"""The local stack as its users have it: started by its runner, with its own state and ports."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from credit_risk.decision_log.log import DecisionLog
from credit_risk.prefect_api import PrefectAPI
from tests.support.cases import nightly
from tests.support.processes import free_port, wait_for
from tests.support.stacks import log_of, pause_schedules
from tools.stack import processes

ROOT = Path(__file__).parents[1]
PORTS = (
    "MLFLOW_PORT",
    "PREFECT_PORT",
    "RISKOMETER_PORT",
    "PROMETHEUS_PORT",
    "ALERTMANAGER_PORT",
    "EXPORTER_PORT",
    "APPROVALS_PORT",
)


@dataclass
class LocalStack:
    """One stack; it and the operator's commands are started with `environment`."""

    var: Path
    environment: dict[str, str]
    runner: subprocess.Popen[bytes] | None = None
    outputs: list[Path] = field(default_factory=list)

    def url(self, service: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.environment[f'{service}_PORT']}{path}"

    def get(self, service: str, path: str = "/") -> requests.Response:
        return requests.get(self.url(service, path), timeout=30)

    def post(self, service: str, path: str, **content: Any) -> requests.Response:
        return requests.post(self.url(service, path), timeout=60, **content)

    def prefect(self) -> PrefectAPI:
        password = (self.var / "secrets" / "prefect-login").read_text().strip()
        return PrefectAPI(self.url("PREFECT", "/api"), f"admin:{password}", timeout=20)

    def start(self) -> None:
        """Start the runner, as `make run` does, and return at once."""
        self.outputs.append(self.var.parent / f"run-{len(self.outputs)}.txt")
        with self.outputs[-1].open("wb") as out:
            self.runner = subprocess.Popen(
                [sys.executable, "-m", "tools.stack", "run"],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_unscheduled(self) -> None:
        """Start it for the first time, without its schedules, and return when it is ready."""
        self.start()

        def there() -> bool:
            assert self.runner
            return self.runner.poll() is not None or pause_schedules(self.prefect())

        wait_for(there, 600, "the deployments")  # which are there minutes before the first model
        self.wait_until_ready()

    @property
    def output(self) -> str:
        """What the runner has printed since it was last started."""
        return self.outputs[-1].read_text()

    def wait_until_ready(self, seconds: float = 600) -> str:
        """Return the console with its table, once it is there."""
        assert self.runner

        def there() -> bool:
            return "Ctrl-C" in self.output or self.runner.poll() is not None

        wait_for(there, seconds, "the table")
        assert self.runner.poll() is None, self.output
        return self.output

    def stack(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call another command of the runner."""
        return self.call([sys.executable, "-m", "tools.stack", *arguments])

    def make(self, target: str, **variables: str) -> str:
        """Make one of the operator's targets and return its output; it has to succeed."""
        done = self.call(["make", "--no-print-directory", target], **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def call(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Call a command as if from another terminal."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )

    def processes(self, service: str | None = None) -> list[psutil.Process]:
        """Return the processes of the stack, or of one service (empty: the supervisor)."""
        found = processes.processes_of(str(self.var))
        return [process for process, name in found if service in (None, name)]

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.var / "run" / "supervisord.pid").read_text()))

    def leader(self, service: str) -> psutil.Process:
        """Return the process that the supervisor itself started for a service."""
        (leader,) = (p for p in self.processes(service) if p.ppid() == self.supervisor.pid)
        return leader

    def kill(self, service: str) -> None:
        """Kill the leader of a service, and wait until the supervisor has started a new one."""
        killed = self.leader(service)
        killed.kill()
        wait_for(lambda: self.leader(service) != killed, 60, f"a new {service}")

    def stop(self) -> str:
        """Stop the runner, as Ctrl-C does, and return its output."""
        assert self.runner
        self.runner.send_signal(signal.SIGINT)
        self.runner.wait(120)
        return self.output

    def clear(self) -> None:
        """End the processes that a failed test has left."""
        if self.runner and self.runner.poll() is None:
            self.runner.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.runner.wait(90)
            self.runner.kill()
        processes.end(self.processes())


@pytest.fixture(scope="module")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalStack]]:
    """A function that returns a stack, not yet started; `new_stack(N_ITER="2")` sets N_ITER."""
    made: list[LocalStack] = []

    def new(**variables: str) -> LocalStack:
        var = tmp_path_factory.mktemp("stack") / "var"
        environment = os.environ | {
            "VAR_DIR": str(var),
            "DECISION_LOG": f"sqlite:///{var}/decisions.db",
            "BUCKET": str(var / "bucket"),
            "STACK": "local",
            **{port: str(free_port()) for port in PORTS},
        }
        made.append(LocalStack(var, environment | variables))
        return made[-1]

    yield new
    for stack in made:
        stack.clear()


# Fewer candidates, and less time between looks, than people need.
OF_A_DAY = {
    "N_ITER": "5",
    "RISKOMETER_PROCESSES": "2",
    "EXPORTER_INTERVAL_SECONDS": "3",
    "MODEL_POLL_SECONDS": "2",
}


@pytest.fixture(
    scope="module",
    params=["sqlite-and-folder", *nightly("mongodb-and-gcs")],
)
def stack(request, new_stack):
    """A stack that runs, for all tests of a module."""
    variables, name = dict(OF_A_DAY), request.path.stem.replace("_", "-")
    if request.param == "mongodb-and-gcs":
        emulator = request.getfixturevalue("_gcs")
        requests.post(f"{emulator}/storage/v1/b?project=local", json={"name": name}, timeout=20)
        variables |= {
            "DECISION_LOG": f"{request.getfixturevalue('_mongodb')}/{name}",
            "BUCKET": f"gs://{name}/credit-risk",
            "STORAGE_EMULATOR_HOST": emulator,
        }
    stack = new_stack(**variables)
    stack.start_unscheduled()
    return stack


@pytest.fixture
def log(stack, monkeypatch) -> DecisionLog:
    """The stack's decision log, read as its services read it."""
    if emulator := stack.environment.get("STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return log_of(stack.environment)
