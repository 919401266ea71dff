"""Which version decides: the one that the last approval or rollback names, with its digest.

A decision is an event in a collection that only the approver's credential may write, and counts as soon as it is
there. MLflow's alias `production` is moved after it, for people who look there; moved by anybody else it changes
nothing, unless a setting says that it is followed. What training registers it notes in the log, with its digest: a
version without such a note, or of another digest, cannot be approved.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.registry import (
    PRODUCTION,
    DigestMismatch,
    NoSuchVersion,
    Registry,
    RegistryUnavailable,
    Version,
)
from credit_risk.scoring.stored import ModelRefused
from credit_risk.texts import escape_markdown, one_line

logger = logging.getLogger(__name__)

APPROVAL = "approval"
ROLLBACK = "rollback"
ADOPTED = "adopted"
OPENED = "opened"
REGISTERED = "registered"
GATE = "gate"
UNKNOWN = "unknown, moved in MLflow"
_DECISIONS = (APPROVAL, ROLLBACK)
_HOW = 'BY="name" REASON="why"'


class Refused(ValueError):
    """The version may not, or cannot, become Production; the message says why."""


@dataclass(frozen=True)
class Approval:
    """One decision on a version; `time` is None where the alias was moved in MLflow and is followed.

    `digest` is that of the stored version, and `reference_digest` that of what it was trained on: empty where it has
    none, None in decisions of before it was kept. `gate` is what the version's gate had said by then, `passed` or
    `failed`; None where nothing is known. `run_id` is the run that made the version.
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
    def words(self) -> str:
        """The decision on one line of Markdown."""
        when = f", {self.time:%d %b %Y, %H:%M} UTC" if self.time else ""
        how = " (forced)" if self.forced else ""
        by, reason = escape_markdown(self.by), escape_markdown(self.reason)
        return f"{self.kind} of version {self.version} by {by}{how}{when}: {reason}"


