"""Cached files of approved versions, named by their SHA-256.

Only services write here. A version that was approved can then be loaded even when the registry is
down, or has other files under the same names.
"""

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credit_risk.registry.version import ALL_FILES
from credit_risk.scoring.stored import MODEL_FILE
from credit_risk.storage.folder import Folder

# Files that are kept, the latest ones. A version has two or three.
MAX_FILES = 24

_ABANDONED = timedelta(hours=1)  # after which nobody is still writing a file

_MANIFEST_LINE = re.compile(rf"^([0-9a-f]{{64}})  {re.escape(MODEL_FILE)}$", re.MULTILINE)

logger = logging.getLogger(__name__)


class ModelCache:
    """A folder of files, each named by the SHA-256 of its bytes.

    Parameters
    ----------
    folder : Path
        Created with the first file, readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def scorer(self, digest: str) -> bytes | None:
        """Return the scorer's file that a version's digest covers; None if it is not cached."""
        if not digest.startswith(ALL_FILES):
            return self.get(digest)

        manifest = self.get(digest.removeprefix(ALL_FILES)) or b""
        line = _MANIFEST_LINE.search(manifest.decode())

        return self.get(line[1]) if line else None

    def get(self, digest: str) -> bytes | None:
        """Return the bytes with a SHA-256, in hex; None if they are not cached, or were changed."""
        path = self._folder / digest
        if not _is_cached(path) or path.name != digest:
            return None

        try:
            data = path.read_bytes()
            os.utime(path)  # so that it is the last to be removed
        except OSError:
            return None

        if hashlib.sha256(data).hexdigest() != digest:
            logger.warning("%s is another file than its name says, and is not used", path)
            return None

        return data

    def put(self, data: bytes) -> None:
        """Keep bytes. When that fails, as on a full disk, it is logged, and the caller goes on."""
        name = hashlib.sha256(data).hexdigest()
        if self.get(name) is not None:
            return

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Folder(self._folder)
            folder.put(name, data, overwrite=True)
            folder.tidy(datetime.now(UTC) - _ABANDONED)
            self._prune()
        except OSError as error:
            logger.warning(
                "the model is not kept in %s, and so depends on MLflow: %s", self._folder, error
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time run the block, provided the folder is writable."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("w")
        except OSError:
            yield
            return

        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prune(self) -> None:
        with suppress(FileNotFoundError):  # another process may prune at the same time
            cached = filter(_is_cached, self._folder.iterdir())
            newest_first = sorted(cached, key=lambda path: path.stat().st_mtime, reverse=True)
            for path in newest_first[MAX_FILES:]:
                path.unlink()


def _is_cached(path: Path) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", path.name) is not None
