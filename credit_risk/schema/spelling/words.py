"""How others spell what the contract has one spelling for: names of columns, absent values, values in quotes.

Only what can mean nothing else is taken; whoever takes it says so. Imports nothing, for each file is read by a process
that wants to start fast.
"""

import re
from collections.abc import Collection, Sequence
from functools import cache

# What programs write where there is no value. Lower-case `none` is a category of some attributes.
ABSENT = frozenset({"NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None"})
_QUOTES = ("'", '"')
_BETWEEN = re.compile(r"[\s_.\-]+")
# A name that is longer is nobody's.
_LONGEST = 64


def unquoted(text: str) -> str:
    """Return a text without spaces around it and without the pair of quotes that it may have of its own."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0] else text


def plain(text: str) -> str:
    """Return a value as the contract spells it: `unquoted`, and empty where a word stands for no value."""
    text = unquoted(text)
    return "" if text in ABSENT else text


def named(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return names of columns, where one differs from a known name in case, quotes or what parts words, that name.

    Where a column has the very name, no other one is taken for it.
    """
    there, squeezed = set(names), _squeezed_names(frozenset(known))
    meant = [name if name in known else squeezed.get(_squeezed(name), name) for name in names]
    return [name if one in there else one for name, one in zip(names, meant, strict=True)]


@cache
def _squeezed_names(known: frozenset[str]) -> dict[str, str]:
    return {_squeezed(name): name for name in known}


def _squeezed(name: str) -> str:
    return _BETWEEN.sub("", unquoted(name)).lower() if len(name) <= _LONGEST else name
