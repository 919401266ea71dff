"""The setup of the Prefect server; test_stack.py tests it on a real one."""

import ast
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import prefect
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)

from model_orchestration_and_tracking import deploy as module
from model_orchestration_and_tracking.deploy import (
    BEGINNING,
    POOLS,
    SILENCE,
    DeployFailed,
    begin_rule,
    crash_rule,
    main,
    wait_for_api,
)
from tools.stack.credentials import RUNS

PLAN = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]


def test_each_deployment_has_a_flow_and_a_pool():
    assert {entry["work_pool"]["name"] for entry in PLAN} == set(POOLS)
    for entry in PLAN:
        file, _, name = entry["entrypoint"].partition(":")
        defined = {
            node.name
            for node in ast.parse(Path(file).read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        assert name in defined


def test_crash_rule_waits_two_heartbeats_and_acts_in_two_minutes():
    assert 3 * int(RUNS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) < SILENCE.total_seconds()
    # The server looks every 5 s.
    assert SILENCE.total_seconds() + 10 < 120


class Recovering(BaseHTTPRequestHandler):
    """Prefect's API after its database did not answer once."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(500 if len(self.asked) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.slow  # the pause between the two
def test_a_run_asks_again_what_its_server_could_not_answer():
    with ThreadingHTTPServer(("127.0.0.1", 0), Recovering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        at = {
            PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api",
            PREFECT_CLIENT_RETRY_EXTRA_CODES: RUNS["PREFECT_CLIENT_RETRY_EXTRA_CODES"],
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
        }
        with temporary_settings(at), get_client(sync_client=True) as client:
            assert client.hello().status_code == 200
        server.shutdown()
    assert Recovering.asked == ["/api/hello"] * 2


OVER = {f"prefect.flow-run.{s}" for s in ("Completed", "Failed", "Crashed", "Cancelled")}


def test_rules_end_silent_runs_but_not_finished_ones():
    running, beginning = crash_rule().trigger, begin_rule().trigger
    assert running.expect - running.after == OVER
    assert beginning.expect - beginning.after == running.after | OVER  # whoever runs has begun


def test_slowly_starting_run_is_not_marked_crashed():
    """On a busy machine that takes minutes, and there is no heartbeat before it is done."""
    assert timedelta(minutes=10) == BEGINNING
    assert not crash_rule().trigger.after & begin_rule().trigger.after


def test_a_server_of_another_version_is_refused_in_one_line(monkeypatch, settings, capsys):
    class Server:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def api_version(self):
            return "3.0.1"

    monkeypatch.setattr(module, "Settings", lambda: settings)
    monkeypatch.setattr(module, "prefect_api", lambda settings: Server())
    monkeypatch.setattr(module, "wait_for_api", lambda url, timeout: None)
    assert main([]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the Prefect server is version 3.0.1 and this is {prefect.__version__}" in said


def test_deployment_version_depends_on_time_zone_and_flows(tmp_path):
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    (tmp_path / "flow.py").write_text("one")
    version = module._version(tmp_path, ["flow.py:f"], "UTC")
    assert module._version(tmp_path, ["flow.py:f"], "UTC") == version
    assert module._version(tmp_path, ["flow.py:f"], "Europe/Berlin") != version
    (tmp_path / "flow.py").write_text("two")
    assert module._version(tmp_path, ["flow.py:f"], "UTC") != version


def test_lasting_absence_of_the_api_fails():
    with pytest.raises(
        DeployFailed, match=r"no Prefect API at http://127\.0\.0\.1:1/api after 0 s"
    ):
        wait_for_api("http://127.0.0.1:1/api", timeout=0)


def test_deploy_command_reports_errors(monkeypatch, settings, capsys):
    monkeypatch.setattr(module, "Settings", lambda: settings)
    assert main(["--timeout", "0"]) == 1
    assert capsys.readouterr().err.startswith("deploy: no Prefect API at")
