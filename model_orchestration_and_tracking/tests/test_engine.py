"""The search and the evaluation in this process, over processes, and on a real Dask cluster."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from joblib import Parallel, delayed

from credit_risk import dask_cluster as module
from credit_risk.dask_cluster import ClusterFailed
from model_orchestration_and_tracking import engine as engine_module
from model_orchestration_and_tracking.engine import IN_PROCESS, Engine, processes
from model_orchestration_and_tracking.evaluate import main
from model_orchestration_and_tracking.tuning import candidates, search
from tests.support.dask_cluster import dask_cluster
from tests.support.german_credit import GERMAN_CREDIT, encode, read_training
from tests.support.processes import wait_for

NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture(scope="module")
def train():
    clients = read_training("data/train.csv")
    return encode(clients), clients["class"].to_numpy(str)


@pytest.fixture(scope="module")
def figures(train):
    return found(train, IN_PROCESS)


def found(train, engine, at=lambda n: None):
    """The outcome of a search of 8 candidates; `at` is called with the number of each."""
    risks = {}
    for number, validated in enumerate(
        search(candidates(8, 3), GERMAN_CREDIT, *train, 3, engine), 1
    ):
        risks[validated.candidate.summary] = validated.risk
        at(number)
    return risks


def assert_same(one, other):
    assert list(one) == list(other)
    for name, risk in one.items():
        np.testing.assert_array_equal(risk, other[name])


def test_processes_find_the_same_as_one(train, figures):
    assert_same(found(train, Engine(jobs=2)), figures)


@pytest.mark.slow
def test_a_cluster_finds_the_same_as_one_process(train, figures, cluster):
    assert_same(found(train, Engine(cluster.address)), figures)


def test_results_come_in_order_while_others_are_worked_on(cluster):
    seconds = [0.6, 0, 0.3, 0]
    assert list(Engine(cluster.address).each(_sleep, None, seconds)) == seconds


def _sleep(_data, seconds):
    time.sleep(seconds)
    return seconds


def test_work_is_done_by_all_workers_and_never_here(cluster):
    pids = set(Engine(cluster.address).each(_pid, None, range(8)))
    assert pids == {worker.pid for worker in cluster.workers}


def _pid(_data, _piece):
    time.sleep(0.1)
    return os.getpid()


def test_parallel_work_within_the_work_stays_in_its_process(cluster):
    """As in a forest of scikit-learn, whatever its `n_jobs`."""
    for own, others in Engine(cluster.address).each(_nested, None, [1, -1]):
        assert others == {own}


def _nested(_data, jobs):
    return os.getpid(), set(Parallel(n_jobs=jobs)(delayed(os.getpid)() for _ in range(8)))


@pytest.mark.slow
def test_evaluation_on_a_cluster_gives_the_same_figures(cluster, tmp_path):
    arguments = ["--repeats=1", "--seed=3", "--n-iter=1", "--models", "credit-risk", "lr-woe"]
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    assert main([*arguments, "--jobs=1", f"--output={here}"]) == 0
    command = [sys.executable, "-m", "model_orchestration_and_tracking.evaluate", *arguments]
    done = subprocess.run(
        [*command, f"--output={there}"],
        env=os.environ | {"DASK_SCHEDULER": cluster.address},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "10 of 10 folds" in done.stderr
    assert there.read_text() == here.read_text()


@pytest.mark.slow
def test_a_worker_killed_during_a_search_changes_no_figure(train, figures, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        lost = cluster.workers[0]

        def kill(number):
            if number == 2:
                lost.kill()

        assert_same(found(train, Engine(cluster.address), kill), figures)
        assert lost.wait(10) == -signal.SIGKILL
        log = (tmp_path / "scheduler.log").read_text()
        assert re.search("Remove worker addr: .* name: 0", log), "while the search went on"


@pytest.mark.slow
def test_data_are_computed_anew_where_a_worker_is_lost(tmp_path):
    """joblib scatters large arguments to a worker, whose loss would be the end of the work."""
    data = np.arange(100_000.0)
    with dask_cluster(tmp_path) as cluster:
        killed = tmp_path / "killed"
        pieces = [*((number, None) for number in range(19)), (19, killed)]
        results = Engine(cluster.address).each(_sum, data, pieces)
        lost, first = next(results)
        os.kill(lost, signal.SIGKILL)
        killed.touch()
        pids, sums = zip(*results, strict=True)
    assert [first, *sums] == [data.sum() + number for number in range(20)]
    assert pids[-1] != lost


def _sum(data, piece):
    number, killed = piece
    time.sleep(0.1)
    if killed:  # or on a slow machine all would be done before it
        wait_for(killed.exists, 60, "the kill")
    return os.getpid(), data.sum() + number


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_search_with_its_address(tmp_path):
    with dask_cluster(tmp_path) as cluster:
        threading.Timer(1, cluster.scheduler.kill).start()
        with pytest.raises(ClusterFailed, match=f"DASK_SCHEDULER={cluster.address}: the scheduler"):
            list(Engine(cluster.address).each(_sleep, None, [0.5] * 20))


@pytest.mark.slow
def test_work_that_kills_its_workers_fails(tmp_path):
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with (
        dask_cluster(tmp_path, env=once) as cluster,
        pytest.raises(ClusterFailed, match=r"DASK_SCHEDULER=.*: Attempted to run task .* worker"),
    ):
        list(Engine(cluster.address).each(_die, None, [1, 2]))


def _die(_data, _piece):
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_workers_do_not_know_fails(cluster, tmp_path, monkeypatch):
    (tmp_path / "unknown_there.py").write_text("def work(data, piece):\n    return piece\n")
    monkeypatch.syspath_prepend(tmp_path)
    from unknown_there import work

    assert list(IN_PROCESS.each(work, None, [1])) == [1]
    with pytest.raises(Exception, match="deserialization"):
        list(Engine(cluster.address).each(work, None, [1, 2, 3]))


def test_an_error_in_the_work_is_the_callers(cluster):
    for engine in (IN_PROCESS, Engine(cluster.address)):
        with pytest.raises(ZeroDivisionError):
            list(engine.each(_divide, 1, [1, 0, 1]))


def _divide(data, number):
    return data / number


def test_evaluation_without_a_scheduler_fails_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("DASK_SCHEDULER", NOWHERE)
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    assert main(["--repeats=1", "--n-iter=1"]) == 2
    assert capsys.readouterr().err == (
        f"evaluate: DASK_SCHEDULER={NOWHERE}: no scheduler answers there\n"
    )


def test_an_address_that_accepts_and_says_nothing_is_no_scheduler(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(ClusterFailed, match="no scheduler answers there"):
            list(Engine(address).each(_divide, 1, [1]))
    assert time.monotonic() - start < 10


def test_a_scheduler_without_workers_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    with (
        dask_cluster(tmp_path, workers=0) as cluster,
        pytest.raises(ClusterFailed, match=f"DASK_SCHEDULER={cluster.address}: it has no worker"),
    ):
        list(Engine(cluster.address).each(_divide, 1, [1]))


def test_few_pieces_get_few_processes(monkeypatch):
    monkeypatch.setattr(engine_module, "cpu_count", lambda: 8)
    assert [processes(n, 10) for n in (1, 19, 20, 1000)] == [1, 1, 2, 8]
