"""Decisions on versions, in the decision log.

They are events in a collection that only the approver's credential may write. Beside them the log
holds a note on each version that training registered: its digests, and the result of its gate.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.version import Version
from credit_risk.texts import escape_markdown

APPROVAL = "approval"
ROLLBACK = "rollback"
ADOPTED = "adopted"
OPENED = "opened"
REGISTERED = "registered"
GATE = "gate"
_DECISIONS = (APPROVAL, ROLLBACK)
_FIELDS = ("by", "reason", "digest", "reference_digest", "forced", "gate", "run_id")


@dataclass(frozen=True)
class Approval:
    """One decision on a version.

    Attributes
    ----------
    version : str
        Its number.
    by, reason : str
        Who decided, and why.
    kind : str
        `approval`, `rollback` or `adopted`.
    digest : str
        Of the stored version.
    time : datetime, optional
        None where the alias was moved in MLflow and is followed.
    reference_digest : str, optional
        Of the version's training data. Empty where it has none, None in decisions that are older
        than this field.
    forced : bool
        Whether the version was approved although its gate failed.
    gate : str, optional
        What the version's gate had said by then, `passed` or `failed`; None where it is unknown.
    run_id : str, optional
        The run that made the version.
    """

    version: str
    by: str
    reason: str
    kind: str
    digest: str
    time: datetime | None = None
    reference_digest: str | None = None
    forced: bool = False
    gate: str | None = None
    run_id: str | None = None

    @property
    def summary(self) -> str:
        """The decision on one line of Markdown."""
        when = f", {self.time:%d %b %Y, %H:%M} UTC" if self.time else ""
        how = " (forced)" if self.forced else ""
        by, reason = escape_markdown(self.by), escape_markdown(self.reason)

        return f"{self.kind} of version {self.version} by {by}{how}{when}: {reason}"


def decisions(log: DecisionLog) -> list[Approval]:
    """Return the approvals and rollbacks in order; the last one says which version decides."""
    return [decision for decision in history(log) if decision.kind in _DECISIONS]


def history(log: DecisionLog) -> list[Approval]:
    """Return all decisions on versions in order, including adoptions."""
    return [_approval(event) for event in _events(log)]


def append(log: DecisionLog, wanted: Approval) -> Approval:
    """Write a decision to the log, and return it with the time that it got there."""
    open_collection(log)
    fields = {name: getattr(wanted, name) for name in _FIELDS}
    # `by` is whatever was typed, so the log also keeps who ran the command.
    caller = str(at_console())

    return _approval(log.append_approval(wanted.kind, wanted.version, **fields, caller=caller))


def open_collection(log: DecisionLog) -> None:
    """Copy the decisions that are older than the collection of approvals into it, once.

    Until then, decisions among the other events count; from then on, only those in the collection.
    """
    if not log.approvals():
        log.append_approval(OPENED, "", earlier=_earlier(log))


def note_registered(log: DecisionLog, version: Version) -> None:
    """Note a version's digests and the result of its gate: its files and tags may change later."""
    gate = {name: version.tags[name] for name in ("gate", "gate_reasons") if name in version.tags}
    digests = {"digest": version.digest, "reference_digest": version.reference_digest}
    log.append_event(REGISTERED, version.number, run_id=version.run_id, **digests, **gate)


def note_on(log: DecisionLog, version: Version) -> dict[str, Any] | None:
    """Return the latest note on a version: its registration, its adoption, or a decision on it.

    A number may be assigned again after a registry was deleted, so notes on a version that another
    run made do not count.
    """
    number = version.number
    # In logs that are older than the notes, the gate's verdict holds the digest too.
    notes = [*log.events(GATE, number), *log.events(REGISTERED, number)]
    notes += [event for event in _events(log) if event["key"] == number]
    of_this_run = [note for note in notes if note.get("run_id", version.run_id) == version.run_id]

    return max(of_this_run, key=lambda note: str(note["time"]), default=None)


def _events(log: DecisionLog) -> list[dict[str, Any]]:
    """Return the events of the decisions, in order."""
    events = log.approvals()
    # When two callers open the collection at once, the first of them counts.
    opened = next((event for event in events if event["kind"] == OPENED), None)
    earlier = opened["earlier"] if opened else _earlier(log)

    return [*earlier, *(event for event in events if event["kind"] != OPENED)]


def _earlier(log: DecisionLog) -> list[dict[str, Any]]:
    """Return the decisions that were written among the other events."""
    return sorted(log.events(APPROVAL) + log.events(ROLLBACK), key=lambda event: int(event["_id"]))


def _approval(event: dict[str, Any]) -> Approval:
    return Approval(
        version=event["key"],
        by=event["by"],
        reason=event["reason"],
        kind=event["kind"],
        digest=event["digest"],
        time=datetime.fromisoformat(event["time"]),
        reference_digest=event.get("reference_digest"),
        forced=event["forced"],
        gate=event.get("gate"),
        run_id=event.get("run_id"),
    )