@dataclass(frozen=True)
class InForce:
    """Which version decides, None where none does, and what is to be said of it and of the alias in MLflow.

    `astray` says why the alias does not decide: empty where it agrees, None where MLflow cannot be asked. `refused`
    says why the services do not take the version that is to decide. `alias_refused` is whether they would not take the
    alias's.
    """

    approval: Approval | None
    astray: str | None = ""
    refused: str = ""
    alias_refused: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether each part goes on with the version that it has, if any, for there is no other one to take."""
        return bool(self.refused) or (self.approval is None and self.alias_refused)


def in_force(registry: Registry, log: DecisionLog, *, follow_alias: bool = False) -> InForce:
    """Return which version decides, and whether it can. Whoever needs to know asks here.

    Parameters
    ----------
    registry : Registry
        Is asked where its alias stands. Without `follow_alias` it may be away, and nothing in it changes what decides.
    log : DecisionLog
        Where the decisions are.
    follow_alias : bool
        Whether an alias that was moved in MLflow decides, unless the version's gate failed or it is refused.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    RegistryUnavailable, NoSuchVersion
        When the alias is to be followed, and MLflow does not answer or its version is deleted at that moment.
    """
    now = _named(registry, log, follow_alias)
    approval = now.approval
    if approval is None or now.astray is None:
        return now
    try:
        why = registry.why_refused(approval.version, approval.digest)
    except RegistryUnavailable:
        if follow_alias:
            raise
        return replace(now, astray=None)
    return replace(now, refused=f"The Production version was refused: {why}" if why else "")


def approve(
    registry: Registry, log: DecisionLog, version: str, by: str, reason: str, *, forced: bool = False
) -> Approval:
    """Make a version Production. Of the one that is so already the alias is set again, where it is astray.

    Raises
    ------
    Refused
        When no name or reason is given, when nothing is noted of the version, or it is not what was noted, when the
        services would refuse it, when it is Production already, when its gate failed and `forced` is not set, or when
        another decision came at the same time and stands.
    NoSuchVersion
        When there is no such version; then nothing changes.
    """
    by, reason = _signed("an approval", by, reason)
    found = registry.version(version)
    version = found.number
    note = _note(log, found)
    if note is None:
        raise Refused(
            f"version {version} was registered by nobody we know: "
            f"make adopt VERSION={version} {_HOW} looks at it and adopts it"
        )
    digest, reference = _as_noted(registry, version, note)
    why = _gate_failed(found, note)
    if why and not forced:
        raise Refused(f"version {version} failed its gate: {why}. FORCE=1 approves it all the same")
    now = _named(registry, log)
    standing = now.approval
    # One that was not forced says nothing of a gate that is failed by now.
    if standing and (standing.version, standing.digest) == (version, digest) and (standing.forced or not why):
        if not now.astray:
            raise Refused(f"version {version} is Production already, approved by {one_line(standing.by)}")
        _follow(registry, standing)
        return standing
    gate = "failed" if why else note.get("gate")
    return _decide(
        registry, log, Approval(version, by, reason, APPROVAL, digest, None, reference, forced, gate, found.run_id)
    )


def rollback(registry: Registry, log: DecisionLog, by: str, reason: str) -> Approval:
    """Make the version Production that was so before the present one.

    Raises
    ------
    Refused
        When no name or reason is given, when there is no version before, what is stored of it has changed, the services
        would refuse it, or its gate is failed and its approval was not forced.
    """
    by, reason = _signed("a rollback", by, reason)
    before: list[Approval] = []
    for one in decisions(log):
        if one.kind == ROLLBACK:
            while before and before[-1].version != one.version:
                before.pop()
        else:
            before.append(one)
    present = before[-1].version if before else None
    while before and before[-1].version == present:
        before.pop()
    if not before:
        raise Refused("no version was approved before the present one")
    earlier = before[-1]
    version = earlier.version
    _try_out(registry, version, earlier.digest, "approved")
    if earlier.gate == "failed" and not earlier.forced:
        raise Refused(f"version {version} failed its gate. An approval with FORCE=1 makes it Production")
    # Whoever forced its approval did so for whenever it is Production.
    return _decide(registry, log, replace(earlier, by=by, reason=reason, kind=ROLLBACK, time=None))


def adopt(registry: Registry, log: DecisionLog, version: str, by: str, reason: str) -> Approval:
    """Note what is stored of a version that training has not registered, so that it can be approved.

    Raises
    ------
    Refused
        When no name or reason is given, or there is a note of it.
    NoSuchVersion
        When there is no such version.
    ModelRefused
        When what is stored is no scorer of ours.
    """
    by, reason = _signed("an adoption", by, reason)
    found = registry.version(version)
    version = found.number
    if note := _note(log, found):
        whose = f"by {one_line(note['by'])}" if "by" in note else "by training"
        raise Refused(f"version {version} is known: it was noted {whose}. Approve it, or register another")
    digest, reference = registry.try_out(version), registry.reference_digest(version)
    gate = found.tags.get("gate")
    return _append(log, Approval(version, by, reason, ADOPTED, digest, None, reference, False, gate, found.run_id))


def decisions(log: DecisionLog) -> list[Approval]:
    """Return the approvals and rollbacks in order; the last one says which version decides."""
    return [one for one in history(log) if one.kind in _DECISIONS]


def history(log: DecisionLog) -> list[Approval]:
    """Return all decisions on versions in order, adoptions as well."""
    return [_approval(event) for event in _events(log)]


def open_collection(log: DecisionLog) -> None:
    """Take what was decided before the approvals had a collection of their own into it, once for all.

    Until then such decisions count where they were written; from then on nothing that is written there does.
    """
    if not log.approvals():
        log.append_approval(OPENED, "", earlier=_earlier(log))


def note_registered(log: DecisionLog, version: Version) -> None:
    """Note the digests of a version and what its gate said: its files and its tags may be changed later."""
    gate = {name: version.tags[name] for name in ("gate", "gate_reasons") if name in version.tags}
    digests = {"digest": version.digest, "reference_digest": version.reference_digest}
    log.append_event(REGISTERED, version.number, run_id=version.run_id, **digests, **gate)


def _signed(what: str, by: str, reason: str) -> tuple[str, str]:
    by, reason = one_line(by), one_line(reason)
    if not by or not reason:
        raise Refused(f"{what} needs a name (BY) and a reason (REASON)")
    return by, reason


def _note(log: DecisionLog, version: Version) -> dict[str, Any] | None:
    """Return what was noted last of a version: when it was registered or adopted, or when somebody decided on it.

    A number may be given again after a registry was deleted: notes on another run's version are none on this one.
    """
    number = version.number
    # Of before there were notes, the gate's verdict has the digest too.
    notes = [*log.events(GATE, number), *log.events(REGISTERED, number)]
    notes += [event for event in _events(log) if event["key"] == number]
    notes = [note for note in notes if note.get("run_id", version.run_id) == version.run_id]
    return max(notes, key=lambda note: str(note["time"]), default=None)


def _as_noted(registry: Registry, version: str, note: dict[str, Any]) -> tuple[str, str]:
    """Return a version's digest and its reference's, which are as they were noted."""
    digest = _try_out(registry, version, note["digest"], "registered")
    reference = registry.reference_digest(version)
    if note.get("reference_digest") not in (None, reference):
        raise Refused(f"what version {version} was trained on is stored otherwise than when it was registered")
    return digest, reference


def _try_out(registry: Registry, version: str, digest: str, was: str) -> str:
    """Have a version tried out before it decides, and return the digest of all that is stored of it."""
    try:
        return registry.try_out(version, digest)
    except DigestMismatch:
        raise Refused(f"version {version}'s stored scorer is not the one that was {was}") from None
    except ModelRefused as error:
        raise Refused(f"version {version} would be refused by the services: {error}") from None


def _gate_failed(version: Version, note: dict[str, Any] | None) -> str:
    """Return why a version's gate failed; empty where it did not."""
    if version.tags.get("gate") == "failed":
        return version.tags.get("gate_reasons", "see its run in MLflow")
    # Anybody can edit a tag in MLflow's page; nobody can edit the log.
    if note and note.get("gate") == "failed":
        why = note.get("gate_reasons") or f"so it had when {one_line(note.get('by', 'training'))} decided on it"
        return f"{why}, and its tag was edited since"
    return ""


