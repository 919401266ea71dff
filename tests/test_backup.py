"""Backups of the local stack: what they hold, what is restored, and what a failure leaves."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.settings import Settings
from tests.support.batches import batch
from tests.support.stacks import log_of, others_can, stack_of
from tools.access import passwords
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.local_stack import Stack
from tools.state import archive, backup


def database(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(row,) for row in rows])


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


def holds(stack):
    """Return what is in the state, as its readers see it."""
    return (
        verify(log_of(stack.environment())),
        rows(stack.var / "mlflow.db"),
        rows(stack.var / "prefect" / "prefect.db"),
        {
            p.relative_to(stack.var): p.read_bytes()
            for p in (stack.var / "bucket").rglob("*")
            if p.is_file()
        },
        passwords.make(stack.secrets),
    )


def filled(var: Path) -> Stack:
    """Return a stack with something in each part of its state."""
    stack = Stack(Settings(_env_file=None, var_dir=var))
    log = log_of(stack.environment())
    log.commit(batch(3))
    log.append_approval("approval", "1")
    database(var / "mlflow.db", [1, 2])
    database(var / "prefect" / "prefect.db", [3])
    (var / "bucket" / "mlflow" / "1").mkdir(parents=True)
    (var / "bucket" / "mlflow" / "1" / "model").write_bytes(b"trees")
    passwords.make(stack.secrets)
    return stack


@pytest.fixture
def stack(tmp_path, monkeypatch):
    stack = filled(tmp_path / "var")
    monkeypatch.setattr(backup, "ENV", tmp_path / ".env")
    monkeypatch.setattr(backup, "_local", lambda: stack)
    monkeypatch.delenv("STACK", raising=False)
    mask = os.umask(0o077)
    yield stack
    os.umask(mask)


@pytest.fixture
def made(stack, tmp_path):
    """A backup of the stack's state, which has changed since."""
    (tmp_path / ".env").write_text("N_ITER=7\n")
    backup.back_up(tmp_path / "kept", "local")
    log_of(stack.environment()).commit(batch(2))
    database(stack.var / "mlflow.db", [9])
    (stack.var / "bucket" / "later").write_bytes(b"x")
    return tmp_path / "kept"


def test_a_backup_is_restored_on_another_machine(stack, tmp_path, monkeypatch, capsys):
    before = holds(stack)
    (tmp_path / ".env").write_text("N_ITER=7\n")
    backup.back_up(tmp_path / "kept", "local")
    assert not any(
        others_can(path) for path in (tmp_path / "kept", *(tmp_path / "kept").rglob("*"))
    )

    (tmp_path / ".env").unlink()
    elsewhere = stack_of(tmp_path / "another")
    monkeypatch.setattr(backup, "_local", lambda: elsewhere)
    backup.restore(tmp_path / "kept", replace=False)
    assert holds(elsewhere) == before
    assert (tmp_path / ".env").read_text() == "N_ITER=7\n"
    assert not others_can(tmp_path / ".env")
    assert not any(others_can(path) for path in elsewhere.var.rglob("*"))
    assert (
        "the decision log is whole: 3 decisions in 1 batches, 1 approvals"
        in capsys.readouterr().out
    )


def test_a_backup_made_during_writes_is_consistent(stack, tmp_path):
    """A service has the database open, and its writes are still in SQLite's log."""
    log = log_of(stack.environment())
    with contextlib.closing(sqlite3.connect(stack.var / "mlflow.db")) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("INSERT INTO t VALUES (7)")
        writer.commit()
        writer.execute("INSERT INTO t VALUES (8)")  # not committed
        log.commit(batch(5))
        backup.back_up(tmp_path / "kept", "local")
    assert rows(tmp_path / "kept" / "mlflow.db") == [1, 2, 7]
    kept = Settings(
        _env_file=None, decision_log=f"sqlite:///{tmp_path}/kept/decisions.db", bucket=str(tmp_path)
    )
    assert verify(open_log(kept)).decisions == 8


def test_a_backup_is_never_overwritten(stack, made):
    before = archive.read(made)
    with pytest.raises(Failed, match="is there already"):
        backup.back_up(made, "local")
    assert archive.read(made) == before


