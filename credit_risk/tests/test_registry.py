import numpy as np
import pytest

from credit_risk.registry.errors import DigestMismatch, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.registry import Registry
from credit_risk.scoring.stored import ModelRefused
from tests.support.german_credit import GERMAN_CREDIT, encode


def killed(*_arguments, **_fields):
    raise KeyboardInterrupt


def test_loaded_version_scores_like_the_registered_one(registry, register, scorer, client_frame):
    version = register(data_hash="x")
    assert version.number == "1"
    assert version.tags["data_hash"] == "x"
    assert registry.alias("challenger") == "1"
    assert registry.alias("production") is None
    assert registry.version("1") == version
    codes = encode(client_frame)
    np.testing.assert_array_equal(registry.load("1").risk(codes), scorer.risk(codes))


def test_version_with_another_digest_is_not_loaded(registry, register):
    register()
    assert registry.digest("1") == registry.version("1").digest
    with pytest.raises(DigestMismatch, match="was stored as"):
        registry.load("1", digest="0" * 64)


def test_missing_version_is_reported(registry, register):
    assert registry.alias("production") is None
    with pytest.raises(NoSuchVersion):
        registry.version("9")
    register()
    with pytest.raises(NoSuchVersion):
        registry.load("9")
    with pytest.raises(NoSuchVersion):
        registry.reference("1", GERMAN_CREDIT)


def test_unreachable_server_is_reported():
    registry = Registry("http://127.0.0.1:1")
    with pytest.raises(RegistryUnavailable):
        registry.alias("production")
    with pytest.raises(RegistryUnavailable):
        registry.load("1")


@pytest.mark.parametrize(
    "last_call", ["get_logged_model", "create_registered_model", "create_model_version"]
)
def test_run_killed_before_registering_leaves_no_version(
    registry, register, monkeypatch, last_call
):
    with monkeypatch.context() as patch:
        patch.setattr(registry._client, last_call, killed)
        with pytest.raises(KeyboardInterrupt):
            register()
    assert registry.versions() == []
    assert registry.alias("challenger") is None
    assert register().number == registry.alias("challenger") == "1"


def test_version_of_a_run_killed_before_the_alias_moved_is_listed(registry, register, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            register()
    assert registry.alias("challenger") is None
    (left,) = registry.versions()
    assert left.digest == registry.digest(left.number)
    registry.load(left.number)
    assert register().number == registry.alias("challenger") == "2"


def test_reference_with_another_digest_is_not_read(registry, logged_with_reference):
    run_id, uri = logged_with_reference
    number = registry.register(run_id, uri).number
    digest = registry.reference_digest(number)
    assert (
        len(registry.reference(number, GERMAN_CREDIT, digest))
        == len(registry.reference(number, GERMAN_CREDIT))
        == 3
    )
    with pytest.raises(DigestMismatch, match="what version 1 was trained on"):
        registry.reference(number, GERMAN_CREDIT, "0" * 64)


def test_version_of_another_data_set_is_not_loaded(registry, register, mlflow_server):
    register()
    other = Registry(mlflow_server, registry.name, dataset="loans")
    with pytest.raises(ModelRefused) as refused:
        other.load("1")
    assert str(refused.value) == (
        "version 1 is not taken: it is of the data set german_credit, and this stack serves loans: "
        "set DATASET=german_credit, or start a stack of its own with another VAR_DIR"
    )