def _events(log: DecisionLog) -> list[dict[str, Any]]:
    """Return what people decided, in order."""
    found = log.approvals()
    # Of two who open the collection at once the first one counts.
    opened = next((event for event in found if event["kind"] == OPENED), None)
    return [*(opened["earlier"] if opened else _earlier(log)), *(e for e in found if e["kind"] != OPENED)]


def _earlier(log: DecisionLog) -> list[dict[str, Any]]:
    """Return what was decided while decisions stood among the other events."""
    return sorted(log.events(APPROVAL) + log.events(ROLLBACK), key=lambda event: int(event["_id"]))


def _approval(event: dict[str, Any]) -> Approval:
    return Approval(
        event["key"],
        event["by"],
        event["reason"],
        event["kind"],
        event["digest"],
        datetime.fromisoformat(event["time"]),
        event.get("reference_digest"),
        event["forced"],
        event.get("gate"),
        event.get("run_id"),
    )


def _append(log: DecisionLog, wanted: Approval) -> Approval:
    open_collection(log)
    names = ("by", "reason", "digest", "reference_digest", "forced", "gate", "run_id")
    fields = {name: getattr(wanted, name) for name in names}
    # `by` is whatever was typed; the log keeps beside it who ran the command.
    return _approval(log.append_approval(wanted.kind, wanted.version, **fields, caller=str(at_console())))


