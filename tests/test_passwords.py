"""The stack's own secrets: made once, and readable by their owner only."""

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.access.passwords import SECRETS, filled, make, read
from tools.paths import ROOT


def test_each_secret_is_long_and_fits_into_an_address(tmp_path):
    made = make(tmp_path / "secrets")
    assert set(made) == set(SECRETS)
    assert all(re.fullmatch("[A-Za-z0-9]{43}", secret) for secret in made.values())
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_their_owner_can_read_the_secrets(tmp_path, umask):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        make(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_existing_secrets_are_kept(tmp_path):
    first = make(tmp_path)
    (tmp_path / "scrape-key").unlink()
    (tmp_path / "prefect-login").write_text("my own\n")
    again = make(tmp_path)
    assert again["prefect-login"] == read(tmp_path, "prefect-login") == "my own"
    assert again["scrape-key"] not in (first["scrape-key"], "")


def test_processes_that_start_at_once_get_the_same_secrets(tmp_path):
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: make(tmp_path / "secrets"), range(20)))
    assert all(secrets == made[0] for secrets in made)
    assert {file.name for file in (tmp_path / "secrets").iterdir()} == set(SECRETS)


def passwords(**variables):
    command = [
        sys.executable,
        "-S",
        "-m",
        "tools.access.passwords",
    ]  # -S: the standard library alone
    environment = {
        name: value for name, value in os.environ.items() if name not in ("VAR_DIR", "SECRETS_DIR")
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment | variables, capture_output=True, text=True
    )


def test_the_command_prints_the_logins_that_a_person_types(tmp_path):
    made = make(tmp_path / "secrets")
    login, people, admin = (
        made[name] for name in ("prefect-login", "mlflow-people", "mlflow-admin")
    )
    for where in ({"VAR_DIR": str(tmp_path)}, {"SECRETS_DIR": str(tmp_path / "secrets")}):
        assert passwords(**where).stdout == (
            f"Prefect  admin:{login}  (all of it, in its one field)\n"
            f"MLflow   user people, password {people}  (where HOST opens it)\n"
            f"         user admin, password {admin}  (adds users at /signup)\n"
        )


def test_without_secrets_the_command_says_so(tmp_path):
    said = passwords(VAR_DIR=str(tmp_path))
    assert (said.returncode, said.stdout) == (1, "")
    assert (
        said.stderr == f"passwords: No such file or directory: {tmp_path}/secrets/prefect-login\n"
    )


def test_a_secret_is_read_from_a_folder_of_its_own(tmp_path):
    (tmp_path / "mlflow-serving").mkdir()
    (tmp_path / "mlflow-serving" / "mlflow-serving").write_text("secret\n")
    assert read(tmp_path, "mlflow-serving") == "secret"


def test_variables_that_name_a_secret_are_filled(tmp_path):
    made = make(tmp_path)
    named = {
        "A": "admin:{secret:prefect-login}@x/{secret:scrape-key}",
        "B": "{ secret:scrape-key} {secret} $A",
    }
    assert filled(named, tmp_path) == named | {
        "A": f"admin:{made['prefect-login']}@x/{made['scrape-key']}"
    }
    with pytest.raises(FileNotFoundError):
        filled({"A": "{secret:no-such}"}, tmp_path)
