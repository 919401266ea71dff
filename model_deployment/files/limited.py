"""The separate process that reads a workbook or a Parquet file.

Such a file of some kB may unpack to gigabytes, whatever size it declares, and its readers are C++
and Rust libraries. So each is read in a child process with limits on memory and processor time: a
file that exceeds either ends only the child. The child gets the file on standard input, answers on
standard output with a line of JSON and a CSV, and knows none of the service's secrets.

This module is the child's side (`formats` is the other). It imports next to nothing, because it is
started for each file. macOS enforces the limit on time, but not the one on memory.
"""

import json
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

# Bytes that a child may use beside the file itself; a workbook of 100,000 clients takes half.
MEMORY = 400_000_000
CPU_SECONDS = 8
# Characters of the CSV: enough for 300,000 clients without further columns.
MAX_TEXT = 25_000_000
MAX_COLUMNS = 1000
MAX_ROWS = 200_000
TOO_MANY = f"the file has more than {MAX_ROWS:,} rows; send the clients in several files"
TOO_LARGE = (
    "the file is too large once it is unpacked; send the clients as CSV, or in several files"
)
# Exit codes.
REFUSED, OUT_OF_MEMORY = 3, 4


class FileRefused(ValueError):
    """The file is not readable; the message says why and how to mend it."""


class Read(NamedTuple):
    """A file as CSV, and facts about it that JSON can hold."""

    csv: bytes
    about: dict[str, Any]


def run(read: Callable[[bytes], Read]) -> None:
    """Be the child: read standard input, and write the CSV to standard output."""
    try:
        data = sys.stdin.buffer.read()
        _limit(MEMORY + len(data))

        found = read(data)
        sys.stdout.buffer.write(json.dumps(found.about).encode() + b"\n")
        sys.stdout.buffer.write(found.csv)
    except FileRefused as error:
        sys.stderr.buffer.write(str(error).encode())
        sys.exit(REFUSED)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with suppress(ValueError, OSError):  # macOS
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