def test_a_failed_backup_leaves_nothing(stack, tmp_path):
    (stack.var / "prefect" / "prefect.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Failed, match=r"prefect\.db cannot be copied"):
        backup.back_up(tmp_path / "kept", "local")
    assert {path.name for path in tmp_path.iterdir()} == {"var"}


def test_an_empty_place_is_not_backed_up(tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "_local", lambda: stack_of(tmp_path))
    with pytest.raises(Failed, match="there is nothing to back up in"):
        backup.back_up(tmp_path / "kept", "local")


def test_a_backup_names_the_parts_on_another_machine(tmp_path, monkeypatch, capsys):
    database(tmp_path / "var" / "mlflow.db", [1])
    stack = stack_of(tmp_path, decision_log="mongodb://u:secret@db/x", bucket="gs://b")
    monkeypatch.setattr(backup, "_local", lambda: stack)
    backup.back_up(tmp_path / "kept", "local")
    said = capsys.readouterr().out
    assert "not in it: DECISION_LOG is on another machine" in said
    assert "not in it: BUCKET is on another machine" in said
    assert "secret" not in said


def test_a_restore_replaces_a_state_only_when_confirmed(stack, made):
    before = holds(stack)
    with pytest.raises(Failed, match="CONFIRM=1"):
        backup.restore(made, replace=False)
    assert holds(stack) == before
    backup.restore(made, replace=True)
    verified, mlflow, _, files, _ = holds(stack)
    assert (verified.decisions, mlflow) == (3, [1, 2])
    assert [path.name for path in files] == ["model"]


def change_a_byte(kept):
    file = kept / "bucket" / "mlflow" / "1" / "model"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def lose_a_file(kept):
    (kept / "mlflow.db").unlink()


def lose_the_list(kept):
    (kept / archive.ABOUT).write_text("{}")


def change_a_batch(kept):
    """Change a batch in the log, and write new digests."""
    with contextlib.closing(sqlite3.connect(kept / "decisions.db")) as connection, connection:
        connection.execute("DROP TRIGGER batches_update")
        connection.execute("UPDATE batches SET body = json_set(body, '$.n_decided', 9)")
    (kept / archive.ABOUT).unlink()
    kept.rename(kept.with_name("spoilt"))
    with archive.new(kept, "local") as part:
        for path in kept.with_name("spoilt").iterdir():
            path.rename(part / path.name)


@pytest.mark.parametrize("damage", [change_a_byte, lose_a_file, lose_the_list, change_a_batch])
def test_restoring_a_damaged_backup_changes_nothing(stack, made, damage):
    damage(made)
    before = holds(stack)
    with pytest.raises(Failed):
        backup.restore(made, replace=True)
    assert holds(stack) == before


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_restore_that_fails_midway_changes_nothing(stack, made, monkeypatch, nth):
    before, rename, calls = holds(stack), Path.rename, []

    def fail(path, target):
        calls.append(path)
        if len(calls) == nth:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no"):
        backup.restore(made, replace=True)
    assert holds(stack) == before
    assert not list(stack.var.rglob(".*"))


def test_leftovers_of_a_killed_restore_stop_the_next_one(stack, made):
    (stack.var / "bucket").rename(stack.var / ".bucket.old")
    with pytest.raises(Failed, match=r"\.bucket\.old was bucket until a restore that was killed"):
        backup.restore(made, replace=True)


def test_a_running_stack_is_not_restored_or_upgraded(stack, made):
    with stack.lock():
        for command in (
            lambda: backup.restore(made, replace=True),
            lambda: backup.upgrade(made.with_name("other"), "local"),
        ):
            with pytest.raises(Failed, match="`make stop` first"):
                command()


def test_a_restore_keeps_a_different_env_file(stack, made, tmp_path, capsys):
    (tmp_path / ".env").write_text("N_ITER=8\n")
    backup.restore(made, replace=True)
    assert (tmp_path / ".env").read_text() == "N_ITER=8\n"
    assert f".env differs here, and stays: the backup's is {made}/env" in capsys.readouterr().out


def test_a_backup_of_the_other_stack_is_refused(stack, made, monkeypatch):
    monkeypatch.setenv("STACK", "compose")
    with pytest.raises(Failed, match="STACK=local"):
        backup.restore(made, replace=True)


@pytest.mark.parametrize("command", [["make", "{kept}"], ["restore", "{kept}/none"]])
def test_the_command_reports_a_failure_in_one_line(tmp_path, command):
    (tmp_path / "kept").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.state.backup",
            *(word.format(kept=tmp_path / "kept") for word in command),
        ],
        cwd=ROOT,
        env=os.environ | {"VAR_DIR": str(tmp_path / "var"), "STACK": "local"},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(f"{command[0]}: ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The state of an older version: MLflow's database, downgraded, with an experiment in it."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import create_engine

    var = tmp_path_factory.mktemp("older") / "var"
    stack = Stack(Settings(_env_file=None, var_dir=var))
    var.mkdir()
    address = f"sqlite:///{var}/mlflow.db"
    store = SqlAlchemyStore(address, "mlflow-artifacts:/")
    store.create_experiment("credit-risk")
    store.engine.dispose()
    configuration, engine = _get_alembic_config(address), create_engine(address)
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "1b5f0d9ad7c1")
    engine.dispose()
    return stack


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_older_database_is_refused_then_migrated_without_loss(older, tmp_path, monkeypatch):
    from tools.servers.mlflow_server import outdated

    monkeypatch.setattr(backup, "_local", lambda: older)
    address = f"sqlite:///{older.var}/mlflow.db"
    served = [sys.executable, "-m", "tools.servers.mlflow_server", "--backend-store-uri", address]
    done = subprocess.run(served, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "mlflow: its database is of another version: stop, and `make upgrade`"
    )
    assert outdated(address)
    backup.upgrade(tmp_path / "kept", "local")
    assert not outdated(address)
    assert outdated(f"sqlite:///{tmp_path}/kept/mlflow.db")
    with contextlib.closing(sqlite3.connect(older.var / "mlflow.db")) as connection:
        named = connection.execute(
            "SELECT name FROM experiments WHERE name = 'credit-risk'"
        ).fetchall()
    assert named == [("credit-risk",)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_migration_that_fails_leaves_the_database_as_it_was(older, tmp_path, monkeypatch):
    place = older.var / "mlflow.db"
    with contextlib.closing(sqlite3.connect(place)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of-the-future'")
    before = place.read_bytes()
    monkeypatch.setattr(backup, "_local", lambda: older)
    with pytest.raises(Failed, match=r"mlflow\.db was not migrated, and is as it was"):
        backup.upgrade(tmp_path / "kept", "local")
    assert place.read_bytes() == before
