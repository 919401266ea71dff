"""The first model of an empty registry: approved once, by whoever gets there, and never over a person's head."""

from datetime import UTC, datetime, timedelta

import pytest

from credit_risk.approvals import approve
from credit_risk.decisions import open_log
from credit_risk.registry import PRODUCTION, NoSuchVersion, RegistryUnavailable, Version
from model_orchestration_and_tracking import bootstrap as module
from model_orchestration_and_tracking.bootstrap import bootstrap, main, until


class MemoryRegistry:
    """What `approve` and `bootstrap` use of a registry, without MLflow."""

    def __init__(self):
        self.aliases = {}
        self.numbers = []
        self.signed = []

    def register(self):
        number = str(len(self.numbers) + 1)
        self.numbers.append(Version(number, "run", f"digest-{number}", datetime.now(UTC), {}))

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

    def sign(self, number, line):
        self.signed.append((number, line))


@pytest.fixture
def registry():
    return MemoryRegistry()


@pytest.fixture
def log(settings):
    return open_log(settings)


def never():
    raise AssertionError("nothing was to be trained")


def approvals(log):
    return [(event["key"], event["by"]) for event in log.events("approval")]


def test_an_empty_registry_is_trained_for_and_version_1_approved(registry, log):
    bootstrap(registry, log, registry.register)
    assert registry.alias(PRODUCTION) == "1"
    assert approvals(log) == [("1", "bootstrap")]


def test_run_again_it_does_nothing(registry, log):
    bootstrap(registry, log, registry.register)
    bootstrap(registry, log, never)
    assert approvals(log) == [("1", "bootstrap")]


def test_killed_between_training_and_approval(registry, log):
    registry.register()
    registry.register()  # by the schedule, meanwhile
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) == "1"


def test_killed_between_the_event_and_the_alias(registry, log, monkeypatch):
    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            bootstrap(registry, log, registry.register)
    assert registry.alias(PRODUCTION) is None
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) == "1"


def test_killed_right_after_the_alias_and_then_taken_out_of_service(registry, log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "_finish", lambda *_args: None)
        bootstrap(registry, log, registry.register)
    bootstrap(registry, log, never)
    del registry.aliases[PRODUCTION]
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) is None


def test_who_takes_the_first_version_out_of_service_is_obeyed(registry, log):
    bootstrap(registry, log, registry.register)
    del registry.aliases[PRODUCTION]
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) is None


def test_a_persons_approval_is_left_alone(registry, log):
    registry.register()
    registry.register()
    approve(registry, log, "2", "A. Person", "because")
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) == "2"
    del registry.aliases[PRODUCTION]
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) is None


def test_a_registry_whose_first_version_was_deleted_is_left_to_people(registry, log):
    registry.register()
    registry.register()
    del registry.numbers[0]
    bootstrap(registry, log, never)
    assert registry.alias(PRODUCTION) is None


def test_a_fresh_registry_beside_an_old_log(registry, log, monkeypatch):
    bootstrap(registry, log, registry.register)
    fresh = MemoryRegistry()
    bootstrap(fresh, log, fresh.register)
    assert fresh.alias(PRODUCTION) == "1"
    assert approvals(log) == [("1", "bootstrap")] * 2


def test_another_bootstrap_was_faster(registry, log):
    def train():
        registry.register()
        bootstrap(registry, log, never)

    bootstrap(registry, log, train)
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


def test_created_is_compared_in_utc(registry, log):
    registry.register()
    log.append_event("approval", "1", by="A. Person", reason="r", digest="d", forced=False)
    early = registry.numbers[0]
    later = datetime.now(UTC).astimezone() + timedelta(hours=1)
    assert module._decided(log, early)
    assert not module._decided(log, Version("1", "run", "d", later, {}))
