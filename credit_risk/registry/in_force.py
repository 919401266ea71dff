"""Which version decides: the one that the last approval or rollback names, with its digest.

A decision counts as soon as it is in the log. MLflow's alias `production` is moved after it, for
people who look there. When somebody else moves it, nothing changes, unless a setting says that the
alias is followed.
"""

from dataclasses import dataclass, replace
from typing import Any

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import APPROVAL, Approval, decisions, note_on
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.registry.registry import PRODUCTION, Registry
from credit_risk.registry.version import Version
from credit_risk.texts import one_line

UNKNOWN = "unknown, moved in MLflow"
# Arguments of the commands that the messages name.
WHO_AND_WHY = 'BY="name" REASON="why"'


@dataclass(frozen=True)
class InForce:
    """Which version decides, why it may be refused, and whether MLflow's alias agrees.

    Attributes
    ----------
    approval : Approval or None
        The decision that is in force; None where no version decides.
    alias_mismatch : str or None
        Why the alias does not decide. Empty where it agrees, None where MLflow does not answer.
    refused : str
        Why the services refuse the version that is to decide; empty where they accept it.
    alias_refused : bool
        Whether they would refuse the version of the alias.
    """

    approval: Approval | None
    alias_mismatch: str | None = ""
    refused: str = ""
    alias_refused: bool = False

    @property
    def keeps_serving(self) -> bool:
        """Whether each service keeps the version that it has, since there is no other to load."""
        return bool(self.refused) or (self.approval is None and self.alias_refused)


def in_force(registry: Registry, log: DecisionLog, *, follow_alias: bool = False) -> InForce:
    """Return which version decides, and whether it can. All services take the answer from here.

    Parameters
    ----------
    registry : Registry
        Asked where its alias points. Without `follow_alias` it may be down, and nothing in it
        changes which version decides.
    log : DecisionLog
        Where the decisions are.
    follow_alias : bool
        Whether an alias that was moved in MLflow decides, unless the version's gate failed or the
        version is refused.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    RegistryUnavailable, NoSuchVersion
        When the alias is to be followed, and MLflow does not answer or its version is deleted at
        that moment.
    """
    now = named(registry, log, follow_alias)
    approval = now.approval
    if approval is None or now.alias_mismatch is None:
        return now

    try:
        why = registry.why_refused(approval.version, approval.digest)
    except RegistryUnavailable:
        if follow_alias:
            raise
        return replace(now, alias_mismatch=None)

    return replace(now, refused=_refused(why))


def approved(registry: Registry, log: DecisionLog) -> InForce:
    """Return what `in_force` does without asking MLflow where its alias points.

    Of a version in the registry's cache nothing is asked of MLflow at all.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    RegistryUnavailable
        When the version is not in the cache, and MLflow does not answer.
    """
    decided = decisions(log)
    if not decided:
        return InForce(None)

    last = decided[-1]
    why = registry.why_refused(last.version, last.digest)
    return InForce(last, refused=_refused(why))


def named(registry: Registry, log: DecisionLog, follow_alias: bool = False) -> InForce:
    """Return which version is to decide, whether or not it can; see `in_force`."""
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
        return _mismatched(registry, log, alias, approval)
    if alias is None:
        return InForce(None)

    return _followed(registry, log, alias, approval)


def _refused(why: str) -> str:
    return f"The Production version was refused: {why}" if why else ""


def gate_failure(version: Version, note: dict[str, Any] | None) -> str:
    """Return why a version's gate failed; empty where it did not."""
    if version.tags.get("gate") == "failed":
        return version.tags.get("gate_reasons", "see its run in MLflow")

    # Anybody can edit a tag on MLflow's page; nobody can edit the log.
    if note and note.get("gate") == "failed":
        by = one_line(note.get("by", "training"))
        why = note.get("gate_reasons") or f"so it had when {by} decided on it"
        return f"{why}, and its tag was edited since"

    return ""


def _followed(
    registry: Registry, log: DecisionLog, alias: str, approval: Approval | None
) -> InForce:
    """Return what decides when an alias that was moved is followed."""
    version = registry.version(alias)
    note = note_on(log, version)

    if why := gate_failure(version, note):
        barred = (
            f"Version {alias} does not decide, for its gate failed: {why}. "
            f"make approve VERSION={alias} FORCE=1 {WHO_AND_WHY} would have it decide all the same"
        )
        return InForce(approval, barred)

    digest = _noted_digest(version, note)
    if why := registry.why_refused(alias, digest):
        commands = f"To have it decide: {_commands(alias, note)}"
        refused = f"The alias's version was refused: {why}. {commands}"
        return InForce(approval, refused, alias_refused=True)

    return InForce(Approval(alias, UNKNOWN, "", APPROVAL, digest))


def _mismatched(
    registry: Registry, log: DecisionLog, alias: str | None, approval: Approval | None
) -> InForce:
    """Return what decides when the alias points elsewhere and is not followed."""
    commands = no_digest = ""
    if alias:
        try:
            version = registry.version(alias)
            note = note_on(log, version)
            if not _noted_digest(version, note):
                no_digest = ", which was registered without a digest"
        except (NoSuchVersion, RegistryUnavailable):
            note = {}  # `make approve` will say what is wrong with it
        commands = f"To have version {alias} decide: {_commands(alias, note)}"
    alias_refused = bool(no_digest)

    if approval is None:
        subject = f"Version {alias}{no_digest}," if no_digest else f"Version {alias}"
        said = (
            f"{subject} has the alias {PRODUCTION} in MLflow, "
            "but nobody has approved it, and only that counts"
        )
        follow = "" if no_digest else "; or FOLLOW_ALIAS=true"
        return InForce(None, f"{said}. {commands}{follow}", alias_refused=alias_refused)

    where = f"points at version {alias}{no_digest}" if alias else "was removed"
    last = f"the last decision in the log, {one_line(approval.by)}'s"
    said = (
        f"The alias {PRODUCTION} in MLflow {where}, "
        f"but {last}, says version {approval.version}, and only that counts"
    )
    back = f"To set the alias again: make approve VERSION={approval.version} {WHO_AND_WHY}"
    mismatch = ". ".join(filter(None, (said, commands, back)))

    return InForce(approval, mismatch, alias_refused=alias_refused)


def _noted_digest(version: Version, note: dict[str, Any] | None) -> str:
    """Return the digest that a version was registered or adopted with; empty where it has none."""
    return version.digest or str((note or {}).get("digest", ""))


def _commands(alias: str, note: dict[str, Any] | None) -> str:
    """Return the commands after which the version of an alias decides."""
    approving = f"make approve VERSION={alias} {WHO_AND_WHY}"
    if note is not None:
        return approving

    return f"make adopt VERSION={alias} {WHO_AND_WHY}, then {approving}"
