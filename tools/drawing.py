"""Panels of a dashboard as matplotlib draws them: by Grafana's JSON, on a canvas measured in pixels."""

import math
import time
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

PAPER, SURFACE, EDGE, INK, FAINT, TRACK = "#f4f5f5", "#ffffff", "#dcdee1", "#24292e", "#70757c", "#eceef0"
# By Grafana's names.
COLORS = {"green": "#56a64b", "red": "#e02f44", "orange": "#ff780a", "blue": "#3274d9", "purple": "#a352cc"}
COLORS |= {"text": INK}
# Grafana's classic palette.
PALETTE = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300")

TITLE, PAD, LINE = 30, 12, 18
SMALL = 8  # points

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """What a query came to: a name by the panel's legend, and values at the times of the picture (NaN: none)."""

    name: str
    values: Floats

    @property
    def last(self) -> float:
        """The last value that is known."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if len(known) else math.nan


@dataclass(frozen=True)
class Panel:
    """A panel's JSON, where it lies, and what it shows.

    Attributes
    ----------
    json : mapping
        As in the dashboard.
    x, y, w, h : float
        Its place in pixels, from the top left.
    times : array of float
        The times of what was asked over a span, as matplotlib counts days.
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
        """What holds for all of its fields: unit, thresholds, mappings and so on."""
        return dict(self.json["fieldConfig"]["defaults"])

    @property
    def custom(self) -> Mapping[str, Any]:
        """How its lines look."""
        return dict(self.defaults.get("custom", {}))

    def words(self, value: float) -> str:
        """Return a value as it is written, in its unit."""
        return words(value, self.defaults)

    def color(self, value: float) -> str:
        """Return the color of a value, by mapping or threshold."""
        mapped = _mapping(value, self.defaults)
        if mapped is not None:
            return COLORS[mapped["color"]]
        steps = self.defaults["thresholds"]["steps"]
        return COLORS[[s["color"] for s in steps if s["value"] is None or value >= s["value"]][-1]]


def words(value: float, defaults: Mapping[str, Any]) -> str:
    """Return a value as a panel with these defaults writes it."""
    if math.isnan(value):
        return str(defaults.get("noValue", "-"))
    mapped = _mapping(value, defaults)
    if mapped is not None:
        return str(mapped["text"])
    unit, decimals = defaults["unit"], defaults.get("decimals")
    if unit == "percentunit":
        return f"{_number(100 * value, 1 if decimals is None else decimals).removesuffix('.0')}%"
    if unit == "s":
        return _duration(value, decimals)
    if unit == "dateTimeFromNow":
        return f"{_duration(abs(time.time() - value / 1000), 0)} ago"
    if unit == "short" and abs(value) >= 1000:
        return f"{_number(value / 1000, decimals)} K"
    return _number(value, decimals) + {"reqps": " req/s"}.get(unit, "")


