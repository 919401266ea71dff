"""Who asks the request under way, for whatever answers it within Flask."""

from flask import request

from credit_risk.access.access_log import Entry
from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import DecisionLog

# Where the server leaves who asks, and takes what the access log says about it, for all that is behind it.
CALLER = "credit_risk.caller"
ENTRY = "credit_risk.entry"
# Where the files of a form are that came in, and the file goes that is the answer's body (see `site`).
FILES = "credit_risk.files"
RESULT = "credit_risk.result"


def asking() -> Caller:
    """Return who asks."""
    caller: Caller = request.environ[CALLER]
    return caller


def own(log: DecisionLog) -> DecisionLog:
    """Return the log as whoever asks may read it: a key's holder sees what that key had decided, and no more."""
    caller = asking()
    return log.of(str(caller)) if caller.kind == "key" else log


def user() -> str | None:
    """Return the user whom a proxy names; None where nobody does, and a name is asked for."""
    caller = asking()
    return caller.name if caller.kind == "user" else None


def note(what: str, id: str | None = None, status: int | None = None) -> None:
    """Have the access log say what the request under way does, and to which batch, decision or upload."""
    entry: Entry = request.environ[ENTRY]
    entry.what, entry.id, entry.status = what, id, status
