"""The local stack: its environment and lock, its commands, and how its processes are ended."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.settings import Settings
from tests.support.processes import wait_for
from tests.support.stacks import others_can, stack_of
from tools.access import passwords
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack import processes
from tools.stack.credentials import CREDENTIALS, RUNS, environment_of
from tools.stack.run import what_next
from tools.stack.services import SERVICES


def test_services_get_absolute_paths_and_their_own_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.example")
    stack = stack_of(tmp_path, mlflow_port=6051, prefect_port=6200, data="data/train.csv")
    environment = stack.environment()
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:6051"
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:6200/api"
    assert environment["DECISION_LOG"] == f"sqlite:///{tmp_path}/var/decisions.db"
    assert environment["BUCKET"] == f"{tmp_path}/var/bucket"
    assert environment["DATA"] == str(ROOT / "data/train.csv")


@pytest.mark.parametrize(
    ("chosen", "handed_on"),
    [
        ("credit_data", "credit_data"),
        ("data/credit_data", str(ROOT / "data/credit_data")),
        ("gone/dataset.toml", "gone/dataset.toml"),
    ],
)
def test_services_get_the_data_set_and_its_own_data_unless_others_are_given(
    tmp_path, chosen, handed_on
):
    environment = stack_of(tmp_path, dataset=chosen).environment()
    assert (environment["DATASET"], environment["DATA"]) == (handed_on, "")


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("german_credit", "data/credit-g.csv"),
        ("credit_data", "data/credit_data/credit_data.csv"),
    ],
)
def test_a_file_of_the_data_set_is_named_to_be_uploaded(tmp_path, dataset, file):
    stack = stack_of(tmp_path, dataset=dataset)
    said = what_next(stack, stack.environment())
    assert f"open http://127.0.0.1:9696 and upload {file}: every client" in said
    assert (ROOT / file).is_file()


def test_no_file_is_named_where_a_data_set_comes_without(tmp_path):
    definition = (ROOT / "data/credit_data/dataset.toml").read_text()
    path = tmp_path / "dataset.toml"
    # The training data that it names are not beside it.
    for text in (definition, definition.replace('file = "credit_data.csv"\n', "")):
        path.write_text(text)
        load_dataset.cache_clear()
        stack = stack_of(tmp_path, dataset=str(path))
        said = what_next(stack, stack.environment())
        assert "  open http://127.0.0.1:9696\n" in said
        assert ".csv" not in said


def test_a_configured_log_and_bucket_are_used_unchanged(tmp_path):
    log, bucket = "mongodb://somewhere.example/db", "gs://bucket/prefix"
    environment = stack_of(tmp_path, decision_log=log, bucket=bucket).environment()
    assert (environment["DECISION_LOG"], environment["BUCKET"]) == (log, bucket)


def test_a_secret_reaches_services_unchanged_and_is_private(tmp_path):
    stack = stack_of(tmp_path, api_keys=f"first:{'0' * 64}", smtp_password="p")
    environment = stack.environment()
    assert (environment["API_KEYS"], environment["SMTP_PASSWORD"]) == (f"first:{'0' * 64}", "p")
    made = passwords.make(stack.secrets)
    with stack.lock():
        stack.remember(environment)
        kept = stack.run_dir / "environment.json"
        assert kept.stat().st_mode & 0o077 == 0
        assert made["prefect-login"] not in kept.read_text()
        assert stack.remembered() == passwords.filled(environment, stack.secrets)
        assert stack.remembered()["PREFECT_API_AUTH_STRING"] == f"admin:{made['prefect-login']}"


def test_a_service_gets_only_its_own_credentials(tmp_path):
    stack = stack_of(
        tmp_path, api_keys=f"k:{'0' * 64}", smtp_password="p", alert_webhook_url="https://x"
    )
    given = stack.environment()
    assert set(CREDENTIALS) <= set(given)
    assert {name for names in CREDENTIALS.values() for name in names} <= {
        service.name for service in SERVICES
    }
    held = {s.name: set(environment_of(s.name, given)) & set(CREDENTIALS) for s in SERVICES}
    mlflow = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert held["training-worker"] == {"DECISION_LOG", "PREFECT_API_AUTH_STRING", *mlflow}
    assert held["reporting-worker"] == held["scoring-worker"] == held["training-worker"]
    assert environment_of("training-worker", given)["MLFLOW_TRACKING_USERNAME"] == "training"
    assert held["prefect-server"] == {"PREFECT_SERVER_API_AUTH_STRING"}
    assert held["mlflow"] == held["prometheus"] == set()
    assert given.keys() - CREDENTIALS.keys() <= environment_of("mlflow", given).keys()


def test_the_launcher_starts_a_service_with_its_environment(tmp_path):
    stack = stack_of(tmp_path, api_keys=f"k:{'0' * 64}")
    made = passwords.make(stack.secrets)
    given = (
        os.environ
        | stack.environment()
        | {processes.STACK: str(stack.var), processes.SERVICE: "training-worker"}
    )
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-m", "tools.stack.launcher", sys.executable, "-c", code],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
    )
    started = json.loads(done.stdout)
    assert started["PREFECT_API_AUTH_STRING"] == f"admin:{made['prefect-login']}"
    assert RUNS.items() <= started.items()
    assert "API_KEYS" not in started


def test_a_state_that_others_could_read_becomes_private(tmp_path):
    log = tmp_path / "elsewhere.db"
    stack = stack_of(tmp_path, decision_log=f"sqlite:///{log}")
    (stack.var / "prefect").mkdir(parents=True)
    state = [
        log,
        tmp_path / "elsewhere.db-wal",
        stack.var / "mlflow.db",
        stack.var / "prefect" / "prefect.db",
    ]
    for file in state:
        file.touch()
        file.chmod(0o644)
    stranger = tmp_path / "stranger"
    stranger.touch()
    stranger.chmod(0o644)
    (stack.var / "link").symlink_to(stranger)
    stack.var.chmod(0o755)
    stack.close()
    assert stack.var.stat().st_mode & 0o777 == 0o700
    assert not any(others_can(file) for file in state)
    assert others_can(stranger)


def test_another_user_cannot_read_the_state():
    """Not even if the folders above are open to all, as was the state of an earlier version."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        stack = stack_of(Path(place))
        stack.var.mkdir()
        stack.var.chmod(0o755)
        log = f"sqlite:///{stack.var}/decisions.db"
        open_log(Settings(_env_file=None, var_dir=stack.var, decision_log=log)).append_event(
            "note", "1"
        )
        passwords.make(stack.secrets)
        files = [stack.var / "decisions.db", stack.secrets / "prefect-login"]
        files[0].chmod(0o644)
        if os.geteuid():
            stack.close()
            assert stack.var.stat().st_mode & 0o077 == 0
            return
        assert read_as_nobody(files[0])
        stack.close()
        assert not any(map(read_as_nobody, files))


