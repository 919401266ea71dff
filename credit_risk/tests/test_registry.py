from concurrent.futures import ThreadPoolExecutor

import mlflow
import numpy as np
import pytest

from credit_risk.__main__ import main
from credit_risk.application import NAMES, encode
from credit_risk.approvals import UNKNOWN, Barred, Refused, admitted, approvals, approve, current, rollback
from credit_risk.data import read_training
from credit_risk.decisions import open_log
from credit_risk.model import CreditScorer
from credit_risk.registry import DigestMismatch, NoSuchVersion, Registry, RegistryUnavailable, log_scorer


@pytest.fixture(scope="module")
def clients():
    return read_training("data/credit-g.csv")


@pytest.fixture(scope="module")
def scorer(clients):
    return CreditScorer(num_boost_round=10).fit(clients, clients["class"])


@pytest.fixture
def registry(mlflow_server, request):
    return Registry(mlflow_server, f"test-{request.node.name}")


@pytest.fixture
def log(settings):
    return open_log(settings)


@pytest.fixture(scope="module")
def logged(mlflow_server, scorer, clients):
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment("tests")
    with mlflow.start_run() as run:
        return run.info.run_id, log_scorer(scorer, clients[list(NAMES)].head(3))


@pytest.fixture
def register(registry, logged):
    run_id, uri = logged
    return lambda **tags: registry.register(run_id, uri, tags)


def killed(*_arguments, **_fields):
    raise KeyboardInterrupt


def test_a_version_scores_as_what_was_registered(registry, register, scorer, clients):
    version = register(data_hash="x")
    assert version.number == "1"
    assert version.tags["data_hash"] == "x"
    assert registry.alias("challenger") == "1"
    assert registry.alias("production") is None
    assert registry.version("1") == version
    codes = encode(clients)
    np.testing.assert_array_equal(registry.load("1").risk(codes), scorer.risk(codes))


def test_another_digest_is_not_loaded(registry, register):
    register()
    assert registry.digest("1") == registry.version("1").digest
    with pytest.raises(DigestMismatch, match="was stored as"):
        registry.load("1", digest="0" * 64)


def test_what_is_not_there(registry, register):
    assert registry.alias("production") is None
    with pytest.raises(NoSuchVersion):
        registry.version("9")
    register()
    with pytest.raises(NoSuchVersion):
        registry.load("9")
    with pytest.raises(NoSuchVersion):
        registry.reference("1")


def test_a_server_that_is_away_is_said_to_be():
    registry = Registry("http://127.0.0.1:1")
    with pytest.raises(RegistryUnavailable):
        registry.alias("production")
    with pytest.raises(RegistryUnavailable):
        registry.load("1")


def test_approval_and_rollback_are_recorded_before_the_alias_moves(registry, register, log, monkeypatch):
    for _ in range(3):
        register()
    for number in ("1", "2", "3"):
        approve(registry, log, number, "Ada", "better")
    assert registry.alias("production") == "3"
    assert rollback(registry, log, "Bo", "complaints").version == "2"
    assert rollback(registry, log, "Bo", "more complaints").version == "1"
    with pytest.raises(Refused, match="no version was approved before"):
        rollback(registry, log, "Bo", "again")
    assert [(a.kind, a.version, a.by) for a in approvals(registry, log)] == [
        ("approval", "1", "Ada"),
        ("approval", "2", "Ada"),
        ("approval", "3", "Ada"),
        ("rollback", "2", "Bo"),
        ("rollback", "1", "Bo"),
    ]
    monkeypatch.setattr(log, "append_event", lambda *a, **k: (_ for _ in ()).throw(ConnectionError))
    with pytest.raises(ConnectionError):
        approve(registry, log, "3", "Ada", "again")
    assert registry.alias("production") == "1"


def test_a_move_in_mlflow_has_no_author(registry, register, log):
    assert current(registry, log) is None
    register()
    register()
    approve(registry, log, "1", "Ada", "first")
    registry.set_alias("production", "2")
    now = current(registry, log)
    assert (now.version, now.by, now.time) == ("2", "unknown, moved in MLflow", None)
    assert [a.by for a in approvals(registry, log)] == ["Ada", "unknown, moved in MLflow"]
    assert rollback(registry, log, "Bo", "who did that").version == "1"
    assert approve(registry, log, "2", "Ada", "checked").by == "Ada"


