"""Overrides: a person's decision in place of the model's, with a name and a reason.

Both decisions are kept.
"""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from credit_risk.decision_log.batch import OPEN
from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import GREEN, RED
from credit_risk.texts import one_line

OVERRIDE = "override"
MAX_TEXT = 1000


class NoSuchDecision(LookupError):
    """The log has no such decision."""


class NotAllowed(ValueError):
    """The override is not allowed; the message says why."""


def override(
    log: DecisionLog, id: str, prediction: str, by: str, reason: str, caller: str = OPEN
) -> dict[str, Any]:
    """Set a decision to green or red in a person's name, and return the event.

    The last override stands; setting a decision back to the model's prediction is another override.
    `caller` is who sent the request.

    Raises
    ------
    NoSuchDecision
        When no such decision was committed.
    NotAllowed
        When the prediction is neither green nor red or stands already, when the name or reason is
        missing or too long, or when it is not a decision on an application.
    """
    if prediction not in (GREEN, RED):
        raise NotAllowed(f"prediction is {prediction!r}; it is {GREEN!r} or {RED!r}")
    for name, text in (("by", by), ("reason", reason)):
        if not one_line(text):
            raise NotAllowed(f"an override needs a name (by) and a reason; {name} is empty")
        if len(text) > MAX_TEXT:
            raise NotAllowed(f"{name} has {len(text)} characters; {MAX_TEXT} at most")

    decision = log.decision(id)
    if decision is None:
        raise NoSuchDecision(f"there is no decision {id}")
    record = log.batch(decision["batch"])
    if record is not None and record.kind != "decision":
        raise NotAllowed(f"{id} is part of a {record.kind}: it is not a decision on an application")

    fields = {"prediction": prediction, "by": one_line(by), "reason": one_line(reason)}
    for _ in attempts():
        last = log.last_event()
        # When two people set it at once, the second learns that it is done.
        if prediction == current_prediction(decision, overrides(log, id)):
            raise NotAllowed(f"decision {id} is {prediction} already")
        with suppress(Conflict):
            return log.append_event(OVERRIDE, id, last, **fields, caller=caller)
    raise AssertionError("the attempts end with an error")


def overrides(log: DecisionLog, id: str) -> list[dict[str, Any]]:
    """Return the overrides of a decision in order.

    Each has `prediction`, `by`, `reason`, `time` and `caller`.
    """
    return log.events(OVERRIDE, id)


def final_predictions(log: DecisionLog) -> dict[str, str]:
    """Return the final prediction of every overridden decision, by decision id.

    They are few, since a person wrote each.
    """
    return {event["key"]: event["prediction"] for event in log.events(OVERRIDE)}


def overrides_of_batch(log: DecisionLog, batch: str) -> dict[str, dict[str, Any]]:
    """Return the last override of each overridden decision of a batch, by decision id."""
    return {event["key"]: event for event in log.events(OVERRIDE, batch=batch)}


def overrides_of(log: DecisionLog, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the last override of each of these decisions that has one, by decision id."""
    return {event["key"]: event for event in log.events_about(OVERRIDE, ids)}


def current_prediction(decision: dict[str, Any], overridden: list[dict[str, Any]]) -> str:
    """Return the prediction that counts: the last person's, or the model's without any override."""
    return str(overridden[-1]["prediction"] if overridden else decision["prediction"])