def _decide(registry: Registry, log: DecisionLog, wanted: Approval) -> Approval:
    made = _append(log, wanted)
    # Of two decisions at once the later one in the log stands, whoever moved the alias last.
    while True:
        last = decisions(log)[-1]
        _follow(registry, last)
        if decisions(log)[-1] == last:
            break
    if last != made:
        raise Refused(
            f"version {last.version} was decided on at the same time, by {one_line(last.by)}, and is Production"
        )
    try:
        registry.sign(made.version, f"{made.words}.")
    except (NoSuchVersion, ModelRefused, RegistryUnavailable) as error:
        # The log is what counts; the card repeats it for whoever looks at the run.
        logger.warning("the model card of version %s does not tell of it: %s", made.version, error)
    return made


def _follow(registry: Registry, decided: Approval) -> None:
    """Move the alias to what was decided; where that fails, it is told, for the decision counts without."""
    try:
        registry.set_alias(PRODUCTION, decided.version)
    except (NoSuchVersion, RegistryUnavailable) as error:
        logger.warning(
            "version %s decides, but the alias in MLflow does not say so: %s. make approve VERSION=%s sets it again",
            *(decided.version, error, decided.version),
        )


def _named(registry: Registry, log: DecisionLog, follow_alias: bool = False) -> InForce:
    """Return which version is said to decide, whether or not it can."""
    decided = decisions(log)
    approval = decided[-1] if decided else None
    try:
        alias = registry.alias(PRODUCTION)
    except RegistryUnavailable:
        if follow_alias:
            raise
        return InForce(approval, None)
    if alias == (approval.version if approval else None):
        return InForce(approval)
    if not follow_alias:
        return _astray(registry, log, alias, approval)
    if alias is None:
        return InForce(None)
    version = registry.version(alias)
    note = _note(log, version)
    if why := _gate_failed(version, note):
        return InForce(approval, _barred(alias, why))
    digest = _digest(version, note)
    if why := registry.why_refused(alias, digest):
        have = f"To have it decide: {_commands(alias, note)}"
        return InForce(approval, f"The alias's version was refused: {why}. {have}", alias_refused=True)
    return InForce(Approval(alias, UNKNOWN, "", APPROVAL, digest))


def _digest(version: Version, note: dict[str, Any] | None) -> str:
    """Return the digest that a version was registered with, or adopted; empty where it was with none."""
    return version.digest or str((note or {}).get("digest", ""))


def _astray(registry: Registry, log: DecisionLog, alias: str | None, approval: Approval | None) -> InForce:
    """Return what decides where the alias is elsewhere, and what is to be said of that."""
    have = without = ""
    if alias:
        try:
            version = registry.version(alias)
            note = _note(log, version)
            without = "" if _digest(version, note) else ", which was registered without a digest"
        except (NoSuchVersion, RegistryUnavailable):
            note = {}  # what approve says of it is all that can be said
        have = f"To have version {alias} decide: {_commands(alias, note)}"
    refused = bool(without)
    if approval is None:
        whose = f"Version {alias}{without and f'{without},'} has the alias {PRODUCTION} in MLflow"
        said = f"{whose}, but nobody has approved it, and only that counts"
        return InForce(None, f"{said}. {have}{'' if without else '; or FOLLOW_ALIAS=true'}", alias_refused=refused)
    where = f"points at version {alias}{without}" if alias else "was removed"
    decided = f"the last decision in the log, {one_line(approval.by)}'s, says version {approval.version}"
    said = f"The alias {PRODUCTION} in MLflow {where}, but {decided}, and only that counts"
    back = f"To set the alias again: make approve VERSION={approval.version} {_HOW}"
    return InForce(approval, ". ".join(filter(None, (said, have, back))), alias_refused=refused)


def _commands(alias: str, note: dict[str, Any] | None) -> str:
    """Return what makes the version of an alias decide, of which that is noted."""
    approving = f"make approve VERSION={alias} {_HOW}"
    return approving if note is not None else f"make adopt VERSION={alias} {_HOW}, then {approving}"


def _barred(alias: str, why: str) -> str:
    return (
        f"Version {alias} does not decide, for its gate failed: {why}. "
        f"make approve VERSION={alias} FORCE=1 {_HOW} would have it decide all the same"
    )
