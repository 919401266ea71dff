"""Numbers as people and programs write them, and those that could be two numbers.

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
_DECIMAL = re.compile(r"-?[0-9]{1,20}(?:([.,])([0-9]{0,20}))?(?:[eE][+-]?[0-9]{1,2})?")
# Exactly three decimals, as the text of a number has them.
THREE_DECIMALS = r"^(-?[0-9]+\.[0-9]{3})$"
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
    match = _SEPARATED.fullmatch(text)
    assert match is not None
    larger = int(match[1] + match[2])
    if match[2] == "000":
        return f"may be {larger} or {match[1]}; write it without a separator"
    return f"may be {larger} or {match[1]}.{match[2]}; write {larger} or {match[1]}.{match[2]}0"


def remedy(text: str) -> str:
    """Return how to write a text that is not a whole number; empty where that is unknown."""
    if match := _SEPARATED.fullmatch(text):
        return f"; if it means {int(match[1] + match[2])}, write it so, without a separator"
    if match := _GROUPED.fullmatch(text):
        digits = re.sub("[^-0-9]", "", match[1])
        return f"; write it without separators, as {digits}"
    return ""


def is_ambiguous_decimal(text: str, mark: str) -> bool:
    """Return whether a text may be two different numbers, although the decimal mark is known.

    That is so where exactly three digits follow the other mark, or three zeros follow the mark
    itself: 5,125 may be 5125 where decimals are written with a dot.
    """
    match = _DECIMAL.fullmatch(text)
    # Who writes an exponent writes no thousands separators.
    if match is None or not match[1] or "e" in text.lower():
        return False
    return match[2] == "000" if match[1] == mark else len(match[2]) == 3


def unmistakable(number: object) -> str:
    """Return a number as a text that can be read in one way only: 5.125 as 5.1250.

    In a text, exactly three digits behind a dot could be thousands.
    """
    return re.sub(THREE_DECIMALS, r"\g<1>0", str(number))


def decimal(text: str, mark: str) -> float | None:
    """Return the number that a text stands for, if it can stand for no other.

    Parameters
    ----------
    mark : str
        The decimal mark, a dot or a comma. The other one is understood where no three digits
        follow it.
    """
    if _DECIMAL.fullmatch(text) is None or is_ambiguous_decimal(text, mark):
        return None
    return float(text.replace(",", "."))
