"""A registered version of the model, and the digests of what is stored of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

DIGEST = "digest"
REFERENCE_DIGEST = "reference_digest"
# The name of a version's data set, and the digest of its definition. Versions that lack these tags
# are older than they.
DATASET = "dataset"
DEFINITION = "definition"
# Prefix of a digest of all files. Older digests lack it and cover the scorer's file only.
ALL_FILES = "v2:"


@dataclass(frozen=True)
class Version:
    """A registered version of the model, with the digests taken at its registration, in hex.

    `digest` is `v2:` and the SHA-256 of the lines that `sha256sum` prints for all files, sorted by
    name. For versions registered before `v2:` it is the SHA-256 of the scorer's file.
    """

    number: str
    run_id: str
    digest: str
    created: datetime
    tags: Mapping[str, str]

    @property
    def reference_digest(self) -> str | None:
        """The SHA-256 of the training data.

        Empty where there are none, None for a version that is older than this digest.
        """
        return self.tags.get(REFERENCE_DIGEST)


def from_mlflow(entity: object) -> Version:
    """Return the version that an MLflow entity describes."""
    fields = vars(entity)
    tags = dict(fields["_tags"])

    return Version(
        number=str(fields["_version"]),
        run_id=fields["_run_id"] or "",
        digest=tags.get(DIGEST, ""),
        created=datetime.fromtimestamp(fields["_creation_time"] / 1000, UTC),
        tags=tags,
    )


def sha256(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return what `sha256sum` prints for files, sorted by name."""
    lines = [f"{sha256(files[name])}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode()


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the digest that covers all files of a version."""
    return ALL_FILES + sha256(manifest(files))


def another(dataset: str, served: str) -> str:
    """Return what to do about a version of a data set; empty where the stack serves that one."""
    if dataset == served:
        return ""
    return (
        f"it is of the data set {dataset}, and this stack serves {served}: set DATASET={dataset}, "
        "or start a stack of its own with another VAR_DIR"
    )
