"""Which version of the model is Production, and how to get it: MLflow's registry, by aliases.

A stored scorer is one skops file. Its SHA-256 is recorded when it is registered and checked whenever it is loaded, and
only the types that we trust are built from it: whoever can write to the artifact store cannot make a service run code.
"""

import hashlib
import importlib.metadata
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import mlflow.artifacts
import mlflow.sklearn
import pandas as pd
import requests
import skops.io
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from credit_risk.model import TRUSTED, CreditScorer

PRODUCTION = "production"
CHALLENGER = "challenger"
DIGEST = "digest"
MODEL_FILE = "model.skops"
REFERENCE_FILE = "reference.parquet"
CARD_FILE = "model_card.md"
UNSIGNED = "Nobody has approved it yet."
_PACKAGES = ("lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")


class RegistryUnavailable(ConnectionError):
    """MLflow does not answer, or not as it should."""


class NoSuchVersion(LookupError):
    """The registry has no such version of the model."""


class DigestMismatch(ValueError):
    """The stored scorer is not the one that was registered or approved."""


@dataclass(frozen=True)
class Version:
    """A registered version of the model; `digest` is the SHA-256 of its scorer file, in hex."""

    number: str
    run_id: str
    digest: str
    created: datetime
    tags: Mapping[str, str]


class Registry:
    """The versions of one registered model. Every method may raise `RegistryUnavailable`.

    Parameters
    ----------
    tracking_uri : str
        The MLflow server; its registry is used too.
    name : str
        The registered model.
    """

    def __init__(self, tracking_uri: str, name: str = "credit-risk") -> None:
        # MLflow's own defaults wait for minutes where a server is away; a service has better things to do.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.name = name
        self._uri = tracking_uri
        self._client = MlflowClient(tracking_uri, tracking_uri)

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

    def load(self, number: str, digest: str | None = None) -> CreditScorer:
        """Return a version's scorer.

        Parameters
        ----------
        number : str
            The version.
        digest : str, optional
            What its file must hash to; the digest recorded at registration where none is given.

        Raises
        ------
        DigestMismatch
            When the file is another one; it is not opened then.
        NoSuchVersion
            When there is none of that number, or its file is gone.
        """
        data = self._version_file(number)
        expected = digest or self.version(number).digest
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise DigestMismatch(f"version {number} was stored as {expected[:12]}... and is now {found[:12]}...")
        scorer = skops.io.loads(data, trusted=TRUSTED)
        if not isinstance(scorer, CreditScorer):
            raise DigestMismatch(f"version {number} is no scorer but a {type(scorer).__name__}")
        return scorer

    def digest(self, number: str) -> str:
        """Return what a version's file hashes to now."""
        return hashlib.sha256(self._version_file(number)).hexdigest()

    def reference(self, number: str) -> pd.DataFrame:
        """Return what a version was trained on: the 20 attributes, `class`, and the out-of-fold `risk`."""
        return pd.read_parquet(io.BytesIO(self._run_file(self.version(number), REFERENCE_FILE)))

    def sign(self, number: str, line: str) -> None:
        """Add a line to the approvals in a version's model card, where it has one.

        Raises
        ------
        NoSuchVersion
            When there is none of that number, or it has no card.
        """
        version = self.version(number)
        card = self._run_file(version, CARD_FILE).decode().replace(f"{UNSIGNED}\n", "").rstrip("\n")
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
            What `log_scorer` returned.
        tags : mapping, optional
            Tags of the version, beside its digest.
        """
        model_id = model_uri.removeprefix("models:/")
        with _errors(f"{model_uri} is not there"):
            # MLflow takes no path below the address of a logged model, only below the place of its artifacts.
            place = self._client.get_logged_model(model_id).artifact_location
        digest = hashlib.sha256(self._model_file(place)).hexdigest()
        with _errors():
            try:
                self._client.create_registered_model(
                    self.name, description="Default risk of credit applicants. A person decides on Production."
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self.name, source=model_uri, run_id=run_id, tags={**(tags or {}), DIGEST: digest}, model_id=model_id
            )
        self.set_alias(CHALLENGER, version.version)
        return _version(version)

    def _version_file(self, number: str) -> bytes:
        with _errors(f"{self.name} has no version {number}"):
            source = self._client.get_model_version(self.name, number).source
        return self._model_file(str(source))

    def _model_file(self, address: str) -> bytes:
        """Return the scorer file of a logged model, named as `models:/m-...` or by where its artifacts are.

        MLflow's own download of the former asks the server that is set for the whole process, not ours.
        """
        with _errors(f"{address} has no {MODEL_FILE}"):
            if address.startswith("models:/"):
                address = self._client.get_logged_model(address.removeprefix("models:/")).artifact_location
            return self._download(f"{address}/{MODEL_FILE}")

    def _run_file(self, version: Version, name: str) -> bytes:
        """Return an artifact of the run that made a version."""
        with _errors(f"version {version.number} has no {name}"):
            return self._download(f"{self._client.get_run(version.run_id).info.artifact_uri}/{name}")

    def _download(self, address: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=self._uri)
            return Path(path).read_bytes()


def log_scorer(scorer: CreditScorer, example: pd.DataFrame, name: str = "model") -> str:
    """Log a fitted scorer to the active MLflow run, and return its address.

    Parameters
    ----------
    scorer : CreditScorer
        Fitted.
    example : DataFrame
        A few applications, without their label; the signature is inferred from them.
    name : str
        What the logged model is called in the run.
    """
    info = mlflow.sklearn.log_model(
        scorer,
        name=name,
        serialization_format="skops",
        skops_trusted_types=TRUSTED,
        signature=infer_signature(example, scorer.predict(example)),
        input_example=example,
        # Given, for inferring them takes half a minute.
        pip_requirements=requirements(),
    )
    return str(info.model_uri)


def requirements() -> list[str]:
    """Return the packages that a stored scorer needs, each at the version that is installed."""
    return [f"{package}=={importlib.metadata.version(package)}" for package in _PACKAGES]


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
