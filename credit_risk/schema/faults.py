"""What is wrong with a value, a row or a file, and which of many faults are told.

Told are the first of each kind, so that no flood hides a rare one, then the first of all. Imports nothing of
ours: each file is read by a process that wants to start fast.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

MAX_FAULTS = 1000
# So many of each kind are always told.
FIRSTS = 5
_SAID = 20
# Up to so many faults are told one by one where applications had to be valid.
_ONE_BY_ONE = 5
_TYPE_WORDS = {list: "a list", dict: "an object", bool: "true/false"}

Allowed = list[str] | dict[str, Any] | None

_One = TypeVar("_One")


def shown(value: object) -> str:
    """Return a value as an error message may quote it: short, on one line."""
    if isinstance(value, list | dict | bool):
        return _TYPE_WORDS[type(value)]
    text = repr(value[:100]) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Unreadable(ValueError):
    """The body is no list of applications at all; the message says why and how to mend it."""


class Invalid(ValueError):
    """One value that is not allowed; `reason` is a word for counting, `allowed` what would be right."""

    def __init__(self, reason: str, message: str, allowed: Allowed = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.allowed = allowed


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one row (`row` None: with the whole file); `row` counts data rows from 0.

    `reason` is that of `Invalid`, and `at` the line or row that the message begins with.
    """

    row: int | None
    column: str | None
    value: object
    message: str
    allowed: Allowed = None
    reason: str = ""
    at: str = ""

    @classmethod
    def of(cls, row: int, column: str | None, value: object, error: Invalid, at: str) -> "Fault":
        """Return what is wrong with a row."""
        return cls(row, column, value, f"{at}: {error}", error.allowed, error.reason, at)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as answers carry it; a long or nested value is shortened."""
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
    """The faults of rows that have one reason in one column: how many, the first rows, and those in words."""

    column: str | None
    reason: str
    n: int
    rows: list[int]
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as answers carry it."""
        return self._asdict()


class InvalidApplications(ValueError):
    """Applications that had to be valid are not; `faults` says where, `reasons` how many there are of each kind."""

    def __init__(
        self, faults: Sequence[Fault], source: str = "", reasons: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self.faults = list(faults)
        told = [fault.message for fault in faults]
        if len(told) > _ONE_BY_ONE:
            of_files = [fault.message for fault in faults if fault.row is None]
            told = [*of_files, *(kind.message for kind in kinds(faults, reasons or {}))]
        text = "; ".join(told)
        super().__init__(f"{source}: {text}" if source else text)


class Faults:
    """Collects the faults of one body: all counted; the first thousand worded, and the first of each kind."""

    def __init__(self) -> None:
        self._kept: list[Fault] = []
        self.reasons: dict[tuple[str, str], int] = {}

    def add(self, row: int, column: str | None, value: object, reason: str, word: Callable[[], Invalid]) -> None:
        key = (column or "", reason)
        self.reasons[key] = self.reasons.get(key, 0) + 1
        if len(self._kept) < MAX_FAULTS or self.reasons[key] <= FIRSTS:
            self._kept.append(Fault.of(row, column, value, word(), f"row {row}"))

    def told(self) -> list[Fault]:
        """Return those that are told."""
        return chosen(self._kept, lambda fault: (fault.column, fault.reason))


def chosen(found: Sequence[_One], kind: Callable[[_One], Hashable]) -> list[_One]:
    """Return at most a thousand of the faults, in their order: the first five of each kind, and the first others."""
    firsts: list[int] = []
    others: list[int] = []
    seen: Counter[Hashable] = Counter()
    for place, one in enumerate(found):
        seen[kind(one)] += 1
        (firsts if seen[kind(one)] <= FIRSTS else others).append(place)
    return [found[place] for place in sorted([*firsts, *others][:MAX_FAULTS])]


def kinds(faults: Iterable[Fault], reasons: Mapping[tuple[str, str], int]) -> list[Kind]:
    """Return the kinds of faults, the most frequent first.

    Parameters
    ----------
    faults : iterable of Fault
        Among them the first five of each kind.
    reasons : mapping
        How many there are in all of each (column, reason).
    """
    by_kind: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        if fault.row is not None:
            by_kind.setdefault((fault.column or "", fault.reason), []).append(fault)
    found = []
    for (column, reason), told in by_kind.items():
        n, first = reasons.get((column, reason), len(told)), told[0]
        rows = [fault.row for fault in told[:FIRSTS] if fault.row is not None]
        found.append(Kind(column or None, reason, n, rows, first.message if n == 1 else _many(n, told[:FIRSTS])))
    return sorted(found, key=lambda kind: -kind.n)


def _many(n: int, told: Sequence[Fault]) -> str:
    word, _, first = told[0].at.partition(" ")
    numbers = ", ".join([first, *(fault.at.partition(" ")[2] for fault in told[1:])])
    more = ", ..." if n > len(told) else ""
    error = told[0].message.removeprefix(f"{told[0].at}: ")
    return f"{n:,} times ({word} {numbers}{more}), the first: {error}"


def first_messages(faults: Sequence[Fault], found: Sequence[Kind], n_rejected: int) -> list[str]:
    """Return what a command says of rows that were rejected: all faults; of more than 20 the kinds, then the first."""
    lines = [fault.message for fault in faults[:_SAID]]
    if len(faults) <= _SAID:
        return lines
    return [*(kind.message for kind in found), *lines, f"and more; {n_rejected:,} rows were rejected in all"]
