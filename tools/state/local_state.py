"""The local stack's state: copied at any time, restored and migrated while the stack is stopped.

SQLite copies each database as it was at one moment, and each before what it refers to: first the
decision log, which names versions and files, then MLflow's, then Prefect's, then the bucket.

A restored or migrated part is made beside the present one, and checked; then they are renamed. So a
failure before that leaves the state as it was.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.anchors import FOLDER, is_recent
from credit_risk.decision_log.proof.verify import verify
from credit_risk.settings import Settings
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.local_stack import Stack
from tools.stack.processes import processes_of

LOG = "decisions.db"
MLFLOW = "mlflow.db"
PREFECT = "prefect.db"
BUCKET = "bucket"
SECRETS = "secrets"
DATABASES = (LOG, MLFLOW, PREFECT)
BESIDE = ("", "-wal", "-shm")  # endings of the files that SQLite keeps for one database


def places(stack: Stack) -> dict[str, Path]:
    """Return where each part of the state is, without those on another machine."""
    environment = stack.environment()
    found = {
        MLFLOW: stack.var / "mlflow.db",
        PREFECT: stack.var / "prefect" / "prefect.db",
        SECRETS: stack.secrets,
    }

    if environment["DECISION_LOG"].startswith("sqlite:///"):
        found[LOG] = Path(environment["DECISION_LOG"].removeprefix("sqlite:///"))
    if "://" not in environment["BUCKET"]:
        found[BUCKET] = Path(environment["BUCKET"])

    return {name: found[name] for name in (*DATABASES, BUCKET, SECRETS) if name in found}


def elsewhere(stack: Stack) -> list[str]:
    """Return a line for each part of the state that is on another machine."""
    here = places(stack)
    named = {LOG: "DECISION_LOG", BUCKET: "BUCKET"}
    return [
        f"{setting} is on another machine: back it up there"
        for name, setting in named.items()
        if name not in here
    ]


def save(stack: Stack, folder: Path) -> None:
    """Copy the state into a folder; the stack may run.

    Raises
    ------
    Failed
        When there is nothing yet, or a database is damaged.
    """
    here = places(stack)
    if not any(here[name].exists() for name in here if name in DATABASES):
        raise Failed(f"there is nothing to back up in {stack.var}: VAR_DIR names another place")

    for name, place in here.items():
        if name in DATABASES and place.exists():
            _copy_database(place, folder / name)
        elif place.is_dir():
            _copy_folder(place, folder / name)


@contextlib.contextmanager
def resting(stack: Stack) -> Iterator[None]:
    """Keep the stack from being started meanwhile.

    Raises
    ------
    Failed
        When it runs.
    """
    if stack.runner() or processes_of(str(stack.var)):
        raise Failed("it runs: `make stop` first")
    with stack.lock():
        stack.close()
        yield


def restore(stack: Stack, folder: Path, *, replace: bool) -> str:
    """Replace the state by a backup's, and return a summary of the decision log.

    The stack has to be `resting`.

    Parameters
    ----------
    stack : Stack
    folder : Path
        A backup that `archive.read` has read.
    replace : bool
        Whether a state that is there may be lost.

    Raises
    ------
    Failed
        When there is a state, or the backup's is damaged. Nothing was changed then.
    """
    here = places(stack)
    standing = [place for name, place in here.items() if _holds(name, place)]
    if standing and not replace:
        raise Failed(
            f"{standing[0]} is there and would be gone: "
            "CONFIRM=1 replaces it (`make backup` keeps it)"
        )

    with _staged(here) as staged:
        for name, stage in staged.items():
            if name in DATABASES and (folder / name).exists():
                _copy_database(folder / name, stage)
            elif (folder / name).is_dir():
                _copy_folder(folder / name, stage)

        said = _verified(stack, staged)
        _swap({here[name]: stage for name, stage in staged.items()})
    return said


def upgrade(stack: Stack) -> str:
    """Migrate the databases to the schemas of the installed MLflow and Prefect.

    Returns
    -------
    str
        A summary of the decision log.

    Raises
    ------
    Failed
        When one cannot be migrated. Nothing was changed then.
    """
    present = places(stack)
    here = {name: present[name] for name in (MLFLOW, PREFECT) if present[name].exists()}

    with _staged(here) as staged:
        for name, stage in staged.items():
            _copy_database(here[name], stage)
            _migrate(name, stage)

        said = _verified(stack, present)
        _swap({here[name]: stage for name, stage in staged.items()})
    return said


def _holds(name: str, place: Path) -> bool:
    if name == SECRETS or not place.exists():  # the secrets of a failed start are no loss
        return False
    return not place.is_dir() or any(place.iterdir())


def _copy_database(source: Path, copy: Path) -> None:
    read_only = f"{source.as_uri()}?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(read_only, uri=True, timeout=60)) as old,
            contextlib.closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new)
            (found,) = new.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise Failed(f"{source} cannot be copied: {error}") from error

    if found != "ok":
        raise Failed(f"{source} is damaged: {found}")


def _copy_folder(source: Path, copy: Path) -> None:
    def file(name: str, to: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # an old report, removed meanwhile
            shutil.copyfile(name, to)

    shutil.copytree(source, copy, copy_function=file, ignore=_left_out)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _is_recent(file: Path) -> bool:
    name = f"{file.parent.name}/{file.name}"
    return name.startswith(FOLDER) and is_recent(name, file.read_bytes())


def _left_out(folder: str, names: Sequence[str]) -> set[str]:
    """Return which files of a folder are not copied: unfinished ones, and recent anchors."""
    return {name for name in names if name.startswith(".part-") or _is_recent(Path(folder, name))}


@contextlib.contextmanager
def _staged(here: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield a place beside each part, on its file system, that is removed again in the end."""
    stages = {name: place.with_name(f".{place.name}.new") for name, place in here.items()}
    for place in here.values():
        if (old := place.with_name(f".{place.name}.old")).exists():
            raise Failed(
                f"{old} was {place.name} until a restore that was killed: "
                "move it back, or remove it"
            )

    try:
        for stage in stages.values():
            _remove(stage)  # of a restore that was killed
            stage.parent.mkdir(parents=True, exist_ok=True)
        yield stages
    finally:
        for stage in stages.values():
            _remove(stage)


