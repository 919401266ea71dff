"""`POST /api/v1/outcomes`, which takes a file of outcomes, and `make outcomes`."""

import csv
import io
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import openpyxl
import pyarrow as pa
import pytest

from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import outcomes
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.documents import LogUnavailable
from model_deployment.app import create_app
from model_deployment.outcomes import main
from tests.support.bad_input.workbooks import saved
from tests.support.files import parquet
from tests.support.german_credit import Validator
from tests.support.outcomes import today
from tests.support.problems import is_problem
from tests.support.riskometer import client_of

HEADER = "decision_id,outcome,date\n"
AWAY = "mongodb://127.0.0.1:1/nobody?serverSelectionTimeoutMS=100"


@pytest.fixture
def decided(client, client_rows):
    """A function that returns the ids of the clients that were decided green, or red."""
    found = client.post("/api/v1/score", json=client_rows[:60]).get_json()["decisions"]
    return {
        colour: [d["id"] for d in found if d["prediction"] == colour] for colour in ("green", "red")
    }


@pytest.fixture
def tell(client):
    def send(text: str, **more):
        return client.post("/api/v1/outcomes", data=text, content_type="text/csv", **more)

    return send


def test_good_rows_are_taken_beside_bad_ones(tell, decided, client):
    green, red = decided["green"], decided["red"]
    rows = ((green[0], "repaid"), (red[0], "defaulted"), (green[1], "paid"))
    text = HEADER + "".join(f"{id},{outcome},{today()}\n" for id, outcome in rows)
    answer = tell(text)
    assert answer.status_code == 200
    body = answer.get_json()
    assert list(body) == [
        "upload",
        "n_added",
        "n_known",
        "n_open",
        "n_rejected",
        "kinds",
        "rejected",
        "warnings",
    ]
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
    assert (told["outcome"], told["date"]) == ("repaid", today())
    again = tell(text).get_json()
    assert (again["upload"], again["n_added"], again["n_known"], again["n_rejected"]) == (
        None,
        0,
        1,
        2,
    )


def test_form_upload_is_taken_and_keeps_the_file_name(client, decided, log):
    text = f"{HEADER}{decided['green'][0]},repaid,{today()}\n"
    answer = client.post(
        "/api/v1/outcomes", data={"file": (io.BytesIO(text.encode()), "/home/me/out.csv")}
    )
    assert answer.get_json()["n_added"] == 1
    assert [event["source"] for event in log.events("outcomes")] == ["out.csv"]


def test_the_result_of_a_file_becomes_its_file_of_outcomes(
    client, send_file, client_rows, as_csv, tell
):
    rows = [client | {"client_id": f"=C-{i}"} for i, client in enumerate(client_rows[:30])]
    data = {"file": (io.BytesIO(as_csv(rows).encode()), "clients.csv")}
    result = client.post(
        "/api/v1/files", data=data, headers={"Accept": "text/csv"}
    ).text.splitlines()
    told = [f"{result[0]},outcome,date", *(f"{line},repaid,{today()}" for line in result[1:])]
    body = tell("\n".join(told)).get_json()
    n_green = sum("green" in line for line in result)
    assert (body["n_added"], body["n_rejected"]) == (n_green, 30 - n_green)


def test_a_sample_is_a_preview_and_has_no_outcomes(send_file, tell):
    with open("data/german_credit/sample.csv") as file:
        ids = [d["id"] for d in send_file(file.read()).get_json()["decisions"]]
    body = is_problem(tell(f"{HEADER}{ids[0]},repaid,{today()}\n"), 422)
    assert "preview" in body["detail"]


def test_a_file_without_one_good_row_is_422_with_its_faults(tell, log):
    body = is_problem(tell(f"{HEADER}nobody,repaid,{today()}\n"), 422)
    assert body["type"] == "urn:risk-o-meter:nothing-taken"
    assert (body["n_added"], body["n_rejected"], body["rejected"][0]["column"]) == (
        0,
        1,
        "decision_id",
    )
    assert "'date' is missing" in is_problem(tell("decision_id,outcome\nx,repaid\n"), 422)["detail"]
    assert log.events("outcomes") == []


@pytest.mark.parametrize("text", ["", "\n", "hello,world\n1,2\n", "\x00", "PK\x03\x04"])
def test_file_that_is_not_a_csv_of_outcomes_is_400(tell, text):
    is_problem(tell(text), 400)


def test_other_content_type_is_415(client):
    assert "text/csv" in is_problem(client.post("/api/v1/outcomes", json=[]), 415)["detail"]


