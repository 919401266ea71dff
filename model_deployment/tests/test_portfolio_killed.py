"""A run of a portfolio that was killed, and its command given again; against a real MLflow."""

import os
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.registry import Registry
from credit_risk.schema.dataset_file import dataset_path
from credit_risk.storage.backends import open_blobs
from model_deployment.portfolio import manifest
from model_deployment.portfolio.plan import Order
from model_deployment.portfolio.run import score_portfolio
from tests.support.riskometer import register_version
from tests.support.services import put_in_service
from tools.paths import ROOT
from tools.stack.local_stack import variables

NAME = "portfolio-killed"
N_PARTS, PART_ROWS = 24, 500
# Seconds from a line of progress to the kill, so that it comes at several places of a part.
PAUSES = (0.02, 0.05, 0.08)
HOUSING = re.compile(r'\[\[attributes\]\]\nname = "housing"\n.*?\n\]\n', re.DOTALL)
AS_NUMBER = '[[attributes]]\nname = "housing"\nlabel = "Rooms"\nkind = "number"\nmaximum = 9\n'


@pytest.fixture(scope="module")
def version(mlflow_server, scorers):
    return register_version(mlflow_server, NAME, scorers[0])


@pytest.fixture
def settings(settings, mlflow_server, version):
    given = {"mlflow_tracking_uri": mlflow_server, "model_name": NAME}
    settings = settings.model_copy(update=given)
    put_in_service(Registry(mlflow_server, NAME), open_log(settings), version)
    return settings


@pytest.fixture
def edited(settings, tmp_path):
    """The settings after a category of the definition was made a number."""
    whole = dataset_path("german_credit").read_text()
    text, n = HOUSING.subn(AS_NUMBER, whole.partition("[[formats]]")[0])
    assert n == 1
    (tmp_path / "dataset.toml").write_text(text)
    return settings.model_copy(update={"dataset": str(tmp_path / "dataset.toml")})


@pytest.mark.parametrize("reasons", [False, True])
def test_what_was_committed_is_written_by_the_definition_that_decided(
    settings, edited, tmp_path, client_rows, as_csv, reasons
):
    (tmp_path / "book.csv").write_text(as_csv(client_rows[:30]))
    out = tmp_path / "out"
    order = Order(str(tmp_path / "book.csv"), str(out), reasons=reasons, part_rows=20)
    score_portfolio(order, settings, print)
    scored = out / "scored/book.csv-00000.parquet"
    before = pq.read_table(scored)

    # As a run leaves it that is killed behind the commit of its first part.
    for file in (scored, out / "parts/book.csv-00000.json", out / "manifest.json"):
        file.unlink()
    (out / "scored/.part-of-the-killed").write_bytes(b"PAR1")
    score_portfolio(order, edited, print)
    after = pq.read_table(scored)
    assert after.column_names == before.column_names
    assert after.to_pylist() == before.to_pylist()
    assert not list(out.rglob(".*")), "nothing half-written is left"


@pytest.fixture
def rows(client_rows):
    """Clients for all parts, one of whom is rejected."""
    n = N_PARTS * PART_ROWS
    rows = [client_rows[i % 200] | {"client_id": f"C{i}"} for i in range(n)]
    rows[n // 2]["purpose"] = "yacht"
    return rows


@pytest.fixture
def run(settings, tmp_path, rows, as_csv):
    """A function that runs the command; given a pause, it is killed so long after two parts."""
    (tmp_path / "book.csv").write_text(as_csv(rows))
    command = [sys.executable, "-m", "model_deployment.portfolio", "--part-rows", str(PART_ROWS)]
    command += [str(tmp_path / "book.csv"), str(tmp_path / "out")]
    environment = os.environ | variables(settings)

    def started(pause=None):
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            for line in process.stderr:
                if pause is not None and line.startswith("batch-score: 2 of "):
                    time.sleep(pause)
                    process.kill()
        return process.returncode

    return started


def common(closed):
    """Return what the manifests of two runs of one order have in common."""
    own = {"run", "order", "started", "finished", "parts"}
    of_parts = {"batch", "scored", "seconds"}
    parts = [{n: v for n, v in part.items() if n not in of_parts} for part in closed["parts"]]
    return {n: v for n, v in closed.items() if n not in own} | {"parts": parts}


@pytest.mark.slow
def test_a_command_that_is_killed_and_given_again_scores_each_row_once(
    run, settings, tmp_path, rows
):
    out = tmp_path / "out"
    for pause in PAUSES:
        assert run(pause) == -signal.SIGKILL
        assert not (out / "manifest.json").exists()
        assert 0 < len(list((out / "parts").iterdir())) < N_PARTS
    assert run() == 1, "all are scored but the row that is rejected"

    wanted = [row["client_id"] for row in rows if row["purpose"] != "yacht"]
    files = sorted((out / "scored").iterdir())
    scored = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [row["client_id"] for row in scored] == wanted
    assert len({row["decision_id"] for row in scored}) == len(wanted)

    closed = manifest.read(open_blobs(str(out)))
    log = open_log(settings)
    batches = log.batches(kinds=("portfolio",))
    keys = sorted(batch.idempotency_key for batch in batches)
    assert keys == [f"{closed['run']}/book.csv-{i:05d}" for i in range(N_PARTS)]
    assert sum(batch.n_decided for batch in batches) == len(wanted)
    verify(log)

    whole = Order(str(tmp_path / "book.csv"), str(tmp_path / "whole"), part_rows=PART_ROWS)
    assert common(closed) == common(score_portfolio(whole, settings, print))
