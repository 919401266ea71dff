"""A backup: a folder that is whole or not there, for its owner alone, with the SHA-256 of each of its files.

What is in it each stack says for itself (local_state.py, compose_state.py). `backup.json` says whose it is. Nothing but
the standard library is imported: where the stack is in containers there may be no more.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ABOUT = "backup.json"


class Failed(Exception):
    """What was asked for cannot be done; the message is one line for the console."""


@contextlib.contextmanager
def new(place: Path, kind: str) -> Iterator[Path]:
    """Give a folder to be filled, which becomes the backup when all went well, and is gone when it did not.

    Parameters
    ----------
    place : Path
        Where the backup is to be; its parents are made.
    kind : str
        Which stack's it is, `local` or `compose`.

    Raises
    ------
    Failed
        When something is there already: a backup is never overwritten.
    """
    if place.exists() or place.is_symlink():
        raise Failed(f"{place} is there already, and no backup is overwritten: name another place, TO=...")
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    part.mkdir(mode=0o700, parents=True)
    try:
        yield part
        for path in part.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        about = {"kind": kind, "time": datetime.now(UTC).isoformat(timespec="seconds"), "files": _digests(part)}
        _write(part / ABOUT, json.dumps(about, indent=1))
        for path in (*part.rglob("*"), part):
            _sync(path)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(place: Path) -> str:
    """Return of which kind a backup is, having read every file of it.

    Raises
    ------
    Failed
        When it is none, or not as it was written.
    """
    try:
        about = json.loads((place / ABOUT).read_text())
        kind, files = str(about["kind"]), dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Failed(f"{place} is no backup: it has no {ABOUT} that can be read") from None
    found = _digests(place)
    if wrong := sorted(name for name in found.keys() | files.keys() if found.get(name) != files.get(name)):
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
