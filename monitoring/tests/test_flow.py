"""The report flow, run under a real Prefect API."""

import json
from pathlib import Path

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.storage.backends import open_blobs
from monitoring.kinds import REFRESH, REPORT
from monitoring.reports import flow as report
from monitoring.reports.report_store import LATEST

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_api")]


def test_a_report_is_stored_as_page_and_figures(served, log, draw, decide, run_report):
    decide(log, draw(120, labelled=True))
    decide(log, draw(300, labelled=True, drifted=True).drop(columns="age"))
    decide(log, draw(60, seed=9), version="0")
    state = run_report(served.model_copy(update={"drift_evidently_rows": 300}))
    assert state.is_completed()
    assert state.message.startswith("dataset drift: yes, drifted: ")

    blobs = open_blobs(served.bucket)
    page, latest = blobs.names("reports/")  # a date sorts before a word
    assert latest == LATEST
    assert blobs.url(page) in state.message
    assert blobs.get(page) == blobs.get(LATEST)
    html = blobs.get(page).decode()
    assert "<h1>Dataset drift</h1>" in html
    assert "on the newest 300 of them; among these drifted: " in html
    assert "Dataset Drift is detected" in html
    assert "Confusion Matrix" in html

    (document,) = log.reports(REPORT)
    figures = document["body"]
    assert figures["page"] == page
    assert figures["flow_run"] == str(state.state_details.flow_run_id)
    assert figures["model_version"] == "1"
    assert figures["window"]["n"] == 480
    assert figures["newest"]["n"] == 300
    assert figures["newest"]["drift"]["dataset_drift"]
    assert figures["n_labelled"] == 240
    assert figures["performance"]
    assert "credit_amount" in figures["drift"]["drifted"]
    assert {f["metric"] for f in figures["evidently"]} >= {
        "DriftedColumnsCount",
        "ValueDrift",
        "Accuracy",
        "RocAuc",
    }
    json.dumps(figures, allow_nan=False)


def test_a_dead_column_is_named_in_the_report(served, log, draw, decide, run_report):
    decide(log, draw(120).drop(columns=["age", "personal_status"]))
    state = run_report(served)
    assert state.message.startswith("dataset drift: no, drifted: no feature; ")
    html = open_blobs(served.bucket).get(LATEST).decode()
    assert "<li>personal_status: empty</li><li>age: empty</li>" in html
    assert "Too few for a classification performance." in html
    (document,) = log.reports(REPORT)
    assert document["body"]["drift"]["unjudged"] == {"age": "empty", "personal_status": "empty"}
    assert not document["body"]["performance"]


@pytest.mark.slow
def test_a_column_that_evidently_fails_on_does_not_lose_the_report(
    served, log, draw, decide, run_report, fail_on
):
    decide(log, draw(120, drifted=True))
    fail_on("credit_amount")
    state = run_report(served)
    assert state.is_completed()
    assert "credit_amount" in state.message  # the verdict comes from counts
    html = open_blobs(served.bucket).get(LATEST).decode()
    assert "It failed on credit_amount; the worker's log says why." in html
    (document,) = log.reports(REPORT)
    assert document["body"]["newest"]["failed"] == ["credit_amount"]
    assert sum(f["metric"] == "ValueDrift" for f in document["body"]["evidently"]) == 20


def test_too_few_decisions_complete_the_run_without_a_report(served, log, draw, decide, run_report):
    decide(log, draw(99))
    state = run_report(served)
    assert state.is_completed()
    assert state.message == "no report: 99 decisions, and it takes 100"
    assert open_blobs(served.bucket).names("reports/") == []
    (document,) = log.reports(REPORT)
    assert document["body"]["message"] == state.message
    assert document["body"]["page"] is None


def test_a_version_that_is_refused_is_not_reported_on(
    served, log, draw, decide, register, run_report
):
    decide(log, draw(120))
    log.append_approval(
        "approval", register(served.model_name), by="Bo", reason="r", digest="v2:0", forced=False
    )
    state = run_report(served)
    assert state.is_completed()
    assert state.message.startswith(
        "no report: The Production version was refused: version 2 was stored as v2:0"
    )


def test_no_production_version_completes_the_run_without_a_report(
    settings, mlflow_server, log, draw, decide, run_report
):
    decide(log, draw(120))
    none = settings.model_copy(
        update={"mlflow_tracking_uri": mlflow_server, "model_name": "nobody-trained-this"}
    )
    state = run_report(none)
    assert state.is_completed()
    assert state.message == "no report: no version is in Production"


def test_a_report_is_stored_in_mongodb_and_a_bucket(
    served, draw, decide, run_report, in_role, mongodb_url, gcs_url, on_another_log
):
    other = on_another_log(
        served.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url})
    )
    log = open_log(other)
    decide(log, draw(120, labelled=True))
    with in_role("reporting"):
        assert run_report(other).is_completed()
    (document,) = log.reports(REPORT)
    assert open_blobs(gcs_url).names("reports/") == [document["body"]["page"], LATEST]


@pytest.mark.slow
def test_a_second_report_leaves_the_first_and_replaces_the_latest(
    served, log, draw, decide, run_report
):
    decide(log, draw(120))
    run_report(served)
    run_report(served)
    assert len(log.reports(REPORT)) == 2
    names = open_blobs(served.bucket).names("reports/")
    assert len(names) == 3


@pytest.mark.slow
def test_old_reports_are_removed_by_the_next_run(served, log, draw, decide, run_report):
    decide(log, draw(120))
    run_report(served)
    assert len(open_blobs(served.bucket).names("reports/")) == 2
    log.put_report(REFRESH, {})
    none = {"drift_min_rows": 1000, "report_keep_days": 1e-9}
    assert run_report(served.model_copy(update=none)).is_completed()
    assert open_blobs(served.bucket).names("reports/") == []
    assert log.reports(REPORT) == []
    assert len(log.reports(REFRESH)) == 1
    assert run_report(served.model_copy(update=none | {"refresh_keep_days": 1e-9})).is_completed()
    assert log.reports(REFRESH) == []


def test_an_unreachable_log_fails_the_run(served, run_report, monkeypatch):
    away = served.model_copy(
        update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"}
    )
    monkeypatch.setattr(
        report, "look_up", report.look_up.with_options(retries=1, retry_delay_seconds=0)
    )
    state = run_report(away)
    assert state.is_failed()
    assert "LogUnavailable" in state.message
