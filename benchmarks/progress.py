"""The progress of a benchmark, on standard error: standard output has only its table."""

import sys


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)
