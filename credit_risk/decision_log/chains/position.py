"""Where a record is in the log, and how far a reader has come.

Every writer has a chain of its own, so that no writer waits for another. The records of a chain
have the places 1, 2, 3, ... without gaps: a writer stores a record only when the one before it is
stored. A reader remembers the place that it has reached in each chain, and asks what comes after
it: whatever is committed later, by whatever clock, has a later place in its chain, so that nothing
is missed. Chain 0 is what was written before there were chains, by all writers together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# A record's number is its chain times this, plus its place. Both stay well below what a document's
# integers can be: 2**31 chains of 2**32 places.
PLACES = 2**32


def number(chain: int, place: int) -> int:
    """Return the number of the record at a place of a chain."""
    return chain * PLACES + place


def chain_and_place(number: int) -> tuple[int, int]:
    """Return the chain and the place of a record's number."""
    return divmod(number, PLACES)


class Numbered(Protocol):
    """Anything with a record's number, `seq`."""

    @property
    def seq(self) -> int:
        """The number."""


@dataclass(frozen=True)
class Position:
    """How far a reader has come.

    Attributes
    ----------
    places : mapping of int to int
        The place that was reached in each chain; a chain that is not named has not been begun.
    """

    places: Mapping[int, int] = field(default_factory=dict)

    def covers(self, record: Numbered) -> bool:
        """Return whether the reader has come past a record."""
        chain, place = chain_and_place(record.seq)
        return place <= self.places.get(chain, 0)

    def past(self, records: Iterable[Numbered]) -> "Position":
        """Return the position after some more records."""
        places = dict(self.places)
        for record in records:
            chain, place = chain_and_place(record.seq)
            places[chain] = max(place, places.get(chain, 0))
        return Position(places)


START = Position()
