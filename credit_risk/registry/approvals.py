"""Deciding on versions: propose, approve, roll back, adopt.

Training notes in the log what it registers, with its digest. A version without such a note, or with
another digest, cannot be approved. Where two people are needed, `four_eyes` says who they may be.
"""

import logging
from contextlib import suppress
from dataclasses import replace

from credit_risk.access.caller import Caller
from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import (
    ADOPTED,
    APPROVAL,
    FIRST_APPROVAL,
    PROPOSAL,
    ROLLBACK,
    Approval,
    Notes,
    append,
    decisions,
    note_on,
    open_collection,
)
from credit_risk.registry.checks import KnownVersion, is_verified, known_version, try_out
from credit_risk.registry.errors import ApprovalRejected, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.four_eyes import next_step, person, review
from credit_risk.registry.in_force import named
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.scoring.stored import ModelRefused
from credit_risk.texts import one_line

logger = logging.getLogger(__name__)


def propose(
    registry: Registry, log: DecisionLog, version: str, by: str, reason: str, caller: Caller
) -> Approval:
    """Propose a version as Production, for somebody else to approve.

    Raises
    ------
    ApprovalRejected
        When `approve` would reject the version whoever approved it, or the same person has proposed
        it already.
    NoSuchVersion
        When there is no such version.
    """
    by, reason = _signed("a proposal", by, reason)
    known = known_version(registry, log, version)
    wanted = known.approval(PROPOSAL, by, reason, caller)
    _refuse_standing(_standing(log, wanted))

    found = review(Notes(log, known.version.number), known.version, known.digest)
    if any(person(earlier.by) == person(by) for earlier in found.proposals):
        raise ApprovalRejected(f"{by} has proposed version {wanted.version} already")
    return append(log, wanted, caller)


def approve(
    registry: Registry,
    log: DecisionLog,
    version: str,
    by: str,
    reason: str,
    *,
    forced: bool = False,
    caller: Caller | None = None,
    needs_two: bool = False,
    break_glass: bool = False,
) -> Approval:
    """Make a version Production, or approve it as the first of two people.

    If it is Production already and the alias differs, the alias is set again.

    Parameters
    ----------
    caller : Caller, optional
        Who approves; without one, whoever runs this process.
    needs_two : bool
        Whether it takes two people (`four_eyes`).
    break_glass : bool
        Whether this goes past the approvals service.

    Returns
    -------
    Approval
        Of kind `first-approval` where somebody else has to approve the version too.

    Raises
    ------
    ApprovalRejected
        When no name or reason is given, when there is no note on the version or it is not what was
        noted, when the services would refuse it, when it is Production already, when its gate
        failed and `forced` is not set, when somebody else has to approve it, or when another
        decision was made at the same time and stands.
    NoSuchVersion
        When there is no such version; then nothing changes.
    """
    by, reason = _signed("an approval", by, reason)
    known = known_version(registry, log, version)
    if known.failure and not forced:
        raise ApprovalRejected(
            f"version {known.version.number} failed its gate: {known.failure}. "
            "FORCE=1 approves it all the same"
        )

    approval = known.approval(APPROVAL, by, reason, caller)
    is_forced = forced and bool(known.failure)
    wanted = replace(approval, forced=is_forced, break_glass=break_glass)
    if standing := _standing(log, wanted):
        if not named(registry, log).alias_mismatch:
            _refuse_standing(standing)
        _move_alias(registry, standing)
        return standing

    if not needs_two:
        return _put_in_force(registry, log, append(log, wanted, caller))
    made = _append_step(log, known, wanted, caller)
    return made if made.kind == FIRST_APPROVAL else _put_in_force(registry, log, made)


def rollback(
    registry: Registry,
    log: DecisionLog,
    by: str,
    reason: str,
    *,
    caller: Caller | None = None,
    break_glass: bool = False,
) -> Approval:
    """Make the version Production that was so before the present one.

    One person can, however many an approval takes: it has been approved, and there may be no time.

    Parameters
    ----------
    caller, break_glass
        As for `approve`.

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
    try_out(registry, version, earlier.digest, "approved")
    if earlier.gate == "failed" and not earlier.forced:
        raise ApprovalRejected(
            f"version {version} failed its gate. An approval with FORCE=1 makes it Production"
        )

    # A forced approval stays forced, and one that went past the service stays that.
    wanted = replace(
        earlier,
        by=by,
        reason=reason,
        kind=ROLLBACK,
        time=None,
        verified=is_verified(caller),
        break_glass=break_glass or earlier.break_glass,
    )
    return _put_in_force(registry, log, append(log, wanted, caller))


def adopt(
    registry: Registry,
    log: DecisionLog,
    version: str,
    by: str,
    reason: str,
    *,
    caller: Caller | None = None,
    break_glass: bool = False,
) -> Approval:
    """Note the files of a version that training has not registered, so that it can be approved.

    Parameters
    ----------
    caller, break_glass
        As for `approve`.

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
        verified=is_verified(caller),
        break_glass=break_glass,
    )
    return append(log, adopted, caller)


def _standing(log: DecisionLog, wanted: Approval) -> Approval | None:
    """Return the decision in force if it is for this version, and needs no new approval."""
    last = next(reversed(decisions(log)), None)
    if last is None or (last.version, last.digest) != (wanted.version, wanted.digest):
        return None
    # An approval that was not forced does not cover a gate that failed since. One that went past
    # the service can be made good.
    is_covered = last.forced or wanted.gate != "failed"
    is_made_good = last.break_glass and not wanted.break_glass
    return last if is_covered and not is_made_good else None


def _refuse_standing(standing: Approval | None) -> None:
    if standing:
        raise ApprovalRejected(
            f"version {standing.version} is Production already, approved by {one_line(standing.by)}"
        )


def _append_step(
    log: DecisionLog, known: KnownVersion, wanted: Approval, caller: Caller | None
) -> Approval:
    """Write an approval where two people are needed: the decision, or the first of two approvals.

    What others write meanwhile is looked at before anything is written.
    """
    open_collection(log)
    for _ in attempts():
        seen = log.last_approval()
        _refuse_standing(_standing(log, wanted))
        notes = Notes(log, wanted.version)
        step = next_step(notes, known.version, wanted, gate_failed=bool(known.failure))
        with suppress(Conflict):
            return append(log, step, caller, seen)
    raise AssertionError("the attempts end with an error")


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


def _put_in_force(registry: Registry, log: DecisionLog, made: Approval) -> Approval:
    """Move the alias after a decision in the log, and sign the model card."""
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
