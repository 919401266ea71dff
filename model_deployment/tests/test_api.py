"""The API's promises: the shapes of docs/contracts.md, a message for every fault, a log entry."""

import io
import json
import threading
import time
from itertools import cycle

import numpy as np
import plotly.utils
import pytest

from credit_risk.storage.documents import LogUnavailable
from model_deployment.app import create_app
from model_deployment.scoring.live_model import LiveModel
from model_deployment.ui.banner import banner
from tests.support.german_credit import NAMES, SCORED, Validator
from tests.support.problems import is_problem
from tests.support.riskometer import client_of, decide_for


def test_one_application_is_decided_as_the_model_decides(client, client_rows, scorers, log):
    answer = client.post("/api/v1/score", json=client_rows[:1])
    assert answer.status_code == 200
    body = answer.get_json()
    assert list(body) == [
        "batch",
        "model_version",
        "n_decided",
        "n_rejected",
        "decisions",
        "kinds",
        "rejected",
        "warnings",
    ]
    decided = scorers[0].decide(Validator().rows(client_rows[:1]).codes)
    (decision,) = body["decisions"]
    assert decision == {
        "id": f"{body['batch']}-0",
        "row": 0,
        "client_id": None,
        "prediction": "red" if decided.red[0] else "green",
        "risk": pytest.approx(decided.risk[0]),
        "confidence": pytest.approx(decided.confidence[0]),
        "warnings": [],
    }
    assert (body["model_version"], body["n_decided"], body["n_rejected"]) == ("1", 1, 0)
    logged = log.read(log.batch(body["batch"])).to_pylist()
    assert [(row["id"], row["risk"]) for row in logged] == [(decision["id"], decision["risk"])]


def test_a_file_and_a_list_are_decided_alike(client, send_file, client_rows, as_csv):
    by_json = client.post("/api/v1/score", json=client_rows).get_json()
    by_file = send_file(as_csv(client_rows)).get_json()
    assert len(by_file["decisions"]) == 200
    assert [d["risk"] for d in by_file["decisions"]] == [d["risk"] for d in by_json["decisions"]]


def test_a_file_of_one_row_without_a_line_end_is_decided(send_file, client_rows, as_csv):
    body = send_file(as_csv(client_rows[:1]).rstrip("\n")).get_json()
    assert (body["n_decided"], body["n_rejected"]) == (1, 0)


def test_the_batch_keeps_the_name_and_hash_of_its_file(send_file, client_rows, as_csv, log):
    body = send_file(as_csv(client_rows[:2]), name="/home/me/new\tclients.csv").get_json()
    record = log.batch(body["batch"])
    assert record.source == "newclients.csv"
    assert len(record.sha256) == 64
    assert (record.n_decided, record.model_version, record.digest) == (2, "1", "digest-1")


def test_good_rows_are_decided_beside_bad_ones(send_file, client_rows, as_csv, log):
    rows = [dict(row) for row in client_rows[:6]]
    rows[1]["purpose"] = "yacht"
    rows[2]["duration"] = "long"
    rows[4]["duration"] = 999
    rows[4]["housing"] = ""
    body = send_file(as_csv(rows)).get_json()
    assert [d["row"] for d in body["decisions"]] == [0, 3, 5]
    assert body["n_rejected"] == 3
    faults = {(f["row"], f["column"]): f for f in body["rejected"]}
    assert set(faults) == {(1, "purpose"), (2, "duration"), (4, "duration"), (4, "housing")}
    yacht = faults[1, "purpose"]
    assert yacht["value"] == "yacht"
    assert yacht["message"].startswith("line 3: purpose 'yacht' is not one of ")
    assert "new car" in yacht["allowed"]
    assert "not a whole number" in faults[2, "duration"]["message"]
    assert faults[4, "duration"]["allowed"] == {"minimum": 1, "maximum": 120, "integer": True}
    assert "has no value" in faults[4, "housing"]["message"]
    record = log.batch(body["batch"])
    assert (record.n_decided, record.n_rejected) == (3, 3)
    assert "yacht" not in json.dumps(record.reasons)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.replace("duration,", "length,"), "column 'duration' is missing"),
        (lambda text: text.replace("duration,", "housing,", 1), "column 'housing' stands 2 times"),
        (lambda text: text.splitlines()[0], "no clients below"),
    ],
)
def test_a_file_whose_columns_are_wrong_is_422_for_the_whole(
    send_file, client_rows, as_csv, spoil, words
):
    body = is_problem(send_file(spoil(as_csv(client_rows[:3]))), 422)
    assert body["decisions"] == []
    assert body["model_version"] == "1"
    messages = [f["message"] for f in body["rejected"] if f["row"] is None]
    assert any(words in message for message in messages), messages


