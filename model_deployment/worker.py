"""gunicorn's gthread worker, but for how it stops and how it keeps with a client that asks again at once."""

import select
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http.body import LengthReader
from gunicorn.workers.gthread import ThreadWorker


class QuietLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger without access log: it would compose each line, a tenth of a request's time, for no handler."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing."""


class Body(LengthReader):  # type: ignore[misc]
    """A request's body, which goes from the socket to where it is wanted.

    gunicorn's own takes 1,024 bytes at a time out of 8,192: half a second for the file of a million clients.
    """

    def readinto(self, buffer: Any) -> int:
        """Read as much as has come and there is room for; 0 where the client is gone."""
        room = memoryview(buffer)[: self.length]
        if held := self.unreader.take_buffered():
            count = min(len(held), len(room))
            room[:count] = held[:count]
            self.unreader.unread(held[count:])
        else:
            count = self.unreader.sock.recv_into(room)
        self.length -= count
        return int(count)


# So long a thread waits for the next request on the connection that it has just answered.
LINGER_MILLISECONDS = 3


class Worker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker that does not wait for idle connections when it is told to stop.

    gthread's own waits out its grace period for each browser that merely keeps a connection open. What is being
    answered, or taken in, is still finished.

    gthread's own also hands a connection back to its main thread after each answer, which gives it to a thread again:
    for a system that scores one client after the other, these changes of thread take as long as the scoring.
    """

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once on the same connection."""
        kept = super().handle(conn)
        while kept is True and self.alive and _asks_again(conn.sock):
            kept = super().handle(conn)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Have the app answer a request, whose body it reads from the socket itself."""
        if isinstance(req.body.reader, LengthReader):
            req.body = Body(req.unreader, req.body.reader.length)
        return super().handle_request(req, conn)

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


def _asks_again(connection: Any) -> bool:
    poll = select.poll()  # unlike select, takes any number of open files
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(LINGER_MILLISECONDS))
