"""Excel and Parquet files, converted to CSV so that one reader gives one verdict."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from credit_risk.schema.faults import MalformedFile, shown
from credit_risk.schema.sheets.csv_table import Data
from credit_risk.schema.spelling.words import named
from model_deployment.files.limited import OUT_OF_MEMORY, REFUSED, TOO_LARGE

# Files read at a time per process; a request that waits longer for its turn is refused for now.
PLACES = 2
WAIT_SECONDS = 15
# Ends a child that gets so little processor time that its own limit does not come first.
WALL_SECONDS = 120
_READERS = {
    b"PK\x03\x04": "model_deployment.files.workbook",
    b"PAR1": "model_deployment.files.parquet",
}
_SIGNALS = [-signal for signal in signal.Signals]
# Nested columns that are named in warnings.
_MAX_NAMED = 20
_DAMAGED = "this file is not readable; send a CSV (UTF-8)"
_ROOT = Path(__file__).parents[2]
# A child needs none of the service's settings, some of which are secrets.
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "LD_LIBRARY_PATH",
    "TMPDIR",
)
_places = threading.BoundedSemaphore(PLACES)


class ReadersBusy(Exception):
    """Too many files that take long are being read."""

    def __init__(self) -> None:
        super().__init__(
            "Other workbooks and Parquet files are being read. Try again in a moment, or send a "
            "CSV."
        )


class Warned(Protocol):
    """A parsed file with its warnings."""

    warnings: list[str]


_Parsed = TypeVar("_Parsed", bound=Warned)


class UploadedFile:
    """A file as it was sent.

    It is converted to CSV once, because a workbook takes seconds.
    """

    def __init__(self, data: Data, name: str | None = None) -> None:
        self.data = data
        self.name = name

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes as sent, which identifies the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def csv(self) -> Data:
        """See `as_csv`."""
        return self._read[0]

    @property
    def is_workbook(self) -> bool:
        """Whether it is an Excel workbook."""
        return "sheet" in self._read[1]

    def parsed(self, parse: Callable[[Data], _Parsed], names: Mapping[str, str]) -> _Parsed:
        """Return the CSV as a parser reads it.

        Warnings and refusals say which sheet of a workbook was read.

        Parameters
        ----------
        parse : callable
            Takes the CSV; may raise `MalformedFile`.
        names : mapping
            Names of columns that the parser knows, as `named` takes them; other sheets that have
            them are named in a warning.
        """
        csv, about = self._read
        notes = [*_sheets(about, names), *_nested(about, names)]
        try:
            parsed = parse(csv)
        except MalformedFile as error:
            raise MalformedFile("; ".join([str(error), *notes])) from None

        parsed.warnings[:0] = notes
        return parsed

    @cached_property
    def _read(self) -> tuple[Data, dict[str, Any]]:
        return as_csv(self.data)


def as_csv(data: Data) -> tuple[Data, dict[str, Any]]:
    """Return an Excel workbook, Parquet or CSV file as CSV, with facts about it.

    Returns
    -------
    csv : bytes or memoryview
        Of a workbook, the first visible sheet. A CSV stays as it is.
    about : dict
        Of a workbook, the `sheet` that was read, its `n_hidden_rows`, and the `others`: name,
        visibility, first row. Of a Parquet file, the names of its `nested` columns, which the CSV
        does not have.

    Raises
    ------
    MalformedFile
        When a workbook or Parquet file, as its first bytes identify it, is not readable.
    ReadersBusy
        When too many are read already.
    """
    reader = _READERS.get(bytes(data[:4]))
    if reader is None:
        return data, {}

    answer = _read(reader, data)
    end = answer.index(b"\n")
    return memoryview(answer)[end + 1 :], json.loads(answer[:end])


def _sheets(about: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return which sheet was read, and which others have the same columns."""
    if "sheet" not in about:
        return []

    n_hidden = about["n_hidden_rows"]
    note = f"sheet {shown(about['sheet'])} read"
    if n_hidden:
        note += f", {n_hidden:,} hidden rows of it too"

    notes = [note]
    for name, visible, header in about["others"]:
        contract = set(names.values())
        known = set(named(header, names)) & contract
        if 2 * len(known) < len(contract):
            continue
        hidden = "" if visible else ", which is hidden,"
        first = "move it" if visible else "unhide and move it"
        notes.append(
            f"sheet {shown(name)}{hidden} has such columns and was not read; "
            f"if it is meant, {first} to the front"
        )
    return notes


def _nested(about: dict[str, Any], known: Mapping[str, str]) -> list[str]:
    """Return which columns of lists or objects were left out; refuse those that are needed."""
    names = about.get("nested", ())
    for name, meant in zip(names, named(names, known), strict=True):
        if meant in known.values():
            raise MalformedFile(
                f"column {shown(name)} holds lists or objects; "
                "each value is to be a word or a number"
            )

    first = names[:_MAX_NAMED]
    notes = [f"column {shown(name)} ignored: it holds lists or objects" for name in first]
    if len(names) > _MAX_NAMED:
        notes.append(f"{len(names) - _MAX_NAMED} more such columns ignored")
    return notes


def _read(module: str, data: Data) -> bytes:
    """Have a file read by a child; see `limited`."""
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise ReadersBusy

    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=data,
            capture_output=True,
            cwd=_ROOT,
            env=environment,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MalformedFile(TOO_LARGE) from None
    finally:
        _places.release()

    if done.returncode == 0:
        return done.stdout
    if done.returncode == REFUSED:
        raise MalformedFile(done.stderr.decode())
    # Ended by the system, at one of its limits, or by the library that asked for too much.
    raise MalformedFile(TOO_LARGE if done.returncode in (OUT_OF_MEMORY, *_SIGNALS) else _DAMAGED)
