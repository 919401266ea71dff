"""How far a benchmark is, on standard error: standard output has its table alone."""

import sys


def say(line: str) -> None:
    """Tell it."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
