"""Which version of the model is Production, and how to get it: MLflow's registry, by aliases.

What is logged of a model is a folder: the scorer, as one skops file, and what others load it by (`MLmodel`, code,
requirements; see `credit_risk.registry.logged`). A version's digest covers all of it. It is recorded when the version
is registered, checked whenever it is loaded, and of the files only the scorer is read, by our own reader
(`credit_risk.scoring.stored`): whoever can write to the artifact store can neither make a service run code nor stop it.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from credit_risk.registry.kept import Kept
from credit_risk.registry.trial import MAX_REFERENCE_BYTES, read_reference, try_scorer
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import MODEL_FILE, ModelRefused, read
from credit_risk.settings import Settings

PRODUCTION = "production"
CHALLENGER = "challenger"
DIGEST = "digest"
REFERENCE_DIGEST = "reference_digest"
# What a digest of all files begins with; one without it, from before, is that of the scorer's file alone.
ALL_FILES = "v2:"
REFERENCE_FILE = "reference.parquet"
CARD_FILE = "model_card.md"
UNSIGNED = "Nobody has approved it yet."
MAX_CARD_BYTES = 1_000_000
MAX_FILES = 100
MAX_FOLDER_BYTES = 20_000_000
# Where artifacts may be. An address that names a host would have our credentials for MLflow sent there.
_ARTIFACTS = re.compile(r"mlflow-artifacts:/(?!/)|gs://|s3://")


class RegistryUnavailable(ConnectionError):
    """MLflow does not answer, or not as it should."""


class NoSuchVersion(LookupError):
    """The registry has no such version of the model."""


class DigestMismatch(ModelRefused):
    """What is stored of a version is not what was registered or approved."""


@dataclass(frozen=True)
class Version:
    """A registered version of the model; its digests, in hex, as they were taken when it was registered.

    `digest` is `v2:` and the SHA-256 of the lines that `sha256sum` prints of all files, sorted by name; where it was
    registered before that, the SHA-256 of its scorer's file.
    """

    number: str
    run_id: str
    digest: str
    created: datetime
    tags: Mapping[str, str]

    @property
    def reference_digest(self) -> str | None:
        """The SHA-256 of what it was trained on; empty where there is none, None of a version from before."""
        return self.tags.get(REFERENCE_DIGEST)


class Registry:
    """The versions of one registered model. Every method may raise `RegistryUnavailable`.

    Parameters
    ----------
    tracking_uri : str
        The MLflow server; its registry is used too.
    name : str
        The registered model.
    kept : Kept, optional
        Where to keep what was approved, so that it can be loaded without MLflow.
    """

    def __init__(self, tracking_uri: str, name: str = "credit-risk", kept: Kept | None = None) -> None:
        # MLflow's own defaults wait for minutes where a server is away; a service has better things to do.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.name = name
        self._uri = tracking_uri
        self._kept = kept
        self._client = MlflowClient(tracking_uri, tracking_uri)
        self._taken: set[tuple[str, str]] = set()

    def alias(self, alias: str) -> str | None:
        """Return the number of the version that an alias points to, or None."""
        try:
            with _errors():
                # Asked for by name, an alias that is not there is an INVALID_PARAMETER_VALUE, as much else is.
                number = self._client.get_registered_model(self.name).aliases.get(alias)
        except NoSuchVersion:
            return None
        return None if number is None else str(number)

    def set_alias(self, alias: str, number: str) -> None:
        """Point an alias at a version.

        Raises
        ------
        NoSuchVersion
            When there is none of that number.
        """
        with _errors(f"{self.name} has no version {number}"):
            try:
                self._client.set_registered_model_alias(self.name, alias, number)
            except MlflowException as error:
                if "registered_model_aliases" not in str(error):
                    raise
                # Of two who set an alias that was not there yet, MLflow's table takes one; now it is there.
                self._client.set_registered_model_alias(self.name, alias, number)

    def version(self, number: str) -> Version:
        """Return one version.

        Raises
        ------
        NoSuchVersion
            When there is none of that number.
        """
        with _errors(f"{self.name} has no version {number}"):
            return _version(self._client.get_model_version(self.name, number))

    def versions(self) -> list[Version]:
        """Return all versions, the newest first."""
        with _errors():
            found = self._client.search_model_versions(f"name = '{self.name}'")
        return sorted(map(_version, found), key=lambda v: int(v.number), reverse=True)

    def load(self, number: str, digest: str | None = None, *, keep: bool = False) -> CreditScorer:
        """Return a version's scorer, checked, and tried out in a process of its own.

        Parameters
        ----------
        number : str
            The version.
        digest : str, optional
            What must be stored of it; the digest recorded at registration where none is given. What is kept of that
            digest needs no MLflow.
        keep : bool
            Whether to keep it. That is for what decides: what anybody may register would push that out.

        Raises
        ------
        DigestMismatch
            When something else is stored; it is not opened then.
        ModelRefused
            When the scorer is none of ours, is out of its bounds, or did not pass its trial.
        NoSuchVersion
            When there is none of that number, or its file is gone.
        """
        if digest is not None and (data := self._kept_scorer(digest)) is not None:
            return _read(number, data)
        digest = digest or self.version(number).digest
        if not keep or self._kept is None:
            return self._tried(number, self._stored(number, digest))
        # Of a server's processes one tries it out, and the others take what it has kept.
        with self._kept.alone():
            if (data := self._kept_scorer(digest)) is not None:
                return _read(number, data)
            files = self._stored(number, digest)
            scorer = self._tried(number, files)
            for data in (files[MODEL_FILE], manifest(files)):
                self._kept.put(data)
        return scorer

    def digest(self, number: str) -> str:
        """Return the digest of what is stored of a version now."""
        return _digest(self._files(number))

    def try_out(self, number: str, digest: str | None = None) -> str:
        """Have a version's scorer loaded as the services do, and return the digest of all that is stored with it.

        Parameters
        ----------
        number : str
            The version.
        digest : str, optional
            What must be stored of it, where that is known.

        Raises
        ------
        DigestMismatch, ModelRefused, NoSuchVersion
            As by `load`.
        """
        files = self._files(number) if digest is None else self._stored(number, digest)
        self._tried(number, files)
        return _digest(files)

    def why_refused(self, number: str, digest: str) -> str:
        """Return why the services do not take a version of that digest; empty where they do, from then on for good."""
        if not digest:
            return f"version {number} was registered without a digest"
        if (number, digest) not in self._taken:
            try:
                self.load(number, digest, keep=True)
            except (ModelRefused, NoSuchVersion) as error:
                return str(error)
            self._taken.add((number, digest))
        return ""

    def reference(self, number: str, digest: str | None = None) -> pd.DataFrame:
        """Return what a version was trained on: the 20 attributes, `class`, and the out-of-fold `risk`.

        Parameters
        ----------
        number : str
            The version.
        digest : str, optional
            What its file must hash to, which is kept then; the digest recorded at registration where none is given.

        Raises
        ------
        DigestMismatch
            When the file is another one; it is not opened then.
        ModelRefused
            When it holds anything but valid applications.
        NoSuchVersion
            When there is no version of that number, or it has no such file.
        """
        if digest and self._kept is not None and (kept := self._kept.get(digest)) is not None:
            return read_reference(kept)
        version = self.version(number)
        data = self._run_file(version, REFERENCE_FILE, MAX_REFERENCE_BYTES)
        expected = version.reference_digest if digest is None else digest
        if expected is not None and hashlib.sha256(data).hexdigest() != expected:
            raise DigestMismatch(f"what version {number} was trained on is stored otherwise than it was")
        frame = read_reference(data)
        if digest and self._kept is not None:
            self._kept.put(data)
        return frame

    def reference_digest(self, number: str) -> str:
        """Return what the file of `reference` hashes to now; empty where a version has none."""
        return self._reference_digest(self.version(number))

    def sign(self, number: str, line: str) -> None:
        """Add a line to the approvals in a version's model card, where it has one.

        Raises
        ------
        NoSuchVersion
            When there is none of that number, or it has no card.
        """
        version = self.version(number)
        card = (
            self._run_file(version, CARD_FILE, MAX_CARD_BYTES)
            .decode(errors="replace")
            .replace(f"{UNSIGNED}\n", "")
            .rstrip("\n")
        )
        between = "\n" if card.rpartition("\n")[2].startswith("- ") else "\n\n"
        text = f"{card}{between}- {line}\n"
        with _errors(f"version {number} has no run"):
            self._client.log_text(version.run_id, text, CARD_FILE)
            # What the run's page shows.
            self._client.set_tag(version.run_id, MLFLOW_RUN_NOTE, text)

    def register(self, run_id: str, model_uri: str, tags: Mapping[str, str] | None = None) -> Version:
        """Make a logged scorer a new version, and the challenger.

        Parameters
        ----------
        run_id : str
            The run that logged it.
        model_uri : str
            What `logged.log_scorer` returned.
        tags : mapping, optional
            Tags of the version, beside its digests.
        """
        run = Version("", run_id, "", datetime.now(UTC), {})
        digests = {DIGEST: _digest(self._folder(model_uri)), REFERENCE_DIGEST: self._reference_digest(run)}
        with _errors():
            try:
                self._client.create_registered_model(
                    self.name, description="Default risk of credit applicants. A person decides on Production."
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self.name,
                source=model_uri,
                run_id=run_id,
                tags={**(tags or {}), **digests},
                model_id=model_uri.removeprefix("models:/"),
            )
        self.set_alias(CHALLENGER, version.version)
        return _version(version)

    def _tried(self, number: str, files: Mapping[str, bytes]) -> CreditScorer:
        scorer = _read(number, files[MODEL_FILE])
        try_scorer(files[MODEL_FILE])
        return scorer

    def _kept_scorer(self, digest: str) -> bytes | None:
        """Return the scorer's file that a digest covers, where it is kept."""
        if self._kept is None:
            return None
        if not digest.startswith(ALL_FILES):
            return self._kept.get(digest)
        lines = self._kept.get(digest.removeprefix(ALL_FILES))
        found = re.search(rf"^([0-9a-f]{{64}})  {MODEL_FILE}$", (lines or b"").decode(), re.MULTILINE)
        return self._kept.get(found[1]) if found else None

    def _stored(self, number: str, digest: str) -> dict[str, bytes]:
        """Return a version's files, when those that a digest covers are as it says."""
        files = self._files(number)
        every = digest.startswith(ALL_FILES)
        found = _digest(files) if every else hashlib.sha256(files[MODEL_FILE]).hexdigest()
        if found != digest:
            raise DigestMismatch(f"version {number} was stored as {digest[:12]}... and is now {found[:12]}...")
        return files

    def _files(self, number: str) -> dict[str, bytes]:
        with _errors(f"{self.name} has no version {number}"):
            source = self._client.get_model_version(self.name, number).source
        return self._folder(str(source))

    def _folder(self, address: str) -> dict[str, bytes]:
        """Return the files of a logged model, named as `models:/m-...` or by where its artifacts are, by their names.

        Raises
        ------
        NoSuchVersion
            When it is not there, or there is no scorer in it.
        """
        with _errors(f"{address} is not there"):
            # MLflow's own download of the former asks the server that is set for the whole process, not ours.
            if address.startswith("models:/"):
                address = self._client.get_logged_model(address.removeprefix("models:/")).artifact_location
            files = _Place(address, self._uri).files()
        if MODEL_FILE not in files:
            raise NoSuchVersion(f"{address} has no {MODEL_FILE}")
        return files

    def _reference_digest(self, version: Version) -> str:
        try:
            return hashlib.sha256(self._run_file(version, REFERENCE_FILE, MAX_REFERENCE_BYTES)).hexdigest()
        except NoSuchVersion:
            return ""

    def _run_file(self, version: Version, name: str, limit: int) -> bytes:
        """Return an artifact of the run that made a version, of at most so many bytes."""
        missing = f"version {version.number} has no {name}"
        if not version.run_id:
            raise NoSuchVersion(missing)
        with _errors(missing):
            files = _Place(self._client.get_run(version.run_id).info.artifact_uri, self._uri).files(name, limit)
        if name not in files:
            raise NoSuchVersion(missing)
        return files[name]


