"""Approvals: only one in the log decides, whatever is done in MLflow. On a real server."""

import copy
import re
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest
import requests

from credit_risk.__main__ import main
from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import decisions, history, note_registered, open_collection
from credit_risk.registry.approvals import adopt, approve, rollback
from credit_risk.registry.errors import ApprovalRejected, DigestMismatch, NoSuchVersion
from credit_risk.registry.in_force import UNKNOWN, InForce, in_force
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import PRODUCTION, REFERENCE_FILE, Registry
from credit_risk.scoring.stored import ModelRefused
from tests.support.cases import slow
from tests.support.german_credit import GERMAN_CREDIT, NAMES

pytestmark = pytest.mark.usefixtures("no_trial")


@pytest.fixture
def log(settings):
    return open_log(settings)


@pytest.fixture
def train(registry, register, log):
    """A function that registers a version and notes it, as training does."""

    def trained(**tags):
        version = register(**tags)
        note_registered(log, version)
        return version.number

    return trained


def killed(*_arguments, **_fields):
    raise KeyboardInterrupt


def deciding(registry, log, **more):
    """Return the version that decides and by whom."""
    now = in_force(registry, log, **more)
    return (now.approval.version, now.approval.by) if now.approval else None


def tag(registry, number, **tags):
    for name, value in tags.items():
        registry._client.set_model_version_tag(registry.name, number, name, value)


def overwrite(registry, number, name, data):
    """Put another file in the place of one of a version's, as anybody may who reaches MLflow."""
    client = registry._client
    if name == REFERENCE_FILE:
        place = client.get_run(registry.version(number).run_id).info.artifact_uri
    else:
        source = client.get_model_version(registry.name, number).source
        place = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    path = place.removeprefix("mlflow-artifacts:/")
    address = f"{registry._uri}/api/2.0/mlflow-artifacts/artifacts/{path}/{name}"
    found = requests.get(address, timeout=30).content
    requests.put(address, data=data(found), timeout=30).raise_for_status()


@pytest.fixture
def evil(registry, scorer, client_frame):
    """A function that registers a model which accepts everybody, as an attacker of MLflow could."""

    def register_evil():
        mlflow.set_tracking_uri(registry._uri)
        mlflow.set_experiment("other")
        open_handed = copy.copy(scorer)
        open_handed.cost_bad = 1e-9
        with mlflow.start_run() as run:
            uri = log_scorer(open_handed, client_frame[list(NAMES)].head(3))
        return registry.register(run.info.run_id, uri, {"gate": "passed"}).number

    return register_evil


# Deciding


def test_the_last_decision_in_the_log_decides(registry, train, log, monkeypatch):
    assert in_force(registry, log) == InForce(None)
    for number in (train(), train(), train()):
        approve(registry, log, number, "Ada", "better")
        assert registry.alias(PRODUCTION) == number
    assert rollback(registry, log, "Bo", "complaints").version == "2"
    assert rollback(registry, log, "Bo", "more complaints").version == "1"
    with pytest.raises(ApprovalRejected, match="no version was approved before"):
        rollback(registry, log, "Bo", "again")
    assert [(a.kind, a.version, a.by) for a in history(log)] == [
        ("approval", "1", "Ada"),
        ("approval", "2", "Ada"),
        ("approval", "3", "Ada"),
        ("rollback", "2", "Bo"),
        ("rollback", "1", "Bo"),
    ]
    assert registry.alias(PRODUCTION) == "1"
    now = in_force(registry, log)
    assert (now.approval, now.alias_mismatch) == (history(log)[-1], "")
    assert now.approval.digest == registry.digest("1")
    with monkeypatch.context() as patch:
        patch.setattr(
            log, "append_approval", lambda *a, **k: (_ for _ in ()).throw(ConnectionError)
        )
        with pytest.raises(ConnectionError):
            approve(registry, log, "3", "Ada", "again")
    assert registry.alias(PRODUCTION) == "1"


