"""Versions that commit 7adcd5d registered and approved are in service, and can be rolled back.

`fixtures/7adcd5d/registry` was written by that commit's own code: two versions of ten trees as
MLflow stored them, their tags, and the events of their approvals.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approvals import rollback
from credit_risk.registry.client import mlflow_client
from credit_risk.registry.errors import ApprovalRejected
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import Registry
from model_deployment.scoring.live_model import LiveModel
from tests.support.german_credit import encode, read_training

STORED = Path(__file__).parent / "fixtures" / "7adcd5d" / "registry"
NAME = "stored-before"


@pytest.fixture(scope="module")
def stored():
    return json.loads((STORED / "stored.json").read_text())


@pytest.fixture(scope="module")
def registry(mlflow_server, stored):
    """An MLflow server that holds the earlier versions."""
    client = mlflow_client(mlflow_server)
    experiment = client.create_experiment(NAME)
    client.create_registered_model(NAME)
    for number, version in stored["versions"].items():
        run = client.create_run(experiment).info.run_id
        model = client.create_logged_model(experiment, name="model", source_run_id=run).model_id
        client.log_model_artifacts(model, str(STORED / number))
        client.finalize_logged_model(model, "READY")
        source = f"models:/{model}"
        made = client.create_model_version(
            NAME, source, run_id=run, tags=version["tags"], model_id=model
        )
        assert str(made.version) == number
        client.set_registered_model_alias(NAME, "production", number)
    return Registry(mlflow_server, NAME)


@pytest.fixture
def log(settings, stored):
    log = open_log(settings)
    log.storage.documents.insert("events", stored["events"])
    return log


def test_the_version_that_was_approved_last_decides_and_explains(registry, log, stored):
    assert in_force(registry, log).approval.version == "2"
    live = LiveModel(registry, log)
    live.refresh()
    assert (live.require().version, live.require().before) == ("2", "1")
    scorer, codes = live.require().scorer, encode(read_training("data/test.csv").head(20))
    np.testing.assert_allclose(scorer.risk(codes), stored["versions"]["2"]["risks"], rtol=1e-12)
    assert all(reasons for reasons in scorer.sentences(codes, "file").to_pylist())


def test_a_rollback_puts_the_version_before_in_service(registry, log, stored):
    made = rollback(registry, log, "Ada", "2 is worse")
    assert (made.version, made.digest) == ("1", stored["versions"]["1"]["tags"]["digest"])
    live = LiveModel(registry, log)
    live.refresh()
    assert live.require().version == "1"
    codes = encode(read_training("data/test.csv").head(20))
    risks = live.require().scorer.risk(codes)
    np.testing.assert_allclose(risks, stored["versions"]["1"]["risks"], rtol=1e-12)
    with pytest.raises(ApprovalRejected):
        rollback(registry, log, "Ada", "there is none before")
