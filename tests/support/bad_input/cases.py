"""The cases of bad input: what is sent, and the expected answer."""

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

with (Path(__file__).parents[3] / "data/test.csv").open(newline="") as _file:
    CLIENTS: list[dict[str, Any]] = [
        {
            name: int(text) if text.isdigit() else text
            for name, text in row.items()
            if name != "class"
        }
        for row, _ in zip(csv.DictReader(_file), range(3), strict=False)
    ]
NAMES = list(CLIENTS[0])
DURATIONS = [client["duration"] for client in CLIENTS]
# Neither Excel nor most Parquet files have a time zone.
NOON = datetime(2026, 1, 6, 12)  # noqa: DTZ001
MUST = [name for name in NAMES if name not in ("personal_status", "age", "foreign_worker")]


class Case(NamedTuple):
    """What is sent, and the expected answer.

    `decided` has the rows that get a decision, each with the number of the client whose risk it
    should get. `rejected` has the (row, column) of every fault. `says` is part of the problem's
    detail, of a fault or of a warning.
    """

    name: str
    content: bytes | Callable[[], bytes]
    status: int
    decided: dict[int, int] = {}  # noqa: RUF012 - never changed
    rejected: frozenset[tuple[int | None, str | None]] = frozenset()
    says: str = ""

    def data(self) -> bytes:
        """Return the bytes to send."""
        return self.content() if callable(self.content) else self.content


def fine(
    name: str,
    content: Any,
    *decided: int,
    rejected: Any = (),
    says: str = "",
    as_client: Any = None,
) -> Case:
    return Case(
        name,
        content,
        200,
        as_client or {row: row for row in decided or (0, 1, 2)},
        frozenset(rejected),
        says,
    )


def nothing(
    name: str, content: Any, *rejected: tuple[int | None, str | None], says: str = ""
) -> Case:
    """Return a case in which no row can be decided."""
    return Case(name, content, 422, {}, frozenset(rejected), says)


def refused(name: str, content: Any, says: str) -> Case:
    """Return a case that is not a list of applications at all."""
    return Case(name, content, 400, {}, frozenset(), says)


def changed(row: int, **changes: Any) -> list[dict[str, Any]]:
    """Return the clients, one of them with other values."""
    return [client | (changes if i == row else {}) for i, client in enumerate(CLIENTS)]
