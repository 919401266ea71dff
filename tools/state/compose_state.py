"""The state of docker-compose.yml's stack: dumped while it runs, put back, and brought up to date.

PostgreSQL's databases go through `pg_dump` and `psql`, each put back in one transaction. The
decision log and the bucket go through keeper.py, in the containers that may write there. The
administrators' passwords of both database servers are in their volumes, so those of a backup are
not put back; all others are.
"""

import os
import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

from tools.failure import Failed
from tools.paths import ROOT
from tools.state.archive import new

COMPOSE = ("docker", "compose", "--progress", "quiet")
STORES = ("postgres", "mongo", "fake-gcs-server")
DATABASES = ("mlflow", "prefect")
# The log first: it names versions and files.
LOG, BUCKET, SECRETS = "decisions.tar", "bucket.tar", "secrets.tar"
KEEPERS = {LOG: ("mongo-roles", "log"), BUCKET: ("bucket", "bucket")}
# In the volumes of the servers themselves.
ADMINISTRATORS = ("postgres-admin", "mongo-admin")

# The module that migrates the database of a service, in its container.
MIGRATIONS = {
    "mlflow": "tools.servers.mlflow_server",
    "prefect-server": "tools.servers.prefect_server",
}

Say = Callable[[str], None]


def runs() -> bool:
    """Return whether any container of this project runs."""
    command = ["docker", "compose", "ps", "--status", "running", "--quiet"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return False
    return bool(done.stdout.strip())


def elsewhere() -> list[str]:
    """Return a line for each part of the state that is not in one of its volumes."""
    return [] if _emulated() else ["BUCKET is not the emulator's: its keeper backs it up"]


def save(folder: Path, say: Say) -> None:
    """Dump everything into a folder; the stack may run.

    Where it does not run, the servers that hold the state are started.

    Raises
    ------
    subprocess.CalledProcessError
        When a container fails; its output is on the console.
    """
    _start_stores()
    for name in (LOG, *DATABASES, BUCKET):
        say(f"backing up {name.partition('.')[0]}")
        if name in DATABASES:
            _dump(name, folder / f"{name}.sql")
        elif name == LOG or _emulated():
            _keep(name, "out", folder / name)

    with (folder / SECRETS).open("wb") as out:
        _run("passwords", "tar", "-C", "/secrets/kept", "-cf", "-", ".", stdout=out)


def restore(folder: Path, say: Say, *, replace: bool) -> str:
    """Replace what the volumes hold by a backup, and return a summary of the decision log.

    Parameters
    ----------
    folder : Path
        A backup that `archive.read` has read.
    say : callable
    replace : bool
        Whether a state that is there may be lost.

    Raises
    ------
    Failed
        When there is a state, or a part was refused; then everything is as it was.
    """
    _start_stores()
    if not replace and _holds():
        raise Failed(
            "the volumes hold a state, which would be gone: "
            "CONFIRM=1 replaces it (`make backup` keeps it)"
        )

    _stop_the_rest()
    before = folder.with_name(f".{folder.name}.{os.getpid()}.before")
    say(f"keeping what is there in {before} until the end")
    with new(before, "compose") as part:
        save(part, lambda line: None)

    try:
        _load(folder, say)
        said = _verified()
    except (subprocess.CalledProcessError, Failed) as error:
        say("putting back what was there")
        _load(before, say)
        _remove(before)
        raise Failed(f"{_what(error)}; everything is as it was") from error

    _remove(before)
    _put_secrets(folder)
    return said


def build() -> None:
    """Build the images; running containers are left alone."""
    _compose("build")


def upgrade(place: Path, say: Say) -> str:
    """Migrate both databases, start everything, and return a summary of the decision log.

    The images are those that `build` has built.

    Parameters
    ----------
    place : Path
        A backup that was just made.
    say : callable

    Raises
    ------
    Failed
        When a database cannot be migrated. Both are then as they were.
    """
    _stop_the_rest()
    try:
        for name, command in MIGRATIONS.items():
            say(f"migrating the database of {name}")
            _run(name, "python", "-m", command, "--upgrade")
    except subprocess.CalledProcessError as error:
        for name in DATABASES:
            _load_database(name, place / f"{name}.sql")
        raise Failed(f"{_what(error)}; both databases are as they were") from error

    up = os.environ.get("COMPOSE_UP") or "docker compose up --build --wait"
    subprocess.run(["sh", "-c", up], cwd=ROOT, check=True)
    return _verified()


def _load(folder: Path, say: Say) -> None:
    for name in (*DATABASES, BUCKET, LOG):
        say(f"restoring {name.partition('.')[0]}")
        if name in DATABASES:
            _load_database(name, folder / f"{name}.sql")
        elif (folder / name).exists():
            _keep(name, "in", folder / name)


def _dump(database: str, file: Path) -> None:
    dump = ("pg_dump", "--username=postgres", "--no-owner", database)
    with file.open("wb") as out:
        _compose("exec", "-T", "postgres", *dump, stdout=out)


def _load_database(database: str, file: Path) -> None:
    """Replace a database's tables by a dump, all or nothing."""
    afresh = (
        "SET client_min_messages = warning",
        "DROP SCHEMA public CASCADE",
        f"CREATE SCHEMA public AUTHORIZATION {database}",
        f"SET ROLE {database}",
    )
    first = [f"--command={command}" for command in afresh]
    psql = [
        "psql",
        "--username=postgres",
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        *first,
        "--file=-",
        database,
    ]
    with file.open("rb") as source, open(os.devnull, "wb") as nothing:
        _compose("exec", "-T", "postgres", *psql, stdin=source, stdout=nothing)


def _keep(name: str, way: str, file: Path) -> None:
    service, what = KEEPERS[name]
    command = (service, "python", "-m", "tools.state.keeper", what, way)
    if way == "out":
        with file.open("wb") as out:
            _run(*command, stdout=out)
    else:
        with file.open("rb") as source:
            _run(*command, "--replace", stdin=source)


def _put_secrets(folder: Path) -> None:
    excluded = [f"--exclude=./{name}" for name in ADMINISTRATORS]
    with (folder / SECRETS).open("rb") as source:
        _run("passwords", "tar", "-C", "/secrets/kept", *excluded, "-xf", "-", stdin=source)


def _holds() -> bool:
    """Return whether there is a registered model: without one nothing was decided either."""
    ask = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'model_versions'"
    return _asked(ask) != "0" and _asked("SELECT count(*) FROM model_versions") != "0"


def _asked(query: str) -> str:
    psql = ("psql", "--username=postgres", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
    return _said("exec", "-T", "postgres", *psql, f"--command={query}", "mlflow")


def _verified() -> str:
    """Verify the whole decision log, and return a summary of it."""
    command = ("python", "-m", "credit_risk", "verify")
    return _said("run", "--rm", "-T", "--no-deps", "training-worker", *command)


def _start_stores() -> None:
    _compose("up", "--detach", "--wait", *STORES)
    for job in ("postgres-roles", "mongo-roles", "bucket"):
        _run(job)


def _stop_the_rest() -> None:
    services = set(_said("config", "--services").split())
    _compose("stop", *(services - set(STORES)))


@cache
def _emulated() -> bool:
    """Return whether the bucket is in a volume of the stack."""
    asked = ("sh", "-c", "echo $STORAGE_EMULATOR_HOST")
    return "fake-gcs-server" in _said("run", "--rm", "-T", "--no-deps", "bucket", *asked)


def _run(
    service: str, *command: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> None:
    """Run a command in a new container of a service, which is removed afterwards."""
    _compose("run", "--rm", "-T", "--no-deps", service, *command, stdin=stdin, stdout=stdout)


def _compose(
    *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> None:
    given = subprocess.DEVNULL if stdin is None else stdin
    subprocess.run([*COMPOSE, *arguments], cwd=ROOT, stdin=given, stdout=stdout, check=True)


def _said(*arguments: str) -> str:
    done = subprocess.run(
        [*COMPOSE, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _what(error: subprocess.CalledProcessError | Failed) -> str:
    if isinstance(error, Failed):
        return str(error)
    return f"`{shlex.join(error.cmd)}` ended with {error.returncode}"


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
