"""Serve the approvals service, until stopped.

Its settings are variables of the environment (docs/settings.md); docs/approvals.md describes it.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any

from credit_risk.access.notice import notices
from credit_risk.settings import Settings, read_settings
from model_deployment.http.serving import Server

CONNECTIONS = 256

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_deployment.approvals", description=__doc__
    )
    parser.parse_args(arguments)
    settings = read_settings()
    about_access = notices(settings, settings.approvals_port)
    _check_port(settings)

    # Done once here, the worker, and one that replaces it, start at once. It opens nothing.
    import model_deployment.approvals.app  # noqa: F401

    server = Server(
        "model_deployment.approvals.app:create_app",
        settings.bind_address,
        settings.approvals_port,
        workers=1,
        connections=CONNECTIONS,
    )
    for level, text in about_access:  # the log is open now
        logger.log(level, text)
    if not settings.has_tokens:
        logger.warning(
            "neither OIDC_ISSUER nor IAP_AUDIENCE is set: nobody can propose or approve here"
        )
    server.serve(_app)
    return 0


def _check_port(settings: Settings) -> None:
    """End the process with one line where another has the port."""
    address = settings.bind_address, settings.approvals_port
    family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        sys.exit(f"APPROVALS_PORT {address[1]} on {address[0]} is not available: {error.strerror}")


def _app() -> Any:
    """Return the application of the worker process."""
    from model_deployment.approvals.app import create_app

    return create_app(Settings())


if __name__ == "__main__":
    sys.exit(main())