def test_a_file_without_one_valid_row_is_422(send_file, client_rows, as_csv):
    body = is_problem(send_file(as_csv([client_rows[0] | {"age": 17}])), 422)
    assert (body["n_decided"], body["n_rejected"], body["decisions"]) == (0, 1, [])
    assert body["rejected"][0]["column"] == "age"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\xff\xfe", ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ""),
        (b"PK\x03\x04" + b"\0" * 100, "Excel"),
        (b"hello,world\n1,2\n", "must name the columns"),
        (b'{"duration": 6}', "must name the columns"),
    ],
)
def test_file_that_is_not_a_csv_of_clients_is_400(send_file, log, content, words):
    body = is_problem(send_file(content), 400)
    assert words in body["detail"]
    assert list(log.latest_batches()) == []


def test_request_without_exactly_one_file_is_refused(client, client_rows):
    is_problem(client.post("/api/v1/files", data=b"x", content_type="text/csv"), 415)
    is_problem(client.post("/api/v1/files", data={}, content_type="multipart/form-data"), 400)
    is_problem(client.post("/api/v1/files", data={"file": "text in a field"}), 415)
    two = {"file": [(io.BytesIO(b"a"), "a.csv"), (io.BytesIO(b"b"), "b.csv")]}
    is_problem(client.post("/api/v1/files", data=two), 400)
    is_problem(client.post("/api/v1/score", data="[]", content_type="text/plain"), 415)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[",
        "{}",
        "[]",
        "null",
        "[NaN]",
        '[{"duration": Infinity}]',
        '[{"duration": 1, "duration": 2}]',
        "[" * 100_000,
        "[" + "9" * 5000 + "]",
        b"\xff\xfe[",
        '[{"client_id": "\\ud800"}]',
    ],
)
def test_body_that_is_not_a_json_list_is_400(client, body):
    is_problem(client.post("/api/v1/score", data=body, content_type="application/json"), 400)


HOSTILE = [
    None,
    True,
    [],
    {},
    [[1]],
    -1,
    0,
    10**400,
    1e308,
    1.5,
    "",
    " ",
    "NaN",
    "-0",
    "1e3",
    "٣",
    "1,000",
    "=1+1",
    "<script>",
    "\0",
    "\u202e",
    "x" * 10_000,
    {"$gt": ""},
    {"a.b": 1},
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:20])
@pytest.mark.parametrize("column", ["duration", "purpose", "age", "client_id", "class", "$where"])
def test_a_hostile_value_never_brings_the_api_down(client, client_rows, column, value):
    answer = client.post("/api/v1/score", json=[client_rows[0] | {column: value}, client_rows[1]])
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["n_decided"] + body["n_rejected"] == 2
    assert body["decisions"][-1]["row"] == 1
    json.dumps(body, allow_nan=False)


def test_ids_labels_and_unknown_columns_are_not_scored(client, send_file, client_rows, as_csv, log):
    rows = [
        row | {"client_id": f"C-{i}", "class": "bad", "note": "x"}
        for i, row in enumerate(client_rows[:3])
    ]
    plain = client.post("/api/v1/score", json=client_rows[:3]).get_json()
    body = send_file(as_csv(rows)).get_json()
    assert [d["client_id"] for d in body["decisions"]] == ["C-0", "C-1", "C-2"]
    assert [d["risk"] for d in body["decisions"]] == [d["risk"] for d in plain["decisions"]]
    assert body["warnings"] == ["column 'note' ignored"]
    assert log.read(log.batch(body["batch"]))["label"].to_pylist() == ["bad"] * 3


