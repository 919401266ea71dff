"""The commands that decide on versions: approve, roll back, adopt.

Training notes in the log what it registers, with its digest. A version without such a note, or with
another digest, cannot be approved.
"""

import logging
from dataclasses import replace
from typing import Any

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import (
    ADOPTED,
    APPROVAL,
    ROLLBACK,
    Approval,
    append,
    decisions,
    note_on,
)
from credit_risk.registry.errors import DigestMismatch, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.in_force import WHO_AND_WHY, gate_failure, named
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.scoring.stored import ModelRefused
from credit_risk.texts import one_line

logger = logging.getLogger(__name__)


class ApprovalRejected(ValueError):
    """The version may not, or cannot, become Production; the message says why."""


def approve(
    registry: Registry,
    log: DecisionLog,
    version: str,
    by: str,
    reason: str,
    *,
    forced: bool = False,
) -> Approval:
    """Make a version Production.

    If it is Production already and the alias is astray, the alias is set again.

    Raises
    ------
    ApprovalRejected
        When no name or reason is given, when there is no note on the version or it is not what was
        noted, when the services would refuse it, when it is Production already, when its gate
        failed and `forced` is not set, or when another decision was made at the same time and
        stands.
    NoSuchVersion
        When there is no such version; then nothing changes.
    """
    by, reason = _signed("an approval", by, reason)
    found = registry.version(version)
    version = found.number

    note = note_on(log, found)
    if note is None:
        raise ApprovalRejected(
            f"version {version} was registered by nobody we know: "
            f"make adopt VERSION={version} {WHO_AND_WHY} looks at it and adopts it"
        )
    digest, reference = _as_noted(registry, version, note)

    failure = gate_failure(found, note)
    if failure and not forced:
        raise ApprovalRejected(
            f"version {version} failed its gate: {failure}. FORCE=1 approves it all the same"
        )

    now = named(registry, log)
    standing = now.approval
    if standing and (standing.version, standing.digest) == (version, digest):
        # An approval that was not forced does not cover a gate that failed since.
        covered = standing.forced or not failure
        if covered and now.astray:
            _move_alias(registry, standing)
            return standing
        if covered:
            approver = one_line(standing.by)
            raise ApprovalRejected(
                f"version {version} is Production already, approved by {approver}"
            )

    wanted = Approval(
        version,
        by,
        reason,
        APPROVAL,
        digest,
        reference_digest=reference,
        forced=forced,
        gate="failed" if failure else note.get("gate"),
        run_id=found.run_id,
    )
    return _decide(registry, log, wanted)


def rollback(registry: Registry, log: DecisionLog, by: str, reason: str) -> Approval:
    """Make the version Production that was so before the present one.

    Raises
    ------
    ApprovalRejected
        When no name or reason is given, when there is no earlier version, when its stored files
        have changed or the services would refuse it, or when its gate failed and its approval was
        not forced.
    """
    by, reason = _signed("a rollback", by, reason)
    earlier = _before_present(decisions(log))
    if earlier is None:
        raise ApprovalRejected("no version was approved before the present one")

    version = earlier.version
    _try_out(registry, version, earlier.digest, "approved")
    if earlier.gate == "failed" and not earlier.forced:
        raise ApprovalRejected(
            f"version {version} failed its gate. An approval with FORCE=1 makes it Production"
        )

    # A forced approval stays forced: the new decision keeps the field.
    return _decide(registry, log, replace(earlier, by=by, reason=reason, kind=ROLLBACK, time=None))


def adopt(registry: Registry, log: DecisionLog, version: str, by: str, reason: str) -> Approval:
    """Note the files of a version that training has not registered, so that it can be approved.

    Raises
    ------
    ApprovalRejected
        When no name or reason is given, or there is a note on it already.
    NoSuchVersion
        When there is no such version.
    ModelRefused
        When its scorer is not one of ours.
    """
    by, reason = _signed("an adoption", by, reason)
    found = registry.version(version)
    version = found.number

    if note := note_on(log, found):
        whose = f"by {one_line(note['by'])}" if "by" in note else "by training"
        raise ApprovalRejected(
            f"version {version} is known: it was noted {whose}. Approve it, or register another"
        )

    adopted = Approval(
        version,
        by,
        reason,
        ADOPTED,
        digest=registry.try_out(version),
        reference_digest=registry.reference_digest(version),
        gate=found.tags.get("gate"),
        run_id=found.run_id,
    )
    return append(log, adopted)


def _signed(what: str, by: str, reason: str) -> tuple[str, str]:
    by, reason = one_line(by), one_line(reason)
    if not by or not reason:
        raise ApprovalRejected(f"{what} needs a name (BY) and a reason (REASON)")

    return by, reason


def _before_present(decided: list[Approval]) -> Approval | None:
    """Return the decision for the version that was Production before the present one."""
    stack: list[Approval] = []
    for decision in decided:
        if decision.kind == ROLLBACK:
            while stack and stack[-1].version != decision.version:
                stack.pop()
        else:
            stack.append(decision)

    present = stack[-1].version if stack else None
    while stack and stack[-1].version == present:
        stack.pop()

    return stack[-1] if stack else None


def _as_noted(registry: Registry, version: str, note: dict[str, Any]) -> tuple[str, str]:
    """Return a version's digest and that of its training data, if both are as they were noted."""
    digest = _try_out(registry, version, note["digest"], "registered")
    reference = registry.reference_digest(version)
    if note.get("reference_digest") not in (None, reference):
        raise ApprovalRejected(
            f"what version {version} was trained on is stored otherwise than when it was registered"
        )

    return digest, reference


def _try_out(registry: Registry, version: str, digest: str, was: str) -> str:
    """Try a version out before it decides, and return the digest of all its files."""
    try:
        return registry.try_out(version, digest)
    except DigestMismatch:
        raise ApprovalRejected(
            f"version {version}'s stored scorer is not the one that was {was}"
        ) from None
    except ModelRefused as error:
        raise ApprovalRejected(
            f"version {version} would be refused by the services: {error}"
        ) from None


def _decide(registry: Registry, log: DecisionLog, wanted: Approval) -> Approval:
    """Write a decision to the log, move the alias after it, and sign the model card."""
    made = append(log, wanted)

    # When two decisions are made at once, the later one in the log stands, whoever moved the alias
    # last.
    while True:
        last = decisions(log)[-1]
        _move_alias(registry, last)
        if decisions(log)[-1] == last:
            break

    if last != made:
        raise ApprovalRejected(
            f"version {last.version} was decided on at the same time, "
            f"by {one_line(last.by)}, and is Production"
        )

    try:
        registry.sign(made.version, f"{made.summary}.")
    except (NoSuchVersion, ModelRefused, RegistryUnavailable) as error:
        # The log is what counts; the card repeats it for people who look at the run.
        logger.warning("the model card of version %s does not mention it: %s", made.version, error)

    return made


def _move_alias(registry: Registry, decided: Approval) -> None:
    """Move the alias to the version that was decided on.

    When that fails it is logged only: the decision counts without the alias.
    """
    try:
        registry.set_alias(PRODUCTION, decided.version)
    except (NoSuchVersion, RegistryUnavailable) as error:
        logger.warning(
            "version %s decides, but the alias in MLflow does not say so: %s. "
            "make approve VERSION=%s sets it again",
            decided.version,
            error,
            decided.version,
        )
