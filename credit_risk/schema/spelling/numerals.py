"""Whole numbers as people and programs write them, and those that could be two numbers.

A dot or a comma with three digits behind it parts thousands in one country and is the decimal mark of another: 400.000
is 400 or 400000, and a wrong guess decides on the wrong loan.
"""

import re

_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0*)?")
_AMBIGUOUS = re.compile(r"(-?[0-9]{1,20})[.,]000")
_PARTED = re.compile(r"(-?[0-9]{1,20})[.,]([0-9]{3})")
# In groups of three, whatever parts them (but not twice differently), with or without a fraction of zeros.
_GROUPED = re.compile(r"(-?[0-9]{1,3}([.,'’_\s])[0-9]{3}(?:\2[0-9]{3}){0,5})(?:[.,]0*)?")
# What has more digits is out of every range, and costly to turn into a number.
_DIGITS = 20


def is_ambiguous(text: str) -> bool:
    """Return whether a text may be two different whole numbers, by what its dot or comma is."""
    return _AMBIGUOUS.fullmatch(text) is not None


def whole(text: str) -> int | None:
    """Return the whole number that a text writes, if it writes one and can mean no other."""
    match = _WHOLE.fullmatch(text)
    return None if match is None or is_ambiguous(text) else int(match[1][:_DIGITS])


def readings(text: str) -> str:
    """Return in words which numbers an ambiguous text may be, and how to write it."""
    match = _AMBIGUOUS.fullmatch(text)
    assert match is not None
    few = int(match[1])
    return f"may be {few * 1000} or {few}; write it without a separator"


def remedy(text: str) -> str:
    """Return how to write what is no whole number as it stands, where that is known; else nothing."""
    if match := _PARTED.fullmatch(text):
        return f"; if it means {int(match[1] + match[2])}, write it so, without a separator"
    match = _GROUPED.fullmatch(text)
    return f"; write it without separators, as {re.sub('[^-0-9]', '', match[1])}" if match else ""
