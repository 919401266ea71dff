"""The approvals service as an ASGI application: page, API, `/healthz` and `/metrics`.

It is apart from the Risk-O-Meter, which parses hostile files: only this process has the approver's
credential for the decision log.
"""

from collections.abc import Callable, MutableMapping
from typing import Any

from flask import Flask, Response
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics

from credit_risk.access.access_log import AccessLog
from credit_risk.access.policy import REASONS
from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import open_log
from credit_risk.registry.errors import ApprovalRejected, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.registry import open_registry
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.api import problems
from model_deployment.api.problems import problem_of
from model_deployment.approvals import page, routes
from model_deployment.approvals.actions import Desk, open_desk
from model_deployment.approvals.training import PrefectUnavailable
from model_deployment.http.access import Access
from model_deployment.http.problem import Problem, not_allowed, size_text, unavailable
from model_deployment.http.receiving import Receive, UploadLimiter
from model_deployment.http.request import Answer, Request, encoded, refusal
from model_deployment.http.sending import Send, Sender
from model_deployment.http.site import Site
from model_deployment.http.workload import Workload

HEALTHZ = "/healthz"
UNLOCKED = (HEALTHZ, page.STYLE)
PERMISSIONS: dict[str, Permission] = {**routes.PERMISSIONS, **page.PERMISSIONS}
# A reason of 500 characters, and what is around it.
MOST_BYTES = 16_000
# An approval keeps one for as long as it downloads a version and tries it out.
THREADS = 8
HEADERS = {
    "Content-Security-Policy": page.POLICY,
    # Not `no-referrer`: with that, browsers hide the origin of a form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ALIVE = b'{"status":"ok"}\n'
# The answer to each error of the domain, in addition to those of `api.problems`.
_ANSWERS: dict[type[Exception], Callable[[Exception], Problem]] = {
    ApprovalRejected: lambda error: Problem(409, "not-approved", str(error)),
    ModelRefused: lambda error: Problem(409, "model-refused", str(error)),
    NoSuchVersion: lambda error: Problem(404, "no-such-version", str(error)),
    RegistryUnavailable: lambda _: unavailable("no-registry", "MLflow cannot be reached."),
    LogUnavailable: lambda _: unavailable("no-decision-log", "The decision log cannot be reached."),
    PrefectUnavailable: lambda error: unavailable("no-prefect", str(error)),
}

# Otherwise there is one more series for each metric, which nobody needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


def create_app(settings: Settings) -> "App":
    """Return the app; nothing is asked of MLflow, Prefect or the log before a request needs it."""
    access = Access(settings, UNLOCKED, PERMISSIONS)
    desk = open_desk(open_registry(settings), open_log(settings), settings)
    return App(access, AccessLog(), desk)


class App:
    """An ASGI application.

    Parameters
    ----------
    access : Access
    access_log : AccessLog
    desk : Desk
    """

    def __init__(self, access: Access, access_log: AccessLog, desk: Desk) -> None:
        counts = CollectorRegistry()
        self._refusals = Counter(
            "credit_risk_approvals_refusals",
            "Requests refused because of who asks",
            ["reason"],
            registry=counts,
        )
        for reason in REASONS:  # so that the first one is an increase
            self._refusals.labels(reason)

        flask = Flask(__name__)
        flask.register_blueprint(routes.blueprint(desk, counts))
        flask.register_blueprint(page.blueprint(desk))
        problems.register(flask)
        for kind in _ANSWERS:
            flask.register_error_handler(kind, _answer_to)

        self._access = access
        self._access_log = access_log
        self._site = Site(flask, UploadLimiter(MOST_BYTES, places=1), Workload(), THREADS)
        self._sender = Sender()
        self._headers = encoded(HEADERS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Exception as error:
            problem = problem_of(error, f"{request.method} {request.route}")
            answer = refusal(_about_size(problem))

        if reason := request.entry.reason:
            self._refusals.labels(reason).inc()
        self._access_log.write(
            request.entry,
            request.caller,
            request.peer,
            request.method,
            request.route,
            answer.status,
        )

        said = {name for name, _ in answer.headers}
        headers = [*answer.headers, *(header for header in self._headers if header[0] not in said)]
        await self._sender.send(answer, headers, send)
        await request.finish()

    async def _answer(self, request: Request) -> Answer:
        is_probe = request.path == HEALTHZ
        if not is_probe:
            request.route = self._site.route(request.method, request.path)
        request.check()
        self._access.admit(request)
        if not is_probe:
            return await self._site(request)
        if request.method not in ("GET", "HEAD"):
            raise not_allowed(request.method, HEALTHZ, "GET, HEAD")

        # Without a thread, all of which may be busy.
        length = str(len(_ALIVE))
        headers = {"Content-Type": routes.JSON, "Content-Length": length}
        return Answer(200, encoded(headers), _ALIVE)


def _answer_to(error: Exception) -> Response:
    answer = next(answer for kind, answer in _ANSWERS.items() if isinstance(error, kind))
    return answer(error).response()


def _about_size(problem: Problem) -> Problem:
    """Say of a body that is too large what holds here: nobody sends clients."""
    if problem.kind != "too-large":
        return problem
    return Problem(413, "too-large", f"A request has at most {size_text(MOST_BYTES)}.")
