"""A backup: a folder that exists complete or not at all, for its owner only, with SHA-256 sums.

Each stack decides what is in its backups (local_state.py, compose_state.py); `backup.json` records
which stack made them. Only the standard library is imported: a machine that runs the stack in
containers may have nothing else.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tools.failure import Failed

ABOUT = "backup.json"


@contextlib.contextmanager
def new(place: Path, kind: str) -> Iterator[Path]:
    """Yield a folder to fill, which becomes the backup on success and is removed on failure.

    Parameters
    ----------
    place : Path
        Where the backup is to be; its parents are made.
    kind : str
        Which stack it is of, `local` or `compose`.

    Raises
    ------
    Failed
        When something is there already: a backup is never overwritten.
    """
    if place.exists() or place.is_symlink():
        raise Failed(
            f"{place} is there already, and no backup is overwritten: name another place, TO=..."
        )

    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    part.mkdir(mode=0o700, parents=True)
    try:
        yield part

        for path in part.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        about = {
            "kind": kind,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": _digests(part),
        }
        _write(part / ABOUT, json.dumps(about, indent=1))

        for path in (*part.rglob("*"), part):
            _sync(path)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(place: Path) -> str:
    """Check every file of a backup, and return which stack it is of.

    Raises
    ------
    Failed
        When it is not a backup, or is not as it was written.
    """
    try:
        about = json.loads((place / ABOUT).read_text())
        kind, files = str(about["kind"]), dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Failed(f"{place} is not a backup: it has no readable {ABOUT}") from None

    found = _digests(place)
    names = found.keys() | files.keys()
    wrong = sorted(name for name in names if found.get(name) != files.get(name))
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise Failed(f"{place} is not as it was written ({wrong[0]}{more}): nothing was restored")
    return kind


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / ABOUT)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(files)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
