"""Which problem answers an error: a table for the domain's errors, one place for all others."""

import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus

from dash.exceptions import DependencyException, InvalidResourceError
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from credit_risk.decision_log.overrides import NoSuchDecision, NotAllowed
from credit_risk.schema.faults import MalformedFile
from credit_risk.storage.documents import LogUnavailable
from model_deployment.files.formats import ReadersBusy
from model_deployment.http.problem import Problem, not_allowed, nothing_at, unavailable
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
_LOG_OFF = (
    "The decision log cannot be reached, so nothing was decided and nothing taken. "
    "Try again in a moment."
)
# The answer to each error of the domain.
_ANSWERS: dict[type[Exception], Callable[[Exception], Problem]] = {
    MalformedFile: lambda error: Problem(400, "unreadable", str(error)),
    NoSuchDecision: lambda error: Problem(404, "not-found", f"{error}."),
    DecidedBefore: lambda error: Problem(409, "decided-before", str(error), members=vars(error)),
    TooManyForExcel: lambda error: Problem(413, "too-many-for-excel", str(error)),
    TooManyToExplain: lambda error: Problem(413, "too-many-to-explain", str(error)),
    AnotherFile: lambda error: Problem(422, "another-file", str(error)),
    KeyReused: lambda error: Problem(422, "key-reused", str(error)),
    NotAllowed: lambda error: Problem(422, "invalid-override", f"{error}."),
    NoRoom: lambda error: unavailable("no-room", str(error)),
    ReadersBusy: lambda error: unavailable("busy", str(error)),
    ScoringOff: lambda error: unavailable("no-production-model", str(error)),
    LogUnavailable: lambda error: unavailable("no-decision-log", _LOG_OFF),
}


def problem_of(error: Exception, where: str) -> Problem:
    """Return the problem that answers an error; an unforeseen one is logged.

    The log line has no text of the error, which may quote what a client sent.

    Parameters
    ----------
    error : Exception
    where : str
        Method and route of the request.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, LogUnavailable):
        logger.warning("decision log unavailable: %s", error)
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return answer(error)
    _log(error, where)
    detail = "Something went wrong here; it is written to the service's log."
    return Problem(500, "internal", detail)


def _log(error: Exception, where: str) -> None:
    """Log an unforeseen error, but the same one at most once a minute.

    Otherwise a client that finds one could push everything else out of the log.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = (type(error), frames[-1].filename, frames[-1].lineno)
    now = time.monotonic()

    if now - _told.get(place, -_SAME_SECONDS) >= _SAME_SECONDS:
        _told[place] = now
        logger.error(
            "%s in %s\n%s", type(error).__name__, where, "".join(traceback.format_list(frames))
        )


def register(app: Flask) -> None:
    """Have an app answer every error with a problem.

    Call it after Dash is attached, which registers handlers of its own.
    """
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
    kind = phrase.lower().replace(" ", "-")
    return Problem(status, kind, error.description or phrase, headers).response()
