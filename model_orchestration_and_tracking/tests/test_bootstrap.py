"""The first model of an empty registry: approved once, by whoever gets there, and never over a person's head."""

from datetime import UTC, datetime

import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approvals import Refused, adopt, approve, history, note_registered
from credit_risk.registry.registry import PRODUCTION, NoSuchVersion, RegistryUnavailable, Version
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


def test_an_empty_registry_is_trained_for_and_version_1_approved(registry, log, train):
    bootstrap(registry, log, train)
    assert registry.alias(PRODUCTION) == "1"
    assert approvals(log) == [("1", "bootstrap")]


def test_run_again_it_does_nothing(registry, log, train):
    bootstrap(registry, log, train)
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "bootstrap")]


def test_killed_between_training_and_approval(registry, log, train):
    train()
    train()  # by the schedule, meanwhile
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "bootstrap")]


def test_killed_between_the_approval_and_the_alias(registry, log, train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            bootstrap(registry, log, train)
    said = []
    bootstrap(registry, log, never, said.append)
    assert approvals(log) == [("1", "bootstrap")]
    assert 'To set the alias again: make approve VERSION=1 BY="name" REASON="why"' in said[-1]


def test_a_persons_decision_is_left_alone(registry, log, train):
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


def test_an_alias_that_was_moved_by_hand_is_left_to_people_who_are_told_how(registry, log):
    """A stack of before, whose versions nobody has noted and whose alias alone said what decides."""
    registry.register()
    registry.register()
    registry.set_alias(PRODUCTION, "2")
    said = []
    bootstrap(registry, log, never, said.append)
    assert approvals(log) == []
    how = 'make adopt VERSION=2 BY="name" REASON="why", then make approve VERSION=2 BY="name" REASON="why"'
    assert how in said[-1]


def test_who_empties_the_registry_approves_nothing_by_it(registry, log, train):
    """A first version is trained again, for people to approve; that it is there is their only use of it."""
    bootstrap(registry, log, train)
    fresh = MemoryRegistry("another run")
    bootstrap(fresh, log, trains(fresh, log))
    assert approvals(log) == [("1", "bootstrap")]
    assert len(fresh.numbers) == 1


def test_a_first_version_that_was_put_there_by_hand_is_not_approved(registry, log):
    registry.register()
    with pytest.raises(Refused, match="registered by nobody we know"):
        bootstrap(registry, log, never)
    adopt(registry, log, "1", "A. Person", "I have seen it")
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "A. Person"), ("1", "bootstrap")]


def test_what_was_decided_before_is_taken_over_first(registry, log, train):
    train()
    log.append_event("approval", "1", by="Ada", reason="r", digest=registry.digest("1"), forced=False)
    bootstrap(registry, log, never)
    assert [event["kind"] for event in log.approvals()] == ["opened"]
    assert approvals(log) == [("1", "Ada")]


def test_another_bootstrap_was_faster(registry, log, train):
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


def test_until_it_works(monkeypatch):
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


def test_until_it_is_too_late():
    def attempt():
        raise RegistryUnavailable("away")

    with pytest.raises(RegistryUnavailable):
        until(attempt, -1, lambda _line: None)


def test_services_that_stay_away(monkeypatch, settings, capsys):
    monkeypatch.setattr(module, "Settings", lambda: settings)
    assert main(["--wait", "-1"]) == 1
    assert "bootstrap: MLflow" in capsys.readouterr().err
