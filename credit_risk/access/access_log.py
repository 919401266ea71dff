"""The access log: one line of JSON on standard error for each access that must be traceable.

Logged are all writes, all reads of clients' data, and all refusals: when, who, from where, what and
with which result. A line holds nothing that a client sent. A separate thread writes the lines, so
that no answer waits for them; when more arrive than it can write, they are dropped and counted.
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
# The ids that we assign, to batches, uploads, reports and decisions. Anything else in an address
# comes from a client.
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}(-[0-9]{1,18})?")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass
class Entry:
    """The action of one request; without `what` no line is written.

    Attributes
    ----------
    what : str
        One of our own words, such as `override`.
    id : str or None
        The id of the batch, decision, upload or report.
    status : int or None
        The result as an HTTP status, where that of the answer says nothing about it, as with the
        page's callbacks.
    reason : str or None
        Why the request was refused, one of `access.REASONS`.
    """

    what: str = ""
    id: str | None = None
    status: int | None = None
    reason: str | None = None

    def refuse(self, reason: str) -> None:
        """Record that the request was refused."""
        self.what, self.reason = "refused", reason


class AccessLog:
    """Writes the lines of the access log.

    Parameters
    ----------
    stream : file, optional
        Where to write; standard error when not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(_Json())
        self._waiting = _Bounded(queue.Queue(MAX_WAITING))
        self._listener = _Listener(self._waiting.queue, handler)
        self._listener.start()

    def write(
        self,
        entry: Entry,
        caller: Caller | None,
        address: str | None,
        method: str,
        route: str,
        status: int,
    ) -> None:
        """Write the line about a request, unless its entry is empty.

        Parameters
        ----------
        entry : Entry
        caller : Caller or None
            Who sent the request; None where that is unknown and the request was refused.
        address : str or None
            The other end of the connection.
        method : str
        route : str
            The route's rule, not the path.
        status : int
            The status of the answer.
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
        """Write the lines that are waiting, and end the thread."""
        self._listener.stop()


class _Listener(QueueListener):
    """Ends when all lines are written, even where the queue is full."""

    def enqueue_sentinel(self) -> None:
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]


class _Bounded(QueueHandler):
    """Puts lines into a queue as they are, and drops those for which there is no room."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(waiting)
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                dropped = {"time": time, "what": "dropped", "n": self._dropped}
                self.queue.put_nowait(_record(dropped))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.msg)


def _record(fields: dict[str, Any]) -> logging.LogRecord:
    return logging.LogRecord("access", logging.INFO, "", 0, fields, None, None)  # type: ignore[arg-type]
