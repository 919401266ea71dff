"""`POST /api/v1/score`: one endpoint outside Flask, with the same access control."""

import json

import pytest

from credit_risk.storage.documents import LogUnavailable
from model_deployment.api.routes.score import SCORE


def kind(answer):
    assert answer.content_type == "application/problem+json"
    return answer.status_code, answer.get_json(force=True)["type"].removeprefix("urn:risk-o-meter:")


def test_flask_has_no_score_route(app):
    assert SCORE.path not in {rule.rule for rule in app.flask.url_map.iter_rules()}


@pytest.mark.parametrize(
    "type", ["application/json", "application/json; charset=utf-8", "application/ld+json"]
)
@pytest.mark.parametrize(
    "query", ["", "?reasons=true", "?what_would_change_it=1&reasons", "?other=x&reasons=no"]
)
def test_endpoint_answers_every_json_request(client, client_rows, type, query, log):
    rows = [
        *client_rows[:3],
        {**client_rows[0], "age": 99},
        {**client_rows[0], "client_id": "Łódź-1", "memo": "x"},
        {"age": "x"},
    ]
    answer = client.post(SCORE.path + query, data=json.dumps(rows), content_type=type)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    found = answer.get_json()
    assert found["n_decided"] == 5
    extras = found["decisions"][0].keys() & {"reasons", "what_would_change_it"}
    assert extras == {
        name
        for name in ("reasons", "what_would_change_it")
        if f"{name}=no" not in query and name in query
    }
    assert len(list(log.latest_batches())) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"{}", 400),
        (b"[", 400),
        (b"", 400),
        (b"\xff", 400),
        (b"[NaN]", 400),
        (b'["\\ud800"]', 400),
        (b'[{"age": 1, "age": 2}]', 400),
        (b"[1]", 422),
        (b'[{"age": "x"}]', 422),
    ],
)
def test_endpoint_answers_undecidable_bodies_with_a_problem(client, body, status):
    answer = client.post(SCORE.path, data=body, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_endpoint_honours_the_idempotency_key(client, client_rows):
    def ask(rows, key):
        return client.post(SCORE.path, json=rows, headers={"Idempotency-Key": key})

    assert kind(ask(client_rows[:1], "x" * 201)) == (400, "bad-key")
    assert ask(client_rows[:1], "one").get_json() == ask(client_rows[:1], "one").get_json()
    assert kind(ask(client_rows[1:2], "one")) == (422, "key-reused")


def test_endpoint_reports_an_absent_log_or_model(
    client, client_rows, log, monkeypatch, production, disapprove
):
    def away(*_):
        raise LogUnavailable("no route")

    with monkeypatch.context() as patch:
        patch.setattr(log, "commit", away)
        assert kind(client.post(SCORE.path, json=client_rows[:1])) == (503, "no-decision-log")
    with monkeypatch.context() as patch:
        patch.setattr(log, "commit", lambda *_: 1 / 0)
        assert kind(client.post(SCORE.path, json=client_rows[:1])) == (500, "internal")
    disapprove()
    production.refresh()
    assert kind(client.post(SCORE.path, json=client_rows[:1])) == (503, "no-production-model")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "localhost:x"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "LOCALHOST:9696"}, 200),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_endpoint_checks_access(client, client_rows, headers, status):
    assert client.post(SCORE.path, json=client_rows[:1], headers=headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("PUT", SCORE.path, "POST"), ("POST", "/healthz", "GET")]
)
def test_endpoint_and_healthz_list_their_methods(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert kind(answer) == (405, "method-not-allowed")
    assert allowed in answer.headers["Allow"]
    asked = client.options(path)
    assert (asked.status_code, asked.data) == (200, b"")
    assert allowed in asked.headers["Allow"]
    assert client.head("/healthz").status_code == 200