def test_approve_refuses_failed_unsigned_or_repeated_approvals(registry, train, log):
    train(gate="failed", gate_reasons="AUC is lower")
    with pytest.raises(ApprovalRejected, match="AUC is lower"):
        approve(registry, log, "1", "Ada", "x")
    with pytest.raises(ApprovalRejected, match="BY"):
        approve(registry, log, "1", " ", "x", forced=True)
    with pytest.raises(NoSuchVersion):
        approve(registry, log, "2", "Ada", "x")
    assert approve(registry, log, "1", "Ada", "x", forced=True).forced
    with pytest.raises(ApprovalRejected, match="already, approved by Ada"):
        approve(registry, log, "1", "Ada", "x", forced=True)


def test_rollback_to_a_forced_approval_stays_forced(registry, train, log):
    train(gate="failed", gate_reasons="cost is higher")
    train(gate="passed")
    approve(registry, log, "1", "Ada", "the base has changed", forced=True)
    approve(registry, log, "2", "Ada", "better")
    rollback(registry, log, "Bo", "complaints")
    now = in_force(registry, log).approval
    assert (now.version, now.kind, now.by, now.forced, now.gate) == (
        "1",
        "rollback",
        "Bo",
        True,
        "failed",
    )


FORGED = "Ada\n2026-11-28 12:00 UTC     approval  version 9     by CEO"


def test_name_and_reason_must_be_one_line(registry, train, log):
    train()
    made = approve(registry, log, "1", FORGED, "better\u202e\x1b[2K")
    assert made.by == "Ada 2026-11-28 12:00 UTC approval version 9 by CEO"
    assert decisions(log)[0].reason == "better [2K"
    with pytest.raises(ApprovalRejected, match="needs a name"):
        approve(registry, log, "1", "Ada", "\n\x00")


def test_a_card_shows_a_reason_as_it_was_typed(registry, train, log, monkeypatch):
    signed = []
    monkeypatch.setattr(registry, "sign", lambda number, line: signed.append(line))
    train()
    approve(registry, log, "1", "*Ada*", "![x](http://evil.example/) <img src=x>")
    (line,) = signed
    assert "by &#42;Ada&#42;" in line
    assert not {"!", "[", "<", ">"} & {*line}


# What is done in MLflow


def test_an_alias_that_is_moved_by_hand_changes_nothing(registry, train, evil, log, settings):
    """The review's finding 2: a scorer of somebody's own, and the alias set to it."""
    approve(registry, log, train(), "Ada", "first")
    number = evil()
    registry.set_alias(PRODUCTION, number)
    now = in_force(registry, log)
    assert (now.approval.version, now.approval.by) == ("1", "Ada")
    assert "points at version 2" in now.alias_mismatch
    assert (
        'make adopt VERSION=2 BY="name" REASON="why", then make approve VERSION=2'
        in now.alias_mismatch
    )
    assert (
        'To set the alias again: make approve VERSION=1 BY="name" REASON="why"'
        in now.alias_mismatch
    )
    # By the setting it is followed, as it was.
    assert deciding(registry, log, follow_alias=True) == ("2", UNKNOWN)
    # The command that it names sets the alias again, and is no decision.
    assert approve(registry, log, "1", "Bo", "who did that").by == "Ada"
    assert registry.alias(PRODUCTION) == "1"
    assert in_force(registry, log).alias_mismatch == ""
    assert len(history(log)) == 1


def test_an_alias_that_is_removed_changes_nothing(registry, train, log):
    approve(registry, log, train(), "Ada", "first")
    registry._client.delete_registered_model_alias(registry.name, PRODUCTION)
    now = in_force(registry, log)
    assert now.approval.by == "Ada"
    assert "was removed" in now.alias_mismatch
    assert in_force(registry, log, follow_alias=True) == InForce(None)


def test_alias_without_an_approval_decides_nothing(registry, train, log):
    """A stack of before, whose production was moved in MLflow alone."""
    registry.set_alias(PRODUCTION, train())
    now = in_force(registry, log)
    assert now.approval is None
    assert (
        'make approve VERSION=1 BY="name" REASON="why"; or FOLLOW_ALIAS=true' in now.alias_mismatch
    )
    assert deciding(registry, log, follow_alias=True) == ("1", UNKNOWN)
    approve(registry, log, "1", "Ada", "it has decided so far")
    assert in_force(registry, log) == InForce(decisions(log)[0])


