"""What is stored of a version on a real MLflow, when others write there too."""

import hashlib
import subprocess
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import requests

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.errors import DigestMismatch, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.model_cache import ModelCache
from credit_risk.registry.registry import Registry
from credit_risk.registry.version import DIGEST, REFERENCE_DIGEST
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.stored import MODEL_FILE, ModelRefused
from tests.support.cases import slow
from tests.support.german_credit import GERMAN_CREDIT, NAMES, encode

pytestmark = pytest.mark.usefixtures("no_trial")


@pytest.fixture
def registry(mlflow_server, request, tmp_path):
    return Registry(
        mlflow_server, f"artifacts-{abs(hash(request.node.name))}", ModelCache(tmp_path / "models")
    )


@pytest.fixture
def store(mlflow_server, registry, scorer, client_frame, tmp_path):
    """A function that registers a version with its scorer and reference, as training does."""

    def run(**tags):
        mlflow.set_tracking_uri(mlflow_server)
        mlflow.set_experiment("artifacts")
        reference = tmp_path / "reference.parquet"
        client_frame[[*NAMES, LABEL]].assign(risk=np.linspace(0, 1, len(client_frame))).to_parquet(
            reference, index=False
        )
        with mlflow.start_run() as run:
            mlflow.log_artifact(str(reference))
            uri = log_scorer(scorer, client_frame[list(NAMES)].head(3))
        return registry.register(run.info.run_id, uri, tags)

    return run


class Artifacts:
    """The files of one version, as whoever reaches MLflow changes them."""

    def __init__(self, registry, version):
        client = registry._client
        self.name = registry.name
        self.source = client.get_model_version(registry.name, version.number).source
        self.place = client.get_logged_model(self.source.removeprefix("models:/")).artifact_location
        self.run = client.get_run(version.run_id).info.artifact_uri
        self._server = f"{registry._uri}/api/2.0/mlflow-artifacts/artifacts/"

    def url(self, name, *, of_run=False):
        return (
            self._server
            + (self.run if of_run else self.place).removeprefix("mlflow-artifacts:/")
            + f"/{name}"
        )

    def get(self, name, **where):
        return requests.get(self.url(name, **where), timeout=30).content

    def put(self, name, data, **where):
        requests.put(self.url(name, **where), data, timeout=30).raise_for_status()

    def delete(self, name, **where):
        requests.delete(self.url(name, **where), timeout=30).raise_for_status()


@pytest.fixture
def artifacts(registry):
    return lambda version: Artifacts(registry, version)


def test_digest_covers_every_file_and_is_stable(registry, store, artifacts, client_frame, tmp_path):
    version = store()
    digest = version.digest
    assert digest.startswith("v2:")
    assert registry.digest("1") == digest
    registry.set_alias("production", "1")
    mlflow.pyfunc.load_model("models:/" + registry.name + "@production").predict(
        client_frame[list(NAMES)].head(2)
    )
    mlflow.sklearn.load_model(f"models:/{registry.name}/1")
    assert Registry(registry._uri, registry.name).digest("1") == digest
    # By hand: the files as they are downloaded, and sha256sum.
    folder = mlflow.artifacts.download_artifacts(
        artifact_uri=artifacts(version).place,
        dst_path=str(tmp_path / "by hand"),
        tracking_uri=registry._uri,
    )
    by_hand = (
        "cd '{}' && find . -type f -printf '%P\\n' | LC_ALL=C sort "
        "| xargs -d '\\n' sha256sum | sha256sum"
    )
    found = subprocess.run(
        by_hand.format(folder), shell=True, capture_output=True, text=True, check=True
    )
    assert digest == f"v2:{found.stdout.split()[0]}"


@pytest.mark.parametrize(
    "name",
    [
        MODEL_FILE,
        "code/a.py",
        *slow("MLmodel", "requirements.txt", "code/credit_risk/__init__.py"),
    ],
)
def test_a_changed_or_added_file_is_another_version(registry, store, artifacts, name):
    version = store()
    stored = artifacts(version)
    was = stored.get(name) if name != "code/a.py" else b""
    stored.put(name, was + b"\n")
    for load in (registry.load, Registry(registry._uri, registry.name).load):
        with pytest.raises(DigestMismatch, match=r"version 1 was stored as v2:.* and is now"):
            load("1", version.digest)
    with pytest.raises(DigestMismatch):
        registry.try_out("1", version.digest)
    assert "is now" in registry.why_refused("1", version.digest)
    assert registry.digest("1") != version.digest


def test_digest_of_an_earlier_release_stays_valid(registry, store, artifacts, scorer, client_frame):
    version = store()
    stored = artifacts(version)
    before = hashlib.sha256(stored.get(MODEL_FILE)).hexdigest()
    registry._client.set_model_version_tag(registry.name, "1", DIGEST, before)
    registry._client.delete_model_version_tag(registry.name, "1", REFERENCE_DIGEST)
    codes = encode(client_frame)
    for digest in (None, before):
        np.testing.assert_array_equal(
            registry.load("1", digest, keep=True).risk(codes), scorer.risk(codes)
        )
    assert registry.try_out("1", before) == registry.try_out("1", version.digest) == version.digest
    assert registry.version("1").reference_digest is None
    assert len(registry.reference("1", GERMAN_CREDIT)) == len(client_frame)
    stored.put(MODEL_FILE, b"junk")
    with pytest.raises(DigestMismatch):
        registry.try_out("1", before)
    np.testing.assert_array_equal(
        registry.load("1", before).risk(codes), scorer.risk(codes)
    )  # it is kept
    with pytest.raises(DigestMismatch):
        Registry(registry._uri, registry.name).load("1", before)


