"""Clients' ids as programs write them, and ids that are repeated.

Programs write ids as floats, in scientific notation, or with an apostrophe in front. An id is a
text that is returned with the decision and by which an outcome is matched later, so it must be the
same then.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.faults import shown
from credit_risk.schema.formulas import escape_formula
from credit_risk.schema.spelling.words import ABSENT

IdForm = Literal["", "absent", "float", "scientific", "apostrophe"]

# 1952489.0, as a number is written when its column lacks a value; with three zeros it could be
# thousands.
_WHOLE = re.compile(r"(-?[0-9]+)[.,]0{1,2}")
# 1,95249E+09, as Excel shows, and saves, 1952490001 in a narrow column.
_SCIENTIFIC = re.compile(r"-?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}")
# Above it, floats cannot represent every whole number.
_EXACT = 2.0**53
_ABSENT = pa.array(sorted(ABSENT))
# Ids that are accepted as they are. Most match the simple pattern, which rules the odd ones out;
# the check with the other two takes longer.
_SIMPLE = r"^[0-9A-Za-z](?:[ -*\-/-~]{0,62}[!-*\-/-~])?$"
_PLAIN = r"^[!-~](?:[ -~]{0,62}[!-~])?$"
_ODD = r"^'|[.,]0{1,2}$|[eE]\+?[0-9]{1,3}$"
_NAMED, _ROWS = 5, 3


def parsed(value: str | int | float) -> tuple[str, IdForm]:
    """Return an id as a text, empty where it is absent, and the form in which it was written."""
    if not isinstance(value, str):
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            return f"{value:.0f}", "float"
        return str(value), _form(str(value))

    text = value.strip()
    if text in ABSENT:
        return "", "absent"
    if match := _WHOLE.fullmatch(text):
        return match[1], "float"
    # Our own downloads put it in front of what a spreadsheet would run as a formula.
    if text.startswith("'") and escape_formula(text[1:]) == text:
        return text[1:], "apostrophe"
    return text, _form(text)


def _form(text: str) -> IdForm:
    return "scientific" if _SCIENTIFIC.fullmatch(text) else ""


def are_plain(cells: pa.Array) -> bool:
    """Return whether all of these ids can be accepted as they are, without `parsed`."""
    if not pc.all(pc.match_substring_regex(cells, _SIMPLE)).as_py():
        if not pc.all(pc.match_substring_regex(cells, _PLAIN)).as_py():
            return False
        if pc.any(pc.match_substring_regex(cells, _ODD)).as_py():
            return False
    return not pc.any(pc.is_in(cells, value_set=_ABSENT)).as_py()


def repeated(
    ids: Sequence[str | None],
    rows: Sequence[int] | NDArray[np.int64],
    word: str,
    lines: Callable[[Collection[int]], Mapping[int, int]],
) -> list[str]:
    """Return a warning about ids that several rows share, if any.

    Parameters
    ----------
    ids : sequence of str or None
    rows : sequence of int
        The row number of each id.
    word : str
        What `lines` returns: line or row.
    lines : callable
        Returns the number by which a person finds each of these rows.
    """
    # Takes a third of the time of Arrow's own count; most files have no id twice, and many none.
    if len(set(ids) - {None}) == len(ids) - ids.count(None):
        return []

    counts = pc.value_counts(pa.array(ids, pa.string()).drop_null())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    repeated_ids, n_rows = twice.field("values").to_pylist(), twice.field("counts").to_pylist()
    times = dict(zip(repeated_ids, n_rows, strict=True))

    all_ids = np.array(ids, dtype=object)
    first_rows: dict[str, list[int]] = {}
    for id in list(times)[:_NAMED]:
        first_rows[id] = [int(rows[place]) for place in np.flatnonzero(all_ids == id)[:_ROWS]]
    numbers = lines({row for few in first_rows.values() for row in few})

    named: list[str] = []
    for id, few in first_rows.items():
        listed = ", ".join(str(numbers[row]) for row in few)
        dots = ", ..." if times[id] > len(few) else ""
        named.append(f"{shown(id)} ({times[id]:,} times: {word} {listed}{dots})")
    more = f" and {len(times) - _NAMED:,} more" if len(times) > _NAMED else ""
    return [
        f"client_id is the same in several rows: {', '.join(named)}{more}; each is a decision of "
        "its own, and an outcome has to say by decision_id which one it is of"
    ]
