"""Decisions on versions, in the decision log.

They are events in a collection that only the approver's credential may write. With four eyes, who
proposed a version, who approved it first and who started a training are there too; these change
nothing about which version decides. Beside them the log holds a note on each version that training
registered: its digests, the result of its gate, and the run of the flow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credit_risk.access.caller import Caller, at_console
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.version import Version
from credit_risk.texts import escape_markdown

APPROVAL = "approval"
ROLLBACK = "rollback"
ADOPTED = "adopted"
PROPOSAL = "proposal"
FIRST_APPROVAL = "first-approval"
TRAINING = "training"
OPENED = "opened"
REGISTERED = "registered"
GATE = "gate"
DECISIONS = (APPROVAL, ROLLBACK)
# Events that say what is stored of a version.
_NOTES = (*DECISIONS, ADOPTED)
_FIELDS = (
    "by",
    "reason",
    "digest",
    "reference_digest",
    "forced",
    "gate",
    "run_id",
    "verified",
    "break_glass",
)


@dataclass(frozen=True)
class Approval:
    """One decision on a version, or a step towards one.

    Attributes
    ----------
    version : str
        Its number.
    by, reason : str
        Who decided, and why.
    kind : str
        `approval`, `rollback` or `adopted`; with four eyes also `proposal` and `first-approval`.
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
    verified : bool
        Whether a token proved who it was.
    break_glass : bool
        Whether it was written past the approvals service.
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
    verified: bool = False
    break_glass: bool = False

    @property
    def summary(self) -> str:
        """The decision on one line of Markdown."""
        when = f", {self.time:%d %b %Y, %H:%M} UTC" if self.time else ""
        how = " (forced)" if self.forced else ""
        how += " (break-glass)" if self.break_glass else ""
        by, reason = escape_markdown(self.by), escape_markdown(self.reason)

        return f"{self.kind} of version {self.version} by {by}{how}{when}: {reason}"


def decisions(log: DecisionLog) -> list[Approval]:
    """Return the approvals and rollbacks in order; the last one says which version decides."""
    return [decision for decision in history(log) if decision.kind in DECISIONS]


def history(log: DecisionLog) -> list[Approval]:
    """Return all decisions on versions in order, including adoptions and steps towards them."""
    return _history(_events(log))


def append(
    log: DecisionLog,
    wanted: Approval,
    caller: Caller | None = None,
    expected: int | None = None,
) -> Approval:
    """Write a decision to the log, and return it with the time that it got there.

    Parameters
    ----------
    caller : Caller, optional
        Whose decision it is. Without one it was typed at the console: `by` is whatever was typed,
        so the log also keeps who ran the command.
    expected : int, optional
        The number of the newest entry when the log was looked at (`DecisionLog.last_approval`).

    Raises
    ------
    Conflict
        When there is a newer entry than expected; then nothing is written.
    """
    open_collection(log)
    fields = {name: getattr(wanted, name) for name in _FIELDS}
    fields["caller"] = str(caller or at_console())

    return _approval(log.append_approval(wanted.kind, wanted.version, expected, **fields))


def note_training(log: DecisionLog, flow_run: str, reason: str, caller: Caller) -> None:
    """Note who started a training, by the id of its flow run."""
    open_collection(log)
    # Services of earlier versions expect these fields of every event here.
    fields = {"by": caller.name, "reason": reason, "digest": "", "forced": False}
    log.append_approval(TRAINING, flow_run, **fields, caller=str(caller))


def open_collection(log: DecisionLog) -> None:
    """Copy the decisions that are older than the collection of approvals into it, once.

    Until then, decisions among the other events count; from then on, only those in the collection.
    """
    if not log.approvals():
        log.append_approval(OPENED, "", earlier=_earlier(log))


def note_registered(log: DecisionLog, version: Version, flow_run: str | None = None) -> None:
    """Note a version's digests and the result of its gate: its files and tags may change later.

    Parameters
    ----------
    flow_run : str, optional
        The id of the flow run that trained it.
    """
    gate = {name: version.tags[name] for name in ("gate", "gate_reasons") if name in version.tags}
    fields = {"digest": version.digest, "reference_digest": version.reference_digest, **gate}
    if flow_run is not None:
        fields["flow_run"] = flow_run
    log.append_event(REGISTERED, version.number, run_id=version.run_id, **fields)


def note_on(log: DecisionLog, version: Version) -> dict[str, Any] | None:
    """Return the latest note on a version; see `Notes.on`."""
    return Notes(log, version.number).on(version)


class Notes:
    """What the log holds about versions, read once.

    Parameters
    ----------
    log : DecisionLog
    number : str, optional
        Of the only version that is asked about.
    """

    def __init__(self, log: DecisionLog, number: str | None = None) -> None:
        # In logs that are older than the notes, the gate's verdict holds the digest too.
        self._notes = [*log.events(GATE, number), *log.events(REGISTERED, number)]
        self._events = _events(log)

    @property
    def history(self) -> list[Approval]:
        """What `history` returned when the log was read."""
        return _history(self._events)

    def on(self, version: Version) -> dict[str, Any] | None:
        """Return the latest note on a version: its registration, adoption, or a decision on it.

        A number may be assigned again after a registry was deleted, so notes on a version that
        another run made do not count.
        """
        notes = self._notes + [event for event in self._events if event["kind"] in _NOTES]
        return max(_about(version, notes), key=lambda note: str(note["time"]), default=None)

    def trainers(self, version: Version) -> list[str]:
        """Return who started the training that registered a version; nobody for scheduled ones."""
        flow_runs = {note.get("flow_run") for note in _about(version, self._notes)}
        started = (event for event in self._events if event["kind"] == TRAINING)
        return [str(event["by"]) for event in started if event["key"] in flow_runs]


def _about(version: Version, notes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        note
        for note in notes
        if note["key"] == version.number and note.get("run_id", version.run_id) == version.run_id
    ]


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


def _history(events: Iterable[dict[str, Any]]) -> list[Approval]:
    return [_approval(event) for event in events if event["kind"] != TRAINING]


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
        verified=event.get("verified", False),
        break_glass=event.get("break_glass", False),
    )