def _mapping(value: float, defaults: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = (m["options"].get(f"{value:g}") for m in defaults.get("mappings", []))
    return next(filter(None, found), None)


def _number(value: float, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _duration(seconds: float, decimals: int | None) -> str:
    for least, unit in ((86400, "day"), (3600, "hour"), (60, "min")):
        if seconds >= least:
            number = _number(seconds / least, decimals)
            return f"{number} {unit}{'' if number == '1' else 's'}"
    if 0 < seconds < 1:
        return f"{_number(seconds * 1000, decimals)} ms"
    return f"{_number(seconds, decimals)} s"


def draw(canvas: Axes, panel: Panel) -> None:
    """Draw a panel on a canvas, whose data are pixels from the top left."""
    canvas.add_patch(Rectangle((panel.x, panel.y), panel.w, panel.h, facecolor=SURFACE, edgecolor=EDGE))
    title = panel.json["title"]
    where, size = (panel.x + PAD, panel.y + TITLE / 2 + 2), _fitting(title, panel.w - 1.5 * PAD, 9)
    canvas.text(*where, title, size=size, weight="bold", va="center", color=INK)
    if panel.series or panel.json["type"] == "stat":
        _BY_TYPE[panel.json["type"]](canvas, panel)
    else:
        middle = panel.x + panel.w / 2, panel.y + (TITLE + panel.h) / 2
        canvas.text(*middle, "No data", ha="center", va="center", color=FAINT, size=10)


def _width(text: str, size: float) -> float:
    """Return about how many pixels a text takes; bold letters included."""
    return 0.9 * size * len(text)


def _fitting(text: str, width: float, size: float) -> float:
    """Return the size in points, this one at most, in which a text fits into a width."""
    return min(size, width / _width(text or " ", 1))


def _stat(canvas: Axes, panel: Panel) -> None:
    """Draw the last value of each series in big letters, on its color or in it."""
    options = panel.json["options"]
    shown = panel.series or [Series("", np.array([math.nan]))]
    w = (panel.w - 2 * PAD) / len(shown) if len(shown) < 3 else panel.w - 2 * PAD
    h = (panel.h - TITLE - PAD) / (1 if len(shown) < 3 else len(shown))
    for i, series in enumerate(shown):
        x, y = panel.x + PAD, panel.y + TITLE
        x, y = (x + i * w, y) if len(shown) < 3 else (x, y + i * h)
        known = not math.isnan(series.last)
        tint = panel.color(series.last) if known else FAINT
        filled = options["colorMode"] == "background" and known
        if filled:
            canvas.add_patch(Rectangle((x, y), w - 1, h, facecolor=tint, edgecolor="none"))
        text = series.name if options["textMode"] == "name" and known else panel.words(series.last)
        size = min(_fitting(text, 0.85 * w, 22), 0.4 * h)
        middle = x + w / 2, y + h / 2
        canvas.text(
            *middle, text, ha="center", va="center", size=size, weight="bold", color=SURFACE if filled else tint
        )


def _bar_gauge(canvas: Axes, panel: Panel) -> None:
    """Draw a bar for each series, from its name to its value."""
    values = [s.last for s in panel.series]
    low, high = panel.defaults.get("min", 0), panel.defaults.get("max", max([*values, 0]))
    top, height = panel.y + TITLE, (panel.h - TITLE - PAD / 2) / len(values)
    longest = max((s.name for s in panel.series), key=len)
    size = min(_fitting(longest, 0.5 * panel.w, 9), 0.55 * height)
    before = _width(longest, size) + PAD
    after = max(_width(panel.words(v), size) for v in values) + PAD
    left, w = panel.x + PAD + before, panel.w - 2 * PAD - before - after
    for i, (series, value) in enumerate(zip(panel.series, values, strict=True)):
        middle, thick = top + (i + 0.5) * height, min(0.7 * height, 22)
        share = 0 if high <= low else min(max((value - low) / (high - low), 0), 1)
        for width, face in ((w, TRACK), (w * share, panel.color(value))):
            canvas.add_patch(Rectangle((left, middle - thick / 2), width, thick, facecolor=face, edgecolor="none"))
        canvas.text(left - 6, middle, series.name, ha="right", va="center", size=size, color=INK)
        canvas.text(left + w + 6, middle, panel.words(value), va="center", size=size, color=panel.color(value))


def _time_series(canvas: Axes, panel: Panel) -> None:
    """Draw a line for each series, on each other where the panel stacks them."""
    colors = {s.name: PALETTE[i % len(PALETTE)] for i, s in enumerate(panel.series)}
    for override in panel.json["fieldConfig"]["overrides"]:
        for change in override["properties"]:
            if change["id"] == "color":
                colors[override["matcher"]["options"]] = COLORS[change["value"]["fixedColor"]]
    axes = _axes(canvas, panel, 58, {s.name: colors[s.name] for s in panel.series})
    values = np.array([s.values for s in panel.series])
    stacked = panel.custom.get("stacking", {}).get("mode") == "normal"
    tops = np.cumsum(np.nan_to_num(values), axis=0) if stacked else values
    grounds = tops - np.nan_to_num(values) if stacked else np.zeros_like(values)
    lines = np.where(np.isnan(values), np.nan, tops)
    for i, series in enumerate(panel.series):
        look = {"color": colors[series.name], "lw": panel.custom["lineWidth"] + 0.3, "ls": _dashes(i)}
        axes.plot(panel.times, lines[i], clip_on=False, **look)
        if opacity := panel.custom["fillOpacity"]:
            axes.fill_between(panel.times, grounds[i], lines[i], color=look["color"], alpha=opacity / 100, lw=0)
    low, high = panel.defaults.get("min"), panel.defaults.get("max")
    if high is None:
        high = 1.08 * np.nan_to_num(lines).max() or 1
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: panel.words(value)))
    axes.grid(visible=True, color=TRACK)


def _dashes(i: int) -> str:
    """Return a line's style: the palette's colors come again after ten lines."""
    return ("-", "--", ":")[i // len(PALETTE) % 3]


def _state_timeline(canvas: Axes, panel: Panel) -> None:
    """Draw a row for each series, in the color of its state at each time."""
    mapped = [option for m in panel.defaults.get("mappings", []) for option in m["options"].values()]
    _cells(canvas, panel, {o["text"]: COLORS[o["color"]] for o in mapped}, 1.0)


def _status_history(canvas: Axes, panel: Panel) -> None:
    """Draw a row of cells for each series."""
    steps = panel.defaults["thresholds"]["steps"]
    names = [f"< {steps[1]['value']}", *(f"{s['value']}+" for s in steps[1:])]
    colors = [COLORS[s["color"]] for s in steps]
    _cells(canvas, panel, dict(zip(names, colors, strict=True)), panel.json["options"]["colWidth"])


def _cells(canvas: Axes, panel: Panel, legend: Mapping[str, str], width: float) -> None:
    axes = _axes(canvas, panel, max(_width(s.name, SMALL) for s in panel.series), legend)
    step = panel.times[1] - panel.times[0]
    high = panel.json["options"]["rowHeight"]
    for row, series in enumerate(panel.series):
        known = np.flatnonzero(~np.isnan(series.values))
        spans = [(panel.times[i] - step, step * width) for i in known]
        faces = [panel.color(series.values[i]) for i in known]
        axes.broken_barh(spans, (row - high / 2, high), facecolors=faces, alpha=panel.custom["fillOpacity"] / 100, lw=0)
    axes.set_ylim(len(panel.series) - 0.5, -0.5)
    axes.set_yticks(range(len(panel.series)), [s.name for s in panel.series])


def _axes(canvas: Axes, panel: Panel, left: float, legend: Mapping[str, str]) -> Axes:
    """Return axes over time within a panel, with room at the left, and a legend of names and colors below."""
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
        canvas.add_artist(keys)  # a canvas keeps only the last of its own
    return axes


_BY_TYPE: dict[str, Callable[[Axes, Panel], None]] = {
    "stat": _stat,
    "bargauge": _bar_gauge,
    "timeseries": _time_series,
    "state-timeline": _state_timeline,
    "status-history": _status_history,
}
