"""The process of its own in which a file is read whose costs its bytes do not tell.

A workbook or a Parquet file of some kB may unpack to gigabytes, whatever it says of its size, and its readers are
libraries of C++ and Rust. So each is read in a child that has a limit of memory and of processor time: what goes beyond
either ends the child, and nobody else. It gets the file on standard input, answers on standard output with a line of
JSON and a CSV, and knows none of the service's secrets.

This module is the child's side (`formats` is the other) and imports next to nothing, for it is started for each file.
On macOS the system keeps the limit of time, but not that of memory.
"""

import json
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

# What a child may have beside the file itself: a workbook of 100,000 clients takes half of it.
MEMORY = 400_000_000
CPU_SECONDS = 8
# What it may answer with: three times 100,000 clients, were it not for their columns.
MAX_TEXT = 25_000_000
MAX_ROWS = 200_000
TOO_MANY = f"the file has more than {MAX_ROWS:,} rows; send the clients in several files"
TOO_LARGE = "the file is too large once it is unpacked; send the clients as CSV, or in several files"
# Exit codes.
REFUSED, OUT_OF_MEMORY = 3, 4


class Refused(ValueError):
    """The file is none that can be read; the message says why and how to mend it."""


class Read(NamedTuple):
    """A file as CSV, and what else there is to tell of it, which is to be JSON."""

    csv: bytes
    about: dict[str, Any]


def run(read: Callable[[bytes], Read]) -> None:
    """Be the child: read standard input, and write what becomes of it to standard output."""
    try:
        data = sys.stdin.buffer.read()
        _limit(MEMORY + len(data))
        found = read(data)
        sys.stdout.buffer.write(json.dumps(found.about).encode() + b"\n")
        sys.stdout.buffer.write(found.csv)
    except Refused as error:
        sys.stderr.buffer.write(str(error).encode())
        sys.exit(REFUSED)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with suppress(ValueError, OSError):  # macOS
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
