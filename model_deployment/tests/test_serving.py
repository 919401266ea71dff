"""Which model serves, and what happens to it when the registry misbehaves."""

import json
import threading

import plotly.utils
import pytest
import requests

from conftest import wait_for
from credit_risk.approvals import approve
from credit_risk.decisions import LogUnavailable
from credit_risk.registry import PRODUCTION, Registry
from model_deployment import page
from model_deployment.serving import Production, ScoringOff


@pytest.fixture
def approved(log):
    """Version 2 is approved by Ann, in the log."""
    return log.append_event("approval", "2", by="Ann", reason="better", digest="digest-2", forced=False)


def test_nothing_serves_before_the_first_look(registry, log):
    production = Production(registry, log, 10)
    assert production.serving is None
    with pytest.raises(ScoringOff, match="not been looked for"):
        production.require()


def test_an_approved_version_is_swapped_in_and_names_its_approver(production, registry, approved):
    assert production.require().approval.by == "unknown, moved in MLflow"
    registry.production = "2"
    production.look()
    serving = production.require()
    assert (serving.version, serving.digest, serving.approval.by) == ("2", "digest-2", "Ann")
    assert production.trouble == ""


def test_a_request_keeps_the_version_that_it_began_with(production, registry):
    begun = production.require()
    registry.production = "2"
    production.look()
    assert begun.version == "1"
    assert production.require().version == "2"


def test_the_model_at_hand_serves_on_while_mlflow_is_away(production, registry):
    registry.away = True
    production.look()
    assert production.require().version == "1"
    assert production.trouble == "MLflow cannot be reached."
    registry.away = False
    production.look()
    assert production.trouble == ""


def test_a_version_whose_file_was_changed_is_refused_and_the_old_one_serves_on(production, registry):
    registry.production = "2"
    registry.tampered = {"2"}
    production.look()
    assert production.require().version == "1"
    assert "version 2 is another file now" in production.trouble


FAILED = {"gate": "failed", "gate_reasons": "AUC 0.70 against 0.80"}


def test_a_version_whose_gate_failed_does_not_decide_because_its_alias_was_moved(production, registry):
    registry.tags["2"] = FAILED
    registry.production = "2"
    production.look()
    assert production.require().version == "1"
    assert "Version 2 does not decide, for its gate failed: AUC 0.70 against 0.80." in production.trouble
    assert "make approve VERSION=2 FORCE=1" in production.trouble
    text = json.dumps(page.banner(production), cls=plotly.utils.PlotlyJSONEncoder)
    assert "its gate failed: AUC 0.70 against 0.80" in text
    assert "Version 1 serves on." in text


def test_only_a_forced_approval_helps_a_failed_gate(production, registry, approved, log):
    registry.tags["2"] = FAILED
    registry.production = "2"
    production.look()
    assert production.require().version == "1"
    log.append_event("approval", "2", by="Ann", reason="I know why", digest="digest-2", forced=True)
    production.look()
    assert production.require().version == "2"
    assert production.trouble == ""


def test_with_nothing_in_service_a_failed_gate_leaves_scoring_off(registry, log):
    registry.tags["1"] = FAILED
    production = Production(registry, log, 10)
    production.look()
    with pytest.raises(ScoringOff, match="its gate failed"):
        production.require()


def test_the_digest_that_was_approved_is_what_must_load(production, registry, approved, monkeypatch):
    asked = []
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda number, digest=None: asked.append((number, digest)) or load(number))
    registry.production = "2"
    production.look()
    assert asked == [("2", "digest-2")]


def test_scoring_is_off_when_the_alias_is_taken_away(production, registry):
    registry.production = None
    production.look()
    with pytest.raises(ScoringOff, match="no Production model"):
        production.require()


def test_a_log_that_is_away_leaves_the_model_alone(production, registry, log, monkeypatch):
    def away(*_):
        raise LogUnavailable("gone")

    monkeypatch.setattr(log, "events", away)
    production.look()
    assert production.require().version == "1"
    assert production.trouble == "The decision log cannot be reached."


def test_while_nothing_serves_the_alias_is_looked_at_more_often(registry, log):
    registry.production = None
    production = Production(registry, log, poll_seconds=600)
    production.start()
    try:
        wait_for(lambda: "no Production model" in production.trouble, 10, "the first look")
        registry.production = "1"
        wait_for(lambda: production.serving, 10, "the model")
    finally:
        production.stop()


def test_the_watch_survives_whatever_a_look_raises(registry, log, monkeypatch, caplog):
    looked = threading.Event()
    production = Production(registry, log, 0.01)
    look, calls = production.look, []

    def shaky():
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        look()
        looked.set()

    monkeypatch.setattr(production, "look", shaky)
    production.start()
    try:
        assert looked.wait(10)
        assert production.require().version == "1"
    finally:
        production.stop()
    assert "looking for the Production model failed" in caplog.text


@pytest.fixture
def stored(mlflow_server, register, scorers, log, request):
    """A registry on a real MLflow: version 1 is in service by Ann's approval, the gate of version 2 failed."""
    name = f"test-{request.node.name}"
    register(mlflow_server, name, scorers[0], gate="passed", gate_reasons="nothing to compare with")
    register(mlflow_server, name, scorers[1], **FAILED)
    registry = Registry(mlflow_server, name)
    approve(registry, log, "1", "Ann", "the first")
    return registry


@pytest.fixture
def looked(stored, log):
    """A function that looks, as a worker in service (as version 1) or as one that has just started."""

    def look(in_service=None):
        worker = in_service or Production(stored, log, 10)
        worker.look()
        return worker

    return look


def test_on_mlflow_a_failed_gate_serves_only_by_a_forced_approval(stored, looked, log):
    old = looked()
    assert old.require().approval.by == "Ann"
    stored.set_alias(PRODUCTION, "2")
    assert looked(old).require().version == "1"
    why = "Version 2 does not decide, for its gate failed: AUC 0.70 against 0.80. make approve VERSION=2 FORCE=1 "
    assert old.trouble.startswith(why)
    started = looked()
    with pytest.raises(ScoringOff) as off:
        started.require()
    assert str(off.value) == old.trouble
    assert why in json.dumps(page.banner(started), cls=plotly.utils.PlotlyJSONEncoder)
    approve(stored, log, "2", "Bo", "the branch has changed", forced=True)
    for worker in (looked(old), looked(started)):
        assert (worker.require().version, worker.require().approval.by, worker.trouble) == ("2", "Bo", "")


def test_on_mlflow_a_changed_file_serves_by_no_approval(stored, looked, log):
    old = looked()
    approve(stored, log, "2", "Bo", "the branch has changed", forced=True)
    source = stored._client.get_model_version(stored.name, "2").source
    place = stored._client.get_logged_model(source.removeprefix("models:/")).artifact_location
    path = place.removeprefix("mlflow-artifacts:/")
    address = f"{stored._uri}/api/2.0/mlflow-artifacts/artifacts/{path}/model.skops"
    requests.put(address, b"another", timeout=30).raise_for_status()
    assert looked(old).require().version == "1"
    assert old.trouble.startswith("The Production version was refused: version 2 was stored as ")
    started = looked()
    with pytest.raises(ScoringOff) as off:
        started.require()
    assert str(off.value) == old.trouble
    assert "Version 1 serves on." in json.dumps(page.banner(old), cls=plotly.utils.PlotlyJSONEncoder)
