"""Deployments, first model and killed runs on real servers with a real worker."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Pending
from prefect.workers.process import ProcessWorker

from credit_risk.decision_log.log import open_log
from credit_risk.prefect_api import PrefectAPI
from credit_risk.registry.approval_log import history
from credit_risk.registry.registry import CHALLENGER, PRODUCTION, Registry
from credit_risk.settings import Settings
from model_orchestration_and_tracking.deploy import (
    BEGIN_RULE,
    CRASH_RULE,
    JOB_TEMPLATE,
    POOLS,
    begin_rule,
    ensure_rule,
    watch_unfinished,
)
from model_orchestration_and_tracking.run import follow, start
from tests.support.processes import running, wait_for
from tests.support.services import PREFECT_LOGIN, prefect_server
from tests.support.stacks import pause_schedules
from tools.stack.credentials import RUNS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING = "credit-risk-training/sunday-night"


@pytest.fixture(scope="module")
def stack(mlflow_server, tmp_path_factory):
    """A Prefect server, and the environment in which everything of this stack runs."""
    folder = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as patch, prefect_server(folder, schedules=True) as api:
        env = {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": api,
            "PREFECT_API_AUTH_STRING": PREFECT_LOGIN,
            "MLFLOW_TRACKING_URI": mlflow_server,
            "MODEL_NAME": "stack",
            "DECISION_LOG": f"sqlite:///{folder}/decisions.db",
            "BUCKET": str(folder / "bucket"),
            "TIMEZONE": "Europe/Berlin",
            "DATA": "data/credit-g.csv",
            "N_ITER": "5",
        }
        for name, value in env.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: PREFECT_LOGIN}):
            yield folder


@contextmanager
def worker(folder):
    command = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        "training",
        "--type",
        "process",
    ]
    with running([*command, "--limit", "1"], folder / "worker.log", RUNS) as process:
        yield process


def cli(module, *arguments):
    command = [sys.executable, "-m", f"model_orchestration_and_tracking.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def processes_of(run):
    """Return the processes of a flow run; their session is their own, not the worker's."""
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
        assert "every-3-hours, nightly, on-demand, sunday-night" in done.stdout
    # Or it might be Sunday night, and a worker here would train once more.
    api = PrefectAPI(os.environ["PREFECT_API_URL"], PREFECT_LOGIN, timeout=20)
    assert pause_schedules(api)
    return stack


def test_server_has_pools_deployments_schedules_and_crash_rules(deployed):
    with get_client(sync_client=True) as client:
        assert {pool.name for pool in client.read_work_pools()} >= set(POOLS)
        deployments = {found.name: found for found in client.read_deployments()}
        plans = {
            name: (
                found.work_pool_name,
                [(s.schedule.cron, s.schedule.timezone) for s in found.schedules],
            )
            for name, found in deployments.items()
        }
        assert plans == {
            "sunday-night": ("training", [("0 23 * * 0", "Europe/Berlin")]),
            "every-3-hours": ("reporting", [("0 */3 * * *", "Europe/Berlin")]),
            "nightly": ("reporting", [("0 2 * * *", "Europe/Berlin")]),
            "on-demand": ("scoring", []),
        }
        for rule in (CRASH_RULE, BEGIN_RULE):
            assert len(client.read_automations_by_name(rule)) == 1


def test_paused_schedule_stays_paused(deployed):
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(TRAINING)
        client.pause_deployment(found.id)
        assert cli("deploy").returncode == 0
        assert client.read_deployment(found.id).paused


@pytest.fixture
def hostile(tmp_path):
    """Job variables that would run any command, and the file that exists once one has."""
    marker = tmp_path / "pwned"
    for module in (
        "sitecustomize",
        "prefect",
    ):  # by PYTHONPATH, and by the folder that a process starts in
        (tmp_path / f"{module}.py").write_text(f"open({str(marker)!r}, 'w').write('ran')")
    variables = {
        "command": f"sh -c 'id > {marker}'",
        "env": {"PYTHONPATH": str(tmp_path)},
        "working_dir": str(tmp_path),
        "env.PYTHONPATH": str(tmp_path),
        "stream_output": False,
    }
    return variables, marker


def ask(method, path, login=None, **headers):
    """Return a function that sends a body to the API, as anybody may, and returns the answer."""
    auth = tuple(login.split(":")) if login else None
    return lambda body: requests.request(
        method,
        f"{os.environ['PREFECT_API_URL']}/{path}",
        json=body,
        auth=auth,
        headers=headers,
        timeout=60,
    )


