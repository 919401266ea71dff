"""What there is to decide on: each version, how far it has come, and what it still takes."""

from dataclasses import dataclass
from datetime import datetime

from credit_risk.access.caller import Caller
from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import APPROVAL, ROLLBACK, Approval, Notes
from credit_risk.registry.four_eyes import Review, person, review
from credit_risk.registry.in_force import gate_failure
from credit_risk.registry.registry import Registry
from credit_risk.registry.version import ALL_FILES, Version

# The newest versions are listed; anything older is looked up in MLflow.
MOST = 50
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Listed:
    """A version in the list.

    Attributes
    ----------
    digest : str
        The first digits of the digest that was noted; empty where none was.
    is_known : bool
        Whether there is a note on it; without one it has to be adopted.
    gate : str or None
        `passed`, `failed`, or None where it is unknown.
    failure : str
        Why its gate failed; empty where it did not.
    decides : bool
        Whether it is Production.
    review : Review
    missing : str
        What it takes to become Production; empty where it is. One that somebody made so past this
        service still takes what it would have taken.
    """

    number: str
    registered: datetime
    digest: str
    is_known: bool
    gate: str | None
    failure: str
    decides: bool
    review: Review
    missing: str

    def may_be_proposed(self, caller: Caller) -> bool:
        """Return whether a caller can propose it now."""
        return (
            _may(caller, "propose")
            and self.is_known
            and self.missing != ""
            and person(caller.name) not in {person(p.by) for p in self.review.proposals}
        )

    def may_be_approved(self, caller: Caller) -> bool:
        """Return whether a caller can approve it now."""
        barred = self.review.why_barred(caller.name, forced=bool(self.failure))
        return _may(caller, "approve") and self.is_known and self.missing != "" and not barred

    def may_be_adopted(self, caller: Caller) -> bool:
        """Return whether a caller can adopt it now."""
        return _may(caller, "propose") and not self.is_known


@dataclass(frozen=True)
class Overview:
    """All that the page shows.

    Attributes
    ----------
    versions : list of Listed
        The newest first.
    history : list of Approval
        All decisions and the steps towards them, the newest first.
    """

    versions: list[Listed]
    history: list[Approval]

    @property
    def deciding(self) -> Approval | None:
        """The decision that is in force."""
        return next((d for d in self.history if d.kind in (APPROVAL, ROLLBACK)), None)

    def may_roll_back(self, caller: Caller) -> bool:
        """Return whether a caller can make an earlier version Production again."""
        decided = {d.version for d in self.history if d.kind in (APPROVAL, ROLLBACK)}
        return _may(caller, "approve") and len(decided) > 1

    @staticmethod
    def may_train(caller: Caller) -> bool:
        """Return whether a caller can start a training."""
        return _may(caller, "train")


def overview(registry: Registry, log: DecisionLog, *, needs_two: bool) -> Overview:
    """Read registry and log.

    Raises
    ------
    RegistryUnavailable, LogUnavailable
    """
    notes = Notes(log)
    read = Overview([], notes.history[::-1])
    versions = registry.versions()[:MOST]
    listed = [_listed(version, notes, read.deciding, needs_two) for version in versions]
    return Overview(listed, read.history)


def _listed(version: Version, notes: Notes, deciding: Approval | None, needs_two: bool) -> Listed:
    note = notes.on(version)
    digest = str(note["digest"]) if note else ""
    found = review(notes, version, digest)
    failure = gate_failure(version, note)
    in_force = (deciding.version, deciding.digest) if deciding else None
    decides = in_force == (version.number, digest)

    if decides and not (needs_two and deciding and deciding.break_glass):
        missing = ""
    elif note is None:
        missing = "to be looked at and adopted: training did not register it"
    else:
        missing = found.missing(forced=bool(failure)) if needs_two else "an approval"

    return Listed(
        version.number,
        version.created,
        digest.removeprefix(ALL_FILES)[:_SHOWN_DIGITS],
        note is not None,
        "failed" if failure else (note or {}).get("gate"),
        failure,
        decides,
        found if needs_two else Review(),
        missing,
    )


def _may(caller: Caller, permission: Permission) -> bool:
    return caller.is_proven and caller.rights.may(permission)
