"""Overrides: both decisions are kept, the last person's stands."""

import pytest

from credit_risk.decision_log.overrides import (
    NoSuchDecision,
    NotAllowed,
    current_prediction,
    override,
    overrides,
    overrides_of,
    overrides_of_batch,
)
from tests.support.batches import batch


@pytest.fixture
def decision(log):
    return log.commit(batch(3)).id + "-1"


def test_last_override_stands_and_all_are_kept(log, decision):
    override(log, decision, "red", "  Ann ", "income not proven")
    override(log, decision, "green", "Bob", "proven now")
    found = overrides(log, decision)
    assert [(o["prediction"], o["by"], o["reason"]) for o in found] == [
        ("red", "Ann", "income not proven"),
        ("green", "Bob", "proven now"),
    ]
    stored = log.decision(decision)
    assert stored["prediction"] == "green"
    assert current_prediction(stored, []) == "green"
    assert current_prediction(stored, found[:1]) == "red"
    assert current_prediction(stored, found) == "green"


@pytest.mark.parametrize(
    ("prediction", "by", "reason", "why"),
    [
        ("blue", "Ann", "x", "it is 'green' or 'red'"),
        ("red", "  ", "x", "by is empty"),
        ("red", "Ann", "", "reason is empty"),
        ("red", "Ann", "x" * 1001, "reason has 1001 characters"),
        ("green", "Ann", "x", "is green already"),
    ],
)
def test_invalid_override_is_refused(log, decision, prediction, by, reason, why):
    with pytest.raises(NotAllowed, match=why):
        override(log, decision, prediction, by, reason)
    assert overrides(log, decision) == []


@pytest.mark.parametrize("id", ["nonsense", "01JZZZZZZZZZZZZZZZZZZZZZZZ-0", "-1", ""])
def test_override_of_a_missing_decision_is_refused(log, id):
    with pytest.raises(NoSuchDecision):
        override(log, id, "red", "Ann", "x")


@pytest.mark.parametrize("kind", ["preview", "portfolio"])
def test_only_a_decision_on_an_application_can_be_overridden(log, kind):
    record = log.commit(batch(1, kind=kind))
    with pytest.raises(NotAllowed, match=f"of a {kind}: it is not a decision on an application"):
        override(log, f"{record.id}-0", "red", "Ann", "x")
    assert log.events("override") == []


def test_overrides_are_selected_by_decisions_or_by_batch(log):
    mine, other = log.commit(batch(12)).id, log.commit(batch(12)).id
    override(log, f"{mine}-1", "red", "Ann", "x")
    override(log, f"{mine}-11", "red", "Ann", "x")
    override(log, f"{mine}-1", "green", "Bob", "y")
    override(log, f"{other}-1", "red", "Ann", "x")
    assert {
        id: event["by"]
        for id, event in overrides_of(log, [f"{mine}-1", f"{mine}-2", f"{other}-1"]).items()
    } == {
        f"{mine}-1": "Bob",
        f"{other}-1": "Ann",
    }
    assert overrides_of(log, []) == {}
    found = overrides_of_batch(log, mine)
    assert {id: event["prediction"] for id, event in found.items()} == {
        f"{mine}-1": "green",
        f"{mine}-11": "red",
    }
