"""Reports and big files: a bucket, or a folder that stands in for one.

Names are slash-separated paths below the store's root. A name is written only once unless the
caller asks to overwrite it, so two writers never mix and nothing is lost by accident.
"""

from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol


class BlobMissing(LookupError):
    """There is no blob of that name."""


class BlobExists(ValueError):
    """The name is taken, and the caller did not ask to overwrite."""


class Blobs(Protocol):
    """A store of named byte strings."""

    def put(
        self,
        name: str,
        data: bytes | Path,
        content_type: str | None = None,
        *,
        overwrite: bool = False,
    ) -> str:
        """Store bytes, or the contents of a file, and return their address.

        Raises
        ------
        BlobExists
            When the name is taken and `overwrite` is not set.
        """

    def get(self, name: str) -> bytes:
        """Return the bytes stored under a name.

        Raises
        ------
        BlobMissing
            When there is no such blob.
        """

    def open(self, name: str) -> BinaryIO:
        """Return a blob as a file that is read where it is needed.

        Raises
        ------
        BlobMissing
            When there is no such blob.
        """

    def version(self, name: str) -> str:
        """Return a text that is another one when other bytes are stored under the name.

        Raises
        ------
        BlobMissing
            When there is no such blob.
        """

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that start with a prefix, sorted."""

    def delete(self, name: str) -> None:
        """Remove a blob; it may be gone already."""

    def tidy(self, before: datetime) -> None:
        """Remove half-written files that writers left behind when they died before a time.

        Nobody sees these, but they take up space.
        """

    def url(self, name: str) -> str:
        """Return the address at which a person can look a blob up."""


def checked(name: str) -> PurePosixPath:
    """Return a blob's name as a path, if it stays below the store's root.

    Raises
    ------
    ValueError
        When it does not.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is not a name below the store's root")
    return path
