"""Which problem an error is answered with: one table for the domain's errors, and one place for all others."""

import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus

from dash.exceptions import DependencyException, InvalidResourceError
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from credit_risk.schema.faults import Unreadable
from credit_risk.storage.documents import LogUnavailable
from model_deployment.files.formats import ReadersBusy
from model_deployment.http.problem import Problem, later, not_allowed, nothing_at
from model_deployment.scoring.errors import (
    AnotherFile,
    DecidedBefore,
    KeyReused,
    NoRoom,
    TooManyForExcel,
    TooManyToExplain,
)
from model_deployment.scoring.live_model import ScoringOff

logger = logging.getLogger(__name__)

_SAME_SECONDS = 60.0
_told: dict[tuple[type, str, int | None], float] = {}
_LOG_OFF = "The decision log cannot be reached, so nothing was decided and nothing taken. Try again in a moment."
# What is answered to each error of the domain.
_ANSWERS: dict[type[Exception], Callable[[Exception], Problem]] = {
    Unreadable: lambda error: Problem(400, "unreadable", str(error)),
    DecidedBefore: lambda error: Problem(409, "decided-before", str(error), members=vars(error)),
    TooManyForExcel: lambda error: Problem(413, "too-many-for-excel", str(error)),
    TooManyToExplain: lambda error: Problem(413, "too-many-to-explain", str(error)),
    AnotherFile: lambda error: Problem(422, "another-file", str(error)),
    KeyReused: lambda error: Problem(422, "key-reused", str(error)),
    NoRoom: lambda error: later("no-room", str(error)),
    ReadersBusy: lambda error: later("busy", str(error)),
    ScoringOff: lambda error: later("no-production-model", str(error)),
    LogUnavailable: lambda error: later("no-decision-log", _LOG_OFF),
}


def problem_of(error: Exception, where: str) -> Problem:
    """Return what is said of an error; one that nobody foresaw is logged, with `where` it came up.

    What is logged is without the error's text, which may quote what a client sent.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, LogUnavailable):
        logger.warning("decision log unavailable: %s", error)
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return answer(error)
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
