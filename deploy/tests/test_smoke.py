"""The smoke test after a deployment, against a Risk-O-Meter that runs."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from credit_risk import keys
from credit_risk.scoring.model import CreditScorer
from tests.support.german_credit import read_training
from tests.support.processes import free_port
from tests.support.riskometer import approve_version, register_version, serving
from tools.paths import ROOT

SMOKE = ROOT / "deploy/scripts/smoke.py"
SAMPLE = (ROOT / "data/german_credit/sample.csv").read_bytes()


def smoke(*arguments, token=""):
    return subprocess.run(
        [sys.executable, str(SMOKE), *arguments],
        env=os.environ | {"SMOKE_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def key():
    """A key, and its entry of API_KEYS."""
    made = keys.make()
    return made, f"smoke:{keys.digest(made)}"


@pytest.fixture(scope="module")
def registered(mlflow_server, key):
    """A version of a model, and the settings of a server of it that asks for a key."""
    train = read_training(ROOT / "data/train.csv")
    risk = CreditScorer(num_boost_round=50).fit(train, train["class"]).predict_proba(train)[:, 0]
    scorer = CreditScorer(num_boost_round=50).fit(train, train["class"], risk)
    version = register_version(mlflow_server, "smoke", scorer)
    settings = {"MLFLOW_TRACKING_URI": mlflow_server, "MODEL_NAME": "smoke", "API_KEYS": key[1]}
    return version, settings | {"MODEL_POLL_SECONDS": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, registered):
    """A Risk-O-Meter that asks for a key, with a version in service."""
    version, settings = registered
    with serving(tmp_path_factory.mktemp("server"), settings) as server:
        approve_version(server, version)
        yield server


def test_ready_service_passes_and_no_decision_is_committed(server, key):
    said = smoke(server.url, "--wait", "60", token=key[0])
    assert said.returncode == 0, said.stderr
    clients = len(SAMPLE.splitlines()) - 1
    assert f"ready; version 1 previews {clients} clients" in said.stdout
    assert server.decisions().batches() == []


def test_service_whose_data_set_has_no_sample_passes(tmp_path, registered, key):
    version, settings = registered
    definition = (ROOT / "data/german_credit/dataset.toml").read_text()
    (tmp_path / "dataset.toml").write_text(definition.replace('sample = "sample.csv"\n', ""))
    with serving(tmp_path, settings | {"DATASET": str(tmp_path)}) as server:
        approve_version(server, version)
        said = smoke(server.url, "--wait", "60", token=key[0])
        wrong = smoke(server.url, "--wait", "60", token="another")
    assert said.returncode == 0, said.stderr
    assert said.stdout == "smoke: ready; the data set has no sample, so nothing was scored\n"
    assert wrong.returncode == 1
    assert " answers 401 " in wrong.stderr


def test_wrong_token_fails_with_what_the_service_says(server):
    said = smoke(server.url, "--wait", "60", token="another")
    assert said.returncode == 1
    assert said.stderr.startswith("smoke: /assets/sample.csv answers 401 ")


def test_service_without_a_model_fails_once_the_time_is_over(tmp_path):
    with serving(tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}) as server:
        said = smoke(server.url, "--wait", "2")
    assert said.returncode == 1
    assert "not ready after 2 s: /readyz answers 503 " in said.stderr


def test_smoke_fails_where_nothing_answers():
    said = smoke(f"http://127.0.0.1:{free_port()}", "--wait", "0")
    assert said.returncode == 1
    assert "/readyz answers nothing" in said.stderr


@pytest.mark.parametrize("url", ["risk-o-meter", "ftp://example.com", "http://example.com"])
def test_address_that_the_token_must_not_go_to_is_refused(url):
    said = smoke(url, token="secret")
    assert said.returncode == 2
    assert "secret" not in said.stderr


@contextmanager
def answering(answers):
    """Serve canned answers, path to status, headers and body, as no Risk-O-Meter would.

    Of a list of answers each is given once, the last one ever after.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = answers[self.path]
            if isinstance(given, list):
                given = given.pop(0) if len(given) > 1 else given[0]
            status, headers, body = given
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class calls it so

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def canned(kind="preview", **decision):
    """Return the answers of a service that takes the sample file for a batch of this kind."""
    decision = {"id": "A-0", "prediction": "red", "risk": 0.5, "confidence": 0.8, **decision}
    batch = {"batch": "A", "model_version": "1", "n_rejected": 0, "decisions": [decision]}
    bodies = {
        "/readyz": {"status": "ready"},
        "/assets/sample.csv": "id",
        "/api/v1/files": batch,
        "/api/v1/decisions/A-0": {"kind": kind},
    }
    return {path: (200, {}, json.dumps(body).encode()) for path, body in bodies.items()}


def test_canned_preview_passes():
    with answering(canned()) as url:
        assert smoke(url).returncode == 0


@pytest.mark.parametrize(("n_busy", "code"), [(1, 0), (100, 1)])
def test_a_process_that_still_loads_the_version_is_asked_again(n_busy, code):
    answers = canned()
    answers["/api/v1/files"] = [(503, {}, b"{}")] * n_busy + [answers["/api/v1/files"]]
    with answering(answers) as url:
        said = smoke(url, "--wait", "2")
    assert said.returncode == code
    assert ("the sample file is answered 503" in said.stderr) is (code == 1)


def test_committed_decision_has_an_exit_code_of_its_own():
    with answering(canned("decision")) as url:
        said = smoke(url)
    assert said.returncode == 3
    assert "A DECISION WAS COMMITTED: batch A is in the log as a decision" in said.stderr


@pytest.mark.parametrize(
    ("status", "schema", "code"),
    [
        (200, {"properties": {"age": {}}}, 0),
        (200, {"properties": {}}, 1),
        (200, [], 1),
        (404, {}, 1),
        (503, {}, 1),
    ],
)
def test_without_a_sample_the_service_has_to_say_what_an_application_is(status, schema, code):
    gone = {"/assets/sample.csv": (404, {}, b"{}")}
    described = {"/api/v1/schema": (status, {}, json.dumps(schema).encode())}
    with answering(canned() | gone | described) as url:
        said = smoke(url)
    assert said.returncode == code
    assert ("has no sample, so nothing was scored" in said.stdout) is (code == 0)
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    "decision", [{"prediction": "blue"}, {"risk": 1.5}, {"risk": None}, {"confidence": 0.2}]
)
def test_impossible_decision_fails(decision):
    with answering(canned(**decision)) as url:
        said = smoke(url)
    assert said.returncode == 1
    assert "Traceback" not in said.stderr


def test_redirect_to_a_login_is_not_followed():
    elsewhere = {"Location": f"http://127.0.0.1:{free_port()}/login"}
    with answering({"/readyz": (302, elsewhere, b"")}) as url:
        said = smoke(url, "--wait", "1", token="secret")
    assert said.returncode == 1
    assert "/readyz answers 302: is SMOKE_TOKEN set, and let in?" in said.stderr
