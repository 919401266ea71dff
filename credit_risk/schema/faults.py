"""Which of many faults are told: the first of each kind, so that no flood hides a rare one, then the first of all."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

MAX_FAULTS = 1000
# So many of each kind are always told.
FIRSTS = 5
_SAID = 20

_One = TypeVar("_One")


class Told(Protocol):
    """A fault in words: `message` is led by `at`, the line or row, where it is that of a row."""

    @property
    def row(self) -> int | None: ...
    @property
    def column(self) -> str | None: ...
    @property
    def message(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def at(self) -> str: ...


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


def chosen(found: Sequence[_One], kind: Callable[[_One], Hashable]) -> list[_One]:
    """Return at most a thousand of the faults, in their order: the first five of each kind, and the first others."""
    firsts: list[int] = []
    others: list[int] = []
    seen: Counter[Hashable] = Counter()
    for place, one in enumerate(found):
        seen[kind(one)] += 1
        (firsts if seen[kind(one)] <= FIRSTS else others).append(place)
    return [found[place] for place in sorted([*firsts, *others][:MAX_FAULTS])]


def kinds(faults: Iterable[Told], reasons: Mapping[tuple[str, str], int]) -> list[Kind]:
    """Return the kinds of faults, the most frequent first.

    Parameters
    ----------
    faults : iterable of Fault
        Among them the first five of each kind.
    reasons : mapping
        How many there are in all of each (column, reason).
    """
    by_kind: dict[tuple[str, str], list[Told]] = {}
    for fault in faults:
        if fault.row is not None:
            by_kind.setdefault((fault.column or "", fault.reason), []).append(fault)
    found = []
    for (column, reason), told in by_kind.items():
        n, first = reasons.get((column, reason), len(told)), told[0]
        rows = [fault.row for fault in told[:FIRSTS] if fault.row is not None]
        found.append(Kind(column or None, reason, n, rows, first.message if n == 1 else _many(n, told[:FIRSTS])))
    return sorted(found, key=lambda kind: -kind.n)


def _many(n: int, told: Sequence[Told]) -> str:
    word, _, first = told[0].at.partition(" ")
    numbers = ", ".join([first, *(fault.at.partition(" ")[2] for fault in told[1:])])
    more = ", ..." if n > len(told) else ""
    error = told[0].message.removeprefix(f"{told[0].at}: ")
    return f"{n:,} times ({word} {numbers}{more}), the first: {error}"


def first_messages(faults: Sequence[Told], found: Sequence[Kind], n_rejected: int) -> list[str]:
    """Return what a command says of rows that were rejected: all faults; of more than 20 the kinds, then the first."""
    lines = [fault.message for fault in faults[:_SAID]]
    if len(faults) <= _SAID:
        return lines
    return [*(kind.message for kind in found), *lines, f"and more; {n_rejected:,} rows were rejected in all"]