def test_a_log_that_fails_halfway_holds_nothing_of_the_file(tell, decided, log, monkeypatch):
    insert = log._documents.insert

    def fail_at_the_mark(collection, found):
        if collection == "events":
            raise LogUnavailable("the disk is full")
        insert(collection, found)

    text = HEADER + "".join(f"{id},repaid,{today()}\n" for id in decided["green"])
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
    return Batch(
        applications, Decisions(risk, risk > 1, confidence(risk)), "1", "digest-1", 1 / 6, time=made
    )


@pytest.mark.slow
def test_a_hundred_thousand_outcomes_are_taken_and_a_correction_found(settings, production, log):
    record = log.commit(big_batch(100_000))
    client = client_of(create_app(settings, production=production, log=log))
    lines = [f"{record.id}-{i},repaid,{today()}\n" for i in range(100_000)]
    answer = client.post(
        "/api/v1/outcomes", data=HEADER + "".join(lines), content_type="text/csv"
    ).get_json()
    assert (answer["n_added"], answer["n_rejected"]) == (100_000, 0)
    lines[70_000] = f"C-70000,defaulted,{today()}\n"
    correction = f"client_id,outcome,date\n{lines[70_000]}"
    assert (
        client.post("/api/v1/outcomes", data=correction, content_type="text/csv").get_json()[
            "n_added"
        ]
        == 1
    )
    assert [o["outcome"] for o in outcomes(log, f"{record.id}-70000")] == ["repaid", "defaulted"]


# The command


@pytest.fixture
def command(settings, monkeypatch, capsys):
    """A function that runs the command on text: exit code, standard output, standard error."""

    def run(text: str | bytes, **env: str) -> tuple[int, str, str]:
        for name, value in (
            {"DECISION_LOG": settings.decision_log, "BUCKET": settings.bucket} | env
        ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            sys,
            "stdin",
            io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else text.encode())),
        )
        code = main(["--name", "out.csv"])
        return code, *capsys.readouterr()

    return run


def test_command_takes_a_file_and_reports_faults(command, decided, settings):
    green, red = decided["green"][0], decided["red"][0]
    code, out, err = command(f"{HEADER}{green},repaid,{today()}\n{red},repaid,{today()}\n")
    assert code == 1
    assert f"outcomes: line 3: decision {red} is red" in err
    assert "2 rows read" in err
    assert out == "1 added, 0 known already, 0 still open, 1 rejected\n"
    assert [o["outcome"] for o in outcomes(open_log(settings), green)] == ["repaid"]
    assert command(f"{HEADER}{green},repaid,{today()}\n")[:2] == (
        0,
        "0 added, 1 known already, 0 still open, 0 rejected\n",
    )


def test_command_prints_the_first_of_many_faults(command):
    code, out, err = command(HEADER + f"nobody,repaid,{today()}\n" * 30)
    assert (code, out) == (2, "0 added, 0 known already, 0 still open, 30 rejected\n")
    lines = [line for line in err.splitlines() if "there is no decision nobody" in line]
    assert "30 times (line 2, 3, 4, 5, 6, ...), the first: there is no decision nobody" in lines[0]
    assert len(lines) == 21
    assert "and more; 30 rows were rejected in all" in err


@pytest.mark.parametrize(
    ("text", "env", "words"),
    [
        ("", {}, "the file is empty"),
        (f"{HEADER}x,repaid,2026-01-01\n", {}, "there is no decision x"),
        (f"{HEADER}x,repaid,2026-01-01\n", {"DECISION_LOG": AWAY}, "MongoDB"),
        (
            f"{HEADER}x,repaid,2026-01-01\n",
            {"DECISION_LOG": "ftp://x"},
            "must start with mongodb://",
        ),
    ],
)
def test_the_command_ends_with_2_when_nothing_was_taken(command, text, env, words):
    code, _, err = command(text, **env)
    assert code == 2
    assert words in err
    assert all(line.startswith("outcomes: ") for line in err.splitlines())


# As people have them: a result's download with two columns more, in Excel, in Germany


@pytest.fixture
def result(client, client_rows, as_csv):
    """The result of forty clients, as rows to fill in: none of them has an outcome yet."""
    rows = [client | {"client_id": f"C-{i}"} for i, client in enumerate(client_rows[:40])]
    data = {"file": (io.BytesIO(as_csv(rows).encode()), "clients.csv")}
    text = client.post("/api/v1/files", data=data, headers={"Accept": "text/csv"}).text
    return [row | {"outcome": "", "date": ""} for row in csv.DictReader(io.StringIO(text))]


