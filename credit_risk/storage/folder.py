"""Blobs in a folder of this machine."""

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from credit_risk.storage.blobs import BlobExists, BlobMissing, checked

_PART = ".part-"  # the prefix of files that are still being written


class Folder:
    """Blobs as files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def put(
        self,
        name: str,
        data: bytes | Path,
        content_type: str | None = None,
        *,
        overwrite: bool = False,
    ) -> str:
        """See `Blobs.put`; a file is complete or absent."""
        path = self.root / checked(name)
        path.parent.mkdir(parents=True, exist_ok=True)

        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PART)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.read_bytes() if isinstance(data, Path) else data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)  # atomic; fails when the name is taken
            _sync_names(path.parent)
        except FileExistsError:
            raise BlobExists(name) from None
        finally:
            Path(temporary).unlink(missing_ok=True)

        return self.url(name)

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        try:
            return (self.root / checked(name)).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(name) from None

    def open(self, name: str) -> BinaryIO:
        """See `Blobs.open`."""
        try:
            return (self.root / checked(name)).open("rb")
        except FileNotFoundError:
            raise BlobMissing(name) from None

    def version(self, name: str) -> str:
        """See `Blobs.version`: size, and time of the last write.

        Neither inode nor change time: a file that is put back has others, and another machine that
        mounts the folder may see others.
        """
        try:
            about = (self.root / checked(name)).stat()
        except FileNotFoundError:
            raise BlobMissing(name) from None
        return f"{about.st_size}-{about.st_mtime_ns}"

    def names(self, prefix: str = "") -> list[str]:
        """See `Blobs.names`."""
        folder = self.root / prefix.rpartition("/")[0]
        files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(_PART))
        names = (p.relative_to(self.root).as_posix() for p in files)
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        (self.root / checked(name)).unlink(missing_ok=True)

    def tidy(self, before: datetime) -> None:
        """See `Blobs.tidy`."""
        for path in self.root.rglob(f"{_PART}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def url(self, name: str) -> str:
        """See `Blobs.url`."""
        return (self.root / checked(name)).as_uri()


def _sync_names(folder: Path) -> None:
    """Have the disk store the names in a folder: a power cut may lose that of a file it has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
