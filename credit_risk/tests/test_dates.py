"""Dates are taken where they can mean one day only."""

from datetime import date

import pytest

from credit_risk.schema.spelling.dates import day_of, why_not


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-02-01", ""),
        ("2026-02-01 00:00:00", ""),
        ("2026-02-01T00:00:00.000", ""),
        ("2026-02-01T23:30", "time"),
        ("2026-02-01T00:30:00Z", "time"),
        ("2026-02-01 00:00:00+01:00", "time"),
        ("2026-02-01T10:00:00.123456 -0500", "time"),
        ("01.02.2026", "day first"),
        ("1.2.2026", "day first"),
        ("1. 2. 2026", "day first"),
        ("01.02.2026 12:00", "day first"),
    ],
)
def test_unambiguous_date_is_taken(text, form):
    assert day_of(text) == (date(2026, 2, 1), form)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("01/02/2026", "slashes"),
        ("2026/02/01", "slashes"),
        ("1/2/26 12:00", "slashes"),
        ("01.02.26", "two digits"),
        ("46054", "number that Excel keeps"),
        ("46054,5", "number that Excel keeps"),
        ("02.30.2026", "not a date like 2026-01-31"),
        ("2026-02-30", "not a date like"),
        ("20260201", "not a date like"),
        ("2026-W05-7", "not a date like"),
        ("2026-2-1", "not a date like"),
        ("1 Feb 2026", "not a date like"),
        ("0000-00-00", "not a date like"),
        ("٠١.٠٢.٢٠٢٦", "not a date like"),
        ("2026-02-01T" + "0" * 10_000, "not a date like"),
        ("/" * 100_000, "slashes"),
    ],
)
def test_ambiguous_or_invalid_date_is_refused_with_the_reason(text, why):
    assert day_of(text) == (None, "")
    assert why in why_not(text)
