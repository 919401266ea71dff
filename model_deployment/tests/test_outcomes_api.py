"""`POST /api/v1/outcomes`: a file of what became of clients, and `make outcomes`."""

import io
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from credit_risk.__main__ import main
from credit_risk.application import Validator
from credit_risk.decisions import Batch, LogUnavailable, open_log
from credit_risk.model import Decided, confidence
from credit_risk.outcomes import outcomes
from model_deployment.app import create_app

from .test_api import is_problem

TODAY = datetime.now(UTC).date().isoformat()
HEADER = "decision_id,outcome,date\n"
AWAY = "mongodb://127.0.0.1:1/nobody?serverSelectionTimeoutMS=100"


@pytest.fixture
def decided(client, clients):
    """A function that returns the ids of the clients that were decided green, or red."""
    found = client.post("/api/v1/score", json=clients[:60]).get_json()["decisions"]
    return {colour: [d["id"] for d in found if d["prediction"] == colour] for colour in ("green", "red")}


@pytest.fixture
def tell(client):
    def send(text: str, **more):
        return client.post("/api/v1/outcomes", data=text, content_type="text/csv", **more)

    return send


def test_good_rows_are_taken_beside_bad_ones(tell, decided, client):
    green, red = decided["green"], decided["red"]
    text = f"{HEADER}{green[0]},repaid,{TODAY}\n{red[0]},defaulted,{TODAY}\n{green[1]},paid,{TODAY}\n"
    answer = tell(text)
    assert answer.status_code == 200
    body = answer.get_json()
    assert list(body) == ["upload", "n_added", "n_known", "n_rejected", "rejected", "warnings"]
    assert (body["n_added"], body["n_known"], body["n_rejected"], body["warnings"]) == (1, 0, 2, [])
    assert body["rejected"] == [
        {
            "row": 1,
            "column": "decision_id",
            "value": red[0],
            "message": f"line 3: decision {red[0]} is red: who was refused has no outcome",
            "allowed": None,
        },
        {
            "row": 2,
            "column": "outcome",
            "value": "paid",
            "message": "line 4: outcome 'paid' is not one of repaid, defaulted",
            "allowed": ["repaid", "defaulted"],
        },
    ]
    (told,) = client.get(f"/api/v1/decisions/{green[0]}").get_json()["outcomes"]
    assert (told["outcome"], told["date"]) == ("repaid", TODAY)
    again = tell(text).get_json()
    assert (again["upload"], again["n_added"], again["n_known"], again["n_rejected"]) == (None, 0, 1, 2)


def test_a_form_with_a_file_is_taken_too_and_its_name_kept(client, decided, log):
    text = f"{HEADER}{decided['green'][0]},repaid,{TODAY}\n"
    answer = client.post("/api/v1/outcomes", data={"file": (io.BytesIO(text.encode()), "/home/me/out.csv")})
    assert answer.get_json()["n_added"] == 1
    assert [event["source"] for event in log.events("outcomes")] == ["out.csv"]


def test_the_result_of_a_file_becomes_its_file_of_outcomes(client, send_file, clients, as_csv, tell):
    rows = [client | {"client_id": f"=C-{i}"} for i, client in enumerate(clients[:30])]
    data = {"file": (io.BytesIO(as_csv(rows).encode()), "clients.csv")}
    result = client.post("/api/v1/files", data=data, headers={"Accept": "text/csv"}).text.splitlines()
    told = [f"{result[0]},outcome,date", *(f"{line},repaid,{TODAY}" for line in result[1:])]
    body = tell("\n".join(told)).get_json()
    n_green = sum("green" in line for line in result)
    assert (body["n_added"], body["n_rejected"]) == (n_green, 30 - n_green)


def test_a_sample_is_a_preview_and_has_no_outcomes(send_file, tell):
    with open("model_deployment/assets/sample.csv") as file:
        ids = [d["id"] for d in send_file(file.read()).get_json()["decisions"]]
    body = is_problem(tell(f"{HEADER}{ids[0]},repaid,{TODAY}\n"), 422)
    assert "preview" in body["detail"]


def test_a_file_without_one_good_row_is_422_with_its_faults(tell, log):
    body = is_problem(tell(f"{HEADER}nobody,repaid,{TODAY}\n"), 422)
    assert body["type"] == "urn:risk-o-meter:nothing-taken"
    assert (body["n_added"], body["n_rejected"], body["rejected"][0]["column"]) == (0, 1, "decision_id")
    assert "'date' is missing" in is_problem(tell("decision_id,outcome\nx,repaid\n"), 422)["detail"]
    assert log.events("outcomes") == []


@pytest.mark.parametrize("text", ["", "\n", "hello,world\n1,2\n", "\x00", "PK\x03\x04"])
def test_what_is_no_csv_of_outcomes_is_400(tell, text):
    is_problem(tell(text), 400)