class _Place:
    """A folder of artifacts.

    Raises
    ------
    ModelRefused
        When its address is no place for artifacts, or it holds more than it may.
    """

    def __init__(self, address: str, tracking_uri: str) -> None:
        if not _ARTIFACTS.match(address):
            raise ModelRefused(f"artifacts are not loaded from {address[:100]!r}")
        self._repository = get_artifact_repository(address, tracking_uri=tracking_uri)

    def files(self, only: str | None = None, limit: int = MAX_FOLDER_BYTES) -> dict[str, bytes]:
        """Return all files by their names, or the one of a name if it is there; of at most `limit` bytes in all."""
        sizes = {name: size for name, size in self._sizes(None, deep=only is None) if only in (None, name)}
        if len(sizes) > MAX_FILES or sum(sizes.values()) > limit or not all(map(str.isprintable, sizes)):
            raise ModelRefused(f"what is stored has more than {limit:,} bytes or {MAX_FILES} files, or odd names")
        return {name: self._file(name, limit) for name in sizes}

    def _sizes(self, folder: str | None, *, deep: bool) -> Iterator[tuple[str, int]]:
        for each in self._repository.list_artifacts(folder):
            if not each.is_dir:
                yield each.path, each.file_size or 0
            elif deep:
                yield from self._sizes(each.path, deep=True)

    def _file(self, name: str, limit: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self._repository.download_artifacts(name, folder))
            if path.stat().st_size > limit:
                raise ModelRefused(f"{name} has more than {limit:,} bytes")
            return path.read_bytes()


