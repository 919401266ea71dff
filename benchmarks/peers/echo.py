"""The floor of serving: the server of ours, whose application returns what was sent.

python -m benchmarks.peers.echo PORT
"""

import multiprocessing
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

Event = MutableMapping[str, Any]


async def app(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """Return the body of the request."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)

    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until stopped, with what ours is set to."""
    multiprocessing.set_start_method("fork")
    server = Granian(
        "benchmarks.peers.echo:app",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGINL,
        workers=2,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
    )
    server.serve(target_loader=_app, wrap_loader=False)


def _app() -> Any:
    return app


if __name__ == "__main__":
    main()
