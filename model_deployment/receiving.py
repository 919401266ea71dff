"""Taking in request bodies, so that slow clients wait for themselves only.

A gthread worker reads a body in the thread that answers, so as many slow uploads as it has threads would stop it. Here
only so many bodies are taken in at a time, and gunicorn.conf.py gives a worker as many threads on top of those that
work: whatever arrives slowly, these stay free for probes, pages and one-row scores.
"""

import logging
import tempfile
import threading

from flask import Flask, request
from werkzeug.exceptions import ClientDisconnected

from model_deployment.problems import later

# A client that sends nothing for so long is taken for gone.
STALLED_SECONDS = 60
NO_SPACE = "There is no room for the upload on this service's disk, so nothing was decided. Try again later."

logger = logging.getLogger(__name__)


def register(app: Flask, places: int) -> None:
    """Have an app receive each body before anything else looks at it, at most `places` at a time."""
    free = threading.BoundedSemaphore(places)

    def receive() -> None:
        if request.routing_exception is not None or request.method not in ("POST", "PUT", "PATCH"):
            return
        if not free.acquire(blocking=False):
            raise later("busy", f"{places} uploads are under way here already. Try again in a moment.")
        connection = request.environ.get("gunicorn.socket")
        try:
            if connection is not None:
                connection.settimeout(STALLED_SECONDS)
            _take_in()
        except OSError as error:  # not the connection's: these come as ClientDisconnected
            logger.error("an upload cannot be written to %s: %s", tempfile.gettempdir(), error)
            raise later("no-space", NO_SPACE) from None
        finally:
            if connection is not None:
                connection.settimeout(None)
            free.release()

    app.before_request(receive)


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
