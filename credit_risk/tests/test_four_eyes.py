"""Four eyes: no one person makes a version Production. On a real MLflow, on each store."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.approval_log import (
    PROPOSAL,
    Approval,
    append,
    decisions,
    history,
    note_registered,
    note_training,
)
from credit_risk.registry.approvals import adopt, approve, propose, rollback
from credit_risk.registry.errors import ApprovalRejected
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.settings import Settings
from tests.support.cases import slow

pytestmark = pytest.mark.usefixtures("no_trial")

# The log is the same on both, as its own tests show; what is written at the same time may not be.
ON_BOTH = pytest.mark.parametrize("stores", ["sqlite + folder", "mongodb + bucket"], indirect=True)


@pytest.fixture(params=["sqlite + folder", *slow("mongodb + bucket")])
def stores(request, settings, on_servers):
    return settings if request.param == "sqlite + folder" else on_servers(settings)


def signed_in(name: str) -> Caller:
    return Caller(name, "user", is_proven=True)


@pytest.fixture
def train(registry, register, log):
    """A function that registers a version and notes it, as training does."""

    def trained(flow_run=None, **tags):
        version = register(**tags)
        note_registered(log, version, flow_run)
        return version.number

    return trained


@pytest.fixture
def proposes(registry, log):
    """A function with which somebody proposes a version."""
    return lambda name, number: propose(registry, log, number, name, "better", signed_in(name))


@pytest.fixture
def approves(registry, log):
    """A function with which somebody approves a version; it returns the kind of entry."""

    def by(name, number, **more):
        caller = signed_in(name)
        more = {"caller": caller, "needs_two": True, **more}
        return approve(registry, log, number, name, "looks right", **more).kind

    return by


def deciding(log):
    decided = decisions(log)
    return decided[-1].version if decided else None


def test_version_that_one_person_proposed_takes_another_to_approve(
    registry, log, train, proposes, approves
):
    number = train()
    made = proposes("ann", number)
    assert (made.kind, made.by, made.reason) == (PROPOSAL, "ann", "better")
    assert (made.digest, made.run_id) == (registry.digest(number), registry.version(number).run_id)
    assert made.time is not None
    assert in_force(registry, log).approval is None, "a proposal decides nothing"
    assert approves("bo", number) == "approval"
    assert in_force(registry, log).approval.by == "bo"
    assert registry.alias(PRODUCTION) == number


@pytest.mark.parametrize("name", ["ann lee", "ANN LEE", "  ann \t lee ", "ａｎｎ lee"])
def test_who_proposed_a_version_may_not_approve_it_however_they_spell_their_name(
    log, train, proposes, approves, name
):
    number = train()
    proposes("Ann Lee", number)
    with pytest.raises(ApprovalRejected, match=r"proposed it\. Version 1 needs an approval"):
        approves(name, number)
    assert deciding(log) is None


def test_who_started_the_training_may_not_approve_its_version(log, train, proposes, approves):
    note_training(log, "flow-run-1", "new data", signed_in("ann"))
    number = train("flow-run-1")
    proposes("cy", number)
    with pytest.raises(ApprovalRejected, match="Ann started its training"):
        approves("Ann", number)
    assert approves("bo", number) == "approval"


def test_training_of_another_version_bars_nobody(log, train, proposes, approves):
    note_training(log, "flow-run-1", "new data", signed_in("ann"))
    number = train("flow-run-2")
    proposes("cy", number)
    assert approves("ann", number) == "approval"


def test_version_that_nobody_proposed_takes_two_people(registry, log, train, approves):
    number = train()
    assert approves("ann", number) == "first-approval"
    assert in_force(registry, log).approval is None
    assert registry.alias(PRODUCTION) is None
    for name in ("ann", "ANN "):
        with pytest.raises(ApprovalRejected, match=r"approved it already\. .* second approval"):
            approves(name, number)
    assert approves("bo", number) == "approval"
    assert in_force(registry, log).approval.by == "bo"


def test_trainer_alone_is_no_proposal(log, train, approves):
    note_training(log, "flow-run-1", "new data", signed_in("ann"))
    number = train("flow-run-1")
    assert [approves("bo", number), approves("cy", number)] == ["first-approval", "approval"]


def test_first_approval_of_somebody_who_proposes_later_counts_once(log, train, proposes, approves):
    number = train()
    approves("ann", number)
    proposes("ann", number)
    with pytest.raises(ApprovalRejected, match="ann proposed it"):
        approves("ann", number)
    assert approves("bo", number) == "approval", "a proposal by one, an approval by another"


def test_failed_gate_takes_two_people_besides_who_proposed_it(log, train, proposes, approves):
    number = train(gate="failed", gate_reasons="AUC is lower")
    proposes("ann", number)
    with pytest.raises(ApprovalRejected, match="failed its gate: AUC is lower"):
        approves("bo", number)
    assert approves("bo", number, forced=True) == "first-approval"
    with pytest.raises(ApprovalRejected, match="ann proposed it"):
        approves("ann", number, forced=True)
    assert approves("cy", number, forced=True) == "approval"
    assert decisions(log)[-1].forced


def test_approval_that_was_not_forced_does_not_count_once_the_gate_failed(
    registry, log, train, approves
):
    number = train(gate="passed")
    approves("ann", number)
    registry._client.set_model_version_tag(registry.name, number, "gate", "failed")
    assert approves("bo", number, forced=True) == "first-approval"
    assert approves("ann", number, forced=True) == "approval"


def test_adoption_counts_as_a_proposal_by_who_adopted(registry, log, register, approves):
    number = register().number
    adopt(registry, log, number, "ann", "I have seen it", caller=signed_in("ann"))
    with pytest.raises(ApprovalRejected, match="ann proposed it"):
        approves("ann", number)
    assert approves("bo", number) == "approval"


def test_adoption_at_the_console_is_nobodys_proposal(registry, log, register, approves):
    number = register().number
    adopt(registry, log, number, "a ghost", "I have seen it", break_glass=True)
    assert approves("ann", number) == "first-approval"
    assert approves("bo", number) == "approval"


def test_same_person_does_not_propose_twice(train, proposes):
    number = train()
    proposes("ann", number)
    with pytest.raises(ApprovalRejected, match="Ann has proposed version 1 already"):
        proposes("Ann", number)
    assert proposes("bo", number).by == "bo"


def test_version_in_production_is_neither_proposed_nor_approved(train, proposes, approves):
    number = train()
    proposes("ann", number)
    approves("bo", number)
    with pytest.raises(ApprovalRejected, match="is Production already, approved by bo"):
        proposes("ann", number)
    with pytest.raises(ApprovalRejected, match="is Production already, approved by bo"):
        approves("cy", number)


def test_rollback_takes_one_person_and_uses_up_what_was_there(
    registry, log, train, proposes, approves
):
    for _ in range(2):
        number = train()
        proposes("ann", number)
        approves("bo", number)
    made = rollback(registry, log, "ann", "complaints", caller=signed_in("ann"))
    assert (made.version, made.verified) == ("1", True)
    assert deciding(log) == "1"
    # The proposal and the approval of before do not have it decide once more.
    assert approves("cy", "2") == "first-approval"
    assert approves("di", "2") == "approval"
    assert deciding(log) == "2"


def test_only_a_token_makes_an_approver(log, train, proposes, approves):
    number = train()
    proposes("ann", number)
    for caller in (None, Caller("bo", "user"), Caller("bo", "key")):
        with pytest.raises(ApprovalRejected, match="whose token says who they are"):
            approves("bo", number, caller=caller)
    assert deciding(log) is None


def test_proposal_that_no_token_proves_does_not_count(registry, log, train, approves):
    number = train()
    propose(registry, log, number, "a ghost", "better", Caller("a ghost", "user"))
    assert approves("ann", number) == "first-approval"


# What changes between proposal and approval


def test_proposal_of_other_files_does_not_count(registry, log, train, approves):
    number = train()
    run_id = registry.version(number).run_id
    other = Approval(number, "ann", "better", PROPOSAL, "v2:0", run_id=run_id, verified=True)
    append(log, other, signed_in("ann"))
    assert approves("bo", number) == "first-approval"
    with pytest.raises(ApprovalRejected, match="ann proposed it"):
        approves("ann", number)


def test_files_that_change_after_the_proposal_are_not_approved(
    registry, log, train, proposes, approves, monkeypatch
):
    number = train()
    proposes("ann", number)
    files = registry._files
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_files", lambda n: files(n) | {"added.py": b"import os"})
        with pytest.raises(ApprovalRejected, match="is not the one that was registered"):
            approves("bo", number)
    assert deciding(log) is None


def test_proposal_and_approval_of_a_number_that_was_used_again_do_not_count(
    registry, log, train, logged_with_reference, proposes, approves
):
    """The registry is deleted and made anew: version 1 is another run's now."""
    proposes("ann", train())
    number = train()
    approves("bo", number)
    registry._client.delete_registered_model(registry.name)
    for _ in range(2):
        note_registered(log, registry.register(*logged_with_reference))
    assert approves("bo", "1") == "first-approval"
    assert approves("ann", "1") == "approval", "what she proposed was another version"
    assert approves("cy", "2") == "first-approval"


