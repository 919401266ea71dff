"""How both services are served: granian, with an application in each of its processes.

granian (with hyper, in Rust) reads HTTP. A request that it cannot read it answers itself, with 400
or 431 and no body, and it closes the connection.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

# Seconds that a client may take for a request's head, or keep an idle connection open.
HEAD_SECONDS = 30
# Seconds that the requests under way have when the server is stopped.
STOP_SECONDS = 25
_LOGGING: dict[str, Any] = {
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}
    },
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


class Server:
    """A server, whose workers are forks of this process; the log is open once it is made.

    Parameters
    ----------
    target : str
        What is served, for messages: `module:function`.
    address : str
    port : int
    workers : int
    connections : int
        Per worker; more wait until one is closed.
    """

    def __init__(
        self, target: str, address: str, port: int, *, workers: int, connections: int
    ) -> None:
        multiprocessing.set_start_method("fork")
        self._granian = Granian(
            target,
            address=address,
            port=port,
            interface=Interfaces.ASGINL,
            workers=workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=connections,
            backpressure=connections,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
            log_dictconfig=_LOGGING,
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_SECONDS,
        )

    def serve(self, create_app: Callable[[], Any]) -> None:
        """Serve until stopped.

        Parameters
        ----------
        create_app : callable
            Returns the application; called in each worker.
        """

        def load() -> Any:
            # The server's handlers came with the fork, and would only note the signal. granian sets
            # a worker's own once this returns: a stop before that ends it, for it has no request.
            for stop in (signal.SIGTERM, signal.SIGINT):
                signal.signal(stop, signal.SIG_DFL)
            threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
            return create_app()

        self._granian.serve(target_loader=load, wrap_loader=False)


def _end_with_parent() -> None:
    """End this worker when the server is killed.

    Otherwise it would hold the port, and answer beside the workers of the next server.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
