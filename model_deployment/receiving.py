"""Taking in request bodies, so that slow clients wait for themselves only.

A gthread worker reads a body in the thread that answers, so as many slow uploads as it has threads would stop it. Here
only so many bodies are taken in at a time, and gunicorn.conf.py gives a worker as many threads on top of those that
work: whatever arrives slowly, these stay free for probes, pages and one-row scores.
"""

import logging
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected

from credit_risk.sheet import Data
from model_deployment.problems import later

# A client that sends nothing for so long is taken for gone.
STALLED_SECONDS = 60
# A file of more bytes is on disk: werkzeug puts those there that have more than 512,000.
_IN_MEMORY = 600_000
NO_SPACE = "There is no room for the upload on this service's disk, so nothing was decided. Try again later."

logger = logging.getLogger(__name__)


class Receiver:
    """Takes in bodies, at most `places` at a time."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = threading.BoundedSemaphore(places)

    def register(self, app: Flask) -> None:
        """Have an app receive each body before anything else looks at it."""
        app.before_request(self._receive)

    @contextmanager
    def place(self, environ: Mapping[str, Any]) -> Iterator[None]:
        """Give a place, for the time that it takes to read a body; its sender may not stall.

        Raises
        ------
        Problem
            When none is free.
        """
        if not self._free.acquire(blocking=False):
            raise later("busy", f"{self._places} uploads are under way here already. Try again in a moment.")
        connection = environ.get("gunicorn.socket")
        try:
            if connection is not None:
                connection.settimeout(STALLED_SECONDS)
            yield
        finally:
            if connection is not None:
                connection.settimeout(None)
            self._free.release()

    def _receive(self) -> None:
        if request.routing_exception is not None or request.method not in ("POST", "PUT", "PATCH"):
            return
        with self.place(request.environ):
            try:
                _take_in()
            except OSError as error:  # not the connection's: these come as ClientDisconnected
                logger.error("an upload cannot be written to %s: %s", tempfile.gettempdir(), error)
                raise later("no-space", NO_SPACE) from None


def _take_in() -> None:
    """Read a body to its end: files to disk as they come in, anything else to memory; both are kept for the view."""
    body, length = request.stream, request.content_length
    request.get_data(parse_form_data=True)
    # A parser may have stopped early. Where no length was said, it is here that more than the limit shows.
    while length is None or body.tell() < length:
        if not body.read(65536):
            break
    if length is not None and body.tell() < length:
        raise ClientDisconnected


def content(file: FileStorage) -> Data:
    """Return what is in a file that was taken in: of a big one a view, for it would take room once more."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= _IN_MEMORY:
        return bytes(file.read())
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
