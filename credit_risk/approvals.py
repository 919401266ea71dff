"""Who decided that a version is Production, when and why.

A decision is written to the decision log before the alias moves, as begun, and again after it moved. Only then does it
count: one that is cut off on the way never looks like a decision. An alias that somebody moves in MLflow's own page is
followed too, but has no author here, and is listed as such.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from credit_risk.decisions import DecisionLog
from credit_risk.registry import PRODUCTION, NoSuchVersion, Registry, RegistryUnavailable, Version

logger = logging.getLogger(__name__)

APPROVAL = "approval"
ROLLBACK = "rollback"
BEGUN = "begun"
GATE = "gate"
UNKNOWN = "unknown, moved in MLflow"


class Barred(ValueError):
    """Production's gate failed and nobody forced its approval, so that it must not decide; the message says how to."""


class Refused(ValueError):
    """The version may not, or cannot, become Production; the message says why."""


@dataclass(frozen=True)
class Approval:
    """One decision on Production; `time` and `digest` are None where the alias was moved in MLflow.

    `gate` is what the version's gate had said by then, `passed` or `failed`; None where nothing is known.
    """

    version: str
    by: str
    reason: str
    kind: str
    time: datetime | None = None
    digest: str | None = None
    forced: bool = False
    gate: str | None = None

    @property
    def words(self) -> str:
        """The decision on one line."""
        when = f", {self.time:%d %b %Y, %H:%M} UTC" if self.time else ""
        how = " (forced)" if self.forced else ""
        return f"{self.kind} of version {self.version} by {self.by}{how}{when}: {self.reason}"


def approve(
    registry: Registry, log: DecisionLog, version: str, by: str, reason: str, *, forced: bool = False
) -> Approval:
    """Make a version Production.

    Raises
    ------
    Refused
        When no name or reason is given, when it is Production already, when its gate failed and `forced` is not set,
        when its stored scorer is not the one that was registered, or when another decision came at the same time and
        stands.
    NoSuchVersion
        When there is no such version, or it is deleted at that moment; then nothing changes.
    """
    if not by.strip() or not reason.strip():
        raise Refused("an approval needs a name (BY) and a reason (REASON)")
    found = registry.version(version)
    why = _gate_failed(found, log)
    if why and not forced:
        raise Refused(f"version {version} failed its gate: {why}. FORCE=1 approves it all the same")
    if registry.digest(version) != found.digest:
        raise Refused(f"version {version}'s stored scorer is not the one that was registered")
    now = current(registry, log)
    # One that was not forced does not help a version whose gate is failed by now.
    if now is not None and (now.version, now.digest) == (version, found.digest) and (now.forced or not why):
        raise Refused(f"version {version} is Production already, approved by {now.by}")
    gate = "failed" if why else found.tags.get("gate")
    return _decide(
        registry, log, Approval(version, by.strip(), reason.strip(), APPROVAL, None, found.digest, forced, gate)
    )


def rollback(registry: Registry, log: DecisionLog, by: str, reason: str) -> Approval:
    """Make the version Production that was so before the present one.

    Raises
    ------
    Refused
        When there is none, its stored scorer has changed, or its gate is failed and its approval was not forced.
    """
    if not by.strip() or not reason.strip():
        raise Refused("a rollback needs a name (BY) and a reason (REASON)")
    present = registry.alias(PRODUCTION)
    before: list[dict[str, Any]] = []
    for event in _events(log):
        if event["kind"] == ROLLBACK:
            while before and before[-1]["key"] != event["key"]:
                before.pop()
        else:
            before.append(event)
    while before and before[-1]["key"] == present:
        before.pop()
    if not before:
        raise Refused("no version was approved before the present one")
    earlier = _approval(before[-1])
    version = earlier.version
    if registry.digest(version) != earlier.digest:
        raise Refused(f"version {version}'s stored scorer is not the one that was approved")
    if not earlier.forced and (why := _gate_failed(registry.version(version), log)):
        raise Refused(f"version {version} failed its gate: {why}. An approval with FORCE=1 makes it Production")
    # Whoever forced its approval did so for whenever it is Production.
    return _decide(registry, log, replace(earlier, by=by.strip(), reason=reason.strip(), kind=ROLLBACK))


