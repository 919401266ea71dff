"""Every answer that is not a success is a problem of one shape, on every route."""

import io
import re

import pytest
from pydantic import SecretStr

from credit_risk.decision_log.batch import Batch
from credit_risk.keys import digest
from credit_risk.storage.documents import LogUnavailable
from model_deployment.api.problems import problem_of
from model_deployment.api.routes import OPERATIONS, PUBLIC
from model_deployment.api.schemas import Problem
from model_deployment.app import create_app
from model_deployment.scoring.errors import NotDecided
from model_deployment.scoring.service import Scoring
from tests.support.german_credit import GERMAN_CREDIT, Validator
from tests.support.riskometer import client_of

POSTS = [operation for operation in OPERATIONS if operation.method == "post"]
KNOWN = "01KB0000000000000000000000"
UNKNOWN = "01JZZZZZZZZZZZZZZZZZZZZZZZ-0"
MEMBERS = ["type", "title", "status", "detail"]


def is_the_promised(answer, status: int) -> dict:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    body = answer.get_json(force=True)
    Problem.model_validate(body, strict=True)
    assert list(body)[:4] == MEMBERS, "in this order, further members after them"
    assert body["status"] == status
    assert re.fullmatch(r"[A-Z0-9'“/].*\.", body["detail"], re.S), "a sentence"
    return body


@pytest.fixture(autouse=True)
def _a_batch(log, client_rows, scorers):
    applications = Validator().rows(client_rows[:3])
    decided = scorers[0].decide(applications.codes)
    log.commit(Batch(applications, decided, "1", "digest-1", scorers[0].threshold, id=KNOWN))


def ask(client, operation, method: str | None = None, **more):
    """Ask for a batch that is there, or a decision that is not."""
    path = operation.path.replace("{id}.{form}", f"{KNOWN}.csv").replace("{id}", UNKNOWN)
    return client.open(path, method=method or operation.method.upper(), **more)


@pytest.fixture
def good(client_rows, as_csv):
    """Bodies that are taken, by operation."""
    return {
        "score": lambda: {"json": client_rows[:1]},
        "files": lambda: {
            "data": {"file": (io.BytesIO(as_csv(client_rows[:1]).encode()), "c.csv")}
        },
        "batch_with_its_file": lambda: {"data": {"file": (io.BytesIO(b"another"), "c.csv")}},
        "override": lambda: {"json": {"prediction": "red", "by": "Ann", "reason": "x"}},
        "outcomes": lambda: {
            "data": f"decision_id,outcome,date\n{UNKNOWN},repaid,2026-01-01\n",
            "content_type": "text/csv",
        },
    }


def kind(answer, status: int) -> str:
    return is_the_promised(answer, status)["type"].removeprefix("urn:risk-o-meter:")


def test_404_at_an_unknown_address(client):
    for path in (
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/score",
        "/api/v1/score/",
        "/api/v1/decisions/",
        "/x%00",
    ):
        for method in ("GET", "POST", "DELETE", "NONSENSE"):
            assert kind(client.open(path, method=method), 404) == "not-found"


def test_405_for_another_method(client):
    for operation in OPERATIONS:
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"):
            answer = ask(client, operation, method)
            assert kind(answer, 405) == "method-not-allowed"
            assert operation.method.upper() in answer.headers["Allow"]


@pytest.mark.parametrize("host", ["evil.example", "", "[", "a b", "127.0.0.1.evil.example:9696"])
def test_400_for_an_unknown_host(client, host):
    for operation in OPERATIONS:
        assert kind(ask(client, operation, headers={"Host": host}), 400) in (
            "unknown-host",
            "bad-request",
        )


def test_403_from_another_web_page(client, good):
    for operation in POSTS:
        answer = ask(
            client, operation, headers={"Origin": "http://evil.example"}, **good[operation.id]()
        )
        assert kind(answer, 403) == "foreign-origin"


def test_401_without_a_key(settings, production, log):
    locked = settings.model_copy(update={"api_keys": SecretStr(f"branch-12:{digest('k' * 32)}")})
    client = client_of(create_app(locked, production=production, log=log))
    for operation in OPERATIONS:
        answer = ask(client, operation)
        if operation.path in PUBLIC:
            assert answer.status_code == 200
        else:
            assert kind(answer, 401) == "no-key"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def bodies(operation, data: bytes):
    """Yield requests that send these bytes, one a type that the operation takes."""
    for type in operation.body:
        if type.startswith("multipart"):
            yield {"data": {"file": (io.BytesIO(data), "c.csv")}}
        else:
            yield {"data": data, "content_type": type}


