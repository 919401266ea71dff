"""Scoring a portfolio on a real Dask cluster: the same scores, and none lost with a worker."""

import threading
import time

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.registry import Registry
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.plan import Order
from model_deployment.portfolio.run import score_portfolio
from tests.support.dask_cluster import dask_cluster
from tests.support.processes import free_port
from tests.support.riskometer import register_version
from tests.support.services import put_in_service
from tools.stack.local_stack import variables

NAME = "portfolio-on-dask"
N_PARTS = 12


@pytest.fixture(scope="module")
def version(mlflow_server, scorers):
    return register_version(mlflow_server, NAME, scorers[0])


@pytest.fixture
def settings(settings, mlflow_server, version):
    settings = settings.model_copy(
        update={"mlflow_tracking_uri": mlflow_server, "model_name": NAME}
    )
    put_in_service(Registry(mlflow_server, NAME), open_log(settings), version)
    return settings


@pytest.fixture
def cluster(settings, tmp_path):
    with dask_cluster(tmp_path, workers=2, env=variables(settings)) as running:
        yield running


@pytest.fixture
def score(settings, tmp_path, client_rows, as_csv):
    """A function that scores a book of twelve parts, on a cluster or in this process."""
    (tmp_path / "book.csv").write_text(as_csv(client_rows[:200] * 60))

    def run(output, cluster=None, say=print):
        address = cluster.address if cluster else ""
        order = Order(str(tmp_path / "book.csv"), str(tmp_path / output), part_rows=1000)
        on = settings.model_copy(update={"dask_scheduler": address})
        return score_portfolio(order, on, say)

    return run


def counts(manifest):
    names = ("n_rows", "n_decided", "n_rejected", "n_red", "scores_sha256")
    return {name: manifest[name] for name in names}


def test_a_cluster_gives_the_scores_of_one_process(score, cluster, settings):
    assert counts(score("on-dask", cluster)) == counts(score("here"))
    verify(open_log(settings))


@pytest.mark.slow
def test_no_score_is_lost_or_made_twice_when_a_worker_is_killed(score, cluster, settings):
    killed = threading.Event()

    def say(line):
        if " of 12 parts" in line and not killed.is_set():
            cluster.workers[0].kill()
            killed.set()

    manifest = score("on-dask", cluster, say)
    assert killed.is_set()
    assert counts(manifest) == counts(score("here"))
    batches = open_log(settings).batches(kinds=("portfolio",))
    on_dask = [b for b in batches if b.idempotency_key.startswith(manifest["run"])]
    assert len(on_dask) == N_PARTS
    assert sum(batch.n_decided for batch in on_dask) == 12_000
    verify(open_log(settings))


@pytest.mark.slow
def test_a_lost_scheduler_is_named_and_the_same_command_goes_on(score, cluster, settings):
    def say(line):
        if " of 12 parts" in line:
            cluster.scheduler.kill()

    began = time.monotonic()
    with pytest.raises(NotScored, match="the scheduler is gone: the same command goes"):
        score("out", cluster, say)
    assert time.monotonic() - began < 60
    manifest = score("out", cluster=None)
    assert manifest["n_decided"] == 12_000
    verify(open_log(settings))


def test_a_scheduler_that_is_not_there_is_named(score, monkeypatch):
    monkeypatch.setattr("credit_risk.dask_cluster.CONNECT_SECONDS", 1)

    class Nobody:
        address = f"tcp://127.0.0.1:{free_port()}"

    with pytest.raises(NotScored, match=f"DASK_SCHEDULER={Nobody.address}: no scheduler"):
        score("out", Nobody)
