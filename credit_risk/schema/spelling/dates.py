"""Dates as people and programs write them, where they can mean one day only."""

import re
from datetime import date
from typing import Literal

DateForm = Literal["", "day first", "time"]

_TIME = r"(?P<time>[T ] ?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?)?"
_ISO = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})" + _TIME)
_DAY_FIRST = re.compile(r"(?P<day>[0-9]{1,2})\. ?(?P<month>[0-9]{1,2})\. ?(?P<year>[0-9]{4})" + _TIME)
# As a workbook has the midnight of a day without a time.
_MIDNIGHT = re.compile(r"[T ]00:00(?::00(?:\.0+)?)?")
_SHORT_YEAR = re.compile(r"[0-9]{1,2}\. ?[0-9]{1,2}\. ?[0-9]{2}")
_SERIAL = re.compile(r"[34][0-9]{4}(?:[.,][0-9]+)?")
_LONGEST = 40


def day_of(text: str) -> tuple[date | None, DateForm]:
    """Return the day that a text says, none where it is no date, and in which form: 2026-01-31 has none.

    Day, month and year with dots are taken, and a time, which is left out: the day is the one that is written.
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
    return day, "time" if match["time"] and not _MIDNIGHT.fullmatch(match["time"]) else ""


def why_not(text: str) -> str:
    """Return why a text is no date that can be taken, and how to mend it."""
    if "/" in text[:_LONGEST]:
        return "has slashes, by which some mean day/month and others month/day; write 2026-01-31 or 31.01.2026"
    if len(text) <= _LONGEST and _SHORT_YEAR.fullmatch(text):
        return "has a year of two digits; write 2026-01-31 or 31.01.2026"
    if len(text) <= _LONGEST and _SERIAL.fullmatch(text):
        return "is the number that Excel keeps for a date; give the column the format of a date"
    return "is no date like 2026-01-31 (year-month-day) or 31.01.2026"
