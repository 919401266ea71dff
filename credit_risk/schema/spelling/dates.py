"""Dates as people and programs write them, accepted where they can mean only one day."""

import re
from datetime import date
from typing import Literal

DateForm = Literal["", "day first", "time"]

_SECONDS = r"(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_ZONE = r"(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
_TIME = rf"(?P<time>[T ] ?[0-9]{{1,2}}:[0-9]{{2}}{_SECONDS}{_ZONE})?"
_ISO = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})" + _TIME)
_DAY_FIRST = re.compile(
    r"(?P<day>[0-9]{1,2})\. ?(?P<month>[0-9]{1,2})\. ?(?P<year>[0-9]{4})" + _TIME
)
# The midnight that a workbook adds to a day without a time.
_MIDNIGHT = re.compile(r"[T ]00:00(?::00(?:\.0+)?)?")
_SHORT_YEAR = re.compile(r"[0-9]{1,2}\. ?[0-9]{1,2}\. ?[0-9]{2}")
_SERIAL = re.compile(r"[34][0-9]{4}(?:[.,][0-9]+)?")
_LONGEST = 40


def day_of(text: str) -> tuple[date | None, DateForm]:
    """Return the day that a text stands for, None where it is not a date, and its form.

    The form of 2026-01-31 is empty. Day, month and year with dots are accepted as well, and so is a
    time, which is ignored: the day is the one that is written.
    """
    if len(text) > _LONGEST:
        return None, ""

    match = _ISO.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if match is None:
        return None, ""
    try:
        day = date(*(int(match[name]) for name in ("year", "month", "day")))
    except ValueError:
        return None, ""

    if match.re is _DAY_FIRST:
        return day, "day first"
    has_time = match["time"] and not _MIDNIGHT.fullmatch(match["time"])
    return day, "time" if has_time else ""


def why_not(text: str) -> str:
    """Return why a text is not accepted as a date, and how to correct it."""
    if "/" in text[:_LONGEST]:
        return (
            "has slashes, by which some mean day/month and others month/day; "
            "write 2026-01-31 or 31.01.2026"
        )
    if len(text) <= _LONGEST and _SHORT_YEAR.fullmatch(text):
        return "has a year of two digits; write 2026-01-31 or 31.01.2026"
    if len(text) <= _LONGEST and _SERIAL.fullmatch(text):
        return "is the number that Excel keeps for a date; give the column the format of a date"
    return "is not a date like 2026-01-31 (year-month-day) or 31.01.2026"
