"""Faults of values, rows and files, and the choice of those that are reported.

Where there are many, the first of each kind are reported, so that a common fault does not hide a
rare one, and then the first of all. This module imports nothing of ours: each file is read by a
process that has to start fast.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

MAX_FAULTS = 1000
# Faults of each kind that are always reported.
FIRSTS = 5
# Faults that a command prints one by one.
_PRINTED = 20
# Faults that `InvalidApplications` names one by one.
_ONE_BY_ONE = 5
_TYPE_WORDS = {list: "a list", dict: "an object", bool: "true/false"}

Allowed = list[str] | dict[str, Any] | None

_Fault = TypeVar("_Fault")


def shown(value: object) -> str:
    """Return a value in the form in which a message quotes it: short, on one line."""
    if isinstance(value, list | dict | bool):
        return _TYPE_WORDS[type(value)]
    text = repr(value[:100]) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class MalformedFile(ValueError):
    """The body is not a list of applications at all; the message says why and how to fix it."""


class InvalidValue(ValueError):
    """A value that is not allowed.

    `reason` is a word by which faults are counted, and `allowed` says which values are valid.
    """

    def __init__(self, reason: str, message: str, allowed: Allowed = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.allowed = allowed


@dataclass(frozen=True)
class RowError:
    """A fault of one row; `row` counts data rows from 0 and is None for a fault of the whole file.

    `reason` is that of `InvalidValue`, and `at` the line or row with which the message begins.
    """

    row: int | None
    column: str | None
    value: object
    message: str
    allowed: Allowed = None
    reason: str = ""
    at: str = ""

    @classmethod
    def of(
        cls, row: int, column: str | None, value: object, error: InvalidValue, at: str
    ) -> "RowError":
        """Return the fault for an invalid value in a row."""
        return cls(row, column, value, f"{at}: {error}", error.allowed, error.reason, at)

    def as_dict(self) -> dict[str, Any]:
        """Return the fault as answers have it; a long or nested value is shortened."""
        value = self.value
        if isinstance(value, str):
            value = value if len(value) <= 200 else value[:197] + "..."
        elif not isinstance(value, bool | int | None) or abs(value or 0) > 2**53:
            value = shown(value)

        return {
            "row": self.row,
            "column": self.column,
            "value": value,
            "message": self.message,
            "allowed": self.allowed,
        }


class Kind(NamedTuple):
    """The faults of rows for one reason in one column.

    `n` is their number, `rows` the first rows, and `message` describes them.
    """

    column: str | None
    reason: str
    n: int
    rows: list[int]
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the kind as answers have it."""
        return self._asdict()


class InvalidApplications(ValueError):
    """Applications that had to be valid are not.

    `faults` are those to report, and `reasons` is the number of faults for each (column, reason).
    """

    def __init__(
        self,
        faults: Sequence[RowError],
        source: str = "",
        reasons: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self.faults = list(faults)

        if len(self.faults) <= _ONE_BY_ONE:
            messages = [fault.message for fault in faults]
        else:
            messages = [fault.message for fault in faults if fault.row is None]
            messages += [kind.message for kind in kinds(faults, reasons or {})]

        text = "; ".join(messages)
        super().__init__(f"{source}: {text}" if source else text)


class Faults:
    """Collects the faults of one body.

    All are counted; only the first thousand, and the first of each kind, are turned into messages.
    """

    def __init__(self) -> None:
        self._kept: list[RowError] = []
        self.reasons: dict[tuple[str, str], int] = {}

    def add(
        self,
        row: int,
        column: str | None,
        value: object,
        reason: str,
        error: Callable[[], InvalidValue],
    ) -> None:
        """Add a fault; `error` is called only where the message is needed."""
        key = (column or "", reason)
        self.reasons[key] = self.reasons.get(key, 0) + 1
        if len(self._kept) < MAX_FAULTS or self.reasons[key] <= FIRSTS:
            self._kept.append(RowError.of(row, column, value, error(), f"row {row}"))

    def reported(self) -> list[RowError]:
        """Return the faults to report."""
        return chosen(self._kept, lambda fault: (fault.column, fault.reason))


def chosen(found: Sequence[_Fault], kind: Callable[[_Fault], Hashable]) -> list[_Fault]:
    """Return at most a thousand of the faults, in their order.

    These are the first five of each kind, and then the first of the others.
    """
    firsts: list[int] = []
    others: list[int] = []
    seen: Counter[Hashable] = Counter()
    for place, fault in enumerate(found):
        key = kind(fault)
        seen[key] += 1
        if seen[key] <= FIRSTS:
            firsts.append(place)
        else:
            others.append(place)
    return [found[place] for place in sorted([*firsts, *others][:MAX_FAULTS])]


def kinds(faults: Iterable[RowError], reasons: Mapping[tuple[str, str], int]) -> list[Kind]:
    """Return the kinds of faults, the most frequent first.

    Parameters
    ----------
    faults : iterable of RowError
        The reported faults, among them the first five of each kind.
    reasons : mapping
        The number of all faults for each (column, reason).
    """
    by_kind: dict[tuple[str, str], list[RowError]] = {}
    for fault in faults:
        if fault.row is not None:
            by_kind.setdefault((fault.column or "", fault.reason), []).append(fault)

    found = []
    for (column, reason), reported in by_kind.items():
        n = reasons.get((column, reason), len(reported))
        rows = [fault.row for fault in reported[:FIRSTS] if fault.row is not None]
        message = reported[0].message if n == 1 else _summary(n, reported[:FIRSTS])
        found.append(Kind(column or None, reason, n, rows, message))
    return sorted(found, key=lambda kind: -kind.n)


def _summary(n: int, first: Sequence[RowError]) -> str:
    """Return the message for `n` faults of one kind, of which the first are given."""
    word = first[0].at.partition(" ")[0]  # line or row
    numbers = ", ".join(fault.at.partition(" ")[2] for fault in first)
    more = ", ..." if n > len(first) else ""
    error = first[0].message.removeprefix(f"{first[0].at}: ")
    return f"{n:,} times ({word} {numbers}{more}), the first: {error}"


def first_messages(faults: Sequence[RowError], found: Sequence[Kind], n_rejected: int) -> list[str]:
    """Return the lines that a command prints about rejected rows.

    These are all faults; where there are more than 20, the kinds, and then the first 20 faults.
    """
    lines = [fault.message for fault in faults[:_PRINTED]]
    if len(faults) <= _PRINTED:
        return lines

    return [
        *(kind.message for kind in found),
        *lines,
        f"and more; {n_rejected:,} rows were rejected in all",
    ]
