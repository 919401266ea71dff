"""Sending answers, large ones in pieces.

So a client that does not read its answer holds few bytes, and not for long.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import IO, Any

from model_deployment.http.request import Answer

# Bytes of a piece, and seconds that a client may take to read it.
PIECE = 1 << 18
UNREAD_SECONDS = 60.0
# Bytes of answers that a process holds while they are read; further ones are refused where the
# client can ask again.
MOST_UNREAD = 256_000_000

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Sender:
    """Sends answers, and counts the bytes of them that are still to be read."""

    def __init__(self) -> None:
        self._unread = 0

    def has_room(self, answer: Answer) -> bool:
        """Return whether there is memory for an answer; a file takes none."""
        size = len(answer.body) if isinstance(answer.body, bytes) else 0
        return size <= PIECE or self._unread == 0 or self._unread + size <= MOST_UNREAD

    async def send(self, answer: Answer, headers: Headers, send: Send) -> None:
        """Send an answer, and close it if it is a file.

        An answer that is not read for `UNREAD_SECONDS` is abandoned.
        """
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if isinstance(answer.body, bytes) and len(answer.body) <= PIECE:
            await send({"type": "http.response.body", "body": answer.body})
            return

        held = len(answer.body) if isinstance(answer.body, bytes) else 0
        self._unread += held
        try:
            async for piece in _pieces(answer.body):
                async with asyncio.timeout(UNREAD_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:  # the server ends the connection, because the answer is not complete
            return
        finally:
            self._unread -= held
            if not isinstance(answer.body, bytes):
                answer.body.close()


async def _pieces(body: bytes | IO[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        for at in range(0, len(body), PIECE):
            yield body[at : at + PIECE]
        return
    while piece := await asyncio.to_thread(body.read, PIECE):
        yield piece