def test_what_approve_refuses(registry, register, log):
    register(gate="failed", gate_reasons="AUC is lower")
    with pytest.raises(Refused, match="AUC is lower"):
        approve(registry, log, "1", "Ada", "x")
    with pytest.raises(Refused, match="BY"):
        approve(registry, log, "1", " ", "x", forced=True)
    with pytest.raises(NoSuchVersion):
        approve(registry, log, "2", "Ada", "x")
    assert approve(registry, log, "1", "Ada", "x", forced=True).forced
    with pytest.raises(Refused, match="already"):
        approve(registry, log, "1", "Ada", "x", forced=True)


def test_a_failed_gate_is_barred_wherever_the_alias_stands(registry, register, log):
    register(gate="passed")
    register(gate="failed", gate_reasons="cost is higher")
    assert admitted(registry, log) is None
    registry.set_alias("production", "1")
    assert admitted(registry, log).version == "1"
    registry.set_alias("production", "2")
    with pytest.raises(Barred, match=r"Version 2 .* cost is higher\. make approve VERSION=2 FORCE=1"):
        admitted(registry, log)
    approve(registry, log, "2", "Ada", "the base has changed", forced=True)
    assert admitted(registry, log).forced


def test_a_forced_approval_is_forced_when_it_is_rolled_back_to(registry, register, log):
    register(gate="failed", gate_reasons="cost is higher")
    register(gate="passed")
    approve(registry, log, "1", "Ada", "the base has changed", forced=True)
    approve(registry, log, "2", "Ada", "better")
    rollback(registry, log, "Bo", "complaints")
    now = admitted(registry, log)
    assert (now.version, now.kind, now.by, now.forced, now.gate) == ("1", "rollback", "Bo", True, "failed")


def test_a_verdict_that_is_edited_in_mlflow_does_not_help_once_it_is_in_the_log(registry, register, log):
    register(gate="failed", gate_reasons="cost is higher")
    register(gate="passed")
    approve(registry, log, "1", "Ada", "the base has changed", forced=True)
    assert approve(registry, log, "2", "Ada", "better").gate == "passed"
    registry._client.set_model_version_tag(registry.name, "1", "gate", "passed")
    with pytest.raises(Refused, match="so it had when Ada decided on it"):
        approve(registry, log, "1", "Bo", "it passed")
    registry.set_alias("production", "1")
    with pytest.raises(Barred, match="its tag was edited since"):
        admitted(registry, log)


def test_a_gate_that_fails_after_the_approval(registry, register, log):
    for _ in range(2):
        number = register(gate="passed").number
        approve(registry, log, number, "Ada", "better")
        registry._client.set_model_version_tag(registry.name, number, "gate", "failed")
    with pytest.raises(Barred):
        admitted(registry, log)
    with pytest.raises(Refused, match="version 1 failed its gate"):
        rollback(registry, log, "Bo", "complaints")
    with pytest.raises(Refused, match="FORCE=1"):
        approve(registry, log, "2", "Ada", "again")
    assert approve(registry, log, "2", "Ada", "I know why", forced=True).forced
    assert admitted(registry, log).version == "2"


def test_of_two_approvals_at_once_one_stands_and_the_other_is_told(registry, register, log, settings):
    numbers = [register().number for _ in range(4)]

    def decide(number):
        try:
            approve(Registry(registry._uri, registry.name), open_log(settings), number, f"by {number}", "at once")
        except Refused as refused:
            return str(refused)
        return ""

    with ThreadPoolExecutor(4) as pool:
        told = dict(zip(numbers, pool.map(decide, numbers), strict=True))
    stands = registry.alias("production")
    now = current(registry, log)
    assert (now.version, now.by) == (stands, f"by {stands}")
    assert told[stands] == ""
    assert len(approvals(registry, log)) == 4
    assert approvals(registry, log)[-1].version == stands


def test_an_approval_of_a_version_that_is_deleted_meanwhile(registry, register, log, monkeypatch):
    register()
    register()
    approve(registry, log, "1", "Ada", "first")
    append = log.append_event

    def deleted_then_append(*arguments, **fields):
        registry._client.delete_model_version(registry.name, "2")
        monkeypatch.setattr(log, "append_event", append)
        return append(*arguments, **fields)

    monkeypatch.setattr(log, "append_event", deleted_then_append)
    with pytest.raises(NoSuchVersion, match="version 2 was deleted meanwhile"):
        approve(registry, log, "2", "Ada", "second")
    assert registry.alias("production") == "1"
    assert current(registry, log).by == "Ada"
    assert [a.version for a in approvals(registry, log)] == ["1"]
    with pytest.raises(NoSuchVersion):
        approve(registry, log, "2", "Ada", "again")


