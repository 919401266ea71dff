"""Months as numbers, counted from January 1970 in UTC, so that one can calculate with them."""

from datetime import UTC, datetime


def month_of(time: datetime) -> int:
    """Return the month of an aware time."""
    utc = time.astimezone(UTC)
    return 12 * (utc.year - 1970) + utc.month - 1


def month_start(month: int) -> datetime:
    """Return the time at which a month begins."""
    return datetime(1970 + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def month_name(month: int) -> str:
    """Return a month as text, such as 2026-03."""
    return f"{month_start(month):%Y-%m}"
