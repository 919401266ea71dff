"""Connects to the Dask cluster that `DASK_SCHEDULER` names.

Its package is installed only where there is a cluster to use (dependency group `scale`), and so is
imported here when it is needed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONNECT_SECONDS = 10


class ClusterFailed(Exception):
    """The Dask cluster cannot be used; the message names the setting and its address."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield a client of a cluster that has a worker.

    Parameters
    ----------
    address : str
        Of its scheduler, such as `tcp://dask-scheduler:8786`.

    Raises
    ------
    ClusterFailed
        When no scheduler or no worker answers within `CONNECT_SECONDS`; and when, while it is used,
        the scheduler is lost or workers die again and again.
    """
    try:
        from distributed import Client
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker, NoWorkerError
    except ImportError as error:
        raise ClusterFailed(
            f"DASK_SCHEDULER={address}: the dependency group `scale` is not installed ({error})"
        ) from error

    try:
        asyncio.run(_greet(address))
        client = Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except OSError as error:
        raise ClusterFailed(f"DASK_SCHEDULER={address}: no scheduler answers there") from error

    with client:
        try:
            client.wait_for_workers(1, CONNECT_SECONDS)
        except TimeoutError as error:
            raise ClusterFailed(f"DASK_SCHEDULER={address}: it has no worker") from error

        try:
            yield client
        except FutureCancelledError as error:
            raise ClusterFailed(f"DASK_SCHEDULER={address}: the scheduler is gone") from error
        except (KilledWorker, NoWorkerError) as error:
            raise ClusterFailed(f"DASK_SCHEDULER={address}: {error}") from error


async def _greet(address: str) -> None:
    """Return when a scheduler answers; a client would wait for ever for one that says nothing."""
    from distributed.comm.core import connect

    comm = await asyncio.wait_for(
        connect(address),  # type: ignore[no-untyped-call]
        CONNECT_SECONDS,
    )
    await comm.close()