# At once


@ON_BOTH
def test_of_two_approvals_at_the_same_time_the_second_decides(registry, stores, log, train):
    number = train()
    start = log.last_approval()

    def decide(name):
        mine = Registry(registry._uri, registry.name)
        caller = signed_in(name)
        return approve(
            mine, open_log(stores), number, name, "at once", caller=caller, needs_two=True
        ).kind

    with ThreadPoolExecutor(2) as pool:
        kinds = sorted(pool.map(decide, ("ann", "bo")))
    assert kinds == ["approval", "first-approval"]
    assert len({entry.by for entry in history(log)}) == 2
    assert deciding(log) == number
    assert start == 0


@ON_BOTH
def test_one_person_in_many_requests_at_once_stays_one(registry, stores, log, train):
    number = train()

    def decide(name):
        mine = Registry(registry._uri, registry.name)
        caller = signed_in(name)
        more = {"caller": caller, "needs_two": True}
        try:
            return approve(mine, open_log(stores), number, name, "at once", **more).kind
        except ApprovalRejected:
            return "refused"

    with ThreadPoolExecutor(4) as pool:
        kinds = sorted(pool.map(decide, ("ann", "Ann", " ANN", "aNN ")))
    assert kinds == ["first-approval", "refused", "refused", "refused"]
    assert deciding(log) is None


