"""The chart of the README, drawn from the results: how many times as fast as its peer ours is.

It has the lines whose ratio is held to a bar, whether they reach it or not.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from benchmarks.bars import Bar
from benchmarks.harness import Line
from benchmarks.results import Results, number, quantity

_MET, _MISSED, _TEXT = "#2f6f4f", "#b3541e", "#24292f"
# The same results give the same file: no date, and ids that do not depend on chance.
_STYLE: Any = {"svg.hashsalt": "credit-risk", "svg.fonttype": "path", "font.size": 9}
_METADATA = {"Date": None, "Creator": None}


def shown(results: Results) -> list[tuple[Line, Bar]]:
    """Return the lines that the chart has, each with its bar, in the order of the table."""
    return [
        (line, bar)
        for line, bars in results.with_bars()
        for bar in bars
        if bar.kind == "ratio" and line.ratio
    ]


def draw(results: Results, target: Path) -> None:
    """Draw the chart as SVG."""
    rows = shown(results)[::-1]
    if not rows:
        raise ValueError("there is no ratio with a bar to draw")

    with mpl.rc_context(_STYLE):
        drawing = Drawing(figsize=(9.5, 1 + 0.3 * len(rows)), layout="constrained")
        drawing.patch.set_facecolor("white")
        axes = drawing.add_subplot()
        axes.set_xscale("log")
        for place, (line, bar) in enumerate(rows):
            assert line.ratio
            assert line.peer
            assert line.figure
            median, spread = line.ratio
            colour = _MET if bar.verdict(line) == "met" else _MISSED
            axes.barh(place, median - 1, left=1, height=0.6, color=colour)
            low, high = max(median - spread, median / 10), median + spread
            axes.plot([low, high], [place, place], color=_TEXT, linewidth=1)
            axes.plot([bar.limit] * 2, [place - 0.4, place + 0.4], color=_TEXT, linewidth=2)

            ours, theirs = (quantity(f.median, line.unit) for f in (line.figure, line.peer.figure))
            axes.annotate(
                f"{number(median)} x   {ours} : {theirs}",
                (max(high, bar.limit, 1), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=_TEXT,
            )

        names = [f"{line.scenario}\n{line.peer.name}" for line, _ in rows if line.peer]
        axes.set_yticks(range(len(rows)), names, fontsize=7.5)
        axes.axvline(1, color=_TEXT, linewidth=0.8)
        right = max(max(line.ratio.median, bar.limit) for line, bar in rows if line.ratio)
        axes.set_xlim(right=right * 8)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.xaxis.set_major_formatter("{x:g} x")
        axes.set_xlabel("times as fast as the peer; upright: the bar; lying: the spread")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        drawing.savefig(target, format="svg", metadata=_METADATA)