def test_the_protected_attributes_may_be_absent_and_change_nothing(client, client_rows):
    without = [{name: row[name] for name in SCORED} for row in client_rows[:20]]
    expected = client.post("/api/v1/score", json=client_rows[:20]).get_json()["decisions"]
    found = client.post("/api/v1/score", json=without).get_json()["decisions"]
    assert [d["risk"] for d in found] == [d["risk"] for d in expected]


def test_upload_over_the_limit_is_413_with_size_and_limit(client, send_file):
    body = is_problem(send_file(b"x" * 2_300_000), 413)
    assert "2.3 MB" in body["detail"]
    assert "1 MB" in body["detail"]
    is_problem(
        client.post("/api/v1/score", data=b" " * 1_000_001, content_type="application/json"), 413
    )


def test_form_of_many_fields_is_413_without_a_size(client):
    fields = {f"f{i}": "x" for i in range(2000)}
    body = is_problem(
        client.post("/api/v1/files", data=fields, content_type="multipart/form-data"), 413
    )
    assert "one file" in body["detail"]


def test_missing_production_model_is_503_and_nothing_is_stored(
    client, client_rows, production, disapprove, log
):
    disapprove()
    production.refresh()
    assert (
        "no Production model"
        in is_problem(client.post("/api/v1/score", json=client_rows[:1]), 503)["detail"]
    )
    assert client.post("/api/v1/score", json=client_rows[:1]).headers["Retry-After"]
    is_problem(client.get("/api/v1/model"), 503)
    is_problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200
    assert list(log.latest_batches()) == []


def test_missing_decision_log_is_503(settings, production, client_rows):
    away = settings.model_copy(
        update={"decision_log": "mongodb://127.0.0.1:1/nobody?serverSelectionTimeoutMS=100"}
    )
    client = client_of(create_app(away, production=production))
    body = is_problem(client.post("/api/v1/score", json=client_rows[:1]), 503)
    assert "nothing was decided" in body["detail"]
    is_problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200


def test_log_that_fails_halfway_stores_nothing_and_recovers(
    client, send_file, client_rows, as_csv, log, monkeypatch
):
    documents = log._documents
    insert = documents.insert

    def fail_at_the_mark(collection, found):
        if collection == "batches":
            raise LogUnavailable("the disk is full")
        insert(collection, found)

    with monkeypatch.context() as patch:
        patch.setattr(documents, "insert", fail_at_the_mark)
        is_problem(client.post("/api/v1/score", json=client_rows[:1]), 503)
        is_problem(send_file(as_csv(client_rows)), 503)
    assert list(log.latest_batches()) == []
    assert client.post("/api/v1/score", json=client_rows[:1]).status_code == 200
    assert [r.n_decided for r in log.latest_batches()] == [1]


def test_one_file_is_decided_by_one_version(client, client_rows, scorers, appoint, production):
    codes = Validator().rows(client_rows).codes
    risks = {str(i + 1): scorer.risk(codes) for i, scorer in enumerate(scorers)}
    assert not np.allclose(risks["1"], risks["2"])
    done = threading.Event()

    def approve_to_and_fro():
        for version in cycle("21"):
            if done.is_set():
                return
            appoint(version)
            production.refresh()

    thread = threading.Thread(target=approve_to_and_fro)
    thread.start()
    try:
        seen, asked, deadline = set(), 0, time.monotonic() + 60
        while asked < 30 or seen != {"1", "2"}:
            assert time.monotonic() < deadline, seen
            asked += 1
            body = client.post("/api/v1/score", json=client_rows).get_json()
            seen.add(body["model_version"])
            assert [d["risk"] for d in body["decisions"]] == risks[body["model_version"]].tolist()
    finally:
        done.set()
        thread.join()


