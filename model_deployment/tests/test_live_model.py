"""Which model serves, and what happens to it when the registry misbehaves."""

import json
import threading
import time

import plotly.utils
import pytest
import requests

from credit_risk.registry.approval_log import note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.errors import ApprovalRejected
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.storage.documents import LogUnavailable
from model_deployment.scoring.live_model import LiveModel, ScoringOff
from model_deployment.ui.banner import banner
from tests.support.processes import wait_for
from tests.support.riskometer import decide_for
from tests.support.services import put_in_service


def test_no_model_serves_before_the_first_refresh(registry, log):
    production = LiveModel(registry, log, 10)
    assert production.serving is None
    with pytest.raises(ScoringOff, match="not been looked for"):
        production.require()


def test_an_approved_version_is_swapped_in_and_names_its_approver(production, appoint):
    assert production.require().version == "1"
    appoint("2", "Bo")
    production.refresh()
    serving = production.require()
    assert (serving.version, serving.digest, serving.approval.by) == ("2", "digest-2", "Bo")
    assert production.status_message == ""


def test_a_request_keeps_the_version_that_it_began_with(production, appoint):
    begun = production.require()
    appoint("2")
    production.refresh()
    assert begun.version == "1"
    assert production.require().version == "2"


def test_loaded_model_serves_on_while_mlflow_is_away(production, registry):
    registry.away = True
    production.refresh()
    assert production.require().version == "1"
    assert production.status_message == "MLflow cannot be reached."
    registry.away = False
    production.refresh()
    assert production.status_message == ""


def test_changed_version_is_refused_and_the_old_one_serves_on(production, registry, appoint):
    appoint("2")
    registry.tampered = {"2"}
    production.refresh()
    assert production.require().version == "1"
    assert "version 2 is another file now" in production.status_message


FAILED = {"gate": "failed", "gate_reasons": "AUC 0.70 against 0.80"}


def test_alias_moved_by_hand_changes_nothing_and_is_reported(production, registry):
    registry.production = "2"
    production.refresh()
    assert production.require().version == "1"
    assert "points at version 2" in production.status_message
    assert "make approve VERSION=2" in production.status_message
    text = json.dumps(banner(production), cls=plotly.utils.PlotlyJSONEncoder)
    assert "points at version 2" in text
    assert "Version 1 serves on." in text


def test_follow_alias_follows_an_alias_moved_by_hand(registry, log):
    decide_for(log, "1")
    production = LiveModel(registry, log, 10, follow_alias=True)
    registry.production = "2"
    production.refresh()
    assert (production.require().version, production.require().approval.by) == (
        "2",
        "unknown, moved in MLflow",
    )
    assert production.status_message == ""


def test_follow_alias_ignores_a_version_whose_gate_failed(registry, log):
    decide_for(log, "1")
    production = LiveModel(registry, log, 10, follow_alias=True)
    registry.tags["2"] = FAILED
    registry.production = "2"
    production.refresh()
    assert production.require().version == "1"
    assert (
        "Version 2 does not decide, for its gate failed: AUC 0.70 against 0.80."
        in production.status_message
    )
    assert "make approve VERSION=2 FORCE=1" in production.status_message


def test_follow_alias_serves_on_where_the_alias_is_refused(registry, log):
    production = LiveModel(registry, log, 10, follow_alias=True)
    production.refresh()
    registry.production, registry.undigested = "2", {"2"}
    production.refresh()
    assert (production.require().version, production.alias_agrees) == ("1", False)
    assert "version 2 was registered without a digest" in production.status_message
    registry.production = None
    production.refresh()
    assert production.serving is None


def test_an_alias_alone_puts_nothing_into_service(registry, log):
    production = LiveModel(registry, log, 10)
    production.refresh()
    with pytest.raises(
        ScoringOff,
        match=r"Version 1 has the alias production in MLflow, but nobody has approved it",
    ):
        production.require()


def test_version_number_approved_again_is_loaded_again(production, appoint, scorers, registry):
    """A registry that was made anew gives its numbers again."""
    registry.scorers = scorers[::-1]
    appoint("1", digest="another")
    production.refresh()
    assert production.require().digest == "another"
    assert production.require().scorer is scorers[1]


def test_loaded_version_must_have_the_approved_digest(production, registry, appoint, monkeypatch):
    asked = []
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda *words, **_: asked.append(words) or load(words[0]))
    appoint("2")
    production.refresh()
    assert asked == [("2", "digest-2")]


