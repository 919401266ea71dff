"""Four eyes: no one person makes a version Production.

A version that somebody proposed takes one approval, by somebody who has neither proposed it nor
started its training. One that nobody proposed, such as a scheduled training's, counts as proposed
by the service and takes the approvals of two people, and so does every forced approval. What counts
is what a token proved, of this very version: its number, its run and its digest. Once a version was
decided on, all of it is used up.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from credit_risk.registry.approval_log import (
    ADOPTED,
    APPROVAL,
    FIRST_APPROVAL,
    PROPOSAL,
    ROLLBACK,
    Approval,
    Notes,
)
from credit_risk.registry.errors import ApprovalRejected
from credit_risk.registry.version import Version
from credit_risk.texts import one_line

_PROPOSED = (PROPOSAL, ADOPTED)


def person(name: str) -> str:
    """Return a name in one spelling: two that differ in case or blanks are one person's."""
    return unicodedata.normalize("NFKC", one_line(name)).casefold()


@dataclass(frozen=True)
class Review:
    """How far a version has come on its way to Production.

    Attributes
    ----------
    trained_by : tuple of str
        Who started its training; empty where nobody did, as for a scheduled one.
    involved : tuple of str
        Those, and whoever ever proposed or adopted it: none of them may approve it.
    proposals, approvals : tuple of Approval
        The proposals and the first approvals that count now.
    """

    trained_by: tuple[str, ...] = ()
    involved: tuple[str, ...] = ()
    proposals: tuple[Approval, ...] = ()
    approvals: tuple[Approval, ...] = ()

    def why_barred(self, name: str, *, forced: bool = False) -> str:
        """Return why somebody may not approve the version; empty where they may."""
        if _is_among(name, self.trained_by):
            return f"{name} started its training"
        if _is_among(name, self.involved):
            return f"{name} proposed it"
        if _is_among(name, (first.by for first in self.standing(forced=forced))):
            return f"{name} has approved it already"
        return ""

    def standing(self, *, forced: bool) -> tuple[Approval, ...]:
        """Return the first approvals that count; a forced one takes those that are forced too."""
        return tuple(first for first in self.approvals if first.forced or not forced)

    def needed(self, *, forced: bool) -> int:
        """Return how many people have to approve it, those who have included."""
        return 1 if self.proposals and not forced else 2

    def missing(self, *, forced: bool) -> str:
        """Return what it takes for the version to become Production, for people."""
        standing = [first.by for first in self.standing(forced=forced)]
        others = dict.fromkeys(map(person, (*self.involved, *standing)))
        if standing:
            what = "a second approval"
        elif self.needed(forced=forced) == 1:
            what = "an approval"
        else:
            what = "the approvals of two people"
        return f"{what}, by others than {' and '.join(others)}" if others else what


def review(notes: Notes, version: Version, digest: str) -> Review:
    """Return how far a version with that digest has come."""
    trained_by = notes.trainers(version)
    # Entries from before they named the run count for any.
    entries = [
        entry
        for entry in notes.history
        if entry.version == version.number and entry.run_id in (None, version.run_id)
    ]
    proposed_by = [entry.by for entry in entries if entry.kind in _PROPOSED]
    involved = tuple(dict.fromkeys((*trained_by, *proposed_by)))

    decided = [at for at, entry in enumerate(entries) if entry.kind in (APPROVAL, ROLLBACK)]
    pending = entries[decided[-1] + 1 :] if decided else entries
    counted = [entry for entry in pending if entry.verified and entry.digest == digest]

    return Review(
        tuple(trained_by),
        involved,
        tuple(entry for entry in counted if entry.kind in _PROPOSED),
        tuple(
            entry
            for entry in counted
            if entry.kind == FIRST_APPROVAL and not _is_among(entry.by, involved)
        ),
    )


def next_step(notes: Notes, version: Version, wanted: Approval, *, gate_failed: bool) -> Approval:
    """Return what an approval amounts to: the decision, or the first of two approvals.

    Raises
    ------
    ApprovalRejected
        When it takes somebody else.
    """
    if not wanted.verified:
        raise ApprovalRejected("a version is approved by somebody whose token says who they are")

    found = review(notes, version, wanted.digest)
    if why := found.why_barred(wanted.by, forced=gate_failed):
        missing = found.missing(forced=gate_failed)
        raise ApprovalRejected(f"{why}. Version {version.number} needs {missing}")

    approved_by = len(found.standing(forced=gate_failed)) + 1
    if approved_by >= found.needed(forced=gate_failed):
        return wanted
    return replace(wanted, kind=FIRST_APPROVAL)


def _is_among(name: str, names: Iterable[str]) -> bool:
    return person(name) in map(person, names)
