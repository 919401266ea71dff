"""Taking in request bodies, so that slow clients wait for themselves only.

A gthread worker reads a body in the thread that answers, so as many slow uploads as it has threads would stop it. Here
only so many bodies are taken in at a time, and gunicorn.conf.py gives a worker as many threads on top of those that
work: whatever arrives slowly, these stay free for probes, pages and one-row scores.
"""

import threading

from flask import Flask, request

from model_deployment.problems import later

# A client that sends nothing for so long is taken for gone.
STALLED_SECONDS = 60


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
            # Files go to disk as they come in, anything else to memory; both are kept for the view.
            request.get_data(parse_form_data=True)
        finally:
            if connection is not None:
                connection.settimeout(None)
            free.release()

    app.before_request(receive)
