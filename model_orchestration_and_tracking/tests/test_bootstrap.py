"""The first model of an empty registry: approved once, and never against a person's decision."""

from datetime import UTC, datetime

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import history, note_registered
from credit_risk.registry.approvals import adopt, approve
from credit_risk.registry.errors import ApprovalRejected, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.registry import PRODUCTION
from credit_risk.registry.version import Version
from model_orchestration_and_tracking import bootstrap as module
from model_orchestration_and_tracking.bootstrap import bootstrap, main, until


class MemoryRegistry:
    """What `approve` and `bootstrap` use of a registry, without MLflow."""

    def __init__(self, run="run"):
        self.run = run
        self.aliases = {}
        self.numbers = []
        self.signed = []

    def register(self):
        number = str(len(self.numbers) + 1)
        digest = f"digest-{self.run}-{number}"
        self.numbers.append(Version(number, self.run, digest, datetime.now(UTC), {}))
        return self.numbers[-1]

    def alias(self, alias):
        return self.aliases.get(alias)

    def set_alias(self, alias, number):
        self.aliases[alias] = number

    def versions(self):
        return sorted(self.numbers, key=lambda v: -int(v.number))

    def version(self, number):
        for found in self.numbers:
            if found.number == number:
                return found
        raise NoSuchVersion(number)

    def digest(self, number):
        return self.version(number).digest

    def try_out(self, number, digest=None):
        return self.digest(number)

    def why_refused(self, number, digest):
        return ""

    def reference_digest(self, number):
        return f"reference-{number}"

    def load(self, number, digest):
        return self.version(number)

    def sign(self, number, line):
        self.signed.append((number, line))


@pytest.fixture
def registry():
    return MemoryRegistry()


@pytest.fixture
def log(settings):
    return open_log(settings)


@pytest.fixture
def train(registry, log):
    """A function that registers and notes a version, as the training flow does."""
    return trains(registry, log)


def trains(registry, log):
    return lambda: note_registered(log, registry.register())


def never():
    raise AssertionError("nothing was to be trained")


def killed(*_args, **_more):
    raise KeyboardInterrupt


def approvals(log):
    return [(a.version, a.by) for a in history(log)]


def test_empty_registry_gets_version_1_trained_and_approved(registry, log, train):
    bootstrap(registry, log, train)
    assert registry.alias(PRODUCTION) == "1"
    assert approvals(log) == [("1", "bootstrap")]


def test_where_two_people_approve_version_1_is_trained_and_waits(registry, log, train):
    said = []
    for _ in range(2):
        bootstrap(registry, log, train, said.append, needs_two=True)
    assert len(registry.numbers) == 1
    assert registry.alias(PRODUCTION) is None
    assert approvals(log) == []
    waits = "version 1 waits for two people to approve it, at the approvals service"
    assert said == ["the registry is empty: training the first version", waits, waits]


def test_second_bootstrap_does_nothing(registry, log, train):
    bootstrap(registry, log, train)
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "bootstrap")]


def test_bootstrap_killed_before_the_approval_is_completed(registry, log, train):
    train()
    train()  # by the schedule, meanwhile
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "bootstrap")]


def test_bootstrap_killed_before_the_alias_moves_is_completed(registry, log, train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            bootstrap(registry, log, train)
    said = []
    bootstrap(registry, log, never, said.append)
    assert approvals(log) == [("1", "bootstrap")]
    assert 'To set the alias again: make approve VERSION=1 BY="name" REASON="why"' in said[-1]


def test_decision_of_a_person_is_left_alone(registry, log, train):
    train()
    train()
    approve(registry, log, "2", "A. Person", "because")
    bootstrap(registry, log, never)
    del registry.aliases[PRODUCTION]
    bootstrap(registry, log, never)
    assert approvals(log) == [("2", "A. Person")]


def test_a_registry_whose_first_version_was_deleted_is_left_to_people(registry, log, train):
    train()
    train()
    del registry.numbers[0]
    bootstrap(registry, log, never)
    assert approvals(log) == []


def test_alias_moved_by_hand_is_left_alone_with_instructions(registry, log):
    """An earlier stack, without notes, whose alias alone said which version decides."""
    registry.register()
    registry.register()
    registry.set_alias(PRODUCTION, "2")
    said = []
    bootstrap(registry, log, never, said.append)
    assert approvals(log) == []
    how = (
        'make adopt VERSION=2 BY="name" REASON="why", '
        'then make approve VERSION=2 BY="name" REASON="why"'
    )
    assert how in said[-1]


def test_emptied_registry_gets_no_new_approval(registry, log, train):
    """A first version is trained again, but only people may approve it."""
    bootstrap(registry, log, train)
    fresh = MemoryRegistry("another run")
    bootstrap(fresh, log, trains(fresh, log))
    assert approvals(log) == [("1", "bootstrap")]
    assert len(fresh.numbers) == 1


def test_first_version_added_by_hand_is_not_approved(registry, log):
    registry.register()
    with pytest.raises(ApprovalRejected, match="registered by nobody we know"):
        bootstrap(registry, log, never)
    adopt(registry, log, "1", "A. Person", "I have seen it")
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "A. Person"), ("1", "bootstrap")]


def test_earlier_decisions_are_taken_over_first(registry, log, train):
    train()
    log.append_event(
        "approval", "1", by="Ada", reason="r", digest=registry.digest("1"), forced=False
    )
    bootstrap(registry, log, never)
    assert [event["kind"] for event in log.approvals()] == ["opened"]
    assert approvals(log) == [("1", "Ada")]


def test_faster_concurrent_bootstrap_is_accepted(registry, log, train):
    def trained():
        train()
        bootstrap(registry, log, never)

    bootstrap(registry, log, trained)
    assert approvals(log) == [("1", "bootstrap")]


def test_a_failed_training_approves_nothing(registry, log):
    def fails():
        raise module.RunFailed("no")

    with pytest.raises(module.RunFailed):
        bootstrap(registry, log, fails)
    assert approvals(log) == []


def test_until_retries_until_success(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    failures = iter([RegistryUnavailable("not yet"), None])
    said = []

    def attempt():
        failure = next(failures)
        if failure:
            raise failure
        return "there"

    assert until(attempt, 60, said.append) == "there"
    assert len(said) == 1


def test_until_raises_the_last_error_after_the_deadline():
    def attempt():
        raise RegistryUnavailable("away")

    with pytest.raises(RegistryUnavailable):
        until(attempt, -1, lambda _line: None)


def test_bootstrap_fails_when_services_stay_away(monkeypatch, settings, capsys):
    monkeypatch.setattr(module, "Settings", lambda: settings)
    assert main(["--wait", "-1"]) == 1
    assert "bootstrap: MLflow" in capsys.readouterr().err


def test_bootstrap_refuses_a_registry_of_another_data_set(
    monkeypatch, settings, registry, train, log, capsys
):
    train()
    other = settings.model_copy(update={"dataset": "credit_data"})
    monkeypatch.setattr(module, "Settings", lambda: other)
    monkeypatch.setattr(module, "open_registry", lambda _settings: registry)
    monkeypatch.setattr(module, "train_by_deployment", lambda *_: never())
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "bootstrap: version 1 is in the registry already; it is of the data set german_credit, and "
        "this stack serves credit_data: set DATASET=german_credit, or start a stack of its own "
        "with another VAR_DIR\n"
    )
    assert registry.aliases == {}
    assert approvals(log) == []
