"""The command line that decides without a server, against a real MLflow."""

import csv
import io
import subprocess
import sys

import pytest

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import Registry
from model_deployment.files.formats import UploadedFile
from model_deployment.score import main
from model_deployment.scoring.batches import exported
from model_deployment.scoring.live_model import LiveModel
from tests.support.riskometer import register_version
from tests.support.services import put_in_service


@pytest.fixture(scope="module")
def registered(mlflow_server, scorers):
    return register_version(mlflow_server, "score", scorers[0])


@pytest.fixture
def model(mlflow_server, registered, settings):
    """The name of a registered model that has a Production version, in the test's log."""
    put_in_service(Registry(mlflow_server, "score"), open_log(settings), registered)
    return "score"


@pytest.fixture
def environment(mlflow_server, settings, monkeypatch):
    """A function that sets what the command reads, for a model's name."""

    def set_for(model: str) -> None:
        for variable, value in {
            "MLFLOW_TRACKING_URI": mlflow_server,
            "MODEL_NAME": model,
            "DECISION_LOG": settings.decision_log,
            "BUCKET": settings.bucket,
        }.items():
            monkeypatch.setenv(variable, value)

    return set_for


@pytest.fixture
def score(environment, monkeypatch, capfdbinary):
    """A function that runs the command on bytes, in this process, and returns the result."""

    def run(data: bytes, model: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        environment(model)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(["--name", "clients.csv", *options])
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess([], code, *capfdbinary.readouterr())

    return run


def test_the_command_is_a_process_with_an_exit_code(environment, model, client_rows, as_csv):
    environment(model)
    command = [sys.executable, "-m", "model_deployment.score", "--name", "clients.csv"]
    data = as_csv(client_rows[:2]).encode()
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_command_decides_a_file_and_logs_it(score, model, client_rows, as_csv, settings):
    done = score(as_csv([*client_rows[:5], client_rows[5] | {"purpose": "yacht"}]).encode(), model)
    assert done.returncode == 1, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert len(rows) == 5
    assert b"line 7: purpose 'yacht' is not one of" in done.stderr
    assert b"5 decided by version 1, " in done.stderr
    (record,) = open_log(settings).batches()
    assert record.caller == str(at_console())
    assert (record.source, record.n_decided, record.n_rejected) == ("clients.csv", 5, 1)
    assert rows[0]["decision_id"] == f"{record.id}-0"


def test_command_writes_the_result_that_the_log_gives_later(
    score, model, mlflow_server, client_rows, as_csv, settings
):
    data = as_csv([row | {"note": f"=n{i}"} for i, row in enumerate(client_rows[:5])]).encode()
    done = score(data, model, "--reasons")
    log = open_log(settings)
    (record,) = log.batches()
    production = LiveModel(Registry(mlflow_server, model), log)
    production.refresh()
    later = exported(log, production, record, "csv", UploadedFile(data))
    assert later.decode("utf-8-sig") == done.stdout.decode()
    assert b"risk" in done.stdout


def test_reasons_for_too_many_clients_are_refused_before_anything_is_decided(
    score, model, client_rows, as_csv, settings, monkeypatch
):
    monkeypatch.setenv("MAX_EXPLAINED_ROWS", "3")
    done = score(as_csv(client_rows[:4]).encode(), model, "--reasons")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Reasons are given for at most 3 clients at a time" in done.stderr
    assert open_log(settings).batches() == []


def test_command_without_a_decision_writes_nothing(score, model, client_rows, as_csv):
    done = score(as_csv([client_rows[0] | {"purpose": "yacht"}]).encode(), model)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"yacht" in done.stderr


@pytest.mark.parametrize(
    ("data", "why"), [(b"", b"the file is empty"), (b"PK\x03\x04", b"Excel workbook")]
)
def test_command_refuses_a_file_that_is_not_a_csv(score, model, data, why):
    done = score(data, model)
    assert (done.returncode, done.stdout) == (2, b"")
    assert why in done.stderr


def test_command_without_a_production_model_fails(score, client_rows, as_csv):
    done = score(as_csv(client_rows[:1]).encode(), "there is none")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"There is no Production model" in done.stderr
