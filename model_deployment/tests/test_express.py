"""The express lane answers what Flask would answer, and lets nobody in whom Flask would keep out."""

import json
import re

import pytest
from pydantic import SecretStr

from credit_risk.decisions import LogUnavailable
from model_deployment.app import create_app

SCORE = "/api/v1/score"
PLAIN = "application/json"
# Means the same, but is not plain.
OTHER = "application/json; charset=utf-8"
QUERIES = ["", "?reasons=true", "?what_would_change_it=true", "?reasons=true&what_would_change_it=true"]
ID = re.compile(r"01[0-9A-HJKMNP-TV-Z]{24}")


@pytest.fixture
def through_flask(app, monkeypatch):
    """The requests that Flask dispatched."""
    seen, dispatch = [], app.full_dispatch_request
    monkeypatch.setattr(app, "full_dispatch_request", lambda: seen.append(1) or dispatch())
    return seen


@pytest.fixture
def both(client, through_flask):
    """A function that asks both ways, and returns both answers; the first did not go through Flask."""

    def ask(data, query="", **headers):
        answers = []
        for content_type, dispatched in ((PLAIN, 0), (OTHER, 1)):
            through_flask.clear()
            answers.append(client.post(SCORE + query, data=data, content_type=content_type, headers=headers))
            assert len(through_flask) == dispatched
        return answers

    return ask


def without_ids(answer):
    return ID.sub("ID", answer.get_data(as_text=True))


def same(answers):
    one, other = answers
    assert one.status_code == other.status_code
    assert without_ids(one) == without_ids(other)
    assert dict(one.headers) == dict(other.headers)
    return one


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_the_same_to_the_byte(both, clients, query, log):
    rows = [*clients[:3], {**clients[0], "age": 99}, {**clients[0], "client_id": "Łódź-1", "memo": "x"}, {"age": "x"}]
    answer = same(both(json.dumps(rows), query))
    assert answer.status_code == 200
    assert answer.get_json()["n_decided"] == 5
    assert len(list(log.latest_batches())) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"{}", 400),
        (b"[", 400),
        (b"\xff", 400),
        (b"[NaN]", 400),
        (b'["\\ud800"]', 400),
        (b'[{"age": 1, "age": 2}]', 400),
        (b"[1]", 422),
        (b'[{"age": "x"}]', 422),
    ],
)
def test_errors_are_the_same_to_the_byte(both, body, status):
    answer = same(both(body))
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_a_key_is_honoured_on_both_ways(both, clients):
    same(both(json.dumps(clients[:1]), **{"Idempotency-Key": "x" * 201}))
    first, again = both(json.dumps(clients[:1]), **{"Idempotency-Key": "one"})
    assert first.get_json() == again.get_json()
    used = same(both(json.dumps(clients[1:2]), **{"Idempotency-Key": "one"}))
    assert used.get_json(force=True)["type"] == "urn:risk-o-meter:key-reused"


def test_what_is_off_is_said_alike(both, clients, log, monkeypatch, production, registry):
    body = json.dumps(clients[:1])
    with monkeypatch.context() as patch:

        def away(*_):
            raise LogUnavailable("no route")

        patch.setattr(log, "commit", away)
        assert same(both(body)).status_code == 503
    with monkeypatch.context() as patch:
        patch.setattr(log, "commit", lambda *_: 1 / 0)
        assert same(both(body)).status_code == 500
    registry.production = None
    production.look()
    assert same(both(body)).get_json(force=True)["type"] == "urn:risk-o-meter:no-production-model"


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
def test_nobody_comes_in_by_the_express_lane_who_may_not(client, clients, headers, status):
    assert client.post(SCORE, json=clients[:1], headers=headers).status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer one", 200),
        ("Bearer two", 200),
        ("bearer one", 200),
        ("Bearer three", 401),
        ("Bearer", 401),
        ("Bearer \xff", 401),
        ("one", 401),
        ("Basic b25lOm9uZQ==", 401),
        (None, 401),
    ],
)
def test_with_keys_set_it_takes_one_of_them(settings, production, log, clients, given, status):
    app = create_app(
        settings.model_copy(update={"api_keys": SecretStr("one,two")}), production=production, log=log
    ).test_client()
    headers = {"Authorization": given} if given else {}
    answer = app.post(SCORE, json=clients[:1], headers=headers)
    assert answer.status_code == status
    assert len(list(log.latest_batches())) == (status == 200)


@pytest.mark.parametrize("length", ["-1", "+1", "1e3", "999999999", ""])
def test_a_length_that_is_none_is_not_plain(client, clients, length, through_flask):
    client.post(SCORE, json=clients[:1], environ_overrides={"CONTENT_LENGTH": length})
    assert through_flask


def test_both_ways_are_counted_alike(both, client, clients):
    same(both(json.dumps(clients[:1])))
    same(both(b"[]"))
    page = client.get("/metrics").get_data(as_text=True)
    for status in ("200", "400"):
        labels = f'{{method="POST",route="{SCORE}",status="{status}"}}'
        assert f"riskometer_request_duration_seconds_count{labels} 2.0" in page
