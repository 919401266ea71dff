"""What the experiment needs to know of a stack, and the faults that it puts in."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from credit_risk.schema.dataset_file import DEFAULT
from credit_risk.settings import Settings
from tools.stack.local_stack import variables

KILL, PAUSE, CUT = "kill", "pause", "cut"
FAULTS = (KILL, PAUSE, CUT)
RISKOMETER = "risk-o-meter"
REPLICA = "risk-o-meter-replica"
"""One of several Risk-O-Meters: a container, or on this machine a worker process."""
PORTS = (
    "RISKOMETER_PORT",
    "MLFLOW_PORT",
    "PREFECT_PORT",
    "EXPORTER_PORT",
    "PROMETHEUS_PORT",
    "ALERTMANAGER_PORT",
)


class Target(Protocol):
    """A stack of its own, which the experiment may break."""

    @property
    def riskometer(self) -> str:
        """The address of the API, without a path."""

    @property
    def prometheus(self) -> str:
        """The address of Prometheus; empty where there is none."""

    @property
    def place(self) -> str:
        """Where its state is, for a person who looks into it."""

    def start(self) -> None:
        """Start the stack, and return when all of it is ready.

        Raises
        ------
        Failed
            When it does not start.
        """

    def stop(self, *, keep: bool) -> None:
        """End every fault and stop the stack; its state stays only with `keep`."""

    def services(self) -> list[str]:
        """Return what can be broken: the services that run, and a replica where there are some."""

    def impossible(self, fault: str) -> str:
        """Return why a fault is not available on this stack; empty where it is."""

    def inject(self, service: str, fault: str) -> None:
        """Begin a fault. A kill is over at once, the others go on until `heal`."""

    def heal(self) -> None:
        """End the fault that was begun last; does nothing when there is none."""

    def is_well(self, service: str, since: float) -> bool:
        """Return whether a service does its work again, after a fault that ended at `since`.

        After a kill that is only so for a process that was started since.
        """

    def revive(self, service: str) -> None:
        """Start a service that did not come back by itself."""

    def command(self, *arguments: str) -> list[str]:
        """Return a command line that runs `python ARGUMENTS` with the stack's addresses."""

    def environment(self) -> dict[str, str]:
        """Return the environment for `command`."""


def dataset() -> str:
    """Return the data set that the stack serves: DATASET, the one setting that counts here."""
    return os.environ.get("DATASET") or DEFAULT


def defaults() -> dict[str, str]:
    """Return every setting but DATASET at its default, as variables.

    They go before a `.env`: an alert must not be sent to whom a real stack tells, nor a decision
    written into its log.
    """
    unset = {name.upper(): "" for name in Settings.model_fields}
    return unset | variables(Settings.model_construct(dataset=dataset()))


def inherited() -> dict[str, str]:
    """Return this process's environment without what belongs to another stack."""
    ours = {name.upper() for name in Settings.model_fields} - {"DATASET"}
    foreign = ("CREDIT_RISK_", "SUPERVISOR_")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith(foreign)
    }


def free_ports(names: Sequence[str]) -> dict[str, str]:
    """Return a port of this machine that nobody listens on for each of these names."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: str(one.getsockname()[1]) for name, one in zip(names, sockets, strict=True)}


def last_lines(path: Path, n: int = 15) -> str:
    """Return the end of a file for a message."""
    lines = path.read_text(errors="replace").rstrip().splitlines()
    return "\n".join(lines[-n:])


def ordered(found: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """Yield those of the services found that are wanted; all of them when none is named."""
    yield from (name for name in found if not wanted or name in wanted)