def read_as_nobody(file):
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    return subprocess.run(["cat", file], capture_output=True, **nobody).returncode == 0


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path):
    stack = stack_of(tmp_path)
    stack.var.mkdir()
    stack.var.chmod(0o1777)
    with pytest.raises(Failed, match="name a folder that is yours alone"):
        stack.close()
    assert stack.var.stat().st_mode & 0o7777 == 0o1777


def test_a_relative_log_and_bucket_are_taken_from_the_repository(tmp_path):
    environment = stack_of(
        tmp_path, decision_log="sqlite:///my/log.db", bucket="my/bucket"
    ).environment()
    assert (environment["DECISION_LOG"], environment["BUCKET"]) == (
        f"sqlite:///{ROOT}/my/log.db",
        f"{ROOT}/my/bucket",
    )


def test_every_address_works_for_a_client_on_this_machine(tmp_path):
    environment = stack_of(tmp_path, host="0.0.0.0").environment()
    assert all(s.address(environment).startswith("http://127.0.0.1:") for s in SERVICES if s.port)


def test_each_service_logs_in_to_mlflow_as_the_right_user(tmp_path):
    given = stack_of(tmp_path).environment()
    assert given["MLFLOW_TRACKING_USERNAME"] == "approver"  # a person's commands
    users = {
        s.name: environment_of(s.name, given).get("MLFLOW_TRACKING_PASSWORD") for s in SERVICES
    }
    assert {name for name, login in users.items() if login == "{secret:mlflow-training}"} == {
        "training-worker"
    }
    assert {name for name, login in users.items() if login == "{secret:mlflow-approver}"} == {
        "first-model",
        "approvals",
    }
    readers = {"risk-o-meter", "evidently-exporter", "reporting-worker", "scoring-worker"}
    assert {name for name, login in users.items() if login == "{secret:mlflow-serving}"} == readers
    assert {name for name, login in users.items() if login is None} == {
        s.name for s in SERVICES
    } - readers - {
        "training-worker",
        "first-model",
        "approvals",
    }


