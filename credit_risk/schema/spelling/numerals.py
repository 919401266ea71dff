"""Whole numbers as people and programs write them, and those that could be two numbers.

A dot or a comma followed by three digits separates thousands in one country and is the decimal mark
in another: 400.000 is 400 or 400000, and a wrong guess decides on the wrong loan.
"""

import re

_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0*)?")
_AMBIGUOUS = re.compile(r"(-?[0-9]{1,20})[.,]000")
_SEPARATED = re.compile(r"(-?[0-9]{1,20})[.,]([0-9]{3})")
# In groups of three, whatever separates them (but always the same), with or without a fraction of
# zeros.
_GROUPED = re.compile(r"(-?[0-9]{1,3}([.,'’_\s])[0-9]{3}(?:\2[0-9]{3}){0,5})(?:[.,]0*)?")
# A number with more digits is outside every range, and costly to parse.
_DIGITS = 20


def is_ambiguous(text: str) -> bool:
    """Return whether a text may be two different whole numbers, depending on its dot or comma."""
    return _AMBIGUOUS.fullmatch(text) is not None


def whole(text: str) -> int | None:
    """Return the whole number that a text stands for, if it can stand for no other."""
    match = _WHOLE.fullmatch(text)
    return None if match is None or is_ambiguous(text) else int(match[1][:_DIGITS])


def readings(text: str) -> str:
    """Return a text that says which numbers an ambiguous text may be, and how to write it."""
    match = _AMBIGUOUS.fullmatch(text)
    assert match is not None
    number = int(match[1])
    return f"may be {number * 1000} or {number}; write it without a separator"


def remedy(text: str) -> str:
    """Return how to write a text that is not a whole number; empty where that is unknown."""
    if match := _SEPARATED.fullmatch(text):
        return f"; if it means {int(match[1] + match[2])}, write it so, without a separator"
    if match := _GROUPED.fullmatch(text):
        digits = re.sub("[^-0-9]", "", match[1])
        return f"; write it without separators, as {digits}"
    return ""
