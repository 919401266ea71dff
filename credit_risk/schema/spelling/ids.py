"""Clients' ids as programs write them: floats, scientific notation, behind an apostrophe; and ids that come again.

An id is a text that is handed back, and that an outcome is found by later: it has to be the same then.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.faults import shown
from credit_risk.schema.formulas import harmless_text
from credit_risk.schema.spelling.words import ABSENT

IdForm = Literal["", "absent", "float", "scientific", "apostrophe"]

# 1952489.0, as a column of numbers is written that lacks one; with three zeros it could be thousands.
_WHOLE = re.compile(r"(-?[0-9]+)[.,]0{1,2}")
# 1,95249E+09, as Excel shows 1952490001 in a narrow column, and saves it.
_SCIENTIFIC = re.compile(r"-?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}")
# Beyond it floats have not every whole number.
_EXACT = 2.0**53
_ABSENT = pa.array(sorted(ABSENT))
# What is taken as it is: most ids have nothing in them that the others could have, and the second look takes longer.
_SIMPLE = r"^[0-9A-Za-z](?:[ -*\-/-~]{0,62}[!-*\-/-~])?$"
_PLAIN = r"^[!-~](?:[ -~]{0,62}[!-~])?$"
_ODD = r"^'|[.,]0{1,2}$|[eE]\+?[0-9]{1,3}$"
_NAMED, _ROWS = 5, 3


def parsed(value: str | int | float) -> tuple[str, IdForm]:
    """Return an id as a text, and in which other form it came; an empty text where there is none."""
    if not isinstance(value, str):
        whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
        return (f"{value:.0f}", "float") if whole else (str(value), _form(str(value)))
    text = value.strip()
    if text in ABSENT:
        return "", "absent"
    if match := _WHOLE.fullmatch(text):
        return match[1], "float"
    # Our own downloads have it before what a spreadsheet would run.
    if text.startswith("'") and harmless_text(text[1:]) == text:
        return text[1:], "apostrophe"
    return text, _form(text)


def _form(text: str) -> IdForm:
    return "scientific" if _SCIENTIFIC.fullmatch(text) else ""


def are_plain(cells: pa.Array) -> bool:
    """Return whether all of these ids, of 64 characters at most, may be taken as they are."""
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
    """Return what to say of ids that several rows have.

    Parameters
    ----------
    ids : sequence of str or None
    rows : sequence of int
        The number of each one's row.
    word : str
        What `lines` gives: line or row.
    lines : callable
        Returns where rows stand, for people.
    """
    # A third of the time of Arrow's own count; most files have no id twice, and many none at all.
    if len(set(ids) - {None}) == len(ids) - ids.count(None):
        return []
    counts = pc.value_counts(pa.array(ids, pa.string()).drop_null())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    all_ids = np.array(ids, dtype=object)
    where = {
        id: [int(rows[place]) for place in np.flatnonzero(all_ids == id)[:_ROWS]]
        for id in twice.field("values")[:_NAMED].to_pylist()
    }
    at = lines({row for few in where.values() for row in few})
    named = [
        f"{shown(id)} ({count.as_py():,} times: {word} {', '.join(str(at[row]) for row in few)}"
        + (", ...)" if count.as_py() > len(few) else ")")
        for (id, few), count in zip(where.items(), twice.field("counts"), strict=False)
    ]
    more = f" and {len(twice) - _NAMED:,} more" if len(twice) > _NAMED else ""
    return [
        f"client_id is the same in several rows: {', '.join(named)}{more}; each is a decision of its own, and an "
        "outcome has to say by decision_id which one it is of"
    ]
