"""How many bytes of large bodies a process works on at a time, which bounds its memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model_deployment.http.problem import unavailable
from model_deployment.http.receiving import IN_MEMORY

# A body takes up to about 40 times its size in memory while it is decided; one that is larger than
# this is worked on alone.
MOST_BYTES = 40_000_000
WAIT_SECONDS = 60.0


class Workload:
    """Admits as many large bodies as there is room for; small ones always."""

    def __init__(self) -> None:
        self._bytes = 0
        self._less = asyncio.Condition()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Wait until there is room for a body, and hold it while the block runs.

        Parameters
        ----------
        size : int
            Bytes of the body.

        Raises
        ------
        Problem
            When there is none for `WAIT_SECONDS` (503).
        """
        if size <= IN_MEMORY:
            yield
            return

        try:
            async with asyncio.timeout(WAIT_SECONDS), self._less:
                await self._less.wait_for(
                    lambda: not self._bytes or self._bytes + size <= MOST_BYTES
                )
                self._bytes += size
        except TimeoutError:
            detail = "Other large uploads are being decided. Try again in a moment."
            raise unavailable("busy", detail) from None

        try:
            yield
        finally:
            self._bytes -= size
            async with self._less:
                self._less.notify_all()