@pytest.mark.parametrize("forced", [False, True])
def test_rewritten_model_with_rewritten_tags_is_not_approved(
    registry, logged_with_reference, log, forced
):
    """A byte is added to the file, and the tags are made to match it and to say the gate passed."""
    failed = {"gate": "failed", "gate_reasons": "AUC is lower"}
    version = registry.register(*logged_with_reference, failed)
    note_registered(log, version)
    with pytest.raises(ApprovalRejected, match="AUC is lower"):
        approve(registry, log, "1", "Ada", "fine")
    overwrite(registry, "1", "model.skops", lambda found: found + b"\0")
    tag(registry, "1", digest=registry.digest("1"), gate="passed")
    with pytest.raises(
        ApprovalRejected, match="version 1's stored scorer is not the one that was registered"
    ):
        approve(registry, log, "1", "Ada", "fine", forced=forced)
    with pytest.raises(ApprovalRejected, match="version 1 is known: it was noted by training"):
        adopt(registry, log, "1", "Ada", "fine")
    assert history(log) == []
    registry.set_alias(PRODUCTION, "1")
    assert in_force(registry, log).approval is None


def test_a_gate_tag_that_is_edited_does_not_help(registry, train, log):
    number = train(gate="failed", gate_reasons="AUC is lower")
    tag(registry, number, gate="passed")
    with pytest.raises(ApprovalRejected, match="AUC is lower, and its tag was edited since"):
        approve(registry, log, number, "Ada", "it passed")
    registry.set_alias(PRODUCTION, number)
    now = in_force(registry, log, follow_alias=True)
    assert now.approval is None
    assert "Version 1 does not decide, for its gate failed: AUC is lower" in now.alias_mismatch
    assert "make approve VERSION=1 FORCE=1" in now.alias_mismatch


def test_edited_tag_takes_nothing_out_of_service(registry, train, log):
    for number in (train(gate="passed"), train(gate="passed")):
        approve(registry, log, number, "Ada", "better")
        tag(registry, number, gate="failed", digest="0" * 64)
    assert in_force(registry, log) == InForce(history(log)[-1])
    assert rollback(registry, log, "Bo", "complaints").version == "1"


def test_a_barred_alias_leaves_what_was_approved(registry, train, log):
    approve(registry, log, train(gate="passed"), "Ada", "better")
    registry.set_alias(PRODUCTION, train(gate="failed", gate_reasons="cost is higher"))
    assert deciding(registry, log, follow_alias=True) == ("1", "Ada")
    assert in_force(registry, log, follow_alias=True).alias_mismatch.startswith(
        "Version 2 does not decide"
    )


def test_rewritten_reference_cannot_be_approved(registry, logged_with_reference, log):
    note_registered(log, registry.register(*logged_with_reference))
    overwrite(registry, "1", REFERENCE_FILE, lambda found: found + b"\0")
    with pytest.raises(ApprovalRejected, match="what version 1 was trained on is stored otherwise"):
        approve(registry, log, "1", "Ada", "fine", forced=True)


@pytest.mark.slow
def test_reference_rewritten_after_approval_is_not_read(registry, logged_with_reference, log):
    note_registered(log, registry.register(*logged_with_reference))
    approval = approve(registry, log, "1", "Ada", "fine")
    assert len(registry.reference("1", GERMAN_CREDIT, approval.reference_digest)) == 3
    overwrite(registry, "1", REFERENCE_FILE, lambda found: found + b"\0")
    with pytest.raises(DigestMismatch):
        registry.reference("1", GERMAN_CREDIT, in_force(registry, log).approval.reference_digest)


def test_version_without_a_note_must_be_adopted_first(registry, evil, log):
    number = evil()
    with pytest.raises(
        ApprovalRejected, match=re.escape('make adopt VERSION=1 BY="name" REASON="why" looks at it')
    ):
        approve(registry, log, number, "Ada", "fine", forced=True)
    adopted = adopt(registry, log, number, "Ada", "trained in a notebook, I have seen it")
    assert (adopted.kind, adopted.digest) == ("adopted", registry.digest(number))
    assert in_force(registry, log).approval is None, "adopted is not approved"
    with pytest.raises(ApprovalRejected, match="it was noted by Ada"):
        adopt(registry, log, number, "Bo", "me too")
    assert approve(registry, log, number, "Bo", "fine").by == "Bo"
    assert [a.kind for a in history(log)] == ["adopted", "approval"]


