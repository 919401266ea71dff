"""Which version of the model is Production, and how to get it: MLflow's registry, by aliases.

A logged model is a folder: the scorer, as one skops file, and what others need to load it
(`MLmodel`, code, requirements; see `credit_risk.registry.logged`). A version's digest covers the
whole folder. It is recorded at registration and checked whenever the version is loaded. Only the
scorer's file is read, by our own reader (`credit_risk.scoring.stored`), so a person who can write
to the artifact store can neither make a service run code nor stop it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from credit_risk.registry.artifacts import ArtifactFolder
from credit_risk.registry.client import mlflow_client
from credit_risk.registry.errors import DigestMismatch, NoSuchVersion, mlflow_errors
from credit_risk.registry.model_cache import ModelCache
from credit_risk.registry.trial import MAX_REFERENCE_BYTES, read_reference, try_scorer
from credit_risk.registry.version import (
    ALL_FILES,
    DIGEST,
    REFERENCE_DIGEST,
    Version,
    another,
    digest_of,
    from_mlflow,
    manifest,
    sha256,
)
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import MODEL_FILE, ModelRefused, read
from credit_risk.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PRODUCTION = "production"
CHALLENGER = "challenger"
REFERENCE_FILE = "reference.parquet"
CARD_FILE = "model_card.md"
UNSIGNED = "Nobody has approved it yet."
MAX_CARD_BYTES = 1_000_000
# The tag that MLflow shows on a run's page.
_RUN_NOTE = "mlflow.note.content"


class Registry:
    """The versions of one registered model. Every method may raise `RegistryUnavailable`.

    Parameters
    ----------
    tracking_uri : str
        The MLflow server; its registry is used too.
    name : str
        The registered model.
    cache : ModelCache, optional
        Where to keep what was approved, so that it can be loaded without MLflow.
    dataset : str, optional
        The data set that the stack serves. Versions of another are refused.
    """

    def __init__(
        self,
        tracking_uri: str,
        name: str = "credit-risk",
        cache: ModelCache | None = None,
        dataset: str = "",
    ) -> None:
        self.name = name
        self._dataset = dataset
        self._uri = tracking_uri
        self._cache = cache
        self._taken: set[tuple[str, str]] = set()

    @cached_property
    def _client(self) -> "MlflowClient":
        return mlflow_client(self._uri)

    def alias(self, alias: str) -> str | None:
        """Return the number of the version that an alias points to, or None."""
        try:
            with mlflow_errors():
                # Asked for one alias that does not exist, MLflow answers INVALID_PARAMETER_VALUE,
                # as it does for many other faults. So all aliases are read.
                number = self._client.get_registered_model(self.name).aliases.get(alias)
        except NoSuchVersion:
            return None

        return None if number is None else str(number)

    def set_alias(self, alias: str, number: str) -> None:
        """Point an alias at a version.

        Raises
        ------
        NoSuchVersion
            When no version has that number.
        """
        from mlflow.exceptions import MlflowException

        with mlflow_errors(f"{self.name} has no version {number}"):
            try:
                self._client.set_registered_model_alias(self.name, alias, number)
            except MlflowException as error:
                if "registered_model_aliases" not in str(error):
                    raise

                # When two callers set a new alias at once, MLflow's table accepts one and refuses
                # the other. By now the alias exists, so setting it again succeeds.
                self._client.set_registered_model_alias(self.name, alias, number)

    def version(self, number: str) -> Version:
        """Return one version.

        Raises
        ------
        NoSuchVersion
            When no version has that number.
        """
        with mlflow_errors(f"{self.name} has no version {number}"):
            return from_mlflow(self._client.get_model_version(self.name, number))

    def versions(self) -> list[Version]:
        """Return all versions, the newest first."""
        with mlflow_errors():
            found = self._client.search_model_versions(f"name = '{self.name}'")

        return sorted(map(from_mlflow, found), key=lambda v: int(v.number), reverse=True)

    def load(self, number: str, digest: str | None = None, *, keep: bool = False) -> CreditScorer:
        """Return a version's scorer, checked, and tried out in a process of its own.

        Parameters
        ----------
        number : str
            The version.
        digest : str, optional
            The digest that the stored files must have; by default the one recorded at
            registration. A version that is cached under this digest is loaded without MLflow.
        keep : bool
            Whether to cache the version. Only for the version that decides: anybody may register
            versions, and caching those would push it out.

        Raises
        ------
        DigestMismatch
            When something else is stored. It is not opened then.
        ModelRefused
            When the scorer is not one of ours, is out of its bounds, or did not pass its trial.
        NoSuchVersion
            When no version has that number, or its file is gone.
        """
        if digest is not None and (data := self._cached_scorer(digest)) is not None:
            return self._read(number, data)

        digest = digest or self.version(number).digest
        if not keep or self._cache is None:
            return self._tried(number, self._stored(number, digest))

        # One of a server's processes tries the version out; the others take it from the cache.
        with self._cache.locked():
            if (data := self._cached_scorer(digest)) is not None:
                return self._read(number, data)

            files = self._stored(number, digest)
            scorer = self._tried(number, files)
            for data in (files[MODEL_FILE], manifest(files)):
                self._cache.put(data)

        return scorer

    def digest(self, number: str) -> str:
        """Return the digest of what is stored of a version now."""
        return digest_of(self._files(number))

    def try_out(self, number: str, digest: str | None = None) -> str:
        """Load a version's scorer as the services do, and return the digest of all its files.

        They must have the digest, if one is given. Raises what `load` raises.
        """
        files = self._files(number) if digest is None else self._stored(number, digest)
        self._tried(number, files)

        return digest_of(files)

    def why_refused(self, number: str, digest: str) -> str:
        """Return why the services refuse a version with that digest.

        Empty where they accept it. An accepted version is not checked again.
        """
        if not digest:
            return f"version {number} was registered without a digest"

        if (number, digest) not in self._taken:
            try:
                self.load(number, digest, keep=True)
            except (ModelRefused, NoSuchVersion) as error:
                return str(error)
            self._taken.add((number, digest))

        return ""

    def reference(self, number: str, dataset: Dataset, digest: str | None = None) -> pd.DataFrame:
        """Return a version's training data: attributes, `class`, and the out-of-fold `risk`.

        `dataset` is the version's own. The file must have the SHA-256 `digest`, by default the one
        recorded at registration; one that is asked for by its digest is cached.

        Raises
        ------
        DigestMismatch
            When the file is another one. It is not opened then.
        ModelRefused
            When it holds anything but valid applications.
        NoSuchVersion
            When no version has that number, or it has no such file.
        """
        if digest and self._cache is not None and (cached := self._cache.get(digest)) is not None:
            return read_reference(cached, dataset)

        version = self.version(number)
        data = self._run_file(version, REFERENCE_FILE, MAX_REFERENCE_BYTES)
        expected = version.reference_digest if digest is None else digest
        if expected is not None and sha256(data) != expected:
            raise DigestMismatch(
                f"what version {number} was trained on is stored otherwise than it was"
            )

        frame = read_reference(data, dataset)
        if digest and self._cache is not None:
            self._cache.put(data)

        return frame

    def reference_digest(self, number: str) -> str:
        """Return the SHA-256 of the file of `reference` now; empty where a version has none."""
        return self._reference_digest(self.version(number))

    def sign(self, number: str, line: str) -> None:
        """Add a line to the approvals in a version's model card, where it has one.

        Raises
        ------
        NoSuchVersion
            When no version has that number, or it has no card.
        """
        version = self.version(number)
        stored = self._run_file(version, CARD_FILE, MAX_CARD_BYTES)
        card = stored.decode(errors="replace").replace(f"{UNSIGNED}\n", "").rstrip("\n")

        has_approvals = card.rpartition("\n")[2].startswith("- ")
        separator = "\n" if has_approvals else "\n\n"
        text = f"{card}{separator}- {line}\n"

        with mlflow_errors(f"version {number} has no run"):
            self._client.log_text(version.run_id, text, CARD_FILE)
            # The run's page shows this note.
            self._client.set_tag(version.run_id, _RUN_NOTE, text)

    def register(
        self, run_id: str, model_uri: str, tags: Mapping[str, str] | None = None
    ) -> Version:
        """Make a logged scorer a new version, and the challenger.

        Parameters
        ----------
        run_id : str
            The run that logged it.
        model_uri : str
            What `logged.log_scorer` returned.
        tags : mapping, optional
            Tags of the version, besides its digests.
        """
        run = Version("", run_id, "", datetime.now(UTC), {})
        digests = {
            DIGEST: digest_of(self._folder(model_uri)),
            REFERENCE_DIGEST: self._reference_digest(run),
        }

        with mlflow_errors():
            self._create_model()
            version = self._client.create_model_version(
                self.name,
                source=model_uri,
                run_id=run_id,
                tags={**(tags or {}), **digests},
                model_id=model_uri.removeprefix("models:/"),
            )

        self.set_alias(CHALLENGER, version.version)
        return from_mlflow(version)

    def _create_model(self) -> None:
        """Create the registered model, unless it exists."""
        from mlflow.exceptions import MlflowException

        description = "Default risk of credit applicants. A person decides on Production."
        try:
            self._client.create_registered_model(self.name, description=description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _tried(self, number: str, files: Mapping[str, bytes]) -> CreditScorer:
        scorer = self._read(number, files[MODEL_FILE])
        try_scorer(files[MODEL_FILE])
        return scorer

    def _read(self, number: str, data: bytes) -> CreditScorer:
        try:
            scorer = read(data)
        except ModelRefused as error:
            raise ModelRefused(f"version {number} is not taken: {error}") from None
        if self._dataset and (why := another(scorer.dataset.name, self._dataset)):
            raise ModelRefused(f"version {number} is not taken: {why}")
        return scorer

    def _cached_scorer(self, digest: str) -> bytes | None:
        return None if self._cache is None else self._cache.scorer(digest)

    def _stored(self, number: str, digest: str) -> dict[str, bytes]:
        """Return a version's files, if those that a digest covers have that digest."""
        files = self._files(number)
        covers_all = digest.startswith(ALL_FILES)
        found = digest_of(files) if covers_all else sha256(files[MODEL_FILE])
        if found != digest:
            raise DigestMismatch(
                f"version {number} was stored as {digest[:12]}... and is now {found[:12]}..."
            )

        return files

    def _files(self, number: str) -> dict[str, bytes]:
        with mlflow_errors(f"{self.name} has no version {number}"):
            source = self._client.get_model_version(self.name, number).source

        return self._folder(str(source))

    def _folder(self, address: str) -> dict[str, bytes]:
        """Return the files of a logged model by name.

        Parameters
        ----------
        address : str
            `models:/m-...`, or the address of its artifacts.

        Raises
        ------
        NoSuchVersion
            When it is not there, or there is no scorer in it.
        """
        with mlflow_errors(f"{address} is not there"):
            # Given `models:/m-...`, MLflow's own download would ask the server that is set for the
            # whole process, not ours.
            if address.startswith("models:/"):
                model = self._client.get_logged_model(address.removeprefix("models:/"))
                address = model.artifact_location
            files = ArtifactFolder(address, self._uri).files()

        if MODEL_FILE not in files:
            raise NoSuchVersion(f"{address} has no {MODEL_FILE}")

        return files

    def _reference_digest(self, version: Version) -> str:
        try:
            return sha256(self._run_file(version, REFERENCE_FILE, MAX_REFERENCE_BYTES))
        except NoSuchVersion:
            return ""

    def _run_file(self, version: Version, name: str, limit: int) -> bytes:
        """Return an artifact, of at most `limit` bytes, of the run that made a version."""
        missing = f"version {version.number} has no {name}"
        if not version.run_id:
            raise NoSuchVersion(missing)

        with mlflow_errors(missing):
            address = self._client.get_run(version.run_id).info.artifact_uri
            files = ArtifactFolder(address, self._uri).files(name, limit)

        if name not in files:
            raise NoSuchVersion(missing)

        return files[name]


def open_registry(settings: Settings) -> Registry:
    """Return the registry of a stack, which caches what was approved in `VAR_DIR/models`."""
    cache = ModelCache(settings.var_dir / "models")
    dataset = load_dataset(settings.dataset).name
    return Registry(settings.mlflow_tracking_uri, settings.model_name, cache, dataset)
