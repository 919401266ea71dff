"""A local stack of its own, in a temporary folder and on free ports, to be broken."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from credit_risk.settings import Settings
from tools.chaos.target import (
    CUT,
    KILL,
    PORTS,
    REPLICA,
    RISKOMETER,
    defaults,
    free_ports,
    inherited,
    last_lines,
)
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.health import health
from tools.stack.local_stack import Stack
from tools.stack.processes import end, processes_of
from tools.stack.services import SERVICES

START_SECONDS = 600
STOP_SECONDS = 120
# Any worker process of the Risk-O-Meter may answer, also one that has its model already.
LOOKS = 20
# A first model of few candidates: how good it is does not matter here.
ITS_OWN = {"N_ITER": "5", "RISKOMETER_PROCESSES": "2"}


class LocalTarget:
    """The processes of `make run`; see `Target`.

    Parameters
    ----------
    settings : dict, optional
        Variables that differ from their defaults.
    """

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="credit-risk-chaos-"))
        var = self._folder / "var"
        self._variables = {
            **defaults(),
            **ITS_OWN,
            **free_ports(PORTS),
            "VAR_DIR": str(var),
            "DECISION_LOG": f"sqlite:///{var}/decisions.db",
            "BUCKET": str(var / "bucket"),
            "SCRAPE_KEY_FILE": str(var / "secrets" / "scrape-key"),
            **(settings or {}),
        }
        values = {name.lower(): value for name, value in self._variables.items()}
        self._stack = Stack(Settings(_env_file=None, **values))  # type: ignore[arg-type]
        self._services = {
            service.name: service for service in SERVICES if service.possible and not service.job
        }
        self._runner: subprocess.Popen[bytes] | None = None
        self._known: dict[str, str] = {}
        self._stopped: list[psutil.Process] = []
        self._killed: set[int] = set()
        self._replicas = 0

    @property
    def riskometer(self) -> str:
        """The address of the API, without a path."""
        return self._services[RISKOMETER].address(self._known)

    @property
    def prometheus(self) -> str:
        """The address of Prometheus; empty where it is not on this machine."""
        service = self._services.get("prometheus")
        return service.address(self._known) if service else ""

    @property
    def place(self) -> str:
        """Where its state is."""
        return str(self._folder)

    @property
    def _output(self) -> Path:
        """What the runner prints."""
        return self._folder / "run.txt"

    def start(self) -> None:
        """Start the runner, as `make run` does, and return when all services are ready."""
        with self._output.open("wb") as out:
            self._runner = subprocess.Popen(
                [sys.executable, "-m", "tools.stack", "run"],
                cwd=ROOT,
                env=inherited() | self._variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C" not in self._output.read_text(errors="replace"):
            if self._runner.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the stack did not start:\n{last_lines(self._output)}")
            time.sleep(0.2)
        self._known = self._stack.remembered()
        self._replicas = len(self._workers())

    def stop(self, *, keep: bool) -> None:
        """Stop the stack; its folder stays only with `keep`."""
        self.heal()
        if self._runner is not None and self._runner.poll() is None:
            self._runner.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._runner.wait(STOP_SECONDS)
            if self._runner.poll() is None:
                self._runner.kill()
                self._runner.wait()
        end(process for process, _ in processes_of(str(self._stack.var)))
        if not keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def services(self) -> list[str]:
        """Return what can be broken."""
        names = list(self._services)
        names.insert(names.index(RISKOMETER) + 1, REPLICA)
        return names

    def impossible(self, fault: str) -> str:
        """Return why a fault is not available here; empty where it is."""
        # Only root could drop packets on the loopback interface, and for every other process too.
        return "not possible here" if fault == CUT else ""

    def inject(self, service: str, fault: str) -> None:
        """Begin a fault."""
        self._killed.clear()
        if fault == KILL:
            self._kill(service)
            return
        self._stopped = self._processes(service)
        for process in self._stopped:
            _send(process, signal.SIGSTOP)

    def heal(self) -> None:
        """Let what was stopped go on."""
        for process in self._stopped:
            _send(process, signal.SIGCONT)
        self._stopped = []

    def is_well(self, service: str, since: float) -> bool:
        """Return whether a service does its work again."""
        name = RISKOMETER if service == REPLICA else service
        process = self._stack.processes().get(name)
        if not process or process["pid"] in (0, *self._killed):
            return False
        if service == REPLICA and not self._all_replicas():
            return False
        # A worker has to have asked for runs since then.
        process = {**process, "start": max(process["start"], since)}
        looks = LOOKS if name == RISKOMETER else 1
        return all(health(self._services[name], self._known, process).ready for _ in range(looks))

    def revive(self, service: str) -> None:
        """Have supervisord start a service anew."""
        name = RISKOMETER if service == REPLICA else service
        self._stack.call("stopProcess", name)
        self._stack.call("startProcess", name)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line that runs `python ARGUMENTS`."""
        return [sys.executable, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of an operator's command, as `python -m tools.stack exec`."""
        return inherited() | self._known

    def _kill(self, service: str) -> None:
        if service == REPLICA:
            (victim,) = self._processes(service)
            self._killed = {victim.pid}
            _send(victim, signal.SIGKILL)
            return
        leader = int(self._stack.processes()[service]["pid"])
        self._killed = {leader}
        os.killpg(leader, signal.SIGKILL)

    def _processes(self, service: str) -> list[psutil.Process]:
        if service == REPLICA:
            return self._workers()[:1]
        return [p for p, name in processes_of(str(self._stack.var)) if name == service]

    def _workers(self) -> list[psutil.Process]:
        """Return the worker processes of the Risk-O-Meter, the oldest first."""
        leader = self._stack.processes().get(RISKOMETER, {}).get("pid")
        with suppress(psutil.Error):
            children = psutil.Process(leader).children() if leader else []
            alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
            return sorted(alive, key=psutil.Process.create_time)
        return []

    def _all_replicas(self) -> bool:
        pids = {process.pid for process in self._workers()}
        return len(pids) >= self._replicas and not pids & self._killed


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
