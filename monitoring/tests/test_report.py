"""The report flow, run under a real Prefect API."""

import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
import yaml

from credit_risk.decision_log.log import open_log
from credit_risk.prefect_api import PrefectAPI
from credit_risk.storage.blobs import open_blobs
from credit_risk.storage.documents import open_documents
from monitoring.exporter import dependencies
from monitoring.exporter.prefect_runs import FLOWS, FlowRuns, FlowsUnknown, flow_runs
from monitoring.kinds import REFRESH, REPORT
from monitoring.reports import flow as report
from monitoring.reports.report_store import LATEST
from tests.support.services import PREFECT_LOGIN

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
    assert {f["metric"] for f in figures["evidently"]} >= {"DriftedColumnsCount", "ValueDrift", "Accuracy", "RocAuc"}
    json.dumps(figures, allow_nan=False)


def test_a_dead_column_is_named_and_the_report_not_lost(served, log, draw, decide, run_report):
    decide(log, draw(120).drop(columns=["age", "personal_status"]))
    state = run_report(served)
    assert state.message.startswith("dataset drift: no, drifted: no feature; ")
    html = open_blobs(served.bucket).get(LATEST).decode()
    assert "<li>personal_status: empty</li><li>age: empty</li>" in html
    assert "Too few for a classification performance." in html
    (document,) = log.reports(REPORT)
    assert document["body"]["drift"]["unjudged"] == {"age": "empty", "personal_status": "empty"}
    assert not document["body"]["performance"]


def test_a_column_that_evidently_fails_on_does_not_lose_the_report(served, log, draw, decide, run_report, fail_on):
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


def test_too_little_data_is_a_completed_run_that_says_so(served, log, draw, decide, run_report):
    decide(log, draw(99))
    state = run_report(served)
    assert state.is_completed()
    assert state.message == "no report: 99 decisions, and it takes 100"
    assert open_blobs(served.bucket).names("reports/") == []
    (document,) = log.reports(REPORT)
    assert document["body"]["message"] == state.message
    assert document["body"]["page"] is None


def test_a_version_that_is_refused_is_not_reported_on(served, log, draw, decide, register, run_report):
    decide(log, draw(120))
    log.append_approval("approval", register(served.model_name), by="Bo", reason="r", digest="v2:0", forced=False)
    state = run_report(served)
    assert state.is_completed()
    assert state.message.startswith("no report: The Production version was refused: version 2 was stored as v2:0")


def test_no_production_version_is_a_completed_run_that_says_so(settings, mlflow_server, log, draw, decide, run_report):
    decide(log, draw(120))
    none = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": "nobody-trained-this"})
    state = run_report(none)
    assert state.is_completed()
    assert state.message == "no report: no version is in Production"


def test_the_same_on_the_other_backend(served, draw, decide, run_report, in_role, mongodb_url, gcs_url, on_another_log):
    other = on_another_log(served.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url}))
    log = open_log(other)
    decide(log, draw(120, labelled=True))
    with in_role("reporting"):
        assert run_report(other).is_completed()
    (document,) = log.reports(REPORT)
    assert open_blobs(gcs_url).names("reports/") == [document["body"]["page"], LATEST]


def test_a_second_report_leaves_the_first_and_replaces_the_latest(served, log, draw, decide, run_report):
    decide(log, draw(120))
    run_report(served)
    run_report(served)
    assert len(log.reports(REPORT)) == 2
    names = open_blobs(served.bucket).names("reports/")
    assert len(names) == 3


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


def test_prefect_says_how_the_flows_went(served, log, draw, decide, run_report, settings, prefect_api):
    decide(log, draw(99))
    api = PrefectAPI(prefect_api, PREFECT_LOGIN)
    began = datetime.now(UTC)
    run_report(served)
    went = flow_runs(api, "evidently-report")
    assert (went.failed, went.runs["failed"], went.runs["late"]) == (False, went.runs["failed"], 0)
    assert began <= went.completed <= datetime.now(UTC)
    state = run_report(served.model_copy(update={"bucket": "gs://"}))
    failed = flow_runs(api, "evidently-report")
    assert failed.failed
    assert (failed.last, failed.ending) == (str(state.state_details.flow_run_id), "failed")
    assert failed.runs["failed"] == went.runs["failed"] + 1
    assert failed.runs["completed"] == went.runs["completed"]
    assert failed.completed == went.completed
    assert flow_runs(api, "nobody-deployed-this") == FlowRuns(
        "nobody-deployed-this", dict.fromkeys(went.runs, 0), last=None, ending=None, completed=None
    )
    served_as = dependencies.page(dependencies.look(open_documents(settings.decision_log), api)).decode()
    assert "credit_risk_decision_log_up 1.0" in served_as
    assert 'credit_risk_flow_last_run_failed{flow="evidently-report"} 1.0' in served_as


def test_flows_are_those_that_are_deployed():
    entrypoints = [d["entrypoint"] for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
    named = [re.search(r'@flow\(\s*name="([^"]+)"', (ROOT / e.partition(":")[0]).read_text())[1] for e in entrypoints]
    assert tuple(named) == FLOWS


def test_a_prefect_that_is_away_is_said(settings):
    api = PrefectAPI("http://127.0.0.1:1/api")
    with pytest.raises(FlowsUnknown):
        flow_runs(api, "evidently-report")
    seen = dependencies.look(open_documents(settings.decision_log), api)
    assert (seen.log_up, seen.flows) == (True, ())


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n5", b"no HTTP\r\n"])
def test_a_prefect_that_dies_while_it_answers_is_away_too(settings, said):
    """Whoever looks for the neighbours must outlive it, or the word on the log would stand still as well."""

    class Dying(StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.wfile.write(said)

    with ThreadingTCPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        api = PrefectAPI(f"http://127.0.0.1:{server.server_address[1]}")
        seen = dependencies.look(open_documents(settings.decision_log), api)
        server.shutdown()
    assert (seen.log_up, seen.flows) == (True, ())


def test_an_unreachable_log_fails_the_run(served, run_report, monkeypatch):
    away = served.model_copy(update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"})
    monkeypatch.setattr(report, "look_up", report.look_up.with_options(retries=1, retry_delay_seconds=0))
    state = run_report(away)
    assert state.is_failed()
    assert "LogUnavailable" in state.message
