"""How sides are compared: measured in turn in one run, round by round, and paired by round.

What disturbs the machine for some seconds then disturbs all sides, and falls out of their ratio. A
figure is the median of the rounds; its spread is half the interquartile range, so that one round
that was disturbed changes neither much.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

OURS = "ours"


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure each side once a round, and return what each gave, by round.

    Every second round goes the other way round, so that no side is always the first.
    """
    taken: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            taken[name].append(sides[name]())
    return taken


def seconds_of(work: Callable[[], object]) -> Callable[[], float]:
    """Return a function that does a piece of work and returns how many seconds it took."""

    def timed() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return timed


class Figure(NamedTuple):
    """The median of some rounds, and half their interquartile range."""

    median: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return the figure of some rounds."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        return cls(median, (high - low) / 2)


@dataclass(frozen=True)
class Side:
    """What ours is compared with: its name, and what it took in each round."""

    name: str
    rounds: tuple[float, ...]

    @property
    def figure(self) -> Figure:
        """Its median and spread."""
        return Figure.of(self.rounds)


@dataclass(frozen=True)
class Line:
    """A row of the table: one scenario beside one peer.

    Attributes
    ----------
    scenario : str
        What is done.
    unit : str
        Of each round's figure. In a unit per second more is better, in any other less is.
    ours : tuple of float
        Each round's figure; none where it was not measured.
    peer : Side, optional
        Another way to do the same.
    floor : Side, optional
        A part of the work that every way has to do.
    note : str
        What else there is to say of it.
    left_out : str
        Why it was not measured.
    failed : bool
        Whether that was an error.
    """

    scenario: str
    unit: str = ""
    ours: tuple[float, ...] = ()
    peer: Side | None = None
    floor: Side | None = None
    note: str = ""
    left_out: str = ""
    failed: bool = False

    @property
    def figure(self) -> Figure | None:
        """The median and spread of ours."""
        return Figure.of(self.ours) if self.ours else None

    @property
    def ratio(self) -> Figure | None:
        """How many times as fast as the peer ours is, or as small."""
        return Figure.of(self._over(self.peer, more=True)) if self.peer and self.ours else None

    @property
    def over_floor(self) -> Figure | None:
        """How many times as much as the floor ours takes."""
        return Figure.of(self._over(self.floor, more=False)) if self.floor and self.ours else None

    def _over(self, side: Side, *, more: bool) -> list[float]:
        """Return ours over a side's, or the reverse, so that more is better, or less is."""
        straight = self.unit.endswith("/s") == more
        pairs = zip(self.ours, side.rounds, strict=True)
        return [mine / other if straight else other / mine for mine, other in pairs]


def lines_of(
    scenario: str,
    unit: str,
    taken: Mapping[str, Sequence[float]],
    floors: Sequence[str] = (),
    note: str = "",
) -> Iterator[Line]:
    """Yield a line for each peer, or one without a peer.

    Parameters
    ----------
    taken : mapping
        Each side's rounds, ours and those of any peers and floors.
    floors : sequence of str
        Which sides are floors. The best of them is the floor of the first line.
    """
    sides = {name: Side(name, tuple(rounds)) for name, rounds in taken.items()}
    ours = sides.pop(OURS).rounds
    least = [sides.pop(name) for name in floors]
    best = max if unit.endswith("/s") else min
    floor = best(least, key=lambda side: side.figure.median) if least else None

    for number, peer in enumerate([*sides.values()] or [None]):
        yield Line(scenario, unit, ours, peer, None if number else floor, note)
