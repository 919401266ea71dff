"""Real services for tests: a Prefect server, a model in service."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.registry import Registry
from tests.support.processes import answers, free_port, running, wait_for

PREFECT_LOGIN = "admin:of-the-tests"  # of every Prefect server here, and of settings


def put_in_service(
    registry: Registry, log: DecisionLog, number: str, by: str = "Ann Example"
) -> None:
    """Note a version as training does, and approve it as `make approve` does."""
    note_registered(log, registry.version(number))
    approve(registry, log, number, by, "it is better")


@contextmanager
def prefect_server(folder: Path, *, schedules: bool = False) -> Iterator[str]:
    """Run a Prefect server on SQLite, and yield its API's address.

    Without `schedules` it does not start runs by itself.
    """
    port = free_port()
    command = [sys.executable, "-m", "tools.servers.prefect_server", "--port", str(port)]
    env = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT_SERVER_API_AUTH_STRING": PREFECT_LOGIN,
    }
    with running(command if schedules else [*command, "--no-services"], folder / "log", env):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api/health"), 280, "Prefect")
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def flows_under(api: str) -> Iterator[str]:
    """Have this process run its flows under a Prefect API."""
    from prefect.context import refresh_global_settings_context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", api)
        patch.setenv("PREFECT_API_AUTH_STRING", PREFECT_LOGIN)
        refresh_global_settings_context()  # all threads', as in a worker
        try:
            yield api
        finally:
            # What is still to be sent is sent while the server is there, or the end of this
            # process would try it again and again.
            EventsWorker.drain_all(timeout=10)
            APILogWorker.drain_all(timeout=10)
    refresh_global_settings_context()
