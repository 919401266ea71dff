"""A project of docker-compose.yml of its own, on free ports, to be broken."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tools.chaos import docker
from tools.chaos.target import CUT, KILL, PAUSE, PORTS, REPLICA, RISKOMETER, free_ports, inherited
from tools.failure import Failed
from tools.paths import ROOT

PROJECT = "credit-risk-chaos"
COMPOSE = ("docker", "compose", "--progress", "quiet")
UP = "docker compose up --build --wait"
DOWN = f"`COMPOSE_PROJECT_NAME={PROJECT} docker compose down --volumes`"
PROXY = "proxy"
REPLICAS = 2
PROBE_SECONDS = 15


class ComposeTarget:
    """The containers of `docker compose up`; see `Target`."""

    def __init__(self) -> None:
        self._ports = free_ports([*PORTS, "GRAFANA_PORT"])
        self._cut: list[tuple[str, str, list[str]]] = []
        self._paused: list[str] = []
        # By container that was killed, when it had been started.
        self._killed: dict[str, str] = {}
        self._broken: list[str] = []
        self._was_up = False

    @property
    def riskometer(self) -> str:
        """The address of the API, without a path; of the proxy where there is one."""
        return f"http://localhost:{self._ports['RISKOMETER_PORT']}"

    @property
    def prometheus(self) -> str:
        """The address of Prometheus."""
        return f"http://localhost:{self._ports['PROMETHEUS_PORT']}"

    @property
    def place(self) -> str:
        """Where its state is."""
        return f"the volumes of {PROJECT} ({DOWN} removes them)"

    def environment(self) -> dict[str, str]:
        """Return the environment of Docker's commands; a `.env` does not count."""
        return {
            **inherited(),
            **self._ports,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_DISABLE_ENV_FILE": "1",
            "RISKOMETER_SUBNET": "10.196.98.0/27",  # a stack that runs has the default
            "STACK": "compose",
            "N_ITER": "5",
        }

    def start(self) -> None:
        """Build and start the containers by COMPOSE_UP, and with a proxy a second Risk-O-Meter."""
        if self._containers():
            raise Failed(
                f"containers of {PROJECT} are there: another experiment, or one that was cut off "
                f"({DOWN} removes it)"
            )
        self._was_up = True
        up = os.environ.get("COMPOSE_UP") or UP
        # Its progress is no part of the table.
        done = subprocess.run(
            ["sh", "-c", up],
            stdout=sys.stderr,
            cwd=ROOT,
            env=self.environment(),
            check=False,
        )
        if done.returncode:
            raise Failed(f"the stack did not start: {up}")
        if PROXY in self._compose("config", "--services").split():
            scaled = f"{RISKOMETER}={REPLICAS}"
            wanted = ("--no-build", "--no-recreate", "--no-deps", "--wait", "--scale", scaled)
            self._compose("up", *wanted, RISKOMETER)

    def stop(self, *, keep: bool) -> None:
        """Remove the containers; with `keep` they are only stopped."""
        self.heal()
        if self._was_up and keep:
            self._compose("stop", "--timeout", "60")
        elif self._was_up:
            self._compose("down", "--volumes", "--rmi", "local", "--timeout", "60")

    def services(self) -> list[str]:
        """Return what can be broken."""
        return docker.breakable(self._containers(), RISKOMETER, REPLICA)

    def impossible(self, fault: str) -> str:
        """Return nothing: every fault is available here."""
        return ""

    def inject(self, service: str, fault: str) -> None:
        """Begin a fault in every container of a service, or in one of them."""
        self._killed.clear()
        self._broken = self._ids(service)
        for id in self._broken:
            if fault == KILL:
                self._killed[id] = self._inspect(id)["State"]["StartedAt"]
                # It may be killed by its own command before it can answer.
                _run(["docker", "exec", id, *docker.KILL_ALL], check=False)
            elif fault == PAUSE:
                self._paused.append(id)
                _run(["docker", "pause", id])
            elif fault == CUT:
                self._cut_off(id)

    def heal(self) -> None:
        """Let what is paused go on, and put what is cut off back on its networks."""
        while self._paused:
            _run(["docker", "unpause", self._paused.pop()], check=False)
        while self._cut:
            network, id, aliases = self._cut.pop()
            _run(docker.connect(network, id, aliases), check=False)

    def is_well(self, service: str, since: float) -> bool:
        """Return whether the containers that were broken run, and pass their health check now.

        Docker's own word is up to half a minute old.
        """
        return all(self._is_well(id) for id in self._broken)

    def revive(self, service: str) -> None:
        """Start the containers of a service anew."""
        for id in self._broken:
            _run(["docker", "restart", id], check=False)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line that runs `python ARGUMENTS` where training does."""
        worker = ("exec", "-T", "training-worker", "with-secrets", "python")
        return [*COMPOSE, *worker, *arguments]

    def _is_well(self, id: str) -> bool:
        inspected = self._inspect(id)
        if not docker.is_up(inspected, not_since=self._killed.get(id, "")):
            return False
        check = docker.healthcheck(inspected)
        if not check:
            return True
        try:
            done = _run(["docker", "exec", id, *check], check=False, timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _cut_off(self, id: str) -> None:
        for network, aliases in docker.networks(self._inspect(id)).items():
            self._cut.append((network, id, aliases))
            _run(docker.disconnect(network, id))

    def _ids(self, service: str) -> list[str]:
        name = RISKOMETER if service == REPLICA else service
        found = [one["ID"] for one in self._containers() if one["Service"] == name]
        return found[:1] if service == REPLICA else found

    def _containers(self) -> list[dict[str, Any]]:
        return docker.listed(self._compose("ps", "--all", "--no-trunc", "--format", "json"))

    def _inspect(self, id: str) -> dict[str, Any]:
        (inspected,) = json.loads(_run(["docker", "inspect", id]).stdout)
        return dict(inspected)

    def _compose(self, *arguments: str) -> str:
        return _run([*COMPOSE, *arguments], environment=self.environment()).stdout


def _run(
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker's.

    Raises
    ------
    Failed
        When it fails and `check` is set, or there is no Docker.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise Failed(f"no {command[0]} on this machine: {error.strerror}") from error
    if check and done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done
