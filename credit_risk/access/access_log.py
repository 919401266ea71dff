"""The access log: a line of JSON on standard error for each write, each read of clients' data, and each refusal.

It says when, who, from where, what and with which result, and holds nothing that a client sent. A thread of its own
writes the lines, so that no answer waits for it; when more come than it can write, they are dropped, and counted.
"""

import json
import logging
import queue
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from credit_risk.access.caller import Caller

MAX_WAITING = 10_000
# The ids that we give: of batches, uploads and reports, and of decisions. Whatever else an address holds is a client's.
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}(-[0-9]{1,18})?")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass
class Entry:
    """What one request does; without `what` no line is written.

    Attributes
    ----------
    what : str
        A word of ours, such as `override`.
    id : str or None
        Of the batch, decision, upload or report.
    status : int or None
        The result as an HTTP status, where the answer's own says nothing about it, as with the page's callbacks.
    reason : str or None
        Why the request was refused, one of `access.REASONS`.
    """

    what: str = ""
    id: str | None = None
    status: int | None = None
    reason: str | None = None

    def refuse(self, reason: str) -> None:
        """Have it say that the request was refused."""
        self.what, self.reason = "refused", reason


class AccessLog:
    """Writes the lines.

    Parameters
    ----------
    stream : file, optional
        Where to; standard error when not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(_Json())
        self._waiting = _Bounded(queue.Queue(MAX_WAITING))
        self._listener = _Listener(self._waiting.queue, handler)
        self._listener.start()

    def write(
        self, entry: Entry, caller: Caller | None, address: str | None, method: str, route: str, status: int
    ) -> None:
        """Write the line about a request, where it has one.

        Parameters
        ----------
        entry : Entry
        caller : Caller or None
            Who asks; None where that is not known, and the request was refused.
        address : str or None
            The other end of the connection.
        method : str
        route : str
            The rule of the address, not the path.
        status : int
            Of the answer.
        """
        if not entry.what:
            return
        fields = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": caller.name if caller else None,
            "kind": caller.kind if caller else None,
            "address": address,
            "method": method if method in _METHODS else "other",
            "route": route,
            "what": entry.what,
            "id": entry.id if entry.id and _ID.fullmatch(entry.id) else None,
            "status": entry.status or status,
        }
        if entry.reason:
            fields["reason"] = entry.reason
        self._waiting.handle(_record(fields))

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._listener.stop()


class _Listener(QueueListener):
    """Ends when all lines are written, also where the queue is full."""

    def enqueue_sentinel(self) -> None:
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]


class _Bounded(QueueHandler):
    """Puts lines into a queue as they are, and drops what finds no room."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(waiting)
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                self.queue.put_nowait(_record({"time": time, "what": "dropped", "n": self._dropped}))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.msg)


def _record(fields: dict[str, Any]) -> logging.LogRecord:
    return logging.LogRecord("access", logging.INFO, "", 0, fields, None, None)  # type: ignore[arg-type]
