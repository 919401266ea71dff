"""What was measured, as JSON and as a table in Markdown."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, bars_of
from benchmarks.harness import Figure, Line, Side

BEGIN = "<!-- begin: written by `make bench` -->"
END = "<!-- end: written by `make bench` -->"
_HEADS = ("scenario", "ours", "peer", "ratio", "floor", "ours / floor", "bar", "met")
# The lines of the README, each beside its first peer.
_SUMMARY = (
    "one client, 1 connection",
    "one client, 8 connections",
    "1,000,000 rows, CSV, 250 trees",
    "make score, 1,000,000 clients",
)


@dataclass(frozen=True)
class Results:
    """All lines of a run, the bars that they are held to, and on what they were made."""

    lines: Sequence[Line]
    bars: Sequence[Bar]
    machine: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return it as JSON: each line's rounds, and what follows from them."""
        lines = []
        for line, bars in self.with_bars():
            lines.append(
                asdict(line)
                | {
                    "figure": _members(line.figure),
                    "ratio": _members(line.ratio),
                    "over_floor": _members(line.over_floor),
                    "bars": [asdict(bar) | {"met": _verdict(bar, line)} for bar in bars],
                }
            )
        return json.dumps({"machine": dict(self.machine), "lines": lines}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """Return what `as_json` returned."""
        stored = json.loads(text)
        lines, bars = [], []
        for given in stored["lines"]:
            lines.append(
                Line(
                    given["scenario"],
                    given["unit"],
                    tuple(given["ours"]),
                    _side(given["peer"]),
                    _side(given["floor"]),
                    given["note"],
                    given["left_out"],
                    given["failed"],
                )
            )
            names = ("scenario", "peer", "kind", "limit")
            bars += [Bar(*(bar[name] for name in names)) for bar in given["bars"]]
        return cls(lines, bars, stored["machine"])

    def updated(self, newer: "Results") -> "Results":
        """Return these lines with those of a newer run in their places, or after them.

        Raises
        ------
        ValueError
            When they were not made alike.
        """
        if self.machine != newer.machine:
            raise ValueError(f"the stored lines are of another machine: {dict(self.machine)}")
        lines = {_name(line): line for line in self.lines} | {
            _name(line): line for line in newer.lines
        }
        return Results([*lines.values()], newer.bars, newer.machine)

    def with_bars(self) -> list[tuple[Line, list[Bar]]]:
        """Return each line with the bars that it is held to."""
        return [(line, bars_of(line, self.bars, self.lines)) for line in self.lines]

    def table(self) -> str:
        """Return the table."""
        rows = [f"| {' | '.join(_HEADS)} |", "|---" * len(_HEADS) + "|"]
        rows += [f"| {' | '.join(_cells(line, bars))} |" for line, bars in self.with_bars()]
        return "\n".join(rows)

    def summary(self) -> str:
        """Return a table of a few lines, for the README."""
        first = {line.scenario: line for line in reversed(self.lines) if line.peer}
        rows = ["| scenario | credit-risk | the usual way |", "|---|---|---|"]
        for line in (first[name] for name in _SUMMARY if name in first):
            assert line.figure
            assert line.peer
            ours, peer = (quantity(f.median, line.unit) for f in (line.figure, line.peer.figure))
            rows.append(f"| {line.scenario} | {ours} | {line.peer.name}: {peer} |")
        return "\n".join(rows)

    def made(self) -> str:
        """Return a sentence on what it was made of and on."""
        about = self.machine
        return (
            f"The {about['size']} benchmark, on {about['cpus']} processors, {about['system']}, "
            f"Python {about['python']}."
        )


def _name(line: Line) -> tuple[str, str]:
    return line.scenario, line.peer.name if line.peer else ""


def _cells(line: Line, bars: Sequence[Bar]) -> list[str]:
    what = f"{line.scenario} ({line.note})" if line.note else line.scenario
    return [
        what,
        f"left out: {line.left_out}" if line.left_out else _quantity(line.figure, line.unit),
        _side_cell(line.peer, line.unit),
        _times(line.ratio),
        _side_cell(line.floor, line.unit),
        _times(line.over_floor),
        ", ".join(map(str, bars)),
        "; ".join(_verdict(bar, line) for bar in bars),
    ]


def machine(*, size: str) -> dict[str, Any]:
    """Return on what it was made, without a name or a date."""
    return {
        "size": size,
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def write_between_marks(page: Path, table: str) -> None:
    """Replace what stands between the two marks of a page.

    Raises
    ------
    ValueError
        When the page does not have both.
    """
    text = page.read_text()
    if not (0 <= text.find(BEGIN) < text.find(END)):
        raise ValueError(f"{page} has no place for the table: {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def quantity(value: float, unit: str) -> str:
    """Return a value for people, with three digits."""
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits}/s" if unit == "/s" else f"{digits} {unit}"


def _quantity(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    return quantity(figure.median, unit) + _spread(figure)


def _side_cell(side: Side | None, unit: str) -> str:
    return f"{side.name}: {_quantity(side.figure, unit)}" if side else ""


def _times(figure: Figure | None) -> str:
    return number(figure.median) + _spread(figure) if figure else ""


def _spread(figure: Figure) -> str:
    return f" ± {number(figure.spread)}" if figure.spread else ""


def number(value: float) -> str:
    """Return a number for people, with two digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _verdict(bar: Bar, line: Line) -> str:
    return "left out" if line.left_out else bar.verdict(line)


def _members(figure: Figure | None) -> dict[str, float] | None:
    return figure._asdict() if figure else None


def _side(given: Mapping[str, Any] | None) -> Side | None:
    return Side(given["name"], tuple(given["rounds"])) if given else None
