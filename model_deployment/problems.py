"""Every answer that is no success, in one shape: `application/problem+json` (RFC 9457).

`type` is a stable word for programs, `detail` a sentence for people.
"""

import json
import logging
import math
import socket
import traceback
from http import HTTPStatus
from typing import Any

from dash.exceptions import DependencyException, InvalidResourceError
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from credit_risk.decisions import LogUnavailable
from credit_risk.sheet import Unreadable
from model_deployment.serving import ScoringOff

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class Problem(Exception):
    """An answer that is no success.

    Parameters
    ----------
    status : int
        The HTTP status.
    kind : str
        The word that `type` ends in.
    detail : str
        What went wrong and what to do, for people.
    headers : dict, optional
        Further headers.
    members : dict, optional
        Further members of the body.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: dict[str, str] | None = None,
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members or {}

    def body(self) -> str:
        """Return it as JSON."""
        title = HTTPStatus(self.status).phrase
        kind = f"urn:risk-o-meter:{self.kind}"
        return json.dumps({"type": kind, "title": title, "status": self.status, "detail": self.detail, **self.members})

    def response(self) -> Response:
        """Return it as an HTTP answer."""
        return Response(self.body(), self.status, self.headers, content_type=CONTENT_TYPE)


def size_text(size: float) -> str:
    """Return a number of bytes as people write it: 215.3 MB, 200 MB, 20 kB."""
    if size < 1e6:
        return f"{math.ceil(size / 1000)} kB"
    return f"{size / 1e6:.1f}".removesuffix(".0") + " MB"


def later(kind: str, detail: str) -> Problem:
    """Return the problem of something that is off for now."""
    return Problem(503, kind, detail, {"Retry-After": str(RETRY_SECONDS)})


def register(app: Flask) -> None:
    """Answer every error of an app in this shape. Comes after Dash is attached, which brings handlers of its own."""
    app.register_error_handler(Problem, lambda problem: problem.response())
    app.register_error_handler(Unreadable, lambda error: Problem(400, "unreadable", str(error)).response())
    app.register_error_handler(ScoringOff, lambda error: later("no-production-model", str(error)).response())
    app.register_error_handler(LogUnavailable, _log_unavailable)
    app.register_error_handler(HTTPException, _http)
    for error in (DependencyException, InvalidResourceError):
        app.register_error_handler(error, lambda _: _nothing_here())
    app.register_error_handler(Exception, _unforeseen)


def write_error(connection: socket.socket, status: int, reason: str, message: str) -> None:
    """Answer a request that never reaches the app, as `gunicorn.util.write_error` does in HTML."""
    body = Problem(status, "malformed-request", message or reason).body().encode()
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: {CONTENT_TYPE}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def _nothing_here() -> Response:
    return Problem(404, "not-found", f"There is nothing at {request.path}.").response()


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    if status == 404:
        return _nothing_here()
    if status == 405:
        detail = f"{request.path} takes no {request.method}; it takes {headers.get('Allow', 'nothing')}."
        return Problem(405, "method-not-allowed", detail, headers).response()
    if status == 413:
        return _too_large()
    if isinstance(error, ClientDisconnected):
        return Problem(400, "incomplete", "The request broke off before its end.", headers).response()
    phrase = HTTPStatus(status).phrase
    return Problem(status, phrase.lower().replace(" ", "-"), error.description or phrase, headers).response()


def _too_large() -> Response:
    limit, size = current_app.config["MAX_CONTENT_LENGTH"], request.content_length
    if size is not None and size <= limit:
        detail = "The form has too many or too large fields; send one file in a field named 'file', and nothing else."
    else:
        has = f"has {size_text(size)}" if size else "is larger than that"
        detail = f"The limit is {size_text(limit)}, and the request {has}. Send the clients in several files."
    return Problem(413, "too-large", detail).response()


def _log_unavailable(error: LogUnavailable) -> Response:
    logger.warning("decision log unavailable: %s", error)
    detail = "The decision log cannot be reached, so nothing was decided and nothing taken. Try again in a moment."
    return later("no-decision-log", detail).response()


def _unforeseen(error: Exception) -> Response:
    # Without the error's text: it may quote what a client sent.
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s in %s %s\n%s", type(error).__name__, request.method, request.url_rule, frames)
    return Problem(500, "internal", "Something went wrong here; it is written to the service's log.").response()
