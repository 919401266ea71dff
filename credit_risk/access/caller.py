"""The caller: who sends a request, or runs a command.

A clerk, the holder of a key, Prometheus, a person at the console, or anybody where no name is asked
for.
"""

import getpass
import os
from dataclasses import dataclass
from typing import Literal

from credit_risk.access.roles import NOBODY, Rights


@dataclass(frozen=True)
class Caller:
    """Who sends a request, or runs a command.

    Attributes
    ----------
    name : str
        The name of the user or key; empty where nobody has to identify themselves.
    kind : str
        `user`: a verified token or a trusted proxy names them; `key`: they have an API key;
        `scrape`: Prometheus, at `/metrics`; `open`: nobody has to identify themselves;
        `command line`: a person at the console.
    rights : Rights
        What they may do.
    branch : str or None
        The branch that the user's token names.
    is_proven : bool
        Whether an issuer's signature proves the name, so that approvals may rest on it.
    """

    name: str = ""
    kind: Literal["open", "user", "key", "scrape", "command line"] = "open"
    rights: Rights = NOBODY
    branch: str | None = None
    is_proven: bool = False

    def __str__(self) -> str:
        """Return the text that the decision log stores: `key: branch-12`."""
        return f"{self.kind}: {self.name}" if self.name else self.kind


def at_console() -> Caller:
    """Return the caller who runs this process: the user of the operating system."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user id may have no name
        name = str(os.getuid())
    return Caller(name, "command line")
