"""Panels of a dashboard, drawn by matplotlib from Grafana's JSON on a canvas in pixels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from tools.dashboards.formatting import formatted, mapping_of

PAPER = "#f4f5f5"
SURFACE = "#ffffff"
EDGE = "#dcdee1"
INK = "#24292e"
FAINT = "#70757c"
TRACK = "#eceef0"
# By Grafana's names.
COLORS = {
    "green": "#56a64b",
    "red": "#e02f44",
    "orange": "#ff780a",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "text": INK,
}
# Grafana's classic palette.
PALETTE = (
    "#7eb26d",
    "#eab839",
    "#6ed0e0",
    "#ef843c",
    "#e24d42",
    "#1f78c1",
    "#ba43a9",
    "#705da0",
    "#508642",
    "#cca300",
)

# In pixels: the height of a title, the space around a panel's contents, the height of a line.
TITLE, PAD, LINE = 30, 12, 18
SMALL = 8  # points

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """The result of a query: a name by the panel's legend, and a value for each time, or NaN."""

    name: str
    values: Floats

    @property
    def last(self) -> float:
        """The last known value."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if len(known) else math.nan


@dataclass(frozen=True)
class Panel:
    """A panel's JSON, its place, and what it shows.

    Attributes
    ----------
    json : mapping
        As in the dashboard.
    x, y, w, h : float
        Its place in pixels, from the top left.
    times : array of float
        The times of values over a span, in days as matplotlib counts them.
    marks : sequence of float
        The times of the dashboard's annotations.
    """

    json: Mapping[str, Any]
    x: float
    y: float
    w: float
    h: float
    series: Sequence[Series]
    times: Floats
    marks: Sequence[float] = ()

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of all of its fields: unit, thresholds, mappings and so on."""
        return dict(self.json["fieldConfig"]["defaults"])

    @property
    def custom(self) -> Mapping[str, Any]:
        """How its lines look."""
        return dict(self.defaults.get("custom", {}))

    def formatted(self, value: float) -> str:
        """Return a value as this panel writes it, in its unit."""
        return formatted(value, self.defaults)

    def color(self, value: float) -> str:
        """Return the color of a value, by mapping or threshold."""
        mapped = mapping_of(value, self.defaults)
        if mapped is not None:
            return COLORS[mapped["color"]]

        steps = self.defaults["thresholds"]["steps"]
        reached = [step for step in steps if step["value"] is None or value >= step["value"]]
        return COLORS[reached[-1]["color"]]


def draw(canvas: Axes, panel: Panel) -> None:
    """Draw a panel on a canvas, whose data are pixels from the top left."""
    frame = Rectangle((panel.x, panel.y), panel.w, panel.h, facecolor=SURFACE, edgecolor=EDGE)
    canvas.add_patch(frame)

    title = panel.json["title"]
    where = panel.x + PAD, panel.y + TITLE / 2 + 2
    size = _fitting(title, panel.w - 1.5 * PAD, 9)
    canvas.text(*where, title, size=size, weight="bold", va="center", color=INK)

    if panel.series or panel.json["type"] == "stat":
        _BY_TYPE[panel.json["type"]](canvas, panel)
    else:
        middle = panel.x + panel.w / 2, panel.y + (TITLE + panel.h) / 2
        canvas.text(*middle, "No data", ha="center", va="center", color=FAINT, size=10)


def _width(text: str, size: float) -> float:
    """Return about how many pixels wide a text is, even in bold letters."""
    return 0.9 * size * len(text)


def _fitting(text: str, width: float, size: float) -> float:
    """Return the largest size in points, up to `size`, at which a text fits into a width."""
    return min(size, width / _width(text or " ", 1))


def _stat(canvas: Axes, panel: Panel) -> None:
    """Draw the last value of each series in big letters, on its color or in it."""
    shown = panel.series or [Series("", np.array([math.nan]))]
    w, h = panel.w - 2 * PAD, panel.h - TITLE - PAD
    x, y = panel.x + PAD, panel.y + TITLE
    if len(shown) < 3:  # side by side
        w /= len(shown)
        step = w, 0.0
    else:
        h /= len(shown)
        step = 0.0, h

    for i, series in enumerate(shown):
        _stat_cell(canvas, panel, series, (x + i * step[0], y + i * step[1], w, h))