def test_rewritten_adopted_version_cannot_be_approved(registry, logged_with_reference, log):
    registry.register(*logged_with_reference)
    adopt(registry, log, "1", "Ada", "I have seen it")
    overwrite(registry, "1", "model.skops", lambda found: found + b"\0")
    with pytest.raises(ApprovalRejected, match="is not the one that was registered"):
        approve(registry, log, "1", "Ada", "fine")


def test_file_that_is_not_a_scorer_is_not_adopted(registry, logged_with_reference, log):
    registry.register(*logged_with_reference)
    overwrite(registry, "1", "model.skops", lambda _: __import__("skops.io").io.dumps({"a": 1}))
    with pytest.raises(ModelRefused, match="version 1 is not taken"):
        adopt(registry, log, "1", "Ada", "looks fine")


def test_reused_version_number_is_not_the_approved_version(registry, train, evil, log):
    """The registry is deleted and made anew: version 1 is another one now."""
    approved = approve(registry, log, train(), "Ada", "first")
    registry._client.delete_registered_model(registry.name)
    now = in_force(registry, log)
    assert now.approval == approved
    assert "was removed" in now.alias_mismatch
    assert evil() == "1"
    registry.set_alias(PRODUCTION, "1")
    assert in_force(registry, log).approval == approved
    with pytest.raises(DigestMismatch):
        registry.load("1", approved.digest)
    with pytest.raises(ApprovalRejected, match="registered by nobody we know"):
        approve(registry, log, "1", "Ada", "again", forced=True)


def test_renamed_or_absent_registry_changes_nothing(registry, train, log):
    approved = approve(registry, log, train(), "Ada", "first")
    name = registry.name
    registry._client.rename_registered_model(name, f"{name}-renamed")
    assert in_force(registry, log).approval == approved
    assert in_force(Registry("http://127.0.0.1:1", name), log) == InForce(approved, None)


# What is refused


@pytest.fixture
def by_hand(registry, logged):
    """A function that registers a version as MLflow's page does: without a digest."""
    run_id, uri = logged
    made = registry._client.create_model_version
    return lambda: made(registry.name, uri, run_id, model_id=uri.removeprefix("models:/")).version


@pytest.fixture
def listed(registry, log, settings, monkeypatch, capsys):
    """A function that returns what `make approvals` says."""
    monkeypatch.setattr("credit_risk.__main__.open_registry", lambda _: registry)
    monkeypatch.setattr("credit_risk.__main__.open_log", lambda _: log)

    def say(**more):
        monkeypatch.setattr(
            "credit_risk.__main__.Settings", lambda: settings.model_copy(update=more)
        )
        assert main(["approvals"]) == 0
        return capsys.readouterr().out

    return say


@pytest.mark.parametrize("follow_alias", [False, True])
def test_alias_on_a_version_without_a_digest_is_reported(
    registry, train, by_hand, log, listed, follow_alias
):
    approve(registry, log, train(), "Ada", "first")
    registry.set_alias(PRODUCTION, by_hand())
    now = in_force(registry, log, follow_alias=follow_alias)
    assert (now.approval.version, now.refused, now.alias_refused) == ("1", "", True)
    said = listed(follow_alias=follow_alias)
    assert "Version 1 decides, by Ada." in said
    assert "registered without a digest" in said
    assert 'make adopt VERSION=2 BY="name" REASON="why", then make approve VERSION=2' in said
    adopt(registry, log, "2", "Bo", "I have seen it")
    now = in_force(registry, log, follow_alias=follow_alias)
    assert (now.approval.version, now.alias_refused) == ("2" if follow_alias else "1", False)
    assert "without a digest" not in listed(follow_alias=follow_alias)