def test_scoring_is_off_where_nobody_has_approved_a_version(production, disapprove):
    disapprove()
    production.refresh()
    with pytest.raises(ScoringOff, match="no Production model"):
        production.require()


def test_model_serves_on_while_the_log_is_away(production, registry, log, monkeypatch):
    def away(*_):
        raise LogUnavailable("gone")

    monkeypatch.setattr(log, "approvals", away)
    production.refresh()
    assert production.require().version == "1"
    assert production.status_message == "The decision log cannot be reached."


def test_start_returns_once_the_version_is_loaded_that_others_serve(registry, log, appoint):
    def slow(*arguments, **options):
        time.sleep(0.3)
        return load(*arguments, **options)

    load, registry.load = registry.load, slow
    appoint("1")
    production = LiveModel(registry, log, poll_seconds=600)
    production.start()
    try:
        assert production.require().version == "1"
    finally:
        production.stop()


def test_approvals_are_polled_more_often_while_none_serves(registry, log, appoint):
    registry.production = None
    production = LiveModel(registry, log, poll_seconds=600)
    production.start()
    try:
        wait_for(lambda: "no Production model" in production.status_message, 10, "the first look")
        appoint("1")
        wait_for(lambda: production.serving, 10, "the model")
    finally:
        production.stop()


def test_watch_survives_an_error_of_a_refresh(registry, log, monkeypatch, caplog):
    decide_for(log, "1")
    looked = threading.Event()
    production = LiveModel(registry, log, 0.01)
    look, calls = production.refresh, []

    def shaky():
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        look()
        looked.set()

    monkeypatch.setattr(production, "refresh", shaky)
    production.start()
    try:
        assert looked.wait(10)
        assert production.require().version == "1"
    finally:
        production.stop()
    assert "looking for the Production model failed" in caplog.text


@pytest.fixture
def stored(mlflow_server, register, scorers, log, request):
    """A registry on a real MLflow: version 1 approved by Ann, version 2 with a failed gate."""
    name = f"test-{request.node.name}"
    registry = Registry(mlflow_server, name)
    register(mlflow_server, name, scorers[0], gate="passed", gate_reasons="nothing to compare with")
    put_in_service(registry, log, "1", "Ann")
    register(mlflow_server, name, scorers[1], **FAILED)
    note_registered(log, registry.version("2"))
    return registry


@pytest.fixture
def looked(stored, log):
    """A function that refreshes, as a worker that serves version 1 or as a new one."""

    def look(in_service=None):
        worker = in_service or LiveModel(stored, log, 10)
        worker.refresh()
        return worker

    return look


@pytest.mark.slow
def test_failed_gate_on_mlflow_needs_a_forced_approval(stored, looked, log):
    old = looked()
    assert old.require().approval.by == "Ann"
    stored.set_alias(PRODUCTION, "2")
    stored._client.set_model_version_tag(stored.name, "2", "gate", "passed")
    for worker in (looked(old), looked()):
        assert worker.require().version == "1"
        assert "points at version 2" in worker.status_message
        assert worker.alias_agrees is False
    with pytest.raises(
        ApprovalRejected, match=r"AUC 0\.70 against 0\.80, and its tag was edited since"
    ):
        approve(stored, log, "2", "Bo", "the branch has changed")
    approve(stored, log, "2", "Bo", "the branch has changed", forced=True)
    for worker in (looked(old), looked()):
        assert (worker.require().version, worker.require().approval.by, worker.status_message) == (
            "2",
            "Bo",
            "",
        )
        assert worker.alias_agrees is True


def test_changed_file_on_mlflow_is_served_by_no_approval(stored, looked, log):
    old = looked()
    approve(stored, log, "2", "Bo", "the branch has changed", forced=True)
    source = stored._client.get_model_version(stored.name, "2").source
    place = stored._client.get_logged_model(source.removeprefix("models:/")).artifact_location
    path = place.removeprefix("mlflow-artifacts:/")
    address = f"{stored._uri}/api/2.0/mlflow-artifacts/artifacts/{path}/model.skops"
    requests.put(address, b"another", timeout=30).raise_for_status()
    assert looked(old).require().version == "1"
    assert old.status_message.startswith(
        "The Production version was refused: version 2 was stored as "
    )
    started = looked()
    with pytest.raises(ScoringOff) as off:
        started.require()
    assert str(off.value) == old.status_message
    assert "Version 1 serves on." in json.dumps(banner(old), cls=plotly.utils.PlotlyJSONEncoder)