def test_proposal_in_the_middle_of_an_approval_is_seen(
    registry, log, train, proposes, approves, monkeypatch
):
    """Ann approves, and proposes in another request between the look at the log and the entry."""
    number = train()
    proposes("bo", number)
    write = log.append_approval

    def propose_first(*arguments, **fields):
        monkeypatch.setattr(log, "append_approval", write)
        proposes("ann", number)
        return write(*arguments, **fields)

    monkeypatch.setattr(log, "append_approval", propose_first)
    with pytest.raises(ApprovalRejected, match="ann proposed it"):
        approves("ann", number)
    assert deciding(log) is None


# Past the service


def test_break_glass_takes_one_person_and_two_make_it_good(registry, log, train, approves):
    number = train()
    made = approve(registry, log, number, "root", "nobody is there", break_glass=True)
    assert (made.kind, made.break_glass, made.verified) == ("approval", True, False)
    assert "(break-glass)" in made.summary
    assert deciding(log) == number
    assert approves("ann", number) == "first-approval"
    assert approves("bo", number) == "approval"
    assert not decisions(log)[-1].break_glass
    with pytest.raises(ApprovalRejected, match="is Production already, approved by bo"):
        approves("cy", number)


# The log


def test_rollback_to_a_break_glass_version_makes_nothing_good(
    registry, log, train, proposes, approves
):
    first, second = train(), train()
    approve(registry, log, first, "root", "nobody is there", break_glass=True)
    proposes("dee", second)
    assert approves("ann", second) == "approval"
    rollback(registry, log, "ann", "complaints", caller=signed_in("ann"))
    assert (decisions(log)[-1].version, decisions(log)[-1].break_glass) == (first, True)


def test_approval_is_forced_only_where_the_gate_failed(log, train, proposes, approves):
    number = train()
    proposes("dee", number)
    assert approves("ann", number, forced=True) == "approval"
    assert not decisions(log)[-1].forced


def test_log_with_all_kinds_of_entries_verifies(registry, log, train, proposes, approves):
    note_training(log, "flow-run-1", "new data", signed_in("ann"))
    number = train("flow-run-1")
    approves("bo", number)
    proposes("ann", number)
    approves("cy", number)
    assert [event["kind"] for event in log.approvals()] == [
        "opened",
        "training",
        "first-approval",
        "proposal",
        "approval",
    ]
    assert {event["caller"] for event in log.approvals()[1:]} == {
        "user: ann",
        "user: bo",
        "user: cy",
    }
    verify(log)
    # Services of the version before this one, which an upgrade leaves running for a while, read
    # these fields of every entry but the first.
    for event in log.approvals()[1:]:
        assert {"key", "by", "reason", "digest", "forced", "time"} <= event.keys()


def test_following_the_alias_is_refused_where_two_people_approve(tmp_path):
    given = {
        "oidc_issuer": "https://id.example",
        "oidc_audience": "x",
        "roles_file": tmp_path / "r",
    }
    assert Settings(_env_file=None, **given).needs_two
    with pytest.raises(ValueError, match="FOLLOW_ALIAS would have one person approve"):
        Settings(_env_file=None, follow_alias=True, **given)
    alone = Settings(_env_file=None, follow_alias=True, four_eyes=False, **given)
    assert not alone.needs_two