def current(registry: Registry, log: DecisionLog) -> Approval | None:
    """Return the decision behind the present Production version, or None when there is no such version."""
    version = registry.alias(PRODUCTION)
    if version is None:
        return None
    events = _events(log)
    if events and events[-1]["key"] == version:
        return _approval(events[-1])
    return Approval(version, UNKNOWN, "", APPROVAL)


def admitted(registry: Registry, log: DecisionLog) -> Approval | None:
    """Return what `current` does, once it may decide.

    Raises
    ------
    Barred
        When its gate failed and its approval, if there is one at all, was not forced: somebody moved the alias.
    """
    approval = current(registry, log)
    if approval is None or approval.forced:
        return approval
    if why := _gate_failed(registry.version(approval.version), log):
        raise Barred(
            f"Version {approval.version} does not decide, for its gate failed: {why}. "
            f"make approve VERSION={approval.version} FORCE=1 BY=... REASON=... would have it decide all the same"
        )
    return approval


def approvals(registry: Registry, log: DecisionLog) -> list[Approval]:
    """Return all decisions in order; a last one without author where the alias was moved in MLflow since."""
    listed = [_approval(event) for event in _events(log)]
    now = current(registry, log)
    return listed if now is None or now.by != UNKNOWN else [*listed, now]


def _gate_failed(version: Version, log: DecisionLog) -> str:
    """Return why a version's gate failed; empty where it did not."""
    if version.tags.get("gate") == "failed":
        return version.tags.get("gate_reasons", "see its run in MLflow")
    # Anybody can edit a tag in MLflow's page; nobody can edit the log.
    decided = [event for event in _events(log) if event["key"] == version.number]
    for event in log.events(GATE, version.number) + decided:
        if (event["digest"], event.get("gate")) == (version.digest, "failed"):
            why = event.get("gate_reasons") or f"so it had when {event['by']} decided on it"
            return f"{why}, and its tag was edited since"
    return ""


def record_gate(log: DecisionLog, version: Version) -> None:
    """Write down what a version's gate said when it was registered; its tags may be edited later."""
    gate = {name: version.tags[name] for name in ("gate", "gate_reasons")}
    log.append_event(GATE, version.number, digest=version.digest, **gate)


def _events(log: DecisionLog) -> list[dict[str, Any]]:
    """Return the decisions that took effect, in order."""
    return sorted(log.events(APPROVAL) + log.events(ROLLBACK), key=lambda event: int(event["_id"]))


def _approval(event: dict[str, Any]) -> Approval:
    return Approval(
        event["key"],
        event["by"],
        event["reason"],
        event["kind"],
        datetime.fromisoformat(event["time"]),
        event["digest"],
        event["forced"],
        event.get("gate"),
    )


def _decide(registry: Registry, log: DecisionLog, wanted: Approval) -> Approval:
    version = wanted.version
    fields = {name: getattr(wanted, name) for name in ("by", "reason", "digest", "forced", "gate")}
    log.append_event(BEGUN, version, decision=wanted.kind, **fields)
    try:
        registry.set_alias(PRODUCTION, version)
    except NoSuchVersion:
        raise NoSuchVersion(f"version {version} was deleted meanwhile; Production stays as it was") from None
    event = log.append_event(wanted.kind, version, **fields)
    # Of two decisions at once the later one in the log stands, whoever moved the alias last.
    while (last := _events(log)[-1])["key"] != registry.alias(PRODUCTION):
        registry.set_alias(PRODUCTION, last["key"])
    if last["_id"] != event["_id"]:
        raise Refused(f"version {last['key']} was decided on at the same time, by {last['by']}, and is Production")
    made = _approval(event)
    try:
        registry.sign(version, f"{made.words}.")
    except (NoSuchVersion, RegistryUnavailable) as error:
        # The log is what counts; the card repeats it for whoever looks at the run.
        logger.warning("the model card of version %s does not tell of it: %s", version, error)
    return made