def test_413_over_the_limit(client):
    for operation in POSTS:
        for body in bodies(operation, b" " * 1_000_001):
            assert kind(ask(client, operation, **body), 413) == "too-large"


@pytest.mark.parametrize("type", ["text/plain", "application/xml", "nonsense", None])
def test_415_for_another_type(client, type):
    for operation in POSTS:
        assert kind(ask(client, operation, data=b"x", content_type=type), 415) == "unsupported-type"


def test_400_for_unreadable_content(client):
    for operation in POSTS:
        for body in bodies(operation, b"\xff\xfe\x00"):
            answer = ask(client, operation, **body)
            if operation.id == "batch_with_its_file":
                assert kind(answer, 422) == "another-file"
            else:
                assert kind(answer, 400) == "unreadable"


def test_422_for_invalid_content(client, good):
    bad = good | {
        "score": lambda: {"json": [{}]},
        "files": lambda: {"data": {"file": (io.BytesIO(b"duration\n6\n"), "c.csv")}},
        "override": lambda: {"json": {"prediction": "blue"}},
    }
    for operation in POSTS:
        is_the_promised(ask(client, operation, **bad[operation.id]()), 422)


def test_404_for_an_id_that_is_not_in_the_log(client, good):
    for operation in OPERATIONS:
        if "{id}" in operation.path:
            for form in ("csv", "xlsx", "pdf"):
                path = operation.path.replace("{id}", UNKNOWN).replace("{form}", form)
                answer = client.open(
                    path, method=operation.method.upper(), **good.get(operation.id, dict)()
                )
                assert kind(answer, 404) == "not-found"


class Away:
    """A log that cannot be reached."""

    dataset = GERMAN_CREDIT

    def __getattr__(self, name):
        def fail(*arguments, **more):
            raise LogUnavailable("no route to the log")

        return fail


def test_503_without_the_log(settings, production, good):
    client = client_of(create_app(settings, production=production, log=Away()))
    for operation in OPERATIONS:
        if 503 in operation.problems and operation.id != "model":
            answer = ask(client, operation, **good.get(operation.id, dict)())
            assert kind(answer, 503) == "no-decision-log"
            assert int(answer.headers["Retry-After"]) > 0


def test_503_without_a_model(client, disapprove, production, good):
    disapprove()
    production.refresh()
    for operation in OPERATIONS:
        if operation.id in ("score", "files", "model"):
            answer = ask(client, operation, **good.get(operation.id, dict)())
            assert kind(answer, 503) == "no-production-model"


def test_409_for_a_key_whose_version_is_gone(client, registry, production, client_rows, appoint):
    more = {"json": client_rows[:1], "headers": {"Idempotency-Key": "k"}}
    client.post("/api/v1/score", **more)
    appoint("2")
    production.refresh()
    registry.tampered = {"1"}
    assert kind(client.post("/api/v1/score", **more), 409) == "decided-before"


def test_500_for_an_unforeseen_error(app, good, monkeypatch):
    def fail(**_):
        raise ZeroDivisionError("Main Street")

    for endpoint in app.flask.view_functions:
        if endpoint.startswith(("api.", "docs.")):
            monkeypatch.setitem(app.flask.view_functions, endpoint, fail)
    monkeypatch.setattr(Scoring, "rows", lambda *_, **__: fail())
    for operation in OPERATIONS:
        answer = ask(client_of(app), operation, **good.get(operation.id, dict)())
        assert kind(answer, 500) == "internal"
        assert "Main Street" not in answer.text


@pytest.mark.parametrize("kind", NotDecided.__subclasses__())
def test_known_reasons_against_a_decision_are_never_500(kind, log):
    said = {
        "KeyReused": (log.batch(KNOWN),),
        "DecidedBefore": (log.batch(KNOWN), "by another version"),
    }
    problem = problem_of(kind(*said.get(kind.__name__, ("nothing was decided",))), "here")
    assert problem.kind != "internal"
    assert problem.status in (409, 413, 422, 503)
