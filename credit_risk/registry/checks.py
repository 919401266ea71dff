"""What is checked of a version before anybody decides on it."""

from typing import Any, NamedTuple

from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import Approval, note_on
from credit_risk.registry.errors import ApprovalRejected, DigestMismatch, OtherDataset
from credit_risk.registry.in_force import WHO_AND_WHY, gate_failure
from credit_risk.registry.registry import Registry
from credit_risk.registry.version import DATASET, Version, another
from credit_risk.schema.dataset_file import DEFAULT
from credit_risk.scoring.stored import ModelRefused


def refuse_other_dataset(registry: Registry, served: str) -> None:
    """Return where all versions are of the data set that the stack serves.

    Raises
    ------
    OtherDataset
        When one is not.
    RegistryUnavailable
        When MLflow cannot be reached.
    """
    for version in registry.versions():
        if why := another(version.tags.get(DATASET, DEFAULT), served):
            raise OtherDataset(f"version {version.number} is in the registry already; {why}")


class KnownVersion(NamedTuple):
    """A version that is stored as it was noted, and that the services accept.

    Attributes
    ----------
    gate : str or None
        What was noted of its gate.
    digest, reference : str
        Of all its files, and of its training data.
    failure : str
        Why its gate failed; empty where it did not.
    """

    version: Version
    gate: str | None
    digest: str
    reference: str
    failure: str

    def approval(self, kind: str, by: str, reason: str, caller: Caller | None) -> Approval:
        """Return an entry for the log about this version."""
        return Approval(
            self.version.number,
            by,
            reason,
            kind,
            self.digest,
            reference_digest=self.reference,
            gate="failed" if self.failure else self.gate,
            run_id=self.version.run_id,
            verified=is_verified(caller),
        )


def known_version(registry: Registry, log: DecisionLog, number: str) -> KnownVersion:
    """Return a version, once what is stored of it is compared with what was noted.

    Raises
    ------
    ApprovalRejected
        When there is no note on it, it is not what was noted, or the services would refuse it.
    NoSuchVersion
        When there is no such version.
    """
    found = registry.version(number)
    note = note_on(log, found)
    if note is None:
        raise ApprovalRejected(
            f"version {found.number} was registered by nobody we know: "
            f"make adopt VERSION={found.number} {WHO_AND_WHY} looks at it and adopts it"
        )
    digest, reference = _as_noted(registry, found.number, note)
    return KnownVersion(found, note.get("gate"), digest, reference, gate_failure(found, note))


def try_out(registry: Registry, version: str, digest: str, was: str) -> str:
    """Try a version out before it decides, and return the digest of all its files.

    Parameters
    ----------
    digest, was : str
        What its files must have, and since when: it was `registered` or `approved` with it.

    Raises
    ------
    ApprovalRejected
        When they are others, or the services would refuse them.
    """
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


def is_verified(caller: Caller | None) -> bool:
    """Return whether a token proves who the caller is."""
    return caller is not None and caller.is_proven


def _as_noted(registry: Registry, version: str, note: dict[str, Any]) -> tuple[str, str]:
    """Return a version's digest and that of its training data, if both are as they were noted."""
    digest = try_out(registry, version, note["digest"], "registered")
    reference = registry.reference_digest(version)
    if note.get("reference_digest") not in (None, reference):
        raise ApprovalRejected(
            f"what version {version} was trained on is stored otherwise than when it was registered"
        )

    return digest, reference
