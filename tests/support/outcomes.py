"""Outcomes as a CSV."""

import csv
import io
from datetime import UTC, datetime


def text(*rows: tuple, header=("decision_id", "outcome", "date")) -> bytes:
    """Return rows as a CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().encode()


def today() -> str:
    """Return the date, which may change while tests run."""
    return datetime.now(UTC).date().isoformat()
