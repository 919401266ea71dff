"""One run of the local stack, from the first check to the last process ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.access import passwords
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.console import Console
from tools.stack.health import health
from tools.stack.local_stack import Stack
from tools.stack.preparation import (
    check_dataset,
    check_ports,
    file_to_try,
    remember_dataset,
    write_prometheus_files,
)
from tools.stack.processes import STACK, processes_of
from tools.stack.services import SERVICES, Service
from tools.stack.shutdown import halt
from tools.stack.start import Start
from tools.stack.table import logins, table, what_is_open

LOOK = 0.3
"""Seconds between two looks at the services that are starting."""

NOT_INHERITED = (
    "MLFLOW_",
    "PREFECT_",
    "SUPERVISOR_",
    "PROMETHEUS_",
    "PYTHONDONTWRITEBYTECODE",
    "APPROVALS_TOKEN",
)
"""Prefixes of variables that the services do not take over from the user's shell.

The user's own MLflow server or Prefect profile does not concern this stack, nor does a supervisor
that this process may run under. Without bytecode a start takes a minute. The token is the user's
own, and no service needs it.
"""

WHAT_NEXT = """
Next, in another terminal:
  open {riskometer}{and_upload}
  make model-train-flow         trains; the best new model becomes the challenger
  make approve VERSION=2 BY="your name" REASON="why"     makes it the one that decides
  make evidently-report-flow    reports on drift, once 100 clients were decided
  make status, make logs        the logs are in {logs}