def test_one_fault_among_open_loans_is_reported(result, tell, as_csv):
    rows = result * 50
    green = [i for i, row in enumerate(rows) if row["prediction"] == "green"]
    rows[green[0]] = rows[green[0]] | {"outcome": "repaid", "date": today()}
    rows[green[-1]] = rows[green[-1]] | {"outcome": "repayed", "date": today()}
    body = tell(as_csv(rows)).get_json()
    assert (body["n_added"], body["n_open"], body["n_rejected"]) == (1, len(rows) - 2, 1)
    assert ["repayed" in fault["message"] for fault in body["rejected"]] == [True]
    assert [kind["n"] for kind in body["kinds"]] == [1]


def test_file_of_open_loans_only_is_accepted(result, tell, as_csv, command):
    answer = tell(as_csv(result))
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["upload"], body["n_added"], body["n_open"], body["n_rejected"]) == (None, 0, 40, 0)
    code, out, _ = command(as_csv(result))
    assert (code, out) == (0, "0 added, 0 known already, 40 still open, 0 rejected\n")


def workbook_of(rows, hidden=()):
    book = openpyxl.Workbook()
    book.active.title = "Outcomes"
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    book.create_sheet("Old", 0).append(hidden)
    book["Old"].sheet_state = "hidden"
    return saved(book)


@pytest.fixture
def outcomes_book(decided):
    made = datetime.now(UTC)
    today = datetime(made.year, made.month, made.day)  # noqa: DTZ001 - as a workbook has it
    rows = [{"decision_id": id, "outcome": "repaid", "date": today} for id in decided["green"]]
    return workbook_of(
        [*rows, rows[0] | {"outcome": None, "date": None}], ("client_id", "outcome", "date")
    )


def test_a_workbook_is_taken_and_its_sheet_named(client, outcomes_book, decided, log):
    answer = client.post(
        "/api/v1/outcomes", data={"file": (io.BytesIO(outcomes_book), "out.xlsx")}
    ).get_json()
    assert (answer["n_added"], answer["n_open"], answer["n_rejected"]) == (
        len(decided["green"]),
        1,
        0,
    )
    first, second = answer["warnings"]
    assert (first, second[:31]) == ("sheet 'Outcomes' read", "sheet 'Old', which is hidden, h")
    assert [event["source"] for event in log.events("outcomes")] == ["out.xlsx"]
    again = client.post("/api/v1/outcomes", data=outcomes_book, content_type="text/csv").get_json()
    assert (again["n_added"], again["n_known"]) == (0, len(decided["green"]))


def test_the_command_takes_a_workbook_too(command, outcomes_book, decided):
    code, out, err = command(outcomes_book)
    n = len(decided["green"])
    assert (code, out) == (0, f"{n} added, 0 known already, 1 still open, 0 rejected\n")
    assert "outcomes: sheet 'Outcomes' read" in err


def test_parquet_file_of_outcomes_is_taken(client, decided):
    table = pa.table(
        {"decision_id": decided["green"], "outcome": ["repaid"] * len(decided["green"])}
    )
    days = pa.array([datetime.now(UTC).date()] * table.num_rows)
    data = parquet(table.append_column("date", days))
    answer = client.post(
        "/api/v1/outcomes", data={"file": (io.BytesIO(data), "out.parquet")}
    ).get_json()
    assert (answer["n_added"], answer["n_rejected"]) == (len(decided["green"]), 0)


def test_date_of_a_german_excel_is_taken(client, client_rows, tell):
    best = min(
        client.post(
            "/api/v1/score", json=[row | {"client_id": "CASE-1"} for row in client_rows[:30]]
        ).get_json()["decisions"],
        key=lambda d: d["risk"],
    )
    day = datetime.now(UTC).date()
    body = tell(
        f"\ufeffdecision_id;outcome;date\r\n{best['id']};repaid;{day:%d.%m.%Y}\r\n"
    ).get_json()
    assert (body["n_added"], body["warnings"]) == (
        1,
        [f"date: '{day:%d.%m.%Y}' read as day.month.year"],
    )
    refused = is_problem(
        tell(f"decision_id;outcome;date\n{best['id']};repaid;{day:%m/%d/%Y}\n"), 422
    )
    assert "has slashes, by which some mean day/month and others month/day" in refused["detail"]


def test_an_empty_workbook_is_400_with_its_sheet(client):
    data = workbook_of([{"a": 1}])
    detail = is_problem(
        client.post("/api/v1/outcomes", data={"file": (io.BytesIO(data), "out.xlsx")}), 400
    )["detail"]
    assert "sheet 'Outcomes' read" in detail
