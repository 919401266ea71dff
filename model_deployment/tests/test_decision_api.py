"""Reasons, overrides, repeated requests and access in the API."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from credit_risk.scoring.model import CreditScorer
from model_deployment.api.schemas import LoggedDecision
from model_deployment.app import create_app
from tests.support.batches import batch
from tests.support.german_credit import read_training
from tests.support.problems import is_problem
from tests.support.riskometer import client_of


def test_reasons_and_changes_come_on_request(client, send_file, client_rows, as_csv):
    plain = client.post("/api/v1/score", json=client_rows[:40]).get_json()
    assert "reasons" not in plain["decisions"][0]
    query = "?reasons=true&what_would_change_it=1"
    found = client.post(f"/api/v1/score{query}", json=client_rows[:40]).get_json()["decisions"]
    by_file = send_file(as_csv(client_rows[:40]), query=query).get_json()["decisions"]
    assert [d["reasons"] for d in by_file] == [d["reasons"] for d in found]
    for decision in found:
        red = decision["prediction"] == "red"
        reasons, change = decision["reasons"], decision["what_would_change_it"]
        assert len(reasons["raising"]) <= 4
        assert not (red and reasons["lowering"])
        assert (change is not None) == red
        for reason in reasons["raising"]:
            assert reason.keys() == {"attribute", "value", "effect", "text", "meaning"}
            assert reason["attribute"] not in ("age", "personal_status", "foreign_worker")
        if red:
            assert change["text"] == "none found" or change["risk"] < 1 / 6
    assert {d["prediction"] for d in found} == {"red", "green"}


@pytest.mark.parametrize("value", ["false", "0", "no", "maybe"])
def test_reasons_are_absent_unless_requested(client, client_rows, value):
    (decision,) = client.post(f"/api/v1/score?reasons={value}", json=client_rows[:1]).get_json()[
        "decisions"
    ]
    assert "reasons" not in decision


def test_request_with_too_many_rows_to_explain_is_refused(settings, production, log, client_rows):
    few = settings.model_copy(update={"max_explained_rows": 3})
    client = client_of(create_app(few, production=production, log=log))
    body = is_problem(client.post("/api/v1/score?reasons=true", json=client_rows[:4]), 413)
    assert "at most 3 clients" in body["detail"]
    assert log.batches() == []
    assert client.post("/api/v1/score?reasons=true", json=client_rows[:3]).status_code == 200


def test_csv_with_too_many_rows_to_explain_is_refused(
    settings, production, log, client_rows, as_csv
):
    few = settings.model_copy(update={"max_explained_rows": 3})
    client = client_of(create_app(few, production=production, log=log))
    form = {"file": (io.BytesIO(as_csv(client_rows[:4]).encode()), "clients.csv")}
    headers = {"Accept": "text/csv"}
    body = is_problem(client.post("/api/v1/files?reasons=1", data=form, headers=headers), 413)
    assert "at most 3 clients" in body["detail"]
    assert log.batches() == []


def test_csv_of_a_version_that_cannot_explain_says_so(
    client, registry, production, client_rows, as_csv, appoint
):
    train = read_training("data/train.csv")
    registry.scorers = [CreditScorer(num_boost_round=5).fit(train, train["class"])] * 2
    appoint("2")
    production.refresh()
    form = {"file": (io.BytesIO(as_csv(client_rows[:1]).encode()), "clients.csv")}
    headers = {"Accept": "text/csv"}
    answer = client.post("/api/v1/files?reasons=1", data=form, headers=headers)
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["reasons"].startswith("unavailable: ")


def test_a_version_that_cannot_explain_says_so(client, registry, production, client_rows, appoint):
    train = read_training("data/train.csv")
    registry.scorers = [CreditScorer(num_boost_round=5).fit(train, train["class"])] * 2
    appoint("2")
    production.refresh()
    body = client.post("/api/v1/score?reasons=true", json=client_rows[:1]).get_json()
    assert body["decisions"][0]["reasons"] is None
    assert "version 2 was trained without" in body["warnings"][0]


def test_file_is_answered_as_csv_on_request(send_file, client, client_rows, as_csv, log):
    text = as_csv([client_rows[0] | {"client_id": "C-1"}, client_rows[1] | {"purpose": "yacht"}])
    data = {"file": (io.BytesIO(text.encode()), "clients.csv")}
    answer = client.post("/api/v1/files", data=data, headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Rows-Rejected"] == "1"
    assert log.batch(answer.headers["Batch"]).n_decided == 1
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["client_id"], row["decision_id"]) == ("C-1", answer.headers["Batch"] + "-0")
    nothing = {
        "file": (
            io.BytesIO(as_csv([client_rows[1] | {"purpose": "yacht"}]).encode()),
            "clients.csv",
        )
    }
    is_problem(client.post("/api/v1/files", data=nothing, headers={"Accept": "text/csv"}), 422)


def test_a_csv_answer_is_the_same_in_parts(client, client_rows, as_csv, log, monkeypatch):
    def parts_of(n):
        for place in (
            "credit_risk.decision_log.batch",
            "credit_risk.decision_log.codec",
            "model_deployment.files.result",
        ):
            monkeypatch.setattr(f"{place}.PART_ROWS", n)

    parts_of(7)
    monkeypatch.setattr("credit_risk.decision_log.codec.MAX_DOCUMENTS", 50)
    text = as_csv(
        [row | {"client_id": f"={i}", "note": f" {i}"} for i, row in enumerate(client_rows[:100])]
    ).encode()
    headers = {"Accept": "text/csv", "Idempotency-Key": "k"}
    answers = [
        client.post("/api/v1/files", data={"file": (io.BytesIO(text), "a.csv")}, headers=headers)
        for _ in range(2)
    ]
    (record,) = log.batches()
    assert (record.stored, record.n_decided) == ("parquet", 100)
    assert answers[0].data == answers[1].data
    assert answers[0].content_length == len(answers[0].data)
    parts_of(1000)
    whole = client.post(
        "/api/v1/files", data={"file": (io.BytesIO(text), "a.csv")}, headers={"Accept": "text/csv"}
    )
    again = whole.text.replace(whole.headers["Batch"], record.id)
    decided_at = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"  # the second may have passed
    assert re.sub(decided_at, "", answers[0].text) == re.sub(decided_at, "", again)
    rows = list(csv.DictReader(io.StringIO(answers[0].text)))
    logged = log.read(record)
    assert [row["decision_id"] for row in rows] == logged["id"].to_pylist()
    assert (
        [row["purpose"] for row in rows]
        == logged["purpose"].to_pylist()
        == [row["purpose"] for row in client_rows[:100]]
    )
    assert [row["client_id"] for row in rows] == [f"'={i}" for i in range(100)]


def test_csv_answer_without_disk_space_logs_nothing(client, client_rows, as_csv, log, monkeypatch):
    def fail(result, sink):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model_deployment.files.result.Result.write_csv", fail)
    data = {"file": (io.BytesIO(as_csv(client_rows[:3]).encode()), "clients.csv")}
    body = is_problem(client.post("/api/v1/files", data=data, headers={"Accept": "text/csv"}), 503)
    assert "No space left" in body["detail"]
    assert log.batches() == []


def test_decision_is_shown_with_reasons_and_overrides(client, client_rows):
    decision = client.post(
        "/api/v1/score?reasons=1", json=[client_rows[0] | {"client_id": "C-1"}]
    ).get_json()["decisions"][0]
    where = f"/api/v1/decisions/{decision['id']}"
    found = client.get(where).get_json()
    assert {name: found[name] for name in client_rows[0]} == client_rows[0]
    for name in ("id", "client_id", "prediction", "risk", "confidence"):
        assert found[name] == decision[name]
    assert found["reasons"] == decision["reasons"]
    assert (found["threshold"], found["base_rate"]) == (1 / 6, 0.3)
    assert (found["standing"], found["overrides"]) == (decision["prediction"], [])

    other = {"red": "green", "green": "red"}[decision["prediction"]]
    answer = client.post(
        f"{where}/override", json={"prediction": other, "by": "Ann", "reason": "knows him"}
    )
    assert answer.status_code == 201
    assert answer.get_json()["standing"] == other
    again = client.get(where).get_json()
    assert (again["prediction"], again["standing"]) == (decision["prediction"], other)
    assert [(o["by"], o["reason"]) for o in again["overrides"]] == [("Ann", "knows him")]


def test_an_earlier_versions_decision_is_explained_by_that_version(
    client, registry, production, client_rows, appoint
):
    decision = client.post("/api/v1/score?reasons=1", json=client_rows[:1]).get_json()["decisions"][
        0
    ]
    train = read_training("data/train.csv")
    registry.scorers = [
        registry.scorers[0],
        CreditScorer(num_boost_round=5).fit(train, train["class"]),
    ]
    appoint("2")
    production.refresh()
    assert (
        client.get(f"/api/v1/decisions/{decision['id']}").get_json()["reasons"]
        == decision["reasons"]
    )


def test_decision_of_a_lost_version_is_shown_without_reasons(
    client, registry, production, client_rows, appoint
):
    id = client.post("/api/v1/score", json=client_rows[:1]).get_json()["decisions"][0]["id"]
    appoint("2")
    production.refresh()
    registry.tampered = {"1"}
    found = client.get(f"/api/v1/decisions/{id}").get_json()
    assert (found["reasons"], found["what_would_change_it"]) == (None, None)
    assert found["model_version"] == "1"


def test_a_score_in_a_portfolio_is_named_so_and_cannot_be_overridden(client, log):
    scored = replace(batch(2, kind="portfolio"), model_version="1")
    id = f"{log.commit(scored).id}-1"
    found = client.get(f"/api/v1/decisions/{id}").get_json()
    assert (found["kind"], found["client_id"]) == ("portfolio", "c1")
    LoggedDecision.model_validate(found)
    body = {"prediction": "red", "by": "Ann", "reason": "x"}
    answer = is_problem(client.post(f"/api/v1/decisions/{id}/override", json=body), 422)
    assert "portfolio: it is not a decision on an application" in answer["detail"]


@pytest.mark.parametrize(
    "id", ["nonsense", "01JZZZZZZZZZZZZZZZZZZZZZZZ-0", "-0", "%00", "a" * 5000]
)
def test_missing_decision_is_404(client, id):
    is_problem(client.get(f"/api/v1/decisions/{id}"), 404)
    is_problem(
        client.post(
            f"/api/v1/decisions/{id}/override", json={"prediction": "red", "by": "A", "reason": "b"}
        ),
        404,
    )


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        "red",
        None,
        {"prediction": "red"},
        {"prediction": "blue", "by": "Ann", "reason": "x"},
        {"prediction": "red", "by": " ", "reason": "x"},
        {"prediction": "red", "by": "Ann", "reason": 7},
        {"prediction": ["red"], "by": "Ann", "reason": "x"},
    ],
)
def test_invalid_override_is_refused(client, client_rows, body, log):
    id = client.post("/api/v1/score", json=client_rows[:1]).get_json()["decisions"][0]["id"]
    sent = client.post(
        f"/api/v1/decisions/{id}/override", data=json.dumps(body), content_type="application/json"
    )
    is_problem(sent, 422)
    assert log.events("override") == []


def test_repeated_request_is_not_decided_again(client, send_file, client_rows, as_csv, log):
    key = {"Idempotency-Key": "order-7"}
    first = client.post("/api/v1/score", json=[client_rows[0], {}], headers=key).get_json()
    again = client.post("/api/v1/score", json=[client_rows[0], {}], headers=key).get_json()
    assert again == first
    assert len(log.batches()) == 1
    other = is_problem(client.post("/api/v1/score", json=client_rows[1:2], headers=key), 422)
    assert first["batch"] in other["detail"]
    text = as_csv(client_rows[:2]).encode()
    answers = [
        client.post(
            "/api/v1/files",
            data={"file": (io.BytesIO(text), "a.csv")},
            headers={"Idempotency-Key": "f"},
        )
        for _ in range(2)
    ]
    assert answers[0].get_json() == answers[1].get_json()
    assert len(log.batches()) == 2


def test_repeated_request_gets_the_answer_of_the_old_version(
    client, registry, production, client_rows, as_csv, log, appoint
):
    score = {
        "json": [*client_rows[:3], {}],
        "query_string": "reasons=true",
        "headers": {"Idempotency-Key": "order-7"},
    }
    text = as_csv(client_rows[:2]).encode()

    def upload():
        headers = {"Idempotency-Key": "f", "Accept": "text/csv"}
        return client.post(
            "/api/v1/files", data={"file": (io.BytesIO(text), "a.csv")}, headers=headers
        )

    first, file = client.post("/api/v1/score", **score).get_json(), upload()
    appoint("2")
    production.refresh()
    assert client.post("/api/v1/score", json=client_rows[:1]).get_json()["model_version"] == "2"
    assert client.post("/api/v1/score", **score).get_json() == first
    assert upload().get_data() == file.get_data()
    assert len(log.batches()) == 3
    registry.away = True
    assert client.post("/api/v1/score", **score).get_json() == first  # it is at hand still
    production._earlier.cache_clear()
    assert is_problem(client.post("/api/v1/score", **score), 409)["batch"] == first["batch"]


def test_repeated_request_with_other_valid_rows_is_409(client, client_rows, log, monkeypatch):
    score = {"json": client_rows[:3], "headers": {"Idempotency-Key": "order-7"}}
    first, read = client.post("/api/v1/score", **score).get_json(), log.read
    monkeypatch.setattr(log, "read", lambda record: read(record).slice(1))
    assert is_problem(client.post("/api/v1/score", **score), 409)["batch"] == first["batch"]


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_invalid_idempotency_key_is_refused(client, client_rows, key):
    is_problem(
        client.post("/api/v1/score", json=client_rows[:1], headers={"Idempotency-Key": key}), 400
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:9696",
        "",
        "[::2]",
        "localhost@evil",
        "[",
        "a b",
        "localhost:x",
    ],
)
def test_unknown_host_name_is_refused(client, host):
    is_problem(client.get("/healthz", headers={"Host": host}), 400)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9696", "[::1]:9696", "LOCALHOST:1", "risk-o-meter:9696"]
)
def test_allowed_host_names_are_answered(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:8000", "http://[", "https://"]
)
def test_a_post_from_another_web_page_is_refused(client, client_rows, origin, log):
    is_problem(client.post("/api/v1/score", json=client_rows[:1], headers={"Origin": origin}), 403)
    assert log.batches() == []


def test_post_from_our_own_page_is_allowed(client, client_rows):
    answer = client.post(
        "/api/v1/score", json=client_rows[:1], headers={"Origin": "http://localhost"}
    )
    assert answer.status_code == 200