def _swap(stages: dict[Path, Path]) -> None:
    """Put what was staged in its place, all or nothing.

    A place for which nothing was staged is empty afterwards.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for place, stage in stages.items():
            for end in BESIDE:
                _move(Path(f"{place}{end}"), place.with_name(f".{place.name}{end}.old"), moved)
            _move(stage, place, moved)
    except BaseException:
        for source, target in reversed(moved):
            target.rename(source)
        raise

    for _, old in moved:
        if old.name.endswith(".old"):
            _remove(old)


def _move(source: Path, target: Path, moved: list[tuple[Path, Path]]) -> None:
    if source.exists():
        source.rename(target)
        moved.append((source, target))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    for end in BESIDE:
        Path(f"{path}{end}").unlink(missing_ok=True)


def _verified(stack: Stack, here: dict[str, Path]) -> str:
    """Verify the whole decision log, and return a summary of it."""
    environment = stack.environment()
    log, bucket = here.get(LOG), here.get(BUCKET)
    if log is not None and not log.exists():
        return "there is no decision log yet"

    settings = Settings(
        _env_file=None,
        decision_log=f"sqlite:///{log}" if log else environment["DECISION_LOG"],
        bucket=str(bucket or environment["BUCKET"]),
    )
    try:
        return verify(open_log(settings)).summary
    except (ValueError, OSError) as error:
        raise Failed(f"the decision log is not whole: {error}") from error


def _migrate(name: str, database: Path) -> None:
    if name == MLFLOW:
        address = f"sqlite:///{database}"
        command = ["tools.servers.mlflow_server", "--upgrade", "--backend-store-uri", address]
        own: dict[str, str] = {}
    else:
        address = f"sqlite+aiosqlite:///{database}"
        command = ["tools.servers.prefect_server", "--upgrade"]
        own = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}

    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("MLFLOW_", "PREFECT_"))}
    environment = {
        **inherited,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_HOME": str(database.parent),
        **own,
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{name} was not migrated, and is as it was: {done.stdout.strip()[-2000:]}")
