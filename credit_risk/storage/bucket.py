"""Blobs in Google Cloud Storage."""

import mimetypes
import os
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from credit_risk.storage.blobs import BlobExists, BlobMissing, checked

# Bytes that are read of an opened blob at a time, at least.
_READ_BYTES = 1 << 20


class Bucket:
    """Blobs in a Google Cloud Storage bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._name = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @cached_property
    def _bucket(self) -> storage.Bucket:
        """The bucket, at its first use: the approvals service has no credentials, and uses none."""
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            client = storage.Client(project="local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        else:
            client = storage.Client()
        return client.bucket(self._name)

    def _blob(self, name: str) -> storage.Blob:
        return self._bucket.blob(f"{self._prefix}{checked(name)}")

    def put(
        self,
        name: str,
        data: bytes | Path,
        content_type: str | None = None,
        *,
        overwrite: bool = False,
    ) -> str:
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

    def open(self, name: str) -> BinaryIO:
        """See `Blobs.open`; it is read in blocks."""
        blob = self._found(name)
        opened: BinaryIO = blob.open("rb", chunk_size=_READ_BYTES)
        return opened

    def version(self, name: str) -> str:
        """See `Blobs.version`: Cloud Storage counts generations."""
        return str(self._found(name).generation)

    def _found(self, name: str) -> storage.Blob:
        blob = self._bucket.get_blob(f"{self._prefix}{checked(name)}")
        if blob is None:
            raise BlobMissing(name)
        return blob

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
        """See `Blobs.tidy`: an interrupted upload leaves nothing in a bucket."""

    def url(self, name: str) -> str:
        """See `Blobs.url`."""
        return f"gs://{self._name}/{self._prefix}{checked(name)}"
