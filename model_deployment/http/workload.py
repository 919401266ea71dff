"""How much a process works on at a time: what large bodies take in memory is bounded by their bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model_deployment.http.problem import later
from model_deployment.http.receiving import IN_MEMORY

# A body takes up to some 40 times its size while it is decided; one that is larger than this is worked on alone.
MOST_BYTES = 40_000_000
WAIT_SECONDS = 60.0


class Workload:
    """Lets bodies be worked on, as many as there is room for; those that fit in memory as they are, always."""

    def __init__(self) -> None:
        self._bytes = 0
        self._less = asyncio.Condition()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Wait until there is room for a body of so many bytes, and hold it for as long as the block runs.

        Raises
        ------
        Problem
            When others take it for too long (503).
        """
        if size <= IN_MEMORY:
            yield
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._less:
                await self._less.wait_for(lambda: not self._bytes or self._bytes + size <= MOST_BYTES)
                self._bytes += size
        except TimeoutError:
            raise later("busy", "Other large uploads are being decided. Try again in a moment.") from None
        try:
            yield
        finally:
            self._bytes -= size
            async with self._less:
                self._less.notify_all()
