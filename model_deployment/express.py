"""The express lane: scores that are asked for in the plain way, without the framework's share of the time.

For one client Flask takes longer than validating, deciding and logging together. What a system posts to the API's
`/score` as a small JSON body is answered here, by the same parts and in the same bytes. A request that is not plain at
first sight goes the way of all others, and so does the answer to one that ends in an error.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, g
from werkzeug.exceptions import ClientDisconnected

from model_deployment.answer import CHANGES, REASONS, body
from model_deployment.api import key_of, parse, refuse_empty
from model_deployment.guard import Guard
from model_deployment.metrics import Metrics
from model_deployment.openapi import JSON, PREFIX
from model_deployment.receiving import Receiver
from model_deployment.scoring import Scoring

PATH = f"{PREFIX}/score"
# Some two hundred clients.
_MOST_DIGITS = 5
_EXTRAS = {
    "": frozenset[str](),
    f"{REASONS}=true": frozenset((REASONS,)),
    f"{CHANGES}=true": frozenset((CHANGES,)),
    f"{REASONS}=true&{CHANGES}=true": frozenset((REASONS, CHANGES)),
}

Environ = dict[str, Any]


class Express:
    """A WSGI application in front of Flask's.

    Parameters
    ----------
    app : Flask
        Its `wsgi_app` gets what is not plain; its error handlers, what fails.
    headers : mapping
        Those of every answer of the API.
    """

    def __init__(
        self,
        app: Flask,
        guard: Guard,
        receiver: Receiver,
        scoring: Scoring,
        metrics: Metrics,
        headers: Mapping[str, str],
    ) -> None:
        self._flask = app
        self._all_others = app.wsgi_app
        self._guard = guard
        self._receiver = receiver
        self._scoring = scoring
        self._metrics = metrics
        self._headers = [*headers.items(), ("Content-Type", JSON)]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if not self._is_plain(environ):
            return self._all_others(environ, start_response)
        started = time.perf_counter()
        try:
            answer = self._score(environ)
        except Exception as error:
            return self._failed(environ, start_response, started, error)
        self._metrics.observe(PATH, "POST", 200, time.perf_counter() - started)
        start_response("200 OK", [*self._headers, ("Content-Length", str(len(answer)))])
        return [answer]

    def _is_plain(self, environ: Environ) -> bool:
        length = environ.get("CONTENT_LENGTH") or ""
        return (
            environ["PATH_INFO"] == PATH
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == JSON
            and length.isdecimal()
            and len(length) <= _MOST_DIGITS
            and int(length) <= self._flask.config["MAX_CONTENT_LENGTH"]
            and "HTTP_TRANSFER_ENCODING" not in environ
            and environ["QUERY_STRING"] in _EXTRAS
            and self._guard.surely_passes(environ)
        )

    def _score(self, environ: Environ) -> bytes:
        extras = _EXTRAS[environ["QUERY_STRING"]]
        with self._receiver.place(environ):
            data = _body(environ)
        key = key_of(environ.get("HTTP_IDEMPOTENCY_KEY"))
        scored = self._scoring.rows(data, parse(data), key=key, explain=bool(extras))
        refuse_empty(scored.batch)
        found = body(scored.batch, scored.scorer, extras)
        return f"{self._flask.json.dumps(found)}\n".encode()

    def _failed(
        self, environ: Environ, start_response: Callable[..., Any], started: float, error: Exception
    ) -> Iterable[bytes]:
        with self._flask.request_context(environ):
            g.started = started
            return self._flask.finalize_request(self._flask.handle_user_exception(error))(environ, start_response)


def _body(environ: Environ) -> bytes:
    length = int(environ["CONTENT_LENGTH"])
    try:
        data: bytes = environ["wsgi.input"].read(length)
    except OSError as error:
        raise ClientDisconnected from error
    if len(data) < length:
        raise ClientDisconnected
    return data
