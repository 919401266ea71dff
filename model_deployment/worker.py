"""gunicorn's gthread worker, but for how it stops."""

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker that does not wait for idle connections when it is told to stop.

    gthread's own waits out its grace period for each browser that merely keeps a connection open. What is being
    answered, or taken in, is still finished.
    """

    def murder_keepalived(self) -> None:
        """Close idle connections that are due: all of them, once the worker stops."""
        self._let_go(self.keepalived_conns)
        super().murder_keepalived()

    def murder_pending(self) -> None:
        """Close connections that never sent a request and are due: all of them, once the worker stops."""
        self._let_go(self.pending_conns)
        super().murder_pending()

    def _let_go(self, connections: object) -> None:
        if not self.alive:
            for connection in connections:  # type: ignore[attr-defined]
                connection.timeout = 0
