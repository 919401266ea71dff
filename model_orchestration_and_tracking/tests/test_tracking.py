"""What goes into MLflow, but for what test_flow.py sees of it."""

import subprocess
import time

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from model_orchestration_and_tracking import tracking
from model_orchestration_and_tracking.tracking import code_hash, end_abandoned, git_commit


def test_commit_from_the_environment(monkeypatch):
    monkeypatch.setenv("GIT_COMMIT", "0123abc")
    assert git_commit() == "0123abc"


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@localhost", *words],
        check=True,
    )


def test_commit_from_git_says_when_files_have_changed(monkeypatch, tmp_path):
    monkeypatch.delenv("GIT_COMMIT", raising=False)
    monkeypatch.setattr(tracking, "HERE", tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git_commit()
    assert len(commit) == 40
    (tmp_path / "code.py").write_text("two")
    assert git_commit() == f"{commit}-dirty"


def test_code_hash_changes_with_code_in_a_subfolder_and_not_with_its_tests(monkeypatch, tmp_path):
    monkeypatch.setattr(tracking, "_CODE", (tmp_path,))
    code, test = tmp_path / "deep" / "er.py", tmp_path / "deep" / "tests" / "test_er.py"
    test.parent.mkdir(parents=True)
    code.write_text("one")
    before = code_hash()
    test.write_text("a test")
    assert code_hash() == before
    code.write_text("two")
    assert code_hash() != before


@pytest.mark.parametrize("path", ["", None])
def test_commit_is_unknown_without_git(monkeypatch, tmp_path, path):
    monkeypatch.setenv("GIT_COMMIT", "")
    monkeypatch.setattr(tracking, "HERE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if path is not None:
        monkeypatch.setenv("PATH", path)  # no git at all
    assert git_commit() == "unknown"


def test_runs_of_killed_trainings_are_terminated(mlflow_server):
    client = MlflowClient(mlflow_server)
    experiment = client.create_experiment("abandoned")
    hour_ago = int(1000 * (time.time() - 3600))
    dead = client.create_run(experiment, start_time=hour_ago).info.run_id
    alive = client.create_run(experiment).info.run_id
    end_abandoned(client, experiment)
    assert client.get_run(dead).info.status == "KILLED"
    assert client.get_run(alive).info.status == "RUNNING"
    assert mlflow.active_run() is None