def test_answer_names_the_model_and_its_approver(client, production):
    assert client.get("/api/v1/model").get_json() == {
        "version": "1",
        "digest": "digest-1",
        "approved_by": "Ann",
        "approved_at": production.require().approval.time.isoformat(),
        "alias_agrees": True,
        "notice": None,
    }


def test_alias_moved_by_hand_is_reported(client, production, registry):
    registry.production = "2"
    production.refresh()
    found = client.get("/api/v1/model").get_json()
    assert (found["version"], found["approved_by"], found["alias_agrees"]) == ("1", "Ann", False)
    assert found["notice"].startswith(
        "The alias production in MLflow points at version 2, but the last decision"
    )


@pytest.mark.parametrize("follow_alias", [False, True])
def test_alias_on_a_version_without_a_digest_is_reported(
    settings, registry, log, follow_alias, monkeypatch
):
    decide_for(log, "1")
    production = LiveModel(registry, log, 10, follow_alias=follow_alias)
    registry.production, registry.undigested = "2", {"2"}
    production.refresh()
    found = (
        client_of(create_app(settings, production=production, log=log))
        .get("/api/v1/model")
        .get_json()
    )
    said = json.dumps(banner(production), cls=plotly.utils.PlotlyJSONEncoder)
    assert (found["version"], found["alias_agrees"]) == ("1", False)
    assert "registered without a digest" in found["notice"]
    assert "registered without a digest" in said
    assert "Version 1 serves on." in said


def test_refused_approved_version_is_reported(client, production, registry, appoint):
    appoint("2", "Bo")
    registry.tampered = {"2"}
    production.refresh()
    found = client.get("/api/v1/model").get_json()
    assert (found["version"], found["approved_by"]) == ("1", "Ann")
    assert found["notice"] == "The Production version was refused: version 2 is another file now."


def test_the_schema_is_that_of_an_application(client):
    answer = client.get("/api/v1/schema")
    assert answer.content_type == "application/schema+json"
    assert set(NAMES) <= answer.get_json(force=True)["properties"].keys()


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/nothing", "/_dash-component-suites/dash/nothing.js", "/assets/x"]
)
def test_an_unknown_address_is_a_404_problem(client, path):
    is_problem(client.get(path), 404)


def test_a_wrong_method_is_a_405_problem_that_names_the_right_one(client):
    answer = client.get("/api/v1/score")
    body = is_problem(answer, 405)
    assert "POST" in body["detail"]
    assert "POST" in answer.headers["Allow"]
    is_problem(client.delete("/"), 405)


def test_an_unforeseen_error_is_a_500_problem_that_quotes_nothing(
    client, client_rows, production, monkeypatch, caplog
):
    secret = "Main " + "Street"

    def fail(self, codes):
        raise ZeroDivisionError(secret)

    monkeypatch.setattr("credit_risk.scoring.model.CreditScorer.decide", fail)
    is_problem(client.post("/api/v1/score", json=client_rows[:1]), 500)
    assert "ZeroDivisionError" in caplog.text
    assert secret not in caplog.text


def test_nothing_of_a_client_reaches_the_log_or_the_metrics(
    client, send_file, client_rows, as_csv, caplog
):
    caplog.set_level("DEBUG")
    send_file(
        as_csv([client_rows[0] | {"client_id": "C-4711", "purpose": "Secretville"}]),
        name="Secretville.csv",
    )
    client.post("/api/v1/score", json=[client_rows[0] | {"client_id": "C-4711"}])
    client.get("/Secretville?client_id=C-4711")
    for text in (caplog.text, client.get("/metrics").text):
        assert "C-4711" not in text
        assert "Secretville" not in text


def test_every_answer_carries_the_headers_that_keep_a_browser_safe(client):
    for path in ("/", "/api/v1/schema", "/nothing"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        policy = headers["Content-Security-Policy"]
        assert "unsafe-eval" not in policy
        assert "script-src 'self' 'sha256-" in policy
    assert client.get("/api/v1/schema").headers["Cache-Control"] == "no-store"