def open_registry(settings: Settings) -> Registry:
    """Return the registry of a stack, which keeps what was approved in `VAR_DIR/models`."""
    return Registry(settings.mlflow_tracking_uri, settings.model_name, Kept(settings.var_dir / "models"))


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return what `sha256sum` prints of files, sorted by name."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode()


def _digest(files: Mapping[str, bytes]) -> str:
    return ALL_FILES + hashlib.sha256(manifest(files)).hexdigest()


def _read(number: str, data: bytes) -> CreditScorer:
    try:
        return read(data)
    except ModelRefused as error:
        raise ModelRefused(f"version {number} is not taken: {error}") from None


def _version(found: object) -> Version:
    v = vars(found)
    return Version(
        number=str(v["_version"]),
        run_id=v["_run_id"] or "",
        digest=v["_tags"].get(DIGEST, ""),
        created=datetime.fromtimestamp(v["_creation_time"] / 1000, UTC),
        tags=dict(v["_tags"]),
    )


@contextmanager
def _errors(missing: str = "there is no such version") -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        # A download that fails carries the server's code in its words only.
        if error.error_code == "RESOURCE_DOES_NOT_EXIST" or '"RESOURCE_DOES_NOT_EXIST"' in str(error):
            raise NoSuchVersion(missing) from None
        raise RegistryUnavailable(f"MLflow: {error}") from error
    except (requests.RequestException, OSError) as error:
        raise RegistryUnavailable(f"MLflow: {error}") from error
