"""What can be done here, by the API and by the page alike."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints

from credit_risk.access.caller import Caller
from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry import approvals
from credit_risk.registry.approval_log import FIRST_APPROVAL, Approval, Notes
from credit_risk.registry.errors import ApprovalRejected
from credit_risk.registry.four_eyes import person, review
from credit_risk.registry.registry import Registry
from credit_risk.settings import Settings
from model_deployment.approvals.training import Trainings

MAX_REASON = 500


class Wanted(BaseModel):
    """What every action takes: why, and optionally by whom, which has to be the caller."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON)
    ]
    by: str | None = None


class OfVersion(Wanted):
    """The same about a version."""

    version: Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,8}$")]


class WantedApproval(OfVersion):
    """An approval; one that is forced is given although the version's gate failed."""

    forced: bool = False


class WantedTraining(Wanted):
    """A training; a fresh one brings the training data up to date first."""

    fresh: bool = False


class Done(NamedTuple):
    """What came of an action.

    Attributes
    ----------
    word : str
        The kind of entry that is in the log now.
    message : str
        For people.
    members : dict
        For programs.
    """

    word: str
    message: str
    members: dict[str, Any]


class Action(NamedTuple):
    """One thing that a person can do.

    Attributes
    ----------
    name, route : str
        Its last part of the address, of the page's form and of the API.
    permission : str
        What the caller needs to have.
    takes : type
        The model of what it takes.
    """

    name: str
    route: str
    permission: Permission
    takes: type[Wanted]


PROPOSE = Action("propose", "proposals", "propose", OfVersion)
APPROVE = Action("approve", "approvals", "approve", WantedApproval)
ROLL_BACK = Action("rollback", "rollbacks", "approve", Wanted)
ADOPT = Action("adopt", "adoptions", "propose", OfVersion)
TRAIN = Action("train", "trainings", "train", WantedTraining)
ACTIONS = (PROPOSE, APPROVE, ROLL_BACK, ADOPT, TRAIN)


class Desk:
    """Carries actions out.

    Parameters
    ----------
    registry : Registry
    log : DecisionLog
    trainings : Trainings
    needs_two : bool
        Whether it takes two people to approve a version.
    """

    def __init__(
        self, registry: Registry, log: DecisionLog, trainings: Trainings, *, needs_two: bool
    ) -> None:
        self.registry = registry
        self.log = log
        self.needs_two = needs_two
        self._trainings = trainings
        self._ways: dict[str, Callable[[Caller, Any], Done]] = {
            PROPOSE.name: self._propose,
            APPROVE.name: self._approve,
            ROLL_BACK.name: self._roll_back,
            ADOPT.name: self._adopt,
            TRAIN.name: self._train,
        }

    def do(self, action: Action, caller: Caller, wanted: Wanted) -> Done:
        """Carry an action out for a caller who may.

        Raises
        ------
        ApprovalRejected, NoSuchVersion, ModelRefused
            When it cannot be done.
        RegistryUnavailable, LogUnavailable, PrefectUnavailable
        """
        if wanted.by is not None and person(wanted.by) != person(caller.name):
            raise ApprovalRejected(
                f"you have signed in as {caller.name}, so it cannot be by anybody else (BY)"
            )
        return self._ways[action.name](caller, wanted)

    def _propose(self, caller: Caller, wanted: OfVersion) -> Done:
        made = approvals.propose(
            self.registry, self.log, wanted.version, caller.name, wanted.reason, caller
        )
        return _done(made, f"version {made.version} is proposed; it needs {self._missing(made)}")

    def _approve(self, caller: Caller, wanted: WantedApproval) -> Done:
        made = approvals.approve(
            self.registry,
            self.log,
            wanted.version,
            caller.name,
            wanted.reason,
            forced=wanted.forced,
            caller=caller,
            needs_two=self.needs_two,
        )
        if made.kind == FIRST_APPROVAL:
            missing = self._missing(made)
            return _done(made, f"noted; version {made.version} still needs {missing}")
        return _done(made, f"version {made.version} is Production, approved by {made.by}")

    def _roll_back(self, caller: Caller, wanted: Wanted) -> Done:
        made = approvals.rollback(
            self.registry, self.log, caller.name, wanted.reason, caller=caller
        )
        return _done(made, f"version {made.version} is Production again, by {made.by}")

    def _adopt(self, caller: Caller, wanted: OfVersion) -> Done:
        made = approvals.adopt(
            self.registry, self.log, wanted.version, caller.name, wanted.reason, caller=caller
        )
        return _done(made, f"version {made.version} is adopted; it needs {self._missing(made)}")

    def _train(self, caller: Caller, wanted: WantedTraining) -> Done:
        run = self._trainings.start(caller, wanted.reason, fresh=wanted.fresh)
        return Done("training", f"a training was started, flow run {run}", {"flow_run": run})

    def _missing(self, made: Approval) -> str:
        """Return what the version of an entry still takes."""
        if not self.needs_two:
            return "an approval"
        version = self.registry.version(made.version)
        found = review(Notes(self.log, made.version), version, made.digest)
        return found.missing(forced=made.gate == "failed")


def open_desk(registry: Registry, log: DecisionLog, settings: Settings) -> Desk:
    """Return the desk of a stack."""
    return Desk(registry, log, Trainings(settings, log), needs_two=settings.needs_two)


def _done(made: Approval, message: str) -> Done:
    members = {
        "kind": made.kind,
        "version": made.version,
        "by": made.by,
        "reason": made.reason,
        "time": made.time.isoformat() if made.time else None,
        "digest": made.digest,
        "forced": made.forced,
    }
    return Done(made.kind, message, members)