WITH_TOKENS = {"oidc_issuer": "https://id.example", "oidc_audience": "x", "roles_file": "my/r.toml"}


def test_the_approvals_service_runs_where_tokens_identify_people(tmp_path):
    (service,) = (s for s in SERVICES if s.name == "approvals")
    assert not service.wanted(stack_of(tmp_path).environment())
    given = stack_of(tmp_path, **WITH_TOKENS).environment()
    assert service.wanted(given)
    assert given["ROLES_FILE"] == f"{ROOT}/my/r.toml"
    assert given["APPROVALS_URL"] == service.address(given)
    held = environment_of("approvals", given)
    assert held["MLFLOW_TRACKING_USERNAME"] == "approver"
    assert {"DECISION_LOG", "PREFECT_API_AUTH_STRING"} <= set(held)
    elsewhere = stack_of(tmp_path, approvals_url="https://approvals.example", **WITH_TOKENS)
    assert elsewhere.environment()["APPROVALS_URL"] == "https://approvals.example"


def test_a_setting_that_is_not_set_is_no_variable(tmp_path):
    """As a text, None would be a value that no service takes."""
    environment = stack_of(tmp_path).environment()
    assert {"ROLES_FILE", "FOUR_EYES"}.isdisjoint(environment)
    assert "None" not in environment.values()


def test_services_and_supervisords_programs_are_the_same():
    programs = {
        line[len("[program:") : -1]
        for line in (ROOT / "supervisord.conf").read_text().splitlines()
        if line.startswith("[program:")
    }
    assert programs == {s.name for s in SERVICES}


def test_services_wait_for_each_other_without_a_circle():
    placed: set[str] = set()
    while len(placed) < len(SERVICES):
        now = {s.name for s in SERVICES if set(s.after) <= placed} - placed
        assert now, "these wait for each other"
        placed |= now


def test_the_lock_is_held_once_and_names_its_holder(tmp_path):
    stack = stack_of(tmp_path)
    assert stack.runner() is None
    with stack.lock():
        assert stack.runner() == os.getpid()
        with (
            pytest.raises(Failed, match=f"already running \\(pid {os.getpid()}\\)"),
            stack_of(tmp_path).lock(),
        ):
            pass
    assert stack.runner() is None


def test_a_port_held_by_another_process_is_reported_before_anything_starts(new_stack):
    stack = new_stack()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", int(stack.environment["PREFECT_PORT"])))
        stranger.listen()
        stack.start()
        assert stack.runner.wait(30) == 1
    assert f"is held by pid {os.getpid()} (" in stack.output
    assert "PREFECT_PORT=" in stack.output
    assert len(stack.output.splitlines()) == 1
    assert not stack.processes()


def test_two_services_on_one_port_are_reported(new_stack):
    stack = new_stack(RISKOMETER_PORT="15999", EXPORTER_PORT="15999")
    stack.start()
    assert stack.runner.wait(30) == 1
    assert "RISKOMETER_PORT and EXPORTER_PORT are both 15999" in stack.output


def test_a_wrong_setting_is_reported_in_one_line(new_stack):
    stack = new_stack(MLFLOW_PORT="lots")
    stack.start()
    assert stack.runner.wait(30) == 1
    assert stack.output.startswith("MLFLOW_PORT=lots: ")
    assert len(stack.output.splitlines()) == 1


def test_with_nothing_running_status_stop_and_exec_say_so(new_stack):
    stack = new_stack()
    status, stop, run = stack.stack("status"), stack.stack("stop"), stack.stack("exec", "true")
    assert (status.returncode, stop.returncode, run.returncode) == (3, 0, 1)
    assert status.stdout == stop.stdout == run.stdout == "nothing runs here: `make run` starts it\n"
    assert stack.stack("running").returncode != 0


def test_a_missing_log_is_reported(new_stack):
    stack = new_stack()
    said = stack.stack("logs", "mlflow")
    assert (said.returncode, said.stdout) == (1, "no such log; there is: none yet\n")


