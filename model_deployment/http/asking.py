"""The caller of the request under way, for everything that answers it within Flask."""

from flask import request

from credit_risk.access.access_log import Entry
from credit_risk.access.caller import Caller
from credit_risk.access.policy import AccessDenied, AccessPolicy
from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import DecisionLog
from model_deployment.http.access import refused

# Keys of the environment: the caller, and the request's entry in the access log.
CALLER = "credit_risk.caller"
ENTRY = "credit_risk.entry"
# The files of a form that was received, and the file that is the answer's body (see `site`).
FILES = "credit_risk.files"
RESULT = "credit_risk.result"


def asking() -> Caller:
    """Return the caller."""
    caller: Caller = request.environ[CALLER]
    return caller


def own(log: DecisionLog, branch: str | None = None) -> DecisionLog:
    """Return the log as the caller may read it: all of it, their branch's, or their own decisions.

    Parameters
    ----------
    log : DecisionLog
    branch : str, optional
        The only branch that is wanted, for callers who may read all of it.
    """
    caller = asking()
    if caller.rights.scope == "all":
        return log.of(branch=branch) if branch else log
    if caller.rights.scope == "branch" and caller.branch:
        return log.of(branch=caller.branch)
    return log.of(str(caller))


def require(permission: Permission | None) -> None:
    """Refuse the request under way, unless its caller has a permission.

    Raises
    ------
    Problem
    """
    try:
        AccessPolicy.require(asking(), permission)
    except AccessDenied as denied:
        raise refused(denied, request.environ[ENTRY]) from None


def user() -> str | None:
    """Return the name of a user who has signed in; where it is None, the page asks for one."""
    caller = asking()
    return caller.name if caller.kind == "user" else None


def note(what: str, id: str | None = None, status: int | None = None) -> None:
    """Set what the access log says of the request under way.

    Parameters
    ----------
    what : str
        What the request does.
    id : str, optional
        The batch, decision or upload.
    status : int, optional
        The status to log, where it differs from the answer's.
    """
    entry: Entry = request.environ[ENTRY]
    entry.what, entry.id, entry.status = what, id, status