@pytest.mark.parametrize("what", [*slow("overwritten", "deleted"), "away"])
def test_kept_version_is_loaded_without_mlflow(
    registry, store, artifacts, scorer, client_frame, tmp_path, what
):
    version = store()
    reference = version.reference_digest
    registry.load("1", version.digest, keep=True)
    registry.reference("1", GERMAN_CREDIT, reference)
    stored = artifacts(version)
    if what == "overwritten":
        stored.put(MODEL_FILE, b"junk")
        stored.put("reference.parquet", b"junk", of_run=True)
    elif what == "deleted":
        registry._client.delete_model_version(registry.name, "1")
        stored.delete(MODEL_FILE)
    uri = "http://127.0.0.1:1" if what == "away" else registry._uri
    later = Registry(uri, registry.name, ModelCache(tmp_path / "models"))
    codes = encode(client_frame)
    np.testing.assert_array_equal(later.load("1", version.digest).risk(codes), scorer.risk(codes))
    assert len(later.reference("1", GERMAN_CREDIT, reference)) == len(client_frame)
    without = Registry(uri, registry.name, ModelCache(tmp_path / "others"))
    with pytest.raises((DigestMismatch, NoSuchVersion, RegistryUnavailable)):
        without.load("1", version.digest)


def test_unapproved_version_is_not_kept(registry, store, tmp_path):
    version = store()
    registry.load("1")
    registry.load("1", version.digest)
    registry.reference("1", GERMAN_CREDIT)
    assert not (tmp_path / "models").exists()


def test_a_kept_file_that_was_changed_is_loaded_anew(
    registry, store, tmp_path, scorer, client_frame
):
    version = store()
    registry.load("1", version.digest, keep=True)
    for path in (tmp_path / "models").iterdir():
        path.write_bytes(b"junk")
    codes = encode(client_frame)
    np.testing.assert_array_equal(
        registry.load("1", version.digest).risk(codes), scorer.risk(codes)
    )


def test_a_rewritten_reference_is_refused(registry, store, artifacts, client_frame, tmp_path):
    version = store()
    assert registry.reference_digest("1") == version.reference_digest
    assert len(registry.reference("1", GERMAN_CREDIT)) == len(client_frame)
    quiet = (
        client_frame[[*NAMES, LABEL]].assign(risk=0.5).head(200)
    )  # which nothing would drift from
    quiet.to_parquet(tmp_path / "quiet.parquet", index=False)
    artifacts(version).put(
        "reference.parquet", (tmp_path / "quiet.parquet").read_bytes(), of_run=True
    )
    for digest in (None, version.reference_digest):
        with pytest.raises(
            DigestMismatch, match="what version 1 was trained on is stored otherwise"
        ):
            registry.reference("1", GERMAN_CREDIT, digest)
    # Whoever edits the tag as well is not helped where the digest is said.
    registry._client.set_model_version_tag(
        registry.name, "1", REFERENCE_DIGEST, registry.reference_digest("1")
    )
    with pytest.raises(DigestMismatch):
        registry.reference("1", GERMAN_CREDIT, version.reference_digest)
    with pytest.raises(DigestMismatch):
        registry.reference("1", GERMAN_CREDIT, "")
    assert len(registry.reference("1", GERMAN_CREDIT)) == 200


@pytest.mark.slow
def test_invalid_reference_is_refused(registry, store, artifacts):
    version = store()
    artifacts(version).put("reference.parquet", b"PAR1junkPAR1", of_run=True)
    registry._client.delete_model_version_tag(registry.name, "1", REFERENCE_DIGEST)
    with pytest.raises(ModelRefused, match="the reference was tried out"):
        registry.reference("1", GERMAN_CREDIT)


def test_download_is_limited_to_the_size_of_a_model(registry, store, artifacts):
    version = store()
    stored = artifacts(version)
    stored.put("padding", b"\0" * 21_000_000)
    with pytest.raises(ModelRefused, match="more than 20,000,000 bytes"):
        registry.load("1")
    stored.delete("padding")
    assert registry.load("1", version.digest)
    for n in range(101):
        stored.put(f"code/{n}", b"")
    with pytest.raises(ModelRefused, match="100 files"):
        registry.load("1")


@pytest.mark.parametrize(("card", "signed"), [(b"\xff\xfe card", True), (b"x" * 2_000_000, False)])
def test_rewritten_card_does_not_prevent_approval(
    registry, store, artifacts, settings, card, signed
):
    log, version = open_log(settings), store()
    note_registered(log, version)
    stored = artifacts(version)
    stored.put("model_card.md", card, of_run=True)
    assert approve(registry, log, "1", "Ada", "better").version == "1"
    assert (b"approval of version 1 by Ada" in stored.get("model_card.md", of_run=True)) is signed


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:1/m", "file:///etc", "/etc", "dbfs:/m", "mlflow-artifacts://a/m"]
)
def test_artifacts_at_another_address_are_not_loaded(registry, source, monkeypatch):
    """MLflow refuses such addresses too; a request there would carry our credentials for MLflow."""
    monkeypatch.setattr(
        registry._client, "get_model_version", lambda *_: SimpleNamespace(source=source)
    )
    with pytest.raises(ModelRefused, match="artifacts are not loaded from"):
        registry.digest("1")