Ctrl-C, or `make stop`, stops everything; the state stays in {var}."""


class Run:
    """One run of the stack."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack = stack
        self.console = console
        self.environment = stack.environment()
        self.services = [
            service for service in SERVICES if service.possible and service.wanted(self.environment)
        ]
        self.stopping = False
        self.began = time.monotonic()

    def __call__(self) -> None:
        """Run until a signal asks it to stop.

        Raises
        ------
        Failed
            When the stack cannot start, or supervisord was killed. Nothing is left running then
            either.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

        with self.stack.lock():
            self.stack.close()
            if processes_of(str(self.stack.var)):
                self.console.say("an earlier run was killed: ending what it left")
                halt(self.stack, self.console)

            check_dataset(self.stack.settings.dataset, self.stack.var)
            check_ports(self.services, self.environment)
            self._prepare()
            try:
                supervisord = self._supervisord()
                self._start(supervisord)
                if not self.stopping:
                    remember_dataset(self.stack.settings.dataset, self.stack.var)
                    self._present()
                    self._watch(supervisord)
            finally:
                began = time.monotonic()
                halt(self.stack, self.console)
                self.stack.remember(None)

            took = f"stopped in {time.monotonic() - began:.0f} s"
            self.console.say(f"{took}; the state is kept in {self.stack.var}")

    def _on_signal(self, number: int, frame: object) -> None:
        self.stopping = True

    def _prepare(self) -> None:
        self.stack.log_dir.mkdir(exist_ok=True)
        passwords.make(self.stack.secrets)
        self.stack.remember(self.environment)
        write_prometheus_files(self.stack.var / "prometheus", self.services, self.environment)

    def _supervisord(self) -> subprocess.Popen[bytes]:
        """Start supervisord, in its own session so that Ctrl-C reaches it only through us."""
        command = [
            sys.executable,
            "-m",
            "supervisor.supervisord",
            "-c",
            str(ROOT / "supervisord.conf"),
        ]
        log = self.stack.log_dir / "supervisord.log"
        with log.open("ab") as out:
            supervisord = subprocess.Popen(
                command,
                cwd=self.stack.run_dir,
                env=self._supervisord_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        while not self.stack.processes():
            if supervisord.poll() is not None or time.monotonic() - self.began > 30:
                raise Failed(f"supervisord did not start:\n{tail(log)}")
            time.sleep(0.1)
        return supervisord

    def _supervisord_environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)
        }
        programs = {service.name: service.program for service in self.services}
        path = os.environ.get("PATH", os.defpath)
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
        return {
            **inherited,
            **self.environment,
            STACK: str(self.stack.var),
            "PYTHON": sys.executable,
            "ALERTMANAGER": programs.get("alertmanager") or "",
            "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{path}",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def _start(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Start each service as soon as the services that it waits for are ready, until all are."""
        environment = self.stack.remembered()
        starts: dict[str, Start] = {}
        ready: list[str] = []
        while len(ready) < len(self.services) and not self.stopping:
            self._check_alive(supervisord)
            known = self.stack.processes()
            for service in self.services:
                name = service.name
                if name not in known or name in ready:
                    continue
                if name in starts:
                    alone = len(ready) == len(self.services) - 1
                    if self._started(service, starts[name], known[name], environment, alone=alone):
                        ready.append(name)
                elif set(service.after) <= set(ready):
                    starts[name] = self._begin(name)

            waiting = ", ".join(name for name in starts if name not in ready) or "the rest"
            count = f"{len(ready)} of {len(self.services)} ready"
            self.console.progress(f"{self._clock()} {count}, waiting for {waiting}")
            time.sleep(LOOK)

    def _begin(self, name: str) -> Start:
        # If supervisord was just killed, the next look at it notices.
        with contextlib.suppress(OSError):
            self.stack.call("startProcess", name, False)
        return Start(poll=self.stack.settings.model_poll_seconds)

    def _started(
        self,
        service: Service,
        start: Start,
        process: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        alone: bool,
    ) -> bool:
        """Look at a service that is starting, and return whether it has started.

        Raises
        ------
        Failed
            When the start has failed.
        """
        now = health(service, environment, process)
        start.see(now, process["pid"])
        if start.over(now, alone=alone):
            self.console.step(f"{self._clock()} {service.name}: {now.text}")
            return True

        if start.failed(now) or (service.job and process["statename"] == "EXITED"):
            log = self.stack.log_dir / f"{service.name}.log"
            raise Failed(f"{service.name} {now.text}; the end of {log}:\n{tail(log)}")
        return False

    def _clock(self) -> str:
        return f"{time.monotonic() - self.began:4.0f} s"

    def _check_alive(self, supervisord: subprocess.Popen[bytes]) -> None:
        if supervisord.poll() is not None:
            raise Failed(
                "supervisord was ended by somebody else, so everything stops: "
                "`make run` starts it again"
            )

    def _present(self) -> None:
        self.console.say(f"ready in {time.monotonic() - self.began:.0f} s\n")
        self.console.say(table(self.stack, self.stack.remembered()))

        doors = what_is_open(self.environment)
        self.console.say(f"\n{doors}\n\n{logins(self.stack, self.environment, self.console)}")

        self.console.say(what_next(self.stack, self.environment))

    def _watch(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Stay until asked to stop, and report each service that died and was started again."""
        known = self.stack.processes()
        while not self.stopping:
            time.sleep(0.5)
            self._check_alive(supervisord)
            for name, process in self.stack.processes().items():
                if not process["pid"]:
                    continue
                if known[name]["pid"] not in (0, process["pid"]):
                    clock = time.strftime("%H:%M:%S")
                    self.console.say(f"{clock} {name} had died and was started again")
                known[name] = process


def what_next(stack: Stack, environment: Mapping[str, str]) -> str:
    """Return what to do with a stack that has started."""
    riskometer = next(service for service in SERVICES if service.name == "risk-o-meter")
    file = file_to_try(stack.settings.dataset)
    return WHAT_NEXT.format(
        riskometer=riskometer.address(environment),
        and_upload=f" and upload {file}: every client gets green or red" if file else "",
        logs=stack.log_dir,
        var=stack.var,
    )


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, indented."""
    text = log.read_text(errors="replace") if log.exists() else "(there is no such file)"
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])
