"""Hostile model files and deleted files, against a real Risk-O-Meter."""

import time

import mlflow.artifacts
import pytest
import requests
import skops.io

from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.registry.version import DIGEST
from credit_risk.scoring.stored import MODEL_FILE
from tests.support.processes import wait_for
from tests.support.riskometer import serving

# LightGBM's own reader crashes on the first two and never ends on the third.
HOSTILE = (
    ("tree_sizes=", "tree_sizes=99999999 ", "tree_sizes is out of range"),
    ("num_leaves=8", "num_leaves=0", "num_leaves is out of range"),
    ("left_child=1", "left_child=0", "a node or a leaf is not reached"),
)


def overwrite(registry, number, data):
    """Put another file in the place of a version's scorer, as whoever reaches MLflow can."""
    source = registry._client.get_model_version(registry.name, number).source
    place = registry._client.get_logged_model(source.removeprefix("models:/")).artifact_location
    path = f"{place.removeprefix('mlflow-artifacts:/')}/{MODEL_FILE}"
    requests.put(
        f"{registry._uri}/api/2.0/mlflow-artifacts/artifacts/{path}", data, timeout=30
    ).raise_for_status()


def changed(registry, number, old, new):
    """Return a version's scorer as a file, with something else in its trees."""
    source = registry._client.get_model_version(registry.name, number).source
    place = registry._client.get_logged_model(source.removeprefix("models:/")).artifact_location
    path = mlflow.artifacts.download_artifacts(
        artifact_uri=f"{place}/{MODEL_FILE}", tracking_uri=registry._uri
    )
    scorer = skops.io.load(path, trusted=["credit_risk.scoring.model.CreditScorer"])
    assert old in scorer.model_text_
    scorer.model_text_ = scorer.model_text_.replace(old, new, 1)
    return skops.io.dumps(scorer)


@pytest.fixture
def registry(mlflow_server, request):
    return Registry(mlflow_server, request.node.name)


@pytest.mark.slow
def test_hostile_version_is_refused_and_the_old_one_serves_on(
    registry, register, scorers, serve, client_rows
):
    uri, name = registry._uri, registry.name
    good = register(uri, name, scorers[0])
    registry.set_alias(PRODUCTION, good)
    server = serve(
        MLFLOW_TRACKING_URI=uri, MODEL_NAME=name, MODEL_POLL_SECONDS="0.5", FOLLOW_ALIAS="true"
    )
    wait_for(server.ready, 180, "the Production model")
    workers = server.workers()
    hostile = register(uri, name, scorers[1])
    for old, new, why in HOSTILE:
        overwrite(registry, hostile, changed(registry, good, old, new))
        # Whoever writes the file writes its digest too.
        registry._client.set_model_version_tag(name, hostile, DIGEST, registry.digest(hostile))
        registry.set_alias(PRODUCTION, hostile)
        wait_for(lambda why=why: server.log_file.read_text().count(why) >= len(workers), 60, why)
        started = time.monotonic()
        assert server.get("/healthz")[0] == 200
        status, answer = server.score(client_rows[:3])
        assert (status, answer["model_version"]) == (200, good)
        assert time.monotonic() - started < 5
    assert (
        f"The alias's version was refused: version {hostile} is not taken: "
        in server.log_file.read_text()
    )
    better = register(uri, name, scorers[1])
    registry.set_alias(PRODUCTION, better)
    wait_for(lambda: server.ready(better), 120, "a version after the refused ones")
    assert server.score(client_rows[:3])[1]["model_version"] == better
    registry.set_alias(PRODUCTION, good)
    wait_for(lambda: server.score(client_rows[:3])[1]["model_version"] == good, 120, "the rollback")
    assert server.workers() == workers


@pytest.mark.slow
def test_approved_version_survives_a_restart_without_mlflow(
    registry, register, approve_on, scorers, client_rows, relay, tmp_path
):
    name = registry.name
    settings = {"MODEL_NAME": name, "MODEL_POLL_SECONDS": "0.5", "RISKOMETER_PROCESSES": "1"}
    settings["MLFLOW_TRACKING_URI"] = relay.url(registry._uri)
    good = register(registry._uri, name, scorers[0])
    with serving(tmp_path, settings) as server:
        approve_on(server, good)
        wait_for(server.ready, 180, "the Production model")
        before = server.score(client_rows[:20])[1]
    overwrite(registry, good, b"junk")
    with serving(tmp_path, settings) as server:
        wait_for(server.ready, 60, "the kept file")
        found = server.score(client_rows[:20])[1]
        assert [d["risk"] for d in found["decisions"]] == [d["risk"] for d in before["decisions"]]
        assert server.get("/api/v1/model")[1]["version"] == good
    relay.stop()
    with serving(tmp_path, settings) as server:
        wait_for(server.ready, 60, "the kept file, without MLflow")
        found = server.score(client_rows[:20])[1]
        assert [d["risk"] for d in found["decisions"]] == [d["risk"] for d in before["decisions"]]
        assert "MLflow cannot be reached" in server.log_file.read_text()
