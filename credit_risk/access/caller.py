"""Who asks: a clerk, the holder of a key, Prometheus, a person at the console, or nobody who had to be named."""

import getpass
import os
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    name : str
        Of the user or key; empty where nobody has to say who they are.
    kind : str
        `user`: a trusted proxy named them; `key`: they have an API key; `scrape`: Prometheus, at `/metrics`;
        `open`: nobody had to be named; `command line`: a person at the console.
    """

    name: str = ""
    kind: Literal["open", "user", "key", "scrape", "command line"] = "open"

    def __str__(self) -> str:
        """Return it as the decision log keeps it: `key: branch-12`."""
        return f"{self.kind}: {self.name}" if self.name else self.kind


def at_console() -> Caller:
    """Return who runs this process: the user of the operating system."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container its number may have no name
        name = str(os.getuid())
    return Caller(name, "command line")
