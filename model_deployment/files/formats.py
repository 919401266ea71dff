"""Excel and Parquet files as the CSV that they would have been saved as, so that one reader gives one verdict."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.csv_reader import Data
from credit_risk.schema.faults import Unreadable, shown
from credit_risk.schema.spelling.words import named
from model_deployment.files.limited import OUT_OF_MEMORY, REFUSED, TOO_LARGE

# So many are read at a time in a process; who waits longer for a place is asked to come back.
PLACES = 2
WAIT_SECONDS = 15
# A child that gets so little of the processor that its own limit does not come first.
WALL_SECONDS = 120
_READERS = {b"PK\x03\x04": "model_deployment.files.workbook", b"PAR1": "model_deployment.files.parquet"}
_SIGNALS = [-signal for signal in signal.Signals]
_SAID = 20
_DAMAGED = "this is no file that can be read; send a CSV (UTF-8)"
_ROOT = Path(__file__).parents[2]
# A child needs none of the service's settings, some of which are secrets.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "TMPDIR")
_places = threading.BoundedSemaphore(PLACES)


class ReadersBusy(Exception):
    """Too many files are being read that take long."""

    def __init__(self) -> None:
        super().__init__("Other workbooks and Parquet files are being read. Try again in a moment, or send a CSV.")


class Warned(Protocol):
    """What was made of a file, with what there is to tell beside."""

    warnings: list[str]


_Made = TypeVar("_Made", bound=Warned)


class Upload:
    """A file as it was sent; what it would be as CSV is found once, for a workbook takes seconds."""

    def __init__(self, data: Data, name: str | None = None) -> None:
        self.data = data
        self.name = name

    @cached_property
    def sha256(self) -> str:
        """The digest of what was sent, by which it is known again."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def csv(self) -> Data:
        """See `as_csv`."""
        return self._read[0]

    @property
    def is_workbook(self) -> bool:
        """Whether it is an Excel workbook."""
        return "sheet" in self._read[1]

    def parsed(self, parse: Callable[[Data], _Made], names: Collection[str]) -> _Made:
        """Return what a parser makes of the CSV; warnings and refusals say which sheet of a workbook it is.

        Parameters
        ----------
        parse : callable
            Takes the CSV; may raise `Unreadable`.
        names : collection of str
            Columns that it knows, by which other sheets are found that it could have been meant for.
        """
        csv, about = self._read
        said = [*_sheets(about, names), *_nested(about, {*names, CLIENT_ID})]
        try:
            made = parse(csv)
        except Unreadable as error:
            raise Unreadable("; ".join([str(error), *said])) from None
        made.warnings[:0] = said
        return made

    @cached_property
    def _read(self) -> tuple[Data, dict[str, Any]]:
        return as_csv(self.data)


def as_csv(data: Data) -> tuple[Data, dict[str, Any]]:
    """Return a file as CSV: an Excel workbook's first visible sheet, a Parquet file, or a CSV as it is.

    With a workbook come the `sheet` that was read, its `n_hidden_rows`, and the `others`: name, visibility, first row;
    with a Parquet file the names of its `nested` columns, which the CSV does not have.

    Raises
    ------
    Unreadable
        When it says that it is a workbook or a Parquet file, and is none that can be read.
    ReadersBusy
        When too many are read already.
    """
    reader = _READERS.get(bytes(data[:4]))
    if reader is None:
        return data, {}
    answer = _read(reader, data)
    end = answer.index(b"\n")
    return memoryview(answer)[end + 1 :], json.loads(answer[:end])


def _sheets(about: dict[str, Any], names: Collection[str]) -> list[str]:
    """Return which sheet was read, and which others look like what was asked for."""
    if "sheet" not in about:
        return []
    n_hidden = about["n_hidden_rows"]
    said = [f"sheet {shown(about['sheet'])} read" + (f", {n_hidden:,} hidden rows of it too" if n_hidden else "")]
    for name, visible, header in about["others"]:
        if 2 * len(set(named(header, names)) & set(names)) >= len(names):
            hidden, first = ("", "move it") if visible else (", which is hidden,", "unhide and move it")
            said.append(
                f"sheet {shown(name)}{hidden} has such columns and was not read; if it is meant, {first} to the front"
            )
    return said


def _nested(about: dict[str, Any], known: Collection[str]) -> list[str]:
    """Return which columns of lists or objects were left out; refuse those that are needed."""
    names = about.get("nested", ())
    for name, meant in zip(names, named(names, known), strict=True):
        if meant in known:
            raise Unreadable(f"column {shown(name)} holds lists or objects; each value is to be a word or a number")
    said = [f"column {shown(name)} ignored: it holds lists or objects" for name in names[:_SAID]]
    return [*said, f"{len(names) - _SAID} more such columns ignored"] if len(names) > _SAID else said


def _read(module: str, data: Data) -> bytes:
    """Have a file read by a child; see `limited`."""
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise ReadersBusy
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=data,
            capture_output=True,
            cwd=_ROOT,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(TOO_LARGE) from None
    finally:
        _places.release()
    if done.returncode == 0:
        return done.stdout
    if done.returncode == REFUSED:
        raise Unreadable(done.stderr.decode())
    # Ended by the system, at one of its limits, or by the library that asked for too much.
    raise Unreadable(TOO_LARGE if done.returncode in (OUT_OF_MEMORY, *_SIGNALS) else _DAMAGED)
