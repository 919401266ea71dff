"""Other spellings of column names and absent values, and values in quotes.

A spelling is accepted only if it can mean nothing else, and the sender is informed. This module
imports nothing of ours: each file is read by a process that has to start fast.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

# What programs write for an absent value. Lower-case `none` is a category of some attributes.
ABSENT = frozenset({"NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None"})
_QUOTES = ("'", '"')
_SEPARATORS = re.compile(r"[\s_.\-]+")
# No known name is longer.
_LONGEST = 64


def unquoted(text: str) -> str:
    """Return a text without surrounding spaces and without a surrounding pair of quotes."""
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]
    return text[1:-1].strip() if is_quoted else text


def normalised(text: str) -> str:
    """Return a value as the contract spells it: `unquoted`, and empty where it is absent."""
    text = unquoted(text)
    return "" if text in ABSENT else text


def named(names: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Return column names with other spellings replaced by the contract's names.

    Where a column has exactly the contract's name, no other column is taken for it.

    Parameters
    ----------
    names : sequence of str
    known : mapping
        The contract's name by each name that a column may have, including itself. A spelling may
        differ from these in case, quotes, or what separates words, where it can mean one only.
    """
    present = set(names)
    by_squeezed = _squeezed_names(frozenset(known.items()))
    result: list[str] = []
    for name in names:
        meant = known.get(name) or by_squeezed.get(_squeezed(name), name)
        result.append(name if meant in present else meant)
    return result


def only(names: Iterable[str]) -> dict[str, str]:
    """Return names of columns that have no others, as `named` takes them."""
    return {name: name for name in names}


@cache
def _squeezed_names(known: frozenset[tuple[str, str]]) -> dict[str, str]:
    """Return what a name means that is spelled otherwise, unless it can mean several things."""
    meanings: dict[str, set[str]] = {}
    for name, meant in known:
        meanings.setdefault(_squeezed(name), set()).add(meant)
    return {name: meant for name, (meant, *others) in meanings.items() if not others}


def _squeezed(name: str) -> str:
    """Return a name in lower case, without quotes and without what separates its words."""
    if len(name) > _LONGEST:
        return name
    return _SEPARATORS.sub("", unquoted(name)).lower()
