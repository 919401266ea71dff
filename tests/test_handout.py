"""Each container of docker-compose.yml gets its own secrets only, the same ones at each start."""

import os
import shutil
import stat
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tools.access.handout import KEPT, LOG_USERS, MADE, folders, hand_out
from tools.access.mongo_roles import ROLES
from tools.paths import ROOT

MADE_UP = {name: f"<{name}>" for name in MADE}


def files(volume):
    return {f"{f.parent.name}/{f.name}": f.read_text() for f in volume.glob("*/*")}


def test_secrets_are_the_same_at_the_next_start(tmp_path):
    hand_out(tmp_path, {})
    first = files(tmp_path)
    hand_out(tmp_path, {})
    assert files(tmp_path) == first
    assert (
        first["mongo/MONGO_PASSWORD"] == first[f"{KEPT}/mongo-admin"] == first["mongo-roles/admin"]
    )


def test_secrets_that_an_earlier_version_did_not_make_are_added(tmp_path):
    hand_out(tmp_path, {})
    first = files(tmp_path)
    (tmp_path / KEPT / "mongo-scoring").unlink()
    for folder in ("scoring-worker", "dask-worker"):
        shutil.rmtree(tmp_path / folder)
    hand_out(tmp_path, {})
    second = files(tmp_path)
    assert second["mongo-roles/scoring"] not in ("", first["mongo-roles/scoring"])
    assert second["mongo-roles/scoring"] in second["dask-worker/DECISION_LOG"]
    of_scoring = {name for name in first if "scoring" in name or "dask" in name}
    assert {n: v for n, v in second.items() if n not in of_scoring} == {
        n: v for n, v in first.items() if n not in of_scoring
    }


def test_kept_secrets_are_private_and_mounted_folders_are_readable(tmp_path):
    before = os.umask(0o077)
    try:
        hand_out(tmp_path, {})
    finally:
        os.umask(before)
    mode = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("**/*")}
    for path, bits in mode.items():
        kept = KEPT in path.parts
        assert bits == (
            (0o700 if kept else 0o755) if path.is_dir() else (0o600 if kept else 0o444)
        ), path


def test_a_password_that_a_person_has_set_takes_precedence(tmp_path):
    hand_out(tmp_path, {})
    made = files(tmp_path)["kept/postgres-mlflow"]
    hand_out(tmp_path, {"MLFLOW_DB_PASSWORD": "p@ss/w:rd", "MONGO_PASSWORD": ""})
    set_now = files(tmp_path)
    assert set_now["postgres-roles/mlflow"] == "p@ss/w:rd"
    assert urlsplit(set_now["mlflow/MLFLOW_BACKEND_STORE_URI"]).password == "p%40ss%2Fw%3Ard"
    assert set_now["mongo/MONGO_PASSWORD"] == set_now["kept/mongo-admin"]
    hand_out(tmp_path, {})
    assert files(tmp_path)["postgres-roles/mlflow"] == made


def test_files_and_folders_no_longer_handed_out_are_removed(tmp_path):
    hand_out(tmp_path, {})
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "PASSWORD").write_text("x")
    (tmp_path / "mlflow" / "EARLIER").write_text("x")
    hand_out(tmp_path, {})
    assert not (tmp_path / "gone").exists()
    assert set(os.listdir(tmp_path / "mlflow")) == set(folders(MADE_UP, {})["mlflow"])


def test_grafanas_password_is_admin_unless_another_is_set():
    assert folders(MADE_UP, {})["grafana"] == {"GRAFANA_PASSWORD": "admin"}
    assert folders(MADE_UP, {"GRAFANA_PASSWORD": "mine"})["grafana"] == {"GRAFANA_PASSWORD": "mine"}


def test_each_user_of_the_log_has_a_role_and_a_container():
    assert set(LOG_USERS) == set(ROLES)
    handed = folders(MADE_UP, {})
    for user in LOG_USERS:
        assert any(f"://{user}:<mongo-{user}>@" in str(texts) for texts in handed.values()), user
    addresses = [texts["DECISION_LOG"] for texts in handed.values() if "DECISION_LOG" in texts]
    assert all(address.endswith("&journal=true") for address in addresses)
    # Only the job that sets up the users, and the server with a new volume, know the administrator.
    assert {name for name, texts in handed.items() if "<mongo-admin>" in str(texts)} == {
        "mongo",
        "mongo-roles",
    }
    assert {name for name, texts in handed.items() if "<postgres-admin>" in str(texts)} == {
        "postgres",
        "postgres-roles",
    }


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "$HOME `id` 'quoted'"])
@pytest.mark.parametrize("place", ["DECISION_LOG", "DECISION_LOG/DECISION_LOG"])
def test_a_command_has_the_secrets_as_variables(tmp_path, text, place):
    script = (ROOT / "tools/with-secrets.sh").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(text)
    (tmp_path / "scrape-key").write_text("a file, not a variable")
    command = [
        "sh",
        "-c",
        script,
        "with-secrets",
        sys.executable,
        "-c",
        "import os; print(os.environ['DECISION_LOG'])",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{text}\n", "")


def test_without_secrets_a_command_runs_unchanged(tmp_path):
    script = (
        (ROOT / "tools/with-secrets.sh").read_text().replace("/run/secrets", str(tmp_path / "none"))
    )
    assert (
        subprocess.run(
            ["sh", "-c", script, "with-secrets", "echo", "a  b"], capture_output=True
        ).stdout
        == b"a  b\n"
    )


def test_the_handout_needs_only_the_standard_library(tmp_path):
    command = [sys.executable, "-S", "-m", "tools.access.handout", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert (tmp_path / KEPT).exists()
