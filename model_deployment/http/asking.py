"""The caller of the request under way, for everything that answers it within Flask."""

from flask import request

from credit_risk.access.access_log import Entry
from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import DecisionLog

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


def own(log: DecisionLog) -> DecisionLog:
    """Return the log as the caller may read it.

    The holder of a key sees only the decisions of that key.
    """
    caller = asking()
    return log.of(str(caller)) if caller.kind == "key" else log


def user() -> str | None:
    """Return the user whom a proxy names; where it is None, the page asks for a name."""
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
