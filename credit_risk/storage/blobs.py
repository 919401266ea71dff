"""Reports and big files: a bucket, or a folder that stands in for one.

Names are slash-separated paths below the store's root. Writing is once only unless said otherwise, so two writers
never mix and what was promised to stay stays.
"""

import mimetypes
import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

_PART = ".part-"  # what is being written is called so


class BlobMissing(LookupError):
    """There is nothing by that name."""


class BlobExists(ValueError):
    """The name is taken, and the caller did not ask to overwrite."""


class Blobs(Protocol):
    """A store of named byte strings."""

    def put(self, name: str, data: bytes | Path, content_type: str | None = None, *, overwrite: bool = False) -> str:
        """Store bytes, or a file's, and return their address.

        Raises
        ------
        BlobExists
            When the name is taken and `overwrite` is not set.
        """

    def get(self, name: str) -> bytes:
        """Return what is stored.

        Raises
        ------
        BlobMissing
            When there is nothing.
        """

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that start with a prefix, sorted."""

    def delete(self, name: str) -> None:
        """Remove a blob; it may be gone already."""

    def tidy(self, before: datetime) -> None:
        """Remove what writers that died before a time have left half-written: nobody sees it, but it takes room."""

    def url(self, name: str) -> str:
        """Return the address that a person would look a blob up at."""


def open_blobs(url: str) -> Blobs:
    """Return the store at `gs://BUCKET/PREFIX`, or in a folder.

    With `STORAGE_EMULATOR_HOST` set, Google's client talks to that server, without credentials.
    """
    if not url.startswith("gs://"):
        return Folder(Path(url.removeprefix("file://")))
    parts = urlsplit(url)
    return Bucket(parts.netloc, parts.path.strip("/"))


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is not a name below the store's root")
    return path


class Folder:
    """Blobs as files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def put(self, name: str, data: bytes | Path, content_type: str | None = None, *, overwrite: bool = False) -> str:
        """See `Blobs.put`; a file is whole or not there."""
        path = self.root / _checked(name)
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
                os.link(temporary, path)  # fails when the name is taken, at once and for good
        except FileExistsError:
            raise BlobExists(name) from None
        finally:
            Path(temporary).unlink(missing_ok=True)
        return self.url(name)

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        try:
            return (self.root / _checked(name)).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(name) from None

    def names(self, prefix: str = "") -> list[str]:
        """See `Blobs.names`."""
        files = (p for p in self.root.rglob("*") if p.is_file() and not p.name.startswith(_PART))
        names = (p.relative_to(self.root).as_posix() for p in files)
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        (self.root / _checked(name)).unlink(missing_ok=True)

    def tidy(self, before: datetime) -> None:
        """See `Blobs.tidy`."""
        for path in self.root.rglob(f"{_PART}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def url(self, name: str) -> str:
        """See `Blobs.url`."""
        return (self.root / _checked(name)).as_uri()


class Bucket:
    """Blobs in a Google Cloud Storage bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            client = storage.Client(project="local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        else:
            client = storage.Client()
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""

    def _blob(self, name: str) -> storage.Blob:
        return self._bucket.blob(f"{self._prefix}{_checked(name)}")

    def put(self, name: str, data: bytes | Path, content_type: str | None = None, *, overwrite: bool = False) -> str:
        """See `Blobs.put`."""
        blob = self._blob(name)
        kind = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        only_new = {} if overwrite else {"if_generation_match": 0}
        try:
            if isinstance(data, Path):
                blob.upload_from_filename(str(data), content_type=kind, **only_new)
            else:
                blob.upload_from_string(data, content_type=kind, **only_new)
        except PreconditionFailed:
            raise BlobExists(name) from None
        return self.url(name)

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        try:
            return bytes(self._blob(name).download_as_bytes())
        except NotFound:
            raise BlobMissing(name) from None

    def names(self, prefix: str = "") -> list[str]:
        """See `Blobs.names`."""
        listed = self._bucket.client.list_blobs(self._bucket, prefix=self._prefix + prefix)
        return sorted(blob.name.removeprefix(self._prefix) for blob in listed)

    def delete(self, name: str) -> None:
        """See `Blobs.delete`."""
        try:
            self._blob(name).delete()
        except NotFound:
            return

    def tidy(self, before: datetime) -> None:
        """See `Blobs.tidy`: an upload that breaks off leaves nothing here."""

    def url(self, name: str) -> str:
        """See `Blobs.url`."""
        return f"gs://{self._bucket.name}/{self._prefix}{_checked(name)}"
