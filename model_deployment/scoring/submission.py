"""What was sent to be decided on: a list of rows or a file."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.validation import Validator
from model_deployment.files.formats import UploadedFile


class Submission(Protocol):
    """A body, which is read by the validator of whichever version decides."""

    @property
    def name(self) -> str | None:
        """The name of the file, where there is one."""

    @property
    def sha256(self) -> str:
        """The digest of the bytes as sent."""

    def applications(self, validator: Validator) -> Applications:
        """Return the applications, with the faults of the others.

        Raises
        ------
        MalformedFile
            When it is not a list of applications.
        """


@dataclass
class Rows:
    """A JSON list of applications, parsed from a body."""

    body: bytes
    rows: object
    name: str | None = None

    @cached_property
    def sha256(self) -> str:
        """See `Submission`."""
        return hashlib.sha256(self.body).hexdigest()

    def applications(self, validator: Validator) -> Applications:
        """See `Submission`."""
        return validator.rows(self.rows)


@dataclass
class File:
    """A CSV, Excel or Parquet file of applications."""

    uploaded: UploadedFile

    @property
    def name(self) -> str | None:
        """See `Submission`."""
        return self.uploaded.name

    @property
    def sha256(self) -> str:
        """See `Submission`; it is computed once."""
        return self.uploaded.sha256

    def applications(self, validator: Validator) -> Applications:
        """See `Submission`."""
        headers = validator.dataset.headers.items()
        known = {name: meant for name, meant in headers if meant != LABEL}
        return self.uploaded.parsed(validator.csv, known)