def _stat_cell(
    canvas: Axes, panel: Panel, series: Series, place: tuple[float, float, float, float]
) -> None:
    options = panel.json["options"]
    x, y, w, h = place
    known = not math.isnan(series.last)
    tint = panel.color(series.last) if known else FAINT
    filled = options["colorMode"] == "background" and known
    if filled:
        canvas.add_patch(Rectangle((x, y), w - 1, h, facecolor=tint, edgecolor="none"))

    named = options["textMode"] == "name" and known
    text = series.name if named else panel.formatted(series.last)
    canvas.text(
        x + w / 2,
        y + h / 2,
        text,
        ha="center",
        va="center",
        size=min(_fitting(text, 0.85 * w, 22), 0.4 * h),
        weight="bold",
        color=SURFACE if filled else tint,
    )


def _bar_gauge(canvas: Axes, panel: Panel) -> None:
    """Draw a bar for each series, from its name to its value."""
    values = [series.last for series in panel.series]
    texts = [panel.formatted(value) for value in values]
    low, high = panel.defaults.get("min", 0), panel.defaults.get("max", max([*values, 0]))
    top, height = panel.y + TITLE, (panel.h - TITLE - PAD / 2) / len(values)
    thick = min(0.7 * height, 22)

    longest = max((series.name for series in panel.series), key=len)
    size = min(_fitting(longest, 0.5 * panel.w, 9), 0.55 * height)
    before = _width(longest, size) + PAD
    after = max(_width(text, size) for text in texts) + PAD
    left, w = panel.x + PAD + before, panel.w - 2 * PAD - before - after

    for i, series in enumerate(panel.series):
        value, color = values[i], panel.color(values[i])
        middle = top + (i + 0.5) * height
        share = 0 if high <= low else min(max((value - low) / (high - low), 0), 1)
        corner = left, middle - thick / 2
        canvas.add_patch(Rectangle(corner, w, thick, facecolor=TRACK, edgecolor="none"))
        canvas.add_patch(Rectangle(corner, w * share, thick, facecolor=color, edgecolor="none"))

        canvas.text(left - 6, middle, series.name, ha="right", va="center", size=size, color=INK)
        canvas.text(left + w + 6, middle, texts[i], va="center", size=size, color=color)


def _time_series(canvas: Axes, panel: Panel) -> None:
    """Draw a line for each series, on top of each other where the panel stacks them."""
    colors = _line_colors(panel)
    axes = _axes(canvas, panel, 58, colors)

    values = np.array([series.values for series in panel.series])
    stacked = panel.custom.get("stacking", {}).get("mode") == "normal"
    tops = np.cumsum(np.nan_to_num(values), axis=0) if stacked else values
    grounds = tops - np.nan_to_num(values) if stacked else np.zeros_like(values)
    lines = np.where(np.isnan(values), np.nan, tops)

    width, opacity = panel.custom["lineWidth"] + 0.3, panel.custom["fillOpacity"] / 100
    for i, series in enumerate(panel.series):
        color = colors[series.name]
        axes.plot(panel.times, lines[i], clip_on=False, color=color, lw=width, ls=_dashes(i))
        if opacity:
            axes.fill_between(panel.times, grounds[i], lines[i], color=color, alpha=opacity, lw=0)

    low, high = panel.defaults.get("min"), panel.defaults.get("max")
    if high is None:
        high = 1.08 * np.nan_to_num(lines).max() or 1
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: panel.formatted(value)))
    axes.grid(visible=True, color=TRACK)


def _line_colors(panel: Panel) -> dict[str, str]:
    """Return the color of each series, from the palette or from the panel's overrides."""
    overrides: dict[str, str] = {}
    for override in panel.json["fieldConfig"]["overrides"]:
        for change in override["properties"]:
            if change["id"] == "color":
                overrides[override["matcher"]["options"]] = COLORS[change["value"]["fixedColor"]]

    return {
        series.name: overrides.get(series.name, PALETTE[i % len(PALETTE)])
        for i, series in enumerate(panel.series)
    }