def test_another_type_is_415(client):
    assert "text/csv" in is_problem(client.post("/api/v1/outcomes", json=[]), 415)["detail"]


def test_a_log_that_fails_halfway_holds_nothing_of_the_file(tell, decided, log, monkeypatch):
    insert = log._documents.insert

    def fail_at_the_mark(collection, found):
        if collection == "events":
            raise LogUnavailable("the disk is full")
        insert(collection, found)

    text = HEADER + "".join(f"{id},repaid,{TODAY}\n" for id in decided["green"])
    with monkeypatch.context() as patch:
        patch.setattr(log._documents, "insert", fail_at_the_mark)
        answer = tell(text)
    assert "nothing taken" in is_problem(answer, 503)["detail"]
    assert answer.headers["Retry-After"]
    assert log.outcomes_of(decided["green"]) == []
    assert tell(text).get_json()["n_added"] == len(decided["green"])


def big_batch(n: int) -> Batch:
    """Return a batch of green decisions, 40 days old."""
    with open("data/test.csv") as file:
        one = Validator().csv("".join(file.readlines()[:2]).encode())
    applications = replace(
        one,
        codes=np.repeat(one.codes, n, axis=0),
        rows=np.arange(n),
        client_id=[f"C-{i}" for i in range(n)],
        label=[None] * n,
        outside=np.repeat(one.outside, n, axis=0),
        n_rows=n,
    )
    risk = np.full(n, 0.1)
    made = datetime.now(UTC) - timedelta(days=40)
    return Batch(applications, Decided(risk, risk > 1, confidence(risk)), "1", "digest-1", 1 / 6, time=made)


def test_a_hundred_thousand_outcomes_are_taken_and_a_correction_found(settings, production, log):
    record = log.commit(big_batch(100_000))
    client = create_app(settings, production=production, log=log).test_client()
    lines = [f"{record.id}-{i},repaid,{TODAY}\n" for i in range(100_000)]
    answer = client.post("/api/v1/outcomes", data=HEADER + "".join(lines), content_type="text/csv").get_json()
    assert (answer["n_added"], answer["n_rejected"]) == (100_000, 0)
    lines[70_000] = f"C-70000,defaulted,{TODAY}\n"
    correction = f"client_id,outcome,date\n{lines[70_000]}"
    assert client.post("/api/v1/outcomes", data=correction, content_type="text/csv").get_json()["n_added"] == 1
    assert [o["outcome"] for o in outcomes(log, f"{record.id}-70000")] == ["repaid", "defaulted"]


# The command


@pytest.fixture
def command(settings, monkeypatch, capsys):
    """A function that hands text to the command, in this process: exit code, standard output, standard error."""

    def run(text: str, **env: str) -> tuple[int, str, str]:
        for name, value in ({"DECISION_LOG": settings.decision_log, "BUCKET": settings.bucket} | env).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        code = main(["outcomes", "--name", "out.csv"])
        return code, *capsys.readouterr()

    return run


def test_the_command_takes_a_file_and_says_what_was_wrong(command, decided, settings):
    green, red = decided["green"][0], decided["red"][0]
    code, out, err = command(f"{HEADER}{green},repaid,{TODAY}\n{red},repaid,{TODAY}\n")
    assert code == 1
    assert f"outcomes: line 3: decision {red} is red" in err
    assert "2 rows read" in err
    assert out == "1 added, 0 known already, 1 rejected\n"
    assert [o["outcome"] for o in outcomes(open_log(settings), green)] == ["repaid"]
    assert command(f"{HEADER}{green},repaid,{TODAY}\n")[:2] == (0, "0 added, 1 known already, 0 rejected\n")


def test_the_command_says_the_first_of_many_faults(command):
    code, out, err = command(HEADER + f"nobody,repaid,{TODAY}\n" * 30)
    assert (code, out) == (2, "0 added, 0 known already, 30 rejected\n")
    assert err.count("there is no decision nobody") == 20
    assert "and more; 30 rows were rejected in all" in err


@pytest.mark.parametrize(
    ("text", "env", "words"),
    [
        ("", {}, "the file is empty"),
        (f"{HEADER}x,repaid,2026-01-01\n", {}, "there is no decision x"),
        (f"{HEADER}x,repaid,2026-01-01\n", {"DECISION_LOG": AWAY}, "MongoDB"),
        (f"{HEADER}x,repaid,2026-01-01\n", {"DECISION_LOG": "ftp://x"}, "must start with mongodb://"),
    ],
)
def test_the_command_ends_with_2_when_nothing_was_taken(command, text, env, words):
    code, _, err = command(text, **env)
    assert code == 2
    assert words in err
    assert all(line.startswith("outcomes: ") for line in err.splitlines())
