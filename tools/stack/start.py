"""The start of one service: whether it is over, and whether it has failed."""

import time
from dataclasses import dataclass, field

from tools.stack.health import Health

PATIENCE = 900
"""Seconds until a start without result is given up; one that keeps dying is given up at once."""
HESITATION = 5
"""Seconds that a service may take to load a model that it has on disk."""
TRIAL = 120
"""Seconds that a service may take, on a busy machine, to try a new model in its own process."""


@dataclass
class Start:
    """How far the start of one service has got."""

    poll: float
    began: float = field(default_factory=time.monotonic)
    pids: set[int] = field(default_factory=set)
    unready_at: float | None = None
    ready_at: float | None = None
    alone_at: float | None = None

    def see(self, now: Health, pid: int) -> None:
        """Record the latest look at the service."""
        if pid:
            self.pids.add(pid)
        if now.alive and not now.ready:
            self.unready_at = self.unready_at or time.monotonic()

        if not now.ready:
            self.ready_at = None
        elif self.ready_at is None:
            self.ready_at = time.monotonic()

    def over(self, now: Health, *, alone: bool) -> bool:
        """Return whether the service has started.

        The processes of one service load the first model one by one, within `poll` seconds. If that
        took a while, a single ready answer does not speak for all of them.

        A service that is `alone` in not being ready counts as started once it has answered for long
        enough.
        """
        if self.ready_at is not None:
            waited = self.unready_at is not None and self.ready_at - self.unready_at > HESITATION
            return not waited or time.monotonic() - self.ready_at > self.poll

        if not alone or not now.alive:
            return False

        self.alone_at = self.alone_at or time.monotonic()
        return time.monotonic() - self.alone_at > 2 * self.poll + TRIAL

    def failed(self, now: Health) -> bool:
        """Return whether the service keeps dying, or has not answered for too long."""
        too_long = not now.alive and time.monotonic() - self.began > PATIENCE
        return len(self.pids) > 2 or too_long