@pytest.fixture
def marked():
    """A function that starts a process with a stack's mark; if `stubborn`, it ignores SIGTERM."""
    started = []

    def start(stack, service="", *, stubborn=False):
        code = "import signal, time; print(flush=True); time.sleep(60)"
        if stubborn:
            code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + code
        as_marked = {processes.STACK: stack, processes.SERVICE: service}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | as_marked,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_processes_are_found_by_the_mark_of_their_stack_alone(marked, tmp_path):
    mark = str(tmp_path)
    ours, others = marked(mark, "mlflow"), marked(f"{mark}/below")
    assert [(p.pid, name) for p, name in processes.processes_of(mark)] == [(ours.pid, "mlflow")]
    assert others.poll() is None


def test_a_process_that_ignores_sigterm_is_killed(marked, tmp_path):
    mark = str(tmp_path)
    gentle, stubborn = marked(mark), marked(mark, stubborn=True)
    processes.end((p for p, _ in processes.processes_of(mark)), patience=1)
    assert (gentle.wait(5), stubborn.wait(5)) == (-signal.SIGTERM, -signal.SIGKILL)


def test_the_launcher_ends_processes_of_an_earlier_start(marked, tmp_path):
    mark = str(tmp_path)
    left, other = marked(mark, "mlflow"), marked(mark, "prefect-server")
    as_marked = {processes.STACK: mark, processes.SERVICE: "mlflow", "VAR_DIR": mark}
    done = subprocess.run(
        [sys.executable, "-m", "tools.stack.launcher", "echo", "started"],
        cwd=ROOT,
        env=os.environ | as_marked,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "started\n"
    assert left.wait(5) == -signal.SIGTERM
    assert other.poll() is None


def test_stop_ends_the_processes_of_a_killed_supervisor(new_stack, marked):
    stack = new_stack()
    left = marked(str(stack.var), "mlflow")
    assert "left services behind" in stack.stack("status").stdout
    assert stack.stack("stop").stdout.startswith("stopped")
    assert left.wait(5) == -signal.SIGTERM


@pytest.mark.slow
def test_a_service_that_cannot_start_shows_its_log_and_stops_the_rest(new_stack):
    stack = new_stack()
    stack.var.mkdir()
    (stack.var / "prefect").write_text("in the way of a folder")
    stack.start()
    assert stack.runner.wait(200) == 1
    assert re.search("^prefect-server .*; the end of .*prefect-server.log:$", stack.output, re.M)
    assert "Error" in stack.output
    assert not stack.processes()
    assert not (stack.var / "run" / "environment.json").exists()


def test_ctrl_c_during_the_start_stops_everything(new_stack):
    stack = new_stack()
    stack.start()
    wait_for(lambda: stack.processes("mlflow"), 30, "the first service")
    assert "already running" in stack.stack("run").stdout
    assert "not started" in stack.stack("status").stdout
    began = time.monotonic()
    assert "stopped in" in stack.stop()
    assert time.monotonic() - began < 60
    assert stack.runner.returncode == 0
    assert not stack.processes()


def test_a_killed_supervisor_ends_the_run_and_all_its_services(new_stack):
    stack = new_stack()
    stack.start()
    wait_for(lambda: stack.processes("mlflow"), 30, "the first service")
    stack.supervisor.kill()
    assert stack.runner.wait(60) == 1
    assert "supervisord was ended by somebody else" in stack.output
    assert not stack.processes()


def test_stop_stops_the_services_of_a_killed_runner(new_stack):
    stack = new_stack()
    stack.start()
    wait_for(lambda: stack.processes("mlflow"), 30, "the first service")
    stack.runner.kill()
    stack.runner.wait(10)
    assert stack.stack("stop").stdout.startswith("stopped")
    assert not stack.processes()


def test_prometheus_gets_the_addresses_of_this_stack(
    new_stack, prometheus_binary, alertmanager_binary
):
    stack = new_stack()
    stack.start()
    written = stack.var / "prometheus" / "targets" / "local.json"
    wait_for(
        (stack.var / "prometheus" / "alertmanagers" / "local.json").exists, 30, "the addresses"
    )
    groups = {g["labels"]["job"]: g["targets"] for g in json.loads(written.read_text())}
    assert groups["risk-o-meter"] == [f"127.0.0.1:{stack.environment['RISKOMETER_PORT']}"]
    (told,) = json.loads((stack.var / "prometheus" / "alertmanagers" / "local.json").read_text())
    assert told["targets"] == [f"127.0.0.1:{stack.environment['ALERTMANAGER_PORT']}"]
    promtool = shutil.which("promtool")
    if promtool:
        config = stack.var / "prometheus" / "prometheus.yml"
        checked = subprocess.run(
            [promtool, "check", "config", str(config)], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    stack.stop()
