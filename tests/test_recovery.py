"""A stack that loses processes, or its whole state, goes on with everything that it had.

Each test takes minutes, and the stack is theirs. They run at night; `make test-compose`
backs up, restores and upgrades the containers before each merge.
"""

import shutil
import signal

import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from sqlalchemy import create_engine

from credit_risk.decision_log.proof.verify import verify
from tests.support.processes import wait_for
from tests.support.stacks import alias, clients, log_of, serves, upload

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _used(stack) -> None:
    """Something is decided, and a challenger is there."""
    upload(stack, clients(200))
    stack.make("model-train-flow", N_ITER="2")


def test_a_killed_supervisor_and_runner_lose_nothing(stack, log):
    decided = sum(record.n_decided for record in log.batches())
    approvals = stack.make("approvals")
    left = stack.processes()
    for process in (stack.runner, stack.supervisor):
        process.send_signal(signal.SIGKILL)
    stack.runner.wait(10)
    assert stack.processes("mlflow"), "its services run on, and hold their ports"
    assert "left services behind" in stack.stack("status").stdout
    stack.start()
    assert "an earlier run was killed" in stack.wait_until_ready()
    assert not {p.pid for p in left} & {p.pid for p in stack.processes()}
    wait_for(lambda: serves(stack) == "1", 120, "the model")
    assert stack.make("approvals") == approvals
    assert sum(record.n_decided for record in log.batches()) == decided
    assert alias(stack, "challenger") == "2", "a start trains nothing when there is a model"


def older(database) -> None:
    """Downgrade MLflow's database to the schema of an older version, by MLflow's migrations."""
    address = f"sqlite:///{database}"
    configuration, engine = _get_alembic_config(address), create_engine(address)
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "1b5f0d9ad7c1")
    engine.dispose()


def test_a_backup_of_the_running_stack_is_restored_after_its_loss_and_upgraded(
    stack, log, tmp_path
):
    decided, approvals = verify(log), stack.make("approvals")
    said = stack.make("backup", TO=str(tmp_path / "kept"))
    assert ("not in it: DECISION_LOG" in said) == ("mongodb" in stack.environment["DECISION_LOG"])
    stack.stop()
    shutil.rmtree(stack.var)
    assert decided.summary in stack.make("restore", FROM=str(tmp_path / "kept"))
    older(stack.var / "mlflow.db")
    assert decided.summary in stack.make("upgrade", TO=str(tmp_path / "before-upgrade"))
    stack.start()
    stack.wait_until_ready()
    assert stack.make("approvals") == approvals
    assert (alias(stack, "production"), alias(stack, "challenger"), serves(stack)) == (
        "1",
        "2",
        "1",
    )
    assert upload(stack, clients(3))["n_decided"] == 3
    # Not through `log`, which reads the file that was removed.
    assert verify(log_of(stack.environment)).decisions == decided.decisions + 3


def test_the_log_is_verified_and_anchored(stack):
    said = stack.make("log-verification-flow")
    assert "the decision log is whole: 203 decisions in 2 batches" in said
    assert "1 anchors" in stack.make("verify-log")
