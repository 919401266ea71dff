"""What `make run` promises before anything is started, and what is said from other terminals."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from conftest import wait_for
from credit_risk.settings import Settings
from tools import processes
from tools.local import ROOT, Failed, Stack
from tools.services import SERVICES


def stack_of(tmp_path, **values):
    return Stack(Settings(_env_file=None, var_dir=tmp_path / "var", **values))


def test_services_get_absolute_paths_and_their_own_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.example")
    environment = stack_of(tmp_path, mlflow_port=6051, prefect_port=6200).environment()
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:6051"
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:6200/api"
    assert environment["DECISION_LOG"] == f"sqlite:///{tmp_path}/var/decisions.db"
    assert environment["BUCKET"] == f"{tmp_path}/var/bucket"
    assert environment["DATA"] == str(ROOT / "data/credit-g.csv")


def test_a_log_and_a_bucket_elsewhere_are_kept(tmp_path):
    log, bucket = "mongodb://somewhere.example/db", "gs://bucket/prefix"
    environment = stack_of(tmp_path, decision_log=log, bucket=bucket).environment()
    assert (environment["DECISION_LOG"], environment["BUCKET"]) == (log, bucket)


def test_a_secret_reaches_services_as_it_is_and_is_nobody_elses_to_read(tmp_path):
    stack = stack_of(tmp_path, api_keys="first, second", smtp_password="p")
    environment = stack.environment()
    assert (environment["API_KEYS"], environment["SMTP_PASSWORD"]) == ("first, second", "p")
    with stack.lock():
        stack.remember(environment)
        assert (stack.run_dir / "environment.json").stat().st_mode & 0o077 == 0
        assert stack.remembered() == environment


def test_a_relative_log_and_bucket_are_taken_from_the_repository(tmp_path):
    environment = stack_of(tmp_path, decision_log="sqlite:///my/log.db", bucket="my/bucket").environment()
    assert (environment["DECISION_LOG"], environment["BUCKET"]) == (
        f"sqlite:///{ROOT}/my/log.db",
        f"{ROOT}/my/bucket",
    )


def test_every_address_is_what_a_client_on_this_machine_uses(tmp_path):
    environment = stack_of(tmp_path, host="0.0.0.0").environment()
    assert all(s.address(environment).startswith("http://127.0.0.1:") for s in SERVICES if s.port)


def test_services_and_supervisords_programs_are_the_same():
    programs = {
        line[len("[program:") : -1]
        for line in (ROOT / "supervisord.conf").read_text().splitlines()
        if line.startswith("[program:")
    }
    assert programs == {s.name for s in SERVICES}


def test_what_services_wait_for_is_there_and_leads_to_an_end():
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
        with pytest.raises(Failed, match=f"already running \\(pid {os.getpid()}\\)"), stack_of(tmp_path).lock():
            pass
    assert stack.runner() is None


def test_a_port_held_by_a_stranger_is_named_with_the_setting_before_anything_starts(new_stack):
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


def test_two_services_on_one_port_are_told_apart(new_stack):
    stack = new_stack(RISKOMETER_PORT="15999", EXPORTER_PORT="15999")
    stack.start()
    assert stack.runner.wait(30) == 1
    assert "RISKOMETER_PORT and EXPORTER_PORT are both 15999" in stack.output


def test_a_wrong_setting_is_one_line(new_stack):
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


def test_a_log_that_is_not_there_is_said(new_stack):
    stack = new_stack()
    said = stack.stack("logs", "mlflow")
    assert (said.returncode, said.stdout) == (1, "no such log; there is: none yet\n")


@pytest.fixture
def marked():
    """A function that starts a process with a stack's mark; a stubborn one ignores SIGTERM."""
    started = []

    def start(stack, service="", *, stubborn=False):
        code = "import signal, time; print(flush=True); time.sleep(60)"
        if stubborn:
            code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + code
        as_marked = {processes.STACK: stack, processes.SERVICE: service}
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | as_marked, stdout=subprocess.PIPE, start_new_session=True
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
    assert [(p.pid, name) for p, name in processes.of_stack(mark)] == [(ours.pid, "mlflow")]
    assert others.poll() is None


def test_a_process_that_ignores_sigterm_is_killed(marked, tmp_path):
    mark = str(tmp_path)
    gentle, stubborn = marked(mark), marked(mark, stubborn=True)
    processes.end((p for p, _ in processes.of_stack(mark)), patience=1)
    assert (gentle.wait(5), stubborn.wait(5)) == (-signal.SIGTERM, -signal.SIGKILL)


def test_a_service_ends_what_an_earlier_start_of_it_left(marked, tmp_path):
    mark = str(tmp_path)
    left, other = marked(mark, "mlflow"), marked(mark, "prefect-server")
    as_marked = {processes.STACK: mark, processes.SERVICE: "mlflow"}
    done = subprocess.run(
        [sys.executable, "-m", "tools.service", "echo", "started"],
        cwd=ROOT,
        env=os.environ | as_marked,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "started\n"
    assert left.wait(5) == -signal.SIGTERM
    assert other.poll() is None


def test_stop_ends_what_a_killed_supervisor_left(new_stack, marked):
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


def test_stop_stops_what_a_killed_runner_left_in_order(new_stack):
    stack = new_stack()
    stack.start()
    wait_for(lambda: stack.processes("mlflow"), 30, "the first service")
    stack.runner.kill()
    stack.runner.wait(10)
    assert stack.stack("stop").stdout.startswith("stopped")
    assert not stack.processes()


def test_prometheus_gets_the_addresses_of_this_stack(new_stack, prometheus_binary, alertmanager_binary):
    stack = new_stack()
    stack.start()
    written = stack.var / "prometheus" / "targets" / "local.json"
    wait_for((stack.var / "prometheus" / "alertmanagers" / "local.json").exists, 30, "the addresses")
    groups = {g["labels"]["job"]: g["targets"] for g in json.loads(written.read_text())}
    assert groups["risk-o-meter"] == [f"127.0.0.1:{stack.environment['RISKOMETER_PORT']}"]
    (told,) = json.loads((stack.var / "prometheus" / "alertmanagers" / "local.json").read_text())
    assert told["targets"] == [f"127.0.0.1:{stack.environment['ALERTMANAGER_PORT']}"]
    promtool = shutil.which("promtool")
    if promtool:
        config = stack.var / "prometheus" / "prometheus.yml"
        checked = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    stack.stop()
