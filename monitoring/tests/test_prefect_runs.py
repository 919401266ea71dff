"""How the flows' runs went, on a real Prefect server, and what is served of it."""

import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
import yaml

from credit_risk.prefect_api import PrefectAPI
from credit_risk.storage.backends import open_documents
from monitoring.exporter import dependencies
from monitoring.exporter.prefect_runs import FLOWS, FlowRuns, FlowsUnknown, flow_runs
from monitoring.reports import flow as report
from tests.support.services import PREFECT_LOGIN

ROOT = Path(__file__).parents[2]


def test_runs_are_counted_by_how_they_ended(
    served, log, draw, decide, run_report, settings, prefect_api, monkeypatch
):
    for task in (report.look_up, report.read, report.store_figures, report.clear):
        monkeypatch.setattr(task, "retry_delay_seconds", 0)  # or a run takes 42 s to fail
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
    served_as = dependencies.page(
        dependencies.look(open_documents(settings.decision_log), api)
    ).decode()
    assert "credit_risk_decision_log_up 1.0" in served_as
    assert 'credit_risk_flow_last_run_failed{flow="evidently-report"} 1.0' in served_as


def test_watched_flows_are_the_deployed_ones():
    entrypoints = [
        d["entrypoint"] for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    ]
    named = [
        re.search(r'@flow\(\s*name="([^"]+)"', (ROOT / e.partition(":")[0]).read_text())[1]
        for e in entrypoints
    ]
    assert tuple(named) == FLOWS


def test_an_unreachable_prefect_server_raises(settings):
    api = PrefectAPI("http://127.0.0.1:1/api")
    with pytest.raises(FlowsUnknown):
        flow_runs(api, "evidently-report")
    seen = dependencies.look(open_documents(settings.decision_log), api)
    assert (seen.log_up, seen.flows) == (True, ())


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n5", b"no HTTP\r\n"])
def test_a_prefect_server_that_dies_while_it_answers_counts_as_away(settings, said):
    """The thread that looks must outlive it, or the state of the log would stand still too."""

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
