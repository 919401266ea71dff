"""Serve the approvals service, until stopped.

Its settings are variables of the environment (docs/settings.md); docs/approvals.md describes it.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from credit_risk.access.roles import RolesFileInvalid, read_roles
from credit_risk.settings import Settings, read_settings

# Seconds that a client may take for a request's head, or keep an idle connection open.
HEAD_SECONDS = 30
CONNECTIONS = 256
# Seconds that the requests under way have when the server is stopped.
STOP_SECONDS = 25
_LOGGING: dict[str, Any] = {
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "line": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"level": "INFO", "handlers": ["line"]},
    # Clients could fill the log with its messages about single connections.
    "loggers": {
        "_granian": {},
        "_granian.asgi": {"level": "WARNING"},
        "urllib3": {"level": "ERROR"},
    },
}

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_deployment.approvals", description=__doc__
    )
    parser.parse_args(arguments)
    settings = read_settings()
    _check(settings)

    # Done once here, the worker, and one that replaces it, start at once. It opens nothing.
    import model_deployment.approvals.app  # noqa: F401

    multiprocessing.set_start_method("fork")
    server = Granian(
        "model_deployment.approvals.app:create_app",
        address=settings.bind_address,
        port=settings.approvals_port,
        interface=Interfaces.ASGINL,
        workers=1,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    server.serve(target_loader=_app, wrap_loader=False)
    return 0


def _check(settings: Settings) -> None:
    """End the process with one line where it cannot serve."""
    try:
        if settings.roles_file:
            read_roles(settings.roles_file)
    except RolesFileInvalid as error:
        sys.exit(str(error))

    address = settings.bind_address, settings.approvals_port
    family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        sys.exit(f"APPROVALS_PORT {address[1]} on {address[0]} cannot be had: {error.strerror}")


def _app() -> Any:
    """Return the application of the worker process."""
    from model_deployment.approvals.app import create_app

    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    settings = Settings()
    if not settings.has_tokens:
        logger.warning(
            "neither OIDC_ISSUER nor IAP_AUDIENCE is set: nobody can propose or approve here"
        )
    return create_app(settings)


def _end_with_parent() -> None:
    """End this worker when the server is killed; otherwise it would hold the port."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
