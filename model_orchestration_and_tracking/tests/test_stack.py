"""Deployments, first model and killed runs on real servers with a real worker: what no harness shows."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from conftest import answers, free_port, running, wait_for
from credit_risk.approvals import approvals
from credit_risk.decisions import open_log
from credit_risk.registry import CHALLENGER, PRODUCTION, Registry
from credit_risk.settings import Settings
from model_orchestration_and_tracking.deploy import CRASH_RULE, POOLS
from model_orchestration_and_tracking.run import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING = "credit-risk-training/sunday-night"


@pytest.fixture(scope="module")
def stack(mlflow_server, tmp_path_factory):
    """A Prefect server, and the environment in which everything of this stack runs."""
    folder = tmp_path_factory.mktemp("stack")
    port = free_port()
    env = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MODEL_NAME": "stack",
        "DECISION_LOG": f"sqlite:///{folder}/decisions.db",
        "BUCKET": str(folder / "bucket"),
        "TIMEZONE": "Europe/Berlin",
        "DATA": "data/credit-g.csv",
        "N_ITER": "5",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with pytest.MonkeyPatch.context() as patch, running(command, folder / "server.log", env):
        for name, value in env.items():
            patch.setenv(name, value)
        wait_for(lambda: answers(f"{env['PREFECT_API_URL']}/health"), 120, "Prefect")
        with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
            yield folder


@contextmanager
def worker(folder):
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "training", "--type", "process"]
    with running([*command, "--limit", "1"], folder / "worker.log") as process:
        yield process


def cli(module, *arguments):
    command = [sys.executable, "-m", f"model_orchestration_and_tracking.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def processes_of(run):
    """Return the processes that run a flow run; they are in a session of their own, not below the worker."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"PREFECT__FLOW_RUN_ID={run.id}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


@pytest.fixture(scope="module")
def deployed(stack):
    for _ in range(2):  # it can be run again
        done = cli("deploy")
        assert done.returncode == 0, done.stderr
        assert "every-3-hours, sunday-night" in done.stdout
    return stack


def test_pools_deployments_schedules_and_one_crash_rule(deployed):
    with get_client(sync_client=True) as client:
        assert {pool.name for pool in client.read_work_pools()} >= set(POOLS)
        deployments = {found.name: found for found in client.read_deployments()}
        plans = {
            name: (found.work_pool_name, [(s.schedule.cron, s.schedule.timezone) for s in found.schedules])
            for name, found in deployments.items()
        }
        assert plans == {
            "sunday-night": ("training", [("0 23 * * 0", "Europe/Berlin")]),
            "every-3-hours": ("reporting", [("0 */3 * * *", "Europe/Berlin")]),
        }
        assert len(client.read_automations_by_name(CRASH_RULE)) == 1


def test_a_schedule_that_somebody_paused_stays_paused(deployed):
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(TRAINING)
        client.pause_deployment(found.id)
        assert cli("deploy").returncode == 0
        assert client.read_deployment(found.id).paused
        client.resume_deployment(found.id)


@pytest.fixture(scope="module")
def bootstrapped(deployed):
    with worker(deployed):
        for expected in ("version 1 is Production, approved by bootstrap", "version 1 is Production: nothing to do"):
            done = cli("bootstrap")
            assert done.returncode == 0, done.stderr
            assert expected in done.stdout
            if "nothing" not in expected:
                assert "candidate 5 of 5" in done.stdout  # progress is visible
    return Settings(_env_file=None)


def test_first_model(bootstrapped):
    registry, log = Registry(bootstrapped.mlflow_tracking_uri, "stack"), open_log(bootstrapped)
    assert registry.alias(PRODUCTION) == registry.alias(CHALLENGER) == "1"
    assert [(a.version, a.by) for a in approvals(registry, log)] == [("1", "bootstrap")]


def test_a_run_on_demand_ends_with_its_exit_code(deployed, bootstrapped, tmp_path):
    with worker(deployed):
        done = cli("run", TRAINING, "--param", "n_iter=6")
        assert done.returncode == 0, done.stderr
        assert "candidate 6 of 6" in done.stdout
        assert "Completed: stack version 2 is the challenger" in done.stdout
        registry = Registry(bootstrapped.mlflow_tracking_uri, "stack")
        assert (registry.alias(PRODUCTION), registry.alias(CHALLENGER)) == ("1", "2")

        done = cli("run", TRAINING, "--param", f"data={tmp_path}/none.csv")
        assert done.returncode == 1
        assert "none.csv" in done.stdout.splitlines()[-1]


def test_a_run_that_cannot_start_says_why(deployed):
    done = cli("run", TRAINING, "--param", "n_iter=0")
    assert done.returncode == 1
    assert "n_iter" in done.stderr

    done = cli("run", "credit-risk-training/no-such")
    assert done.returncode == 1
    assert "there is no deployment credit-risk-training/no-such" in done.stderr


def test_a_run_that_is_killed_with_its_worker_is_crashed_within_two_minutes(deployed, mlflow_server, tmp_path):
    path = tmp_path / "clients.csv"
    path.write_bytes(Path("data/credit-g.csv").read_bytes())
    mlflow, registry = MlflowClient(mlflow_server), Registry(mlflow_server, "stack")
    before = [version.number for version in registry.versions()]

    with get_client(sync_client=True) as client:
        with worker(deployed) as process:
            run = start(client, TRAINING, {"data": str(path), "n_iter": 4})

            def logging():
                experiment = mlflow.get_experiment_by_name("credit-risk").experiment_id
                return mlflow.search_runs([experiment], f"tags.data = '{path}'")

            wait_for(logging, 180, "the run in MLflow")
            for pid in processes_of(run):
                os.kill(pid, signal.SIGKILL)
            os.killpg(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        assert client.read_flow_run(run.id).state.is_running()
        # It does not block the next.
        with worker(deployed):
            done = cli("run", TRAINING, "--param", "n_iter=1")
            assert done.returncode == 0, done.stdout + done.stderr
        state = wait_for(lambda: (s := client.read_flow_run(run.id).state).is_crashed() and s, 130, "the crash")
        assert time.monotonic() - killed < 120
        assert "its process is gone" in state.message

    # The killed run left no version; the next one did.
    versions = registry.versions()
    assert len(versions) == len(before) + 1
    assert all(version.tags["data"] != str(path) for version in versions)
