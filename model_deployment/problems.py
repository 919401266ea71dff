"""Every answer that is no success, in one shape: `application/problem+json` (RFC 9457).

`type` is a stable word for programs, `detail` a sentence for people.
"""

import json
import logging
import math
import time
import traceback
from http import HTTPStatus
from typing import Any

from dash.exceptions import DependencyException, InvalidResourceError
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from credit_risk.decisions import LogUnavailable
from credit_risk.sheet import Unreadable
from model_deployment.serving import ScoringOff

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_SAME_SECONDS = 60.0
_told: dict[tuple[type, str, int | None], float] = {}


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
        detail = _sentence(detail)
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


def _sentence(text: str) -> str:
    """Return a text, which may be a fault's, with a capital and a stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def later(kind: str, detail: str) -> Problem:
    """Return the problem of something that is off for now."""
    return Problem(503, kind, detail, {"Retry-After": str(RETRY_SECONDS)})


def problem_of(error: Exception, where: str) -> Problem:
    """Return what is said of an error; one that nobody foresaw is logged, with `where` it came up.

    What is logged is without the error's text, which may quote what a client sent.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, Unreadable):
        return Problem(400, "unreadable", str(error))
    if isinstance(error, ScoringOff):
        return later("no-production-model", str(error))
    if isinstance(error, LogUnavailable):
        logger.warning("decision log unavailable: %s", error)
        detail = "The decision log cannot be reached, so nothing was decided and nothing taken. Try again in a moment."
        return later("no-decision-log", detail)
    _tell(error, where)
    return Problem(500, "internal", "Something went wrong here; it is written to the service's log.")


def _tell(error: Exception, where: str) -> None:
    """Log an error that nobody foresaw: where it is the same again, not before a minute is over.

    Whoever finds one could push everything else out of the log.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = (type(error), frames[-1].filename, frames[-1].lineno)
    now = time.monotonic()
    if now - _told.get(place, -_SAME_SECONDS) >= _SAME_SECONDS:
        _told[place] = now
        logger.error("%s in %s\n%s", type(error).__name__, where, "".join(traceback.format_list(frames)))


def nothing_at(path: str) -> Problem:
    """Return the problem of an address at which there is nothing."""
    return Problem(404, "not-found", f"There is nothing at {path}.")


def not_allowed(method: str, path: str, allowed: str) -> Problem:
    """Return the problem of a method that an address does not take; `allowed` are those that it takes."""
    return Problem(405, "method-not-allowed", f"{path} takes no {method}; it takes {allowed}.", {"Allow": allowed})


def register(app: Flask) -> None:
    """Answer every error of an app in this shape. Comes after Dash is attached, which brings handlers of its own."""
    app.register_error_handler(HTTPException, _http)
    for error in (DependencyException, InvalidResourceError):
        app.register_error_handler(error, lambda _: nothing_at(request.path).response())
    app.register_error_handler(Exception, _any)


def _any(error: Exception) -> Response:
    return problem_of(error, f"{request.method} {request.url_rule}").response()


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    if status == 404:
        return nothing_at(request.path).response()
    if status == 405:
        return not_allowed(request.method, request.path, headers.get("Allow", "nothing")).response()
    phrase = HTTPStatus(status).phrase
    return Problem(status, phrase.lower().replace(" ", "-"), error.description or phrase, headers).response()