def with_token(login):
    """Return the headers that somebody with the login gets by asking for them."""
    token = ask("GET", "csrf-token?client=test", login)(None).json()["token"]
    return {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": token}


def asked_for(client, deployment):
    """Return the ids of a deployment's runs, without those that the server plans by itself."""
    of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    found = client.read_flow_runs(flow_run_filter=of_it)
    return {run.id for run in found if not run.auto_scheduled}


def test_run_cannot_be_started_without_the_login(deployed, hostile):
    variables, marker = hostile
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(TRAINING)
        runs = asked_for(client, deployment)
        start = f"deployments/{deployment.id}/create_flow_run"
        body = {"state": {"type": "SCHEDULED"}, "job_variables": {"command": variables["command"]}}
        stolen = with_token(PREFECT_LOGIN)
        for more in ({}, {"Origin": "https://evil.example"}, {"Host": "evil.example"}, stolen):
            refused = 400 if "Host" in more else 401 if more is stolen else 403
            assert ask("POST", "deployments/filter", **more)({}).status_code == refused
            assert ask("POST", start, **more)(body).status_code == refused
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert ask("OPTIONS", start, **preflight)(None).status_code == 400
        # A page of the very browser in which somebody is logged in has no token either.
        assert (
            ask("POST", start, PREFECT_LOGIN, Origin="https://evil.example")(body).status_code
            == 403
        )
        assert asked_for(client, deployment) == runs
    assert not marker.exists()


def test_run_cannot_choose_its_command_or_environment(deployed, hostile, tmp_path):
    variables, marker = hostile
    headers = with_token(PREFECT_LOGIN)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(TRAINING)
        start_path = f"deployments/{deployment.id}/create_flow_run"
        run = start(client, TRAINING, {"data": f"{tmp_path}/none.csv"})
        for name, value in variables.items():
            body = {"state": {"type": "SCHEDULED"}, "job_variables": {name: value}}
            assert ask("POST", start_path, PREFECT_LOGIN, **headers)(body).status_code == 422, name
            changed = ask("PATCH", f"flow_runs/{run.id}", PREFECT_LOGIN, **headers)(
                {"job_variables": {name: value}}
            )
            assert changed.status_code == 422, name
        # Prefect lets a deployment's be changed unchecked; the worker takes no notice.
        changed = ask("PATCH", f"deployments/{deployment.id}", PREFECT_LOGIN, **headers)(
            {"job_variables": variables}
        )
        assert changed.status_code == 204
        assert (
            client.read_deployment(deployment.id).job_variables["command"] == variables["command"]
        )
        with worker(deployed):
            state = follow(client, run, timeout=300)
        client.update_deployment(deployment.id, DeploymentUpdate(job_variables={}))
    assert "none.csv" in state.message  # so it was the flow that ran
    assert not marker.exists()


def test_pools_of_an_earlier_version_are_closed_too(deployed):
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            client.update_work_pool(
                pool,
                WorkPoolUpdate(base_job_template=ProcessWorker.get_default_base_job_template()),
            )
        assert cli("deploy").returncode == 0
        assert all(client.read_work_pool(pool).base_job_template == JOB_TEMPLATE for pool in POOLS)


@pytest.fixture(scope="module")
def bootstrapped(deployed):
    with worker(deployed):
        for expected in (
            "version 1 is Production, approved by bootstrap",
            "version 1 was decided on, by bootstrap: nothing to do",
        ):
            done = cli("bootstrap")
            assert done.returncode == 0, done.stderr
            assert expected in done.stdout
            if "nothing" not in expected:
                assert "candidate 5 of 5" in done.stdout  # progress is visible
    return Settings(_env_file=None)


@pytest.mark.nightly  # as at each start of a stack, in test_end_to_end.py
def test_bootstrap_approves_the_first_model(bootstrapped):
    registry, log = Registry(bootstrapped.mlflow_tracking_uri, "stack"), open_log(bootstrapped)
    assert registry.alias(PRODUCTION) == registry.alias(CHALLENGER) == "1"
    assert [(a.version, a.by) for a in history(log)] == [("1", "bootstrap")]


@pytest.mark.nightly  # as `make model-train-flow` there
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


def test_run_killed_with_its_worker_is_crashed_in_two_minutes(deployed, mlflow_server, tmp_path):
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
        killed = datetime.now(UTC)
        assert client.read_flow_run(run.id).state.is_running()
        # It does not block the next.
        with worker(deployed):
            done = cli("run", TRAINING, "--param", "n_iter=1")
            assert done.returncode == 0, done.stdout + done.stderr
        state = wait_for(
            lambda: (s := client.read_flow_run(run.id).state).is_crashed() and s, 130, "the crash"
        )
        assert state.timestamp - killed < timedelta(minutes=2)  # by the server, and not as seen
        assert "its process is gone" in state.message

    # The killed run left no version; the next one did.
    versions = registry.versions()
    assert len(versions) == len(before) + 1
    assert all(version.tags["data"] != str(path) for version in versions)


@pytest.fixture
def impatient(deployed):
    """A client of a server that gives runs 15 s to begin, where ten minutes are the rule."""
    with get_client(sync_client=True) as client:
        ensure_rule(client, begin_rule(timedelta(seconds=15)))
        yield client
        ensure_rule(client, begin_rule())


def test_pending_run_killed_with_its_worker_is_crashed(deployed, impatient):
    with worker(deployed) as process:
        run = start(impatient, TRAINING, {"n_iter": 1})
        wait_for(lambda: impatient.read_flow_run(run.id).state.is_pending(), 180, "the worker")
        os.killpg(process.pid, signal.SIGKILL)
        for pid in processes_of(run):
            os.kill(pid, signal.SIGKILL)
    assert impatient.read_flow_run(run.id).state.is_pending()
    state = wait_for(
        lambda: (s := impatient.read_flow_run(run.id).state).is_crashed() and s, 60, "the crash"
    )
    assert "not begun within 15 s" in state.message


def test_run_left_pending_by_an_earlier_version_is_crashed(deployed):
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name(TRAINING).id)
        client.set_flow_run_state(run.id, Pending())
        # An upgrade brings the rule up to date, which makes the server forget what it was waiting
        # for.
        ensure_rule(client, begin_rule(timedelta(seconds=10)))
        try:
            watch_unfinished(client)
            wait_for(lambda: client.read_flow_run(run.id).state.is_crashed(), 60, "the crash")
        finally:
            ensure_rule(client, begin_rule())
