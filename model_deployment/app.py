"""The Risk-O-Meter as an ASGI application: checks every request and passes it on.

Health and scores are answered without Flask, however busy its threads are.
"""

import asyncio
import ctypes
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from flask import Flask

from credit_risk.access.access_log import AccessLog
from credit_risk.access.policy import METRICS
from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.registry import open_registry
from credit_risk.schema.dataset_file import read_sample
from credit_risk.settings import Settings
from model_deployment.api import probes, problems
from model_deployment.api.operation import JSON
from model_deployment.api.problems import problem_of
from model_deployment.api.routes import PUBLIC, blueprints, permissions
from model_deployment.api.routes.score import SCORE, Endpoint
from model_deployment.http import orphan_cleanup
from model_deployment.http.access import Access
from model_deployment.http.json_provider import JsonProvider
from model_deployment.http.problem import not_allowed, unavailable
from model_deployment.http.receiving import Receive, UploadLimiter
from model_deployment.http.request import Answer, Request, encoded, refusal
from model_deployment.http.sending import Headers, Send, Sender
from model_deployment.http.site import Site
from model_deployment.http.workload import Workload
from model_deployment.scoring.live_model import LiveModel
from model_deployment.scoring.metrics import Metrics
from model_deployment.scoring.service import Scoring
from model_deployment.ui import page

# Headers of every answer.
HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page names its user, and its callbacks return what is a client's.
    "Cache-Control": "no-store",
}
HEALTHZ = "/healthz"
# Probes, and the API's description with its style, which is read before there is a key.
UNLOCKED = (HEALTHZ, "/readyz", *PUBLIC, "/assets/riskometer.css", "/assets/logo.svg")
# What each address takes, by its rule.
PERMISSIONS: dict[str, Permission] = {**permissions(), **page.PERMISSIONS, METRICS: "metrics"}
# After bodies of more bytes, free memory is returned to the system, about .2 GB.
_BIG_BODY = 10_000_000
_libc = ctypes.CDLL(None)


def create_app(
    settings: Settings | None = None,
    *,
    production: LiveModel | None = None,
    log: DecisionLog | None = None,
) -> "App":
    """Return the app: page, API, probes and metrics.

    Parameters
    ----------
    settings : Settings, optional
        Read from the environment when not given.
    production : LiveModel, optional
        Knows which model serves. When not given, one is made and started: each worker process calls
        this after the fork, so that the thread belongs to it.
    log : DecisionLog, optional
        Opened as the settings say when not given.
    """
    settings = settings or Settings()
    log = log or open_log(settings)
    if production is None:
        registry = open_registry(settings)
        production = LiveModel(
            registry,
            log,
            settings.model_poll_seconds,
            follow_alias=settings.follow_alias,
            labels=settings.labels,
        )
        production.start()
        orphan_cleanup.start(log)

    limit = settings.max_upload_mb * 1_000_000
    metrics = Metrics()
    access = Access(settings, UNLOCKED, PERMISSIONS)
    sample = read_sample(settings.dataset)
    scoring = Scoring(production, log, metrics, settings.max_explained_rows, sample)

    flask = Flask(__name__, static_folder=None)
    flask.config["MAX_CONTENT_LENGTH"] = limit
    flask.json = JsonProvider(flask)
    metrics.show(flask)
    for blueprint in blueprints(scoring, production, log, limit, sample):
        flask.register_blueprint(blueprint)
    flask.register_blueprint(probes.blueprint(production, log, named=not access.closed))
    policy = page.attach(flask, production, log, scoring, sample)
    problems.register(flask)

    receiver, workload = UploadLimiter(limit, settings.riskometer_uploads), Workload()
    threads = settings.riskometer_threads
    score = Endpoint(receiver, workload, scoring, flask.json.dumps, threads)
    site = Site(flask, receiver, workload, threads)
    headers = encoded({**HARDENED, "Content-Security-Policy": policy})
    return App(access, AccessLog(), score, site, metrics, headers)


class _Own(NamedTuple):
    """An address that is answered without Flask."""

    methods: tuple[str, ...]
    answer: Callable[[Request], Awaitable[Answer]]


class App:
    """An ASGI application.

    Parameters
    ----------
    headers : list
        Headers of every answer that does not set them itself.

    Attributes
    ----------
    flask : Flask
        Answers most addresses.
    """

    def __init__(
        self,
        access: Access,
        access_log: AccessLog,
        score: Endpoint,
        site: Site,
        metrics: Metrics,
        headers: Headers,
    ) -> None:
        self.flask = site.flask
        self._access = access
        self._access_log = access_log
        self._site = site
        self._metrics = metrics
        self._headers = headers
        self._sender = Sender()
        self._own = {
            SCORE.path: _Own(("POST",), score),
            HEALTHZ: _Own(("GET", "HEAD"), _healthz),
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI."""
        began = time.perf_counter()
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
            if request.method == "GET" and not self._sender.has_room(answer):
                detail = "Too many large answers are under way here. Try again in a moment."
                raise unavailable("busy", detail)
        except Exception as error:
            answer = refusal(problem_of(error, f"{request.method} {request.route}"))

        seconds = time.perf_counter() - began
        method, route = request.method, request.route
        self._metrics.observe(route, method, answer.status, seconds)
        if request.entry.reason:
            self._metrics.refuse(request.entry.reason)
        self._access_log.write(
            request.entry, request.caller, request.peer, method, route, answer.status
        )

        said = {name for name, _ in answer.headers}
        headers = [*answer.headers, *(header for header in self._headers if header[0] not in said)]
        await self._sender.send(answer, headers, send)
        del answer
        await request.finish()
        if request.size > _BIG_BODY and hasattr(_libc, "malloc_trim"):
            await asyncio.to_thread(_libc.malloc_trim, 0)

    async def _answer(self, request: Request) -> Answer:
        own = self._own.get(request.path)
        if own is None:
            request.route = self._site.route(request.method, request.path)
        elif request.method in own.methods:
            request.route = request.path
        request.check()
        self._access.admit(request)

        if own is None:
            return await self._site(request)
        if request.method in own.methods:
            return await own.answer(request)

        allowed = ", ".join((*own.methods, "OPTIONS"))
        if request.method == "OPTIONS":
            return Answer(200, encoded({"Allow": allowed, "Content-Length": "0"}))
        raise not_allowed(request.method, request.path, allowed)


async def _healthz(request: Request) -> Answer:
    """Answer, which shows that the process is alive."""
    return _ALIVE


_ALIVE = Answer(200, encoded({"Content-Type": JSON, "Content-Length": "16"}), b'{"status":"ok"}\n')
