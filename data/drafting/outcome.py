"""The column that says how a client's loan went: found, and its values told apart."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_risk.schema.attributes import BAD, GOOD
from credit_risk.schema.faults import shown
from data.drafting.kinds import MAX_TEXT
from data.drafting.table import Column, Refused, Table

_LISTED = 20


@dataclass(frozen=True)
class Outcome:
    """The target of a file.

    Attributes
    ----------
    place : int
        Of its column.
    header : str
    bad_values, good_values : list of str
    bad : array of shape (n_rows,)
        1 for a bad client, 0 for a good one, NaN where that is not known.
    """

    place: int
    header: str
    bad_values: list[str]
    good_values: list[str]
    bad: NDArray[np.float64]

    @property
    def n_bad(self) -> int:
        """How many clients are bad."""
        return int((self.bad == 1).sum())

    @property
    def n_good(self) -> int:
        """How many clients are good."""
        return int((self.bad == 0).sum())

    @property
    def n_unknown(self) -> int:
        """How many rows have no outcome."""
        return int(np.isnan(self.bad).sum())


def outcome_of(table: Table, header: str, bad: Sequence[str], good: Sequence[str]) -> Outcome:
    """Return a file's target.

    Parameters
    ----------
    table : Table
    header : str
        The target's column.
    bad, good : sequence of str
        Its values; the good ones may be left out where there is one other.

    Raises
    ------
    Refused
        When there is no such column, or its values do not fall into bad and good: an outcome is
        neither guessed nor left out.
    """
    file = table.file
    if header not in table.headers:
        raise Refused(f"{file} has no column {shown(header)}{_nearest(header, table.headers)}")
    if not header.isprintable() or not 0 < len(header) <= MAX_TEXT:
        raise Refused(f"{file}: rename the column {shown(header)}; it cannot stand in a definition")

    place = table.headers.index(header)
    column = table.column(place)
    _check_values(column, file, {*bad, *good})
    chosen = list(good) or _other(column, file, bad)
    if GOOD in bad or BAD in chosen or {*bad} & {*chosen}:
        raise Refused(
            f"{file}: BAD is {', '.join(map(shown, bad))} and GOOD is "
            f"{', '.join(map(shown, chosen))}; no value can mean both, nor good be bad"
        )
    if rest := [value for value in column.values if value not in {*bad, *chosen}]:
        raise Refused(
            f"{file}: {header} also has {_counted(column, rest)}; say for each whether it is bad "
            "or good (--bad, --good), or take those rows out of the file"
        )
    return Outcome(place, header, list(bad), chosen, _numbers(column, bad))


def _check_values(column: Column, file: str, given: Collection[str]) -> None:
    strange = next((v for v in column.values if not v.isprintable() or len(v) > MAX_TEXT), None)
    if strange is not None:
        raise Refused(
            f"{file}: {column.header} has the value {shown(strange)}, which cannot stand in a "
            "definition; clean it in the file"
        )
    unknown = sorted({*given} - {*column.values})
    if unknown:
        raise Refused(
            f"{file}: {column.header} never is {shown(unknown[0])}; it has "
            f"{_counted(column, column.values) or 'no value at all'}"
        )


def _other(column: Column, file: str, bad: Sequence[str]) -> list[str]:
    """Return the only value that is not bad."""
    others = [value for value in column.values if value not in bad]
    if not others:
        raise Refused(
            f"{file}: {column.header} has no other value than {', '.join(map(shown, bad))}, so no "
            "client is good"
        )
    if len(others) > 1:
        raise Refused(
            f"{file}: {column.header} has more than two values; say which are good (--good, once "
            f"for each): {_counted(column, column.values)}"
        )
    return others


def _counted(column: Column, values: Collection[str]) -> str:
    """Return values and how often each occurs, the most frequent first."""
    wanted = {*values}
    found = [f"{shown(value)} ({n:,})" for value, n in column.frequent() if value in wanted]
    more = [f"{len(found) - _LISTED:,} more"] if len(found) > _LISTED else []
    return ", ".join(found[:_LISTED] + more)


def _nearest(header: str, headers: Sequence[str]) -> str:
    by_folded = {name.casefold(): name for name in headers}
    near = difflib.get_close_matches(header.casefold(), by_folded, n=1)
    meant = f"; did you mean {shown(by_folded[near[0]])}?" if near else "."
    more = [f"{len(headers) - _LISTED} more"] if len(headers) > _LISTED else []
    return f"{meant} It has {', '.join([*map(shown, headers[:_LISTED]), *more])}"


def _numbers(column: Column, bad: Sequence[str]) -> NDArray[np.float64]:
    is_bad = np.array([value in bad for value in column.values], np.float64)
    return np.where(column.codes < 0, np.nan, is_bad[column.codes])