def test_alias_without_a_digest_decides_nothing(registry, train, by_hand, log, listed):
    train()
    registry.set_alias(PRODUCTION, by_hand())
    for follow_alias in (False, True):
        now = in_force(registry, log, follow_alias=follow_alias)
        assert (now.approval, now.alias_refused) == (None, True)
        assert "registered without a digest" in now.alias_mismatch
        assert "FOLLOW_ALIAS" not in now.alias_mismatch, "it would not help"
    assert "No version decides." in listed()


def test_alias_is_not_followed_to_a_file_that_is_not_a_scorer(
    registry, train, logged_with_reference, log
):
    approve(registry, log, train(), "Ada", "first")
    registry.register(*logged_with_reference)
    overwrite(registry, "2", "model.skops", lambda found: b"junk")
    tag(registry, "2", digest=registry.digest("2"))
    registry.set_alias(PRODUCTION, "2")
    now = in_force(registry, log, follow_alias=True)
    assert (now.approval.version, now.alias_refused) == ("1", True)
    assert (
        "The alias's version was refused: version 2 is not taken: it is not one of our scorers"
        in now.alias_mismatch
    )


def test_rewritten_approved_version_is_refused_with_the_reason(
    registry, train, logged_with_reference, log, listed
):
    approve(registry, log, train(), "Ada", "first")
    note_registered(log, registry.register(*logged_with_reference))
    approve(registry, log, "2", "Bo", "better")
    overwrite(registry, "2", "model.skops", lambda found: found + b"\0")
    refused = "The Production version was refused: version 2 was stored as v2:"
    assert in_force(registry, log).refused.startswith(refused)
    said = listed()
    assert "Version 2 would decide, by Bo." in said
    assert refused in said
    assert rollback(registry, log, "Cy", "somebody changed it").version == "1"
    assert in_force(registry, log) == InForce(decisions(log)[-1])


def test_accepted_version_is_not_checked_again(registry, train, log, monkeypatch):
    approved = approve(registry, log, train(), "Ada", "first")
    assert in_force(registry, log) == InForce(approved)
    monkeypatch.setattr(registry, "load", killed)
    assert in_force(registry, log) == InForce(approved)


def test_version_that_fails_its_trial_is_never_approved(registry, train, log, monkeypatch):
    for number in (train(), train(), train()):
        if number != "3":
            approve(registry, log, number, "Ada", "better")

    def fails(data):
        raise ModelRefused("the scorer was tried out, and that process crashed (SIGSEGV)")

    monkeypatch.setattr("credit_risk.registry.registry.try_scorer", fails)
    with pytest.raises(
        ApprovalRejected,
        match=r"version 3 would be refused by the services: .* crashed \(SIGSEGV\)",
    ):
        approve(registry, log, "3", "Ada", "it looks good", forced=True)
    with pytest.raises(ApprovalRejected, match="version 1 would be refused by the services"):
        rollback(registry, log, "Ada", "complaints")
    assert [(a.kind, a.version) for a in history(log)] == [("approval", "1"), ("approval", "2")]


def test_an_approval_downloads_a_version_once(registry, train, log, monkeypatch):
    asked, files = [], registry._files
    monkeypatch.setattr(registry, "_files", lambda number: asked.append(number) or files(number))
    approve(registry, log, train(), "Ada", "first")
    assert asked == ["1"]


# At once, and cut off


def test_concurrent_approvals_one_stands_the_other_is_refused(registry, train, log, settings):
    numbers = [train() for _ in range(4)]

    def decide(number):
        try:
            approve(
                Registry(registry._uri, registry.name),
                open_log(settings),
                number,
                f"by {number}",
                "at once",
            )
        except ApprovalRejected as refused:
            return str(refused)
        return ""

    with ThreadPoolExecutor(4) as pool:
        told = dict(zip(numbers, pool.map(decide, numbers), strict=True))
    stands, by = deciding(registry, log)
    assert (registry.alias(PRODUCTION), by) == (stands, f"by {stands}")
    assert told[stands] == ""
    assert len(history(log)) == 4