def _dashes(i: int) -> str:
    """Return a line's style: the palette's colors repeat after ten lines."""
    return ("-", "--", ":")[i // len(PALETTE) % 3]


def _state_timeline(canvas: Axes, panel: Panel) -> None:
    """Draw a row for each series, in the color of its state at each time."""
    legend = {}
    for mapping in panel.defaults.get("mappings", []):
        for option in mapping["options"].values():
            legend[option["text"]] = COLORS[option["color"]]
    _cells(canvas, panel, legend, 1.0)


def _status_history(canvas: Axes, panel: Panel) -> None:
    """Draw a row of cells for each series."""
    first, *others = panel.defaults["thresholds"]["steps"]
    legend = {f"< {others[0]['value']}": COLORS[first["color"]]}
    for step in others:
        legend[f"{step['value']}+"] = COLORS[step["color"]]
    _cells(canvas, panel, legend, panel.json["options"]["colWidth"])


def _cells(canvas: Axes, panel: Panel, legend: Mapping[str, str], width: float) -> None:
    names = [series.name for series in panel.series]
    axes = _axes(canvas, panel, max(_width(name, SMALL) for name in names), legend)
    step = panel.times[1] - panel.times[0]
    high = panel.json["options"]["rowHeight"]
    opacity = panel.custom["fillOpacity"] / 100

    for row, series in enumerate(panel.series):
        known = np.flatnonzero(~np.isnan(series.values))
        spans = [(panel.times[i] - step, step * width) for i in known]
        faces = [panel.color(series.values[i]) for i in known]
        where = row - high / 2, high
        axes.broken_barh(spans, where, facecolors=faces, alpha=opacity, lw=0)

    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)


def _axes(canvas: Axes, panel: Panel, left: float, legend: Mapping[str, str]) -> Axes:
    """Return axes over time within a panel, and draw the legend below them.

    Parameters
    ----------
    canvas : Axes
    panel : Panel
    left : float
        Pixels left free for the labels.
    legend : mapping
        The color of each name.
    """
    longest = max((_width(name, SMALL) for name in legend), default=0) + 30
    columns = max(1, min(len(legend), int((panel.w - 2 * PAD) / longest)))
    rows = math.ceil(len(legend) / columns)
    bottom = panel.y + panel.h - PAD / 2 - rows * LINE - 22

    corners = [(panel.x + PAD + left, bottom), (panel.x + panel.w - PAD, panel.y + TITLE + 4)]
    inside = Bbox(canvas.transData.transform(corners))
    assert canvas.figure is not None
    axes = canvas.figure.add_axes(inside.transformed(canvas.figure.transFigure.inverted()).bounds)

    axes.set_facecolor(SURFACE)
    axes.tick_params(labelsize=SMALL, labelcolor=FAINT, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(panel.times[0], panel.times[-1])

    locator = AutoDateLocator(minticks=3, maxticks=max(4, int(panel.w / 110)))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
    for mark in panel.marks:
        axes.axvline(mark, color=COLORS["purple"], lw=1, ls="--")

    if legend:
        _legend(canvas, panel, legend, columns)
    return axes


def _legend(canvas: Axes, panel: Panel, legend: Mapping[str, str], columns: int) -> None:
    keys = canvas.legend(
        [Patch(color=color) for color in legend.values()],
        [*legend],
        loc="lower left",
        bbox_to_anchor=(panel.x + PAD / 2, panel.y + panel.h - 2),
        bbox_transform=canvas.transData,
        ncols=columns,
        fontsize=SMALL,
        labelcolor=INK,
        frameon=False,
        handlelength=1.2,
        handleheight=0.4,
        borderpad=0.2,
        columnspacing=1.4,
    )
    canvas.add_artist(keys)  # by itself, a canvas keeps only the last legend


_BY_TYPE: dict[str, Callable[[Axes, Panel], None]] = {
    "stat": _stat,
    "bargauge": _bar_gauge,
    "timeseries": _time_series,
    "state-timeline": _state_timeline,
    "status-history": _status_history,
}
