"""A store of blobs that notes what is read of it."""

from typing import Any, BinaryIO

from credit_risk.storage.blobs import Blobs


class WatchedFile:
    """A file that notes how many bytes each read gave."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "WatchedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        found = self._file.read(size)
        self.sizes.append(len(found))
        return found


class WatchedBlobs:
    """Blobs that note what is opened, by name.

    Attributes
    ----------
    opened : list of (str, WatchedFile)
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.opened: list[tuple[str, WatchedFile]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def open(self, name: str) -> Any:
        """Open as the blobs do."""
        file = WatchedFile(self._blobs.open(name))
        self.opened.append((name, file))
        return file