def test_approval_of_a_version_deleted_meanwhile_stands(registry, train, log, monkeypatch):
    """What was approved cannot be loaded; the log says so, and a rollback leads back."""
    train()
    train()
    approve(registry, log, "1", "Ada", "first")
    append = log.append_approval

    def deleted_then_append(*arguments, **fields):
        registry._client.delete_model_version(registry.name, "2")
        return append(*arguments, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(log, "append_approval", deleted_then_append)
        approve(registry, log, "2", "Ada", "second")
    assert deciding(registry, log) == ("2", "Ada")
    with pytest.raises(NoSuchVersion):
        approve(registry, log, "2", "Ada", "again")
    assert rollback(registry, log, "Ada", "it is gone").version == "1"
    assert registry.alias(PRODUCTION) == "1"


@pytest.mark.parametrize(
    ("cut", "decides"),
    [
        ("append_approval", "1"),
        ("set_alias", "2"),
        *slow(("sign", "2")),
    ],
)
def test_approval_cut_off_counts_once_it_is_in_the_log(
    registry, train, log, monkeypatch, cut, decides
):
    """It counts from the moment that it is in the log; the alias follows by the next one."""
    train()
    train()
    approve(registry, log, "1", "Ada", "first")
    with monkeypatch.context() as patch:
        patch.setattr(log if cut == "append_approval" else registry, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            approve(registry, log, "2", "Bo", "second")
    assert deciding(registry, log)[0] == decides
    assert bool(in_force(registry, log).alias_mismatch) == (cut == "set_alias")
    if cut != "sign":
        assert approve(registry, log, "2", "Bo", "once more").by == "Bo"
    assert in_force(registry, log).alias_mismatch == ""
    assert [(a.version, a.by) for a in history(log)] == [("1", "Ada"), ("2", "Bo")]


def test_alias_that_cannot_be_moved_is_reported(registry, train, log, monkeypatch, caplog):
    train()
    with monkeypatch.context() as patch:
        patch.setattr(
            registry, "set_alias", lambda *_: (_ for _ in ()).throw(NoSuchVersion("gone"))
        )
        approve(registry, log, "1", "Ada", "first")
    assert "version 1 decides, but the alias in MLflow does not say so: gone" in caplog.text
    assert deciding(registry, log) == ("1", "Ada")


@pytest.mark.parametrize("moment", ["before the alias", "after the alias"])
def test_last_of_two_interleaved_approvals_stands(
    registry, train, log, settings, monkeypatch, moment
):
    """The approval that is logged last stands, and the caller of the other one is informed."""
    train()
    train()
    set_alias = registry.set_alias

    def another():
        monkeypatch.setattr(registry, "set_alias", set_alias)
        approve(Registry(registry._uri, registry.name), open_log(settings), "2", "Bo", "meanwhile")

    def moved(*words):
        if moment == "before the alias":
            another()
        set_alias(*words)
        if moment == "after the alias":
            another()

    monkeypatch.setattr(registry, "set_alias", moved)
    with pytest.raises(ApprovalRejected, match="version 2 was decided on at the same time, by Bo"):
        approve(registry, log, "1", "Ada", "first")
    assert (registry.alias(PRODUCTION), *deciding(registry, log)) == ("2", "2", "Bo")
    assert len(history(log)) == 2


# Decisions of before they had a collection of their own


def earlier_approval(registry, log, number, by, **more):
    fields = {"reason": "better", "digest": registry.version(number).digest, "forced": False} | more
    return log.append_event("approval", number, by=by, **fields)


def test_earlier_decisions_stay_valid(registry, register, log):
    for by in ("Ada", "Bo"):
        earlier_approval(registry, log, register().number, by)
    assert deciding(registry, log) == ("2", "Bo")
    now = in_force(registry, log)
    assert "was removed" in now.alias_mismatch
    assert rollback(registry, log, "Cy", "back").version == "1"
    assert approve(registry, log, "2", "Di", "forth again").digest == registry.digest("2"), (
        "a decision is a note too"
    )
    assert [(a.version, a.by) for a in history(log)] == [
        ("1", "Ada"),
        ("2", "Bo"),
        ("1", "Cy"),
        ("2", "Di"),
    ]


def test_log_outweighs_the_alias_at_the_first_start(registry, register, log):
    earlier_approval(registry, log, register().number, "Ada")
    registry.set_alias(PRODUCTION, register().number)
    now = in_force(registry, log)
    assert (now.approval.version, now.approval.by) == ("1", "Ada")
    assert (
        "but the last decision in the log, Ada's, says version 1, and only that counts"
        in now.alias_mismatch
    )


def test_earlier_gate_verdict_is_bound_to_the_digest(registry, logged_with_reference, log):
    version = registry.register(
        *logged_with_reference, {"gate": "failed", "gate_reasons": "AUC is lower"}
    )
    log.append_event("gate", "1", digest=version.digest, gate="failed", gate_reasons="AUC is lower")
    with pytest.raises(ApprovalRejected, match="AUC is lower"):
        approve(registry, log, "1", "Ada", "fine")
    approval = approve(registry, log, "1", "Ada", "I know why", forced=True)
    assert approval.reference_digest == registry.reference_digest("1")


def test_decision_outside_the_collection_does_not_count(registry, train, log):
    """Others may write events: the services overrides, training its notes."""
    open_collection(log)
    earlier_approval(registry, log, train(), "CEO")
    assert in_force(registry, log) == InForce(None)
    earlier_approval(registry, log, "1", "CEO", _id=0)
    assert in_force(registry, log) == InForce(None)


def test_approval_collection_is_opened_once(registry, train, log):
    earlier_approval(registry, log, train(), "Ada")
    open_collection(log)
    open_collection(log)
    assert [event["kind"] for event in log.approvals()] == ["opened"]
    log.append_approval("opened", "", earlier=[])  # of two at the same moment
    assert deciding(registry, log) == ("1", "Ada")


# The command line


@pytest.fixture
def command(registry, settings, monkeypatch, capsys):
    """A function that runs the operator's command and returns its exit code and what it says."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry._uri)
    monkeypatch.setenv("MODEL_NAME", registry.name)
    monkeypatch.setenv("DECISION_LOG", settings.decision_log)

    def run(*arguments):
        capsys.readouterr()  # what MLflow has said so far
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_command_line_approves_and_lists(registry, train, command, evil):
    train()
    code, said = command("approvals")
    assert (code, "nothing was approved" in said, "No version decides." in said) == (0, True, True)
    code, said = command("approve", "--version", "7", "--by", "Ada", "--reason", "x")
    assert code == 1
    assert "has no version 7" in said
    assert registry.alias(PRODUCTION) is None
    assert command("approve", "--version", "1", "--by", "Ada", "--reason", "looks right")[0] == 0
    code, said = command("approvals")
    assert "version 1     by Ada: looks right\nVersion 1 decides, by Ada.\n" in said
    registry.set_alias(PRODUCTION, evil())
    code, said = command("approvals")
    assert code == 0
    assert said.splitlines()[-1].startswith(
        "The alias production in MLflow points at version 2, but"
    )
    assert command("approve", "--version", "2", "--by", "Ada", "--reason", "x")[0] == 1
    code, said = command("adopt", "--version", "2", "--by", "Ada", "--reason", "seen")
    assert (code, "adopted         version 2     by Ada: seen" in said) == (0, True)


def test_without_tokens_one_person_approves_and_has_to_say_who(train, command):
    train()
    with pytest.raises(SystemExit) as ended:
        command("approve", "--version", "1", "--reason", "x")
    assert ended.value.code == 2
    by = ("--by", "Ada", "--reason", "x")
    code, said = command("approve", "--version", "1", *by, "--break-glass")
    assert (code, "leave it out" in said, len(said.splitlines())) == (1, True, 1)
    code, said = command("propose", "--version", "1", *by)
    assert (code, "here approving takes one person" in said) == (1, True)
    assert command("approve", "--version", "1", *by)[0] == 0


def test_line_break_in_an_old_entry_forges_no_line(registry, train, command, log):
    earlier_approval(registry, log, train(), FORGED)
    said = command("approvals")[1]
    assert "by Ada 2026-11-28 12:00 UTC approval version 9 by CEO: better" in said
    assert len(said.splitlines()) == 3
