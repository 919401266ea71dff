"""The local stack's state: copied while it runs or not, put back, and brought up to date, while it does not.

Databases are copied by SQLite, each as it was at one moment, and before what they name: first the decision log, which
names versions and files, then MLflow's, then Prefect's, then the bucket. What is put back or migrated is made beside
what stands, and checked; then names are changed. So whatever fails before leaves the state as it was.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.verify import verify
from credit_risk.settings import Settings
from tools import processes
from tools.archive import Failed
from tools.local import ROOT, Stack

LOG = "decisions.db"
MLFLOW = "mlflow.db"
PREFECT = "prefect.db"
BUCKET = "bucket"
SECRETS = "secrets"
DATABASES = (LOG, MLFLOW, PREFECT)
BESIDE = ("", "-wal", "-shm")  # what SQLite keeps of one database


def places(stack: Stack) -> dict[str, Path]:
    """Return where each part of the state is; what is on another machine is none."""
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
    here, named = places(stack), {LOG: "DECISION_LOG", BUCKET: "BUCKET"}
    return [f"{setting} is on another machine: back it up there" for name, setting in named.items() if name not in here]


def save(stack: Stack, folder: Path) -> None:
    """Copy the state into a folder; the stack may run.

    Raises
    ------
    Failed
        When there is nothing yet, or a database is not whole.
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
    tools.local.Failed
        When it runs.
    """
    if stack.runner() or processes.of_stack(str(stack.var)):
        raise Failed("it runs: `make stop` first")
    with stack.lock():
        stack.close()
        yield


def restore(stack: Stack, folder: Path, *, replace: bool) -> str:
    """Put a backup's state in the place of what stands, and say what is in it; to be called while it rests.

    Parameters
    ----------
    stack : Stack
    folder : Path
        A backup that `archive.read` has read.
    replace : bool
        Whether there may be a state, which is then gone.

    Raises
    ------
    Failed
        When there is a state, or the backup's is not whole. Nothing was changed then.
    """
    here = places(stack)
    if not replace and (standing := [place for name, place in here.items() if _holds(name, place)]):
        raise Failed(f"{standing[0]} is there and would be gone: CONFIRM=1 replaces it (`make backup` keeps it)")
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
    """Bring the databases to what the installed MLflow and Prefect want, and say what was found in the log.

    Raises
    ------
    Failed
        When one cannot be migrated. Nothing was changed then.
    """
    here = {name: place for name, place in places(stack).items() if name in (MLFLOW, PREFECT) and place.exists()}
    with _staged(here) as staged:
        for name, stage in staged.items():
            _copy_database(here[name], stage)
            _migrate(name, stage)
        said = _verified(stack, places(stack))
        _swap({here[name]: stage for name, stage in staged.items()})
    return said


def _holds(name: str, place: Path) -> bool:
    if name == SECRETS or not place.exists():  # those of a start that came to nothing are no loss
        return False
    return not place.is_dir() or any(place.iterdir())


def _copy_database(source: Path, copy: Path) -> None:
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=60)) as old,
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

    shutil.copytree(source, copy, copy_function=file, ignore=shutil.ignore_patterns(".part-*"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


@contextlib.contextmanager
def _staged(here: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Give a place beside each, on its own file system, that is gone again in the end."""
    stages = {name: place.with_name(f".{place.name}.new") for name, place in here.items()}
    for place in here.values():
        if (old := place.with_name(f".{place.name}.old")).exists():
            raise Failed(f"{old} was {place.name} until a restore that was killed: move it back, or remove it")
    try:
        for stage in stages.values():
            _remove(stage)  # of one that was killed
            stage.parent.mkdir(parents=True, exist_ok=True)
        yield stages
    finally:
        for stage in stages.values():
            _remove(stage)


def _swap(stages: dict[Path, Path]) -> None:
    """Put what was staged in its place, all or nothing; where nothing was staged there is nothing then."""
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
    """Say what is in the decision log, once all of it was found whole."""
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
        return verify(open_log(settings)).words
    except (ValueError, OSError) as error:
        raise Failed(f"the decision log is not whole: {error}") from error


def _migrate(name: str, database: Path) -> None:
    command, variables = {
        MLFLOW: (["tools.mlflow_server", "--upgrade", "--backend-store-uri", f"sqlite:///{database}"], {}),
        PREFECT: (
            ["tools.prefect_server", "--upgrade"],
            {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"},
        ),
    }[name]
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("MLFLOW_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=inherited | {"MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_HOME": str(database.parent)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{name} was not migrated, and is as it was: {done.stdout.strip()[-2000:]}")
