"""Files that a service keeps for when the registry is away or has others under their names: known by their SHA-256.

Only services write here. What was approved once can then be loaded again whatever became of the registry.
"""

import fcntl
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The newest so many are kept; a version has two or three.
MAX_FILES = 24

logger = logging.getLogger(__name__)


class Kept:
    """A folder of files, each named by the SHA-256 of its bytes.

    Parameters
    ----------
    folder : Path
        Made when something is first kept, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> bytes | None:
        """Return the bytes with a SHA-256, in hex; None where they are not kept, or are others by now."""
        path = self._folder / digest
        if not _is_kept(path) or path.name != digest:
            return None
        try:
            data = path.read_bytes()
            os.utime(path)  # the last to go
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            logger.warning("%s is another file than its name says, and is not used", path)
            return None
        return data

    def put(self, data: bytes) -> None:
        """Keep bytes. Where that fails, as on a full disk, it is told, and all goes on without."""
        name = hashlib.sha256(data).hexdigest()
        if self.get(name) is not None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(data, self._folder / name)
            self._prune()
        except OSError as error:
            logger.warning("the model is not kept in %s, and so depends on MLflow: %s", self._folder, error)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have one process at a time run the block, where the folder can be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("w")
        except OSError:
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, data: bytes, path: Path) -> None:
        handle, new = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            Path(new).replace(path)
        except OSError:
            with suppress(OSError):
                Path(new).unlink()
            raise

    def _prune(self) -> None:
        with suppress(FileNotFoundError):  # another process does it too
            files = sorted(
                filter(_is_kept, self._folder.iterdir()), key=lambda path: path.stat().st_mtime, reverse=True
            )
            for path in files[MAX_FILES:]:
                path.unlink()


def _is_kept(path: Path) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", path.name) is not None
