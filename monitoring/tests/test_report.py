"""The report flow, run by a Prefect server of the tests' own."""

import json
from collections.abc import Callable, Iterator

import pytest
from prefect.client.schemas.objects import State
from prefect.testing.utilities import prefect_test_harness

from credit_risk.blobs import open_blobs
from credit_risk.decisions import open_log
from credit_risk.settings import Settings
from monitoring import report
from monitoring.report import LATEST, evidently_report
from monitoring.window import REPORT

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def run(monkeypatch) -> Callable[[Settings], State[str]]:
    """A function that runs the flow as a worker does: settings come from the environment."""

    def run_flow(settings: Settings) -> State[str]:
        for name, value in settings.model_dump(exclude={"prefect_api_url"}).items():
            monkeypatch.setenv(name.upper(), str(value))
        return evidently_report(return_state=True)

    return run_flow


def test_a_report_is_stored_as_page_and_figures(served, log, draw, decide, run):
    decide(log, draw(120, labelled=True))
    decide(log, draw(300, labelled=True, drifted=True).drop(columns="age"))
    decide(log, draw(60, seed=9), version="0")
    state = run(served.model_copy(update={"drift_evidently_rows": 300}))
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
    assert {f["metric"] for f in figures["evidently"]} >= {"DriftedColumnsCount", "ValueDrift", "Accuracy", "RocAuc"}
    json.dumps(figures, allow_nan=False)


def test_a_dead_column_is_named_and_the_report_not_lost(served, log, draw, decide, run):
    decide(log, draw(120).drop(columns=["age", "personal_status"]))
    state = run(served)
    assert state.message.startswith("dataset drift: no, drifted: no feature; ")
    html = open_blobs(served.bucket).get(LATEST).decode()
    assert "<li>personal_status: empty</li><li>age: empty</li>" in html
    assert "Too few for a classification performance." in html
    (document,) = log.reports(REPORT)
    assert document["body"]["drift"]["unjudged"] == {"age": "empty", "personal_status": "empty"}
    assert not document["body"]["performance"]


def test_too_little_data_is_a_completed_run_that_says_so(served, log, draw, decide, run):
    decide(log, draw(99))
    state = run(served)
    assert state.is_completed()
    assert state.message == "no report: 99 decisions, and it takes 100"
    assert open_blobs(served.bucket).names("reports/") == []
    (document,) = log.reports(REPORT)
    assert document["body"]["message"] == state.message
    assert document["body"]["page"] is None


def test_no_production_version_is_a_completed_run_that_says_so(settings, mlflow_server, log, draw, decide, run):
    decide(log, draw(120))
    none = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": "nobody-trained-this"})
    state = run(none)
    assert state.is_completed()
    assert state.message == "no report: no version is in Production"


def test_the_same_on_the_other_backend(served, draw, decide, run, mongodb_url, gcs_url):
    other = served.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url})
    log = open_log(other)
    decide(log, draw(120, labelled=True))
    assert run(other).is_completed()
    (document,) = log.reports(REPORT)
    assert open_blobs(gcs_url).names("reports/") == [document["body"]["page"], LATEST]


def test_a_second_report_leaves_the_first_and_replaces_the_latest(served, log, draw, decide, run):
    decide(log, draw(120))
    run(served)
    run(served)
    assert len(log.reports(REPORT)) == 2
    names = open_blobs(served.bucket).names("reports/")
    assert len(names) == 3


def test_an_unreachable_log_fails_the_run(served, run, monkeypatch):
    away = served.model_copy(update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"})
    monkeypatch.setattr(report, "look_up", report.look_up.with_options(retries=1, retry_delay_seconds=0))
    state = run(away)
    assert state.is_failed()
    assert "LogUnavailable" in state.message
