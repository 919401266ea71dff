"""Start a Dask worker that only its scheduler's network reaches.

    python -m tools.servers.dask_worker [OPTIONS of `dask worker`]

A worker runs the code that it is sent, and by default it listens on every network that its
container is in: also on those of the databases, where others are.
"""

import os
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from distributed.cli.dask_worker import main as dask_worker

HEALTH = "127.0.0.1:8787"
"""Where `/health` is answered, to its own container alone."""


def arguments(scheduler: str, options: Sequence[str]) -> list[str]:
    """Return the command line of `dask worker` for a worker of this scheduler.

    Parameters
    ----------
    scheduler : str
        Its address, such as tcp://dask-scheduler:8786.
    options : sequence of str
        Further options.
    """
    where = [f"--host={_address_towards(scheduler)}", f"--dashboard-address={HEALTH}"]
    return [scheduler, *where, "--no-dashboard", *options]


def _address_towards(scheduler: str) -> str:
    """Return this machine's address in the network by which it reaches the scheduler."""
    url = urlsplit(scheduler)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((url.hostname, url.port))  # sends nothing
        own: str = probe.getsockname()[0]
    return own


if __name__ == "__main__":
    sys.exit(dask_worker(arguments(os.environ["DASK_SCHEDULER"], sys.argv[1:])))
