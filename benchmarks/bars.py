"""The bars that lines are held to: in `bars.toml`, for the full benchmark and the quick one."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.harness import Line

BARS = Path(__file__).with_name("bars.toml")
Kind = Literal["ratio", "floor", "most"]


@dataclass(frozen=True)
class Bar:
    """What is asked of a line.

    Attributes
    ----------
    scenario, peer : str
        Which line; without a peer, the scenario's first.
    kind : str
        `ratio`: at least so many times as good as the peer. `floor`: at most so many times as much
        as the floor takes. `most`: ours is at most so much, in the line's unit.
    limit : float
        So much.
    """

    scenario: str
    peer: str
    kind: Kind
    limit: float

    def __str__(self) -> str:
        words = {"ratio": "ratio at least", "floor": "ours / floor at most", "most": "at most"}
        return f"{words[self.kind]} {self.limit:g}"

    def is_of(self, line: Line) -> bool:
        """Return whether it is this line's."""
        if self.scenario != line.scenario:
            return False
        return not self.peer or line.peer is None or line.peer.name == self.peer

    def missed_by(self, line: Line) -> tuple[float, float]:
        """Return by how much a line misses it, negative where it does not, and the spread."""
        figures = {"ratio": line.ratio, "floor": line.over_floor, "most": line.figure}
        figure = figures[self.kind]
        if figure is None:
            raise ValueError(f"{self.scenario}: there is no {self.kind} to hold to the bar")
        below = self.limit - figure.median
        return (below if self.kind == "ratio" else -below), figure.spread

    def verdict(self, line: Line) -> str:
        """Return `met`, `missed`, or `missed, within the spread`."""
        missed, spread = self.missed_by(line)
        if missed <= 0:
            return "met"
        return "missed, within the spread" if missed <= spread else "missed"


def read_bars(part: str, source: Path = BARS) -> list[Bar]:
    """Return the bars of a part of the file: `full` or `quick`."""
    found = []
    for given in tomllib.loads(source.read_text()).get(part, []):
        kinds = [kind for kind in get_args(Kind) if kind in given]
        unknown = set(given) - {"scenario", "peer", *kinds}
        if unknown or not kinds:
            raise ValueError(f"{source.name}: {given} says nothing, or more than is understood")
        found += [
            Bar(given["scenario"], given.get("peer", ""), kind, given[kind]) for kind in kinds
        ]
    return found


def bars_of(line: Line, bars: Sequence[Bar], lines: Sequence[Line]) -> list[Bar]:
    """Return the bars of one of the lines: each is held by the first line that it is of."""
    return [bar for bar in bars if next(filter(bar.is_of, lines), None) is line]


def shortfalls(lines: Sequence[Line], bars: Sequence[Bar]) -> list[str]:
    """Return what is wrong, a sentence each.

    That is a bar missed by more than the spread, a scenario that failed, or a bar without a line.
    """
    found = [f"{line.scenario}: {line.left_out}" for line in lines if line.failed]
    for bar in bars:
        line = next(filter(bar.is_of, lines), None)
        named = f"{bar.scenario}, beside {bar.peer}" if bar.peer else bar.scenario
        if line is None:
            found.append(f"{named}: nothing was measured that the bar is for")
        elif not line.left_out and bar.verdict(line) == "missed":
            by, spread = bar.missed_by(line)
            found.append(f"{named}: missed {bar} by {by:.3g}, its spread is {spread:.3g}")
    return found