@pytest.mark.parametrize(("cut", "left"), [("append_event", "1"), ("set_alias", "1"), ("after", "2")])
def test_an_approval_that_is_cut_off_never_looks_like_one(registry, register, log, monkeypatch, cut, left):
    register()
    register()
    approve(registry, log, "1", "Ada", "first")
    with monkeypatch.context() as patch:
        if cut == "after":
            set_alias = registry.set_alias
            patch.setattr(registry, "set_alias", lambda *words: set_alias(*words) or killed())
        else:
            patch.setattr(log if cut == "append_event" else registry, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            approve(registry, log, "2", "Bo", "second")
    assert registry.alias("production") == left
    assert current(registry, log).by == ("Ada" if left == "1" else UNKNOWN)
    assert [a.by for a in approvals(registry, log)] == ["Ada"] + ([UNKNOWN] if left == "2" else [])
    assert approve(registry, log, "2", "Bo", "once more").by == "Bo"
    assert rollback(registry, log, "Ada", "back").version == "1"
    assert [(a.version, a.by) for a in approvals(registry, log)] == [("1", "Ada"), ("2", "Bo"), ("1", "Ada")]


@pytest.mark.parametrize(
    ("moment", "stands"), [("before the alias", "1"), ("after the alias", "1"), ("after it counts", "2")]
)
def test_an_approval_within_another_at_every_moment(registry, register, log, settings, monkeypatch, moment, stands):
    """Whichever was the last to count stands, and who was overtaken after that is told."""
    register()
    register()
    set_alias, append = registry.set_alias, log.append_event

    def another():
        approve(Registry(registry._uri, registry.name), open_log(settings), "2", "Bo", "meanwhile")

    def moved(*words):
        if moment == "before the alias":
            another()
        set_alias(*words)
        if moment == "after the alias":
            another()
        monkeypatch.setattr(registry, "set_alias", set_alias)

    def appended(kind, *words, **fields):
        event = append(kind, *words, **fields)
        if moment == "after it counts" and kind == "approval":
            another()
        return event

    monkeypatch.setattr(registry, "set_alias", moved)
    monkeypatch.setattr(log, "append_event", appended)
    if stands == "2":
        with pytest.raises(Refused, match="version 2 was decided on at the same time, by Bo"):
            approve(registry, log, "1", "Ada", "first")
    else:
        approve(registry, log, "1", "Ada", "first")
    now = current(registry, log)
    assert (registry.alias("production"), now.version, now.by) == (stands, stands, "Ada" if stands == "1" else "Bo")
    assert approvals(registry, log)[-1] == now
    assert len(approvals(registry, log)) == 2


@pytest.mark.parametrize("last_call", ["get_logged_model", "create_registered_model", "create_model_version"])
def test_a_run_killed_before_its_version_was_made_leaves_none(registry, register, monkeypatch, last_call):
    with monkeypatch.context() as patch:
        patch.setattr(registry._client, last_call, killed)
        with pytest.raises(KeyboardInterrupt):
            register()
    assert registry.versions() == []
    assert registry.alias("challenger") is None
    assert register().number == registry.alias("challenger") == "1"


def test_a_version_that_was_registered_by_a_run_killed_before_the_alias_moved(registry, register, log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            register()
    assert registry.alias("challenger") is None
    (left,) = registry.versions()
    assert left.digest == registry.digest(left.number)
    registry.load(left.number)
    assert approve(registry, log, left.number, "Ada", "whole all the same").version == "1"
    assert register().number == registry.alias("challenger") == "2"


def test_the_command_line(registry, register, settings, monkeypatch, capsys):
    register()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry._uri)
    monkeypatch.setenv("MODEL_NAME", registry.name)
    monkeypatch.setenv("DECISION_LOG", settings.decision_log)
    assert main(["approvals"]) == 0
    assert "nothing was approved" in capsys.readouterr().out
    assert main(["approve", "--version", "7", "--by", "Ada", "--reason", "x"]) == 1
    assert "has no version 7" in capsys.readouterr().err
    registry._client.delete_model_version(registry.name, register().number)
    assert main(["approve", "--version", "2", "--by", "Ada", "--reason", "x"]) == 1
    assert "has no version 2" in capsys.readouterr().err
    assert registry.alias("production") is None
    assert main(["approve", "--version", "1", "--by", "Ada", "--reason", "looks right"]) == 0
    assert main(["approvals"]) == 0
    assert "version 1     by Ada: looks right" in capsys.readouterr().out
    assert main(["settings"]) == 0
    assert "`DECISION_LOG`" in capsys.readouterr().out
