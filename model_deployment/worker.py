"""gunicorn's gthread worker, but for how it stops and how it keeps with a client that asks again at once."""

import os
import select
import time
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http.body import LengthReader
from gunicorn.http.wsgi import base_environ
from gunicorn.workers.gthread import ThreadWorker

from model_deployment import plain


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
# So much of that it stays awake, where the client was as quick the last time: to fall asleep and to be woken takes up
# to a fifth of the time of scoring one client.
AWAKE_SECONDS = 0.0003


class Worker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker that does not wait for idle connections when it is told to stop.

    gthread's own waits out its grace period for each browser that merely keeps a connection open. What is being
    answered, or taken in, is still finished.

    gthread's own also hands a connection back to its main thread after each answer, which gives it to a thread again:
    for a system that scores one client after the other, these changes of thread take as long as the scoring. What such
    a system asks next is read by `plain`, where it is plain.
    """

    def init_process(self) -> None:
        """See gthread's own."""
        self._base: plain.Environ = base_environ(self.cfg) | {
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SCRIPT_NAME": "",
        }
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow at once on the same connection."""
        kept = super().handle(conn)
        if kept is not True:
            return kept
        known, turn = self._known_of(conn), _Turn(conn)
        while kept and self.alive and turn.has_come():
            plain_one = self._plain_request(conn, known) if known else None
            kept = super().handle(conn) if plain_one is None else self._answer(conn, plain_one)
        return kept

    def _known_of(self, conn: Any) -> plain.Environ | None:
        """Return what no request on a connection says itself; None where gunicorn would read more into one."""
        if self.cfg.is_ssl or os.environ.get("SCRIPT_NAME") or not isinstance(conn.client, tuple):
            return None
        return self._base | {
            "REMOTE_ADDR": conn.client[0],
            "REMOTE_PORT": str(conn.client[1]),
            "SERVER_NAME": conn.server[0],
            "SERVER_PORT": str(conn.server[1]),
        }

    def _plain_request(self, conn: Any, known: plain.Environ) -> plain.Environ | None:
        """Return the environ of the request that has come, or leave it to gunicorn."""
        if self.nr + 1 >= self.max_requests:  # gunicorn ends the worker with it
            return None
        unreader = conn.parser.unreader
        try:
            data = unreader.take_buffered() or conn.sock.recv(plain.MAX_BYTES)
        except OSError:  # which gunicorn finds again
            return None
        environ = plain.read(data, known)
        if environ is None:
            unreader.unread(data)
        return environ

    def _answer(self, conn: Any, environ: plain.Environ) -> bool:
        """Answer a plain request, and say whether the connection goes on."""
        self.nr += 1
        try:
            answer = plain.answer(self.wsgi, environ)
        except Exception as error:
            self.handle_error(None, conn.sock, conn.client, error)
            return False
        try:
            conn.sock.sendall(answer)
        except OSError:  # the client is gone
            return False
        return True

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


class _Turn:
    """A client's turn to ask again."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._poll = select.poll()  # unlike select, takes any number of open files
        self._poll.register(conn.sock, select.POLLIN)
        self._quick = False

    def has_come(self) -> bool:
        """Wait for the next request, and return whether there is one."""
        if self._conn.parser.unreader.buf.getbuffer().nbytes:  # it came together with the last one
            return True
        start = time.perf_counter()
        came = self._quick and self._comes_before(start + AWAKE_SECONDS)
        came = came or bool(self._poll.poll(LINGER_MILLISECONDS))
        self._quick = time.perf_counter() - start < AWAKE_SECONDS
        return came

    def _comes_before(self, end: float) -> bool:
        while time.perf_counter() < end:
            if self._poll.poll(0):  # others run meanwhile
                return True
        return False
