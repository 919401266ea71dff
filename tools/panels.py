"""Draw Grafana's dashboards without Grafana: each panel's own queries, run in a Prometheus, as one picture a dashboard.

    python -m tools.panels --minutes 20          into docs/, of the Prometheus at PROMETHEUS_PORT

Titles, places, types, units, legends, thresholds and annotations are the dashboards'; the look is only like Grafana's.
tools/stories.py sends a stack what there is to show.
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import requests
from matplotlib.figure import Figure

from credit_risk.settings import Settings
from tools.drawing import FAINT, INK, PAPER, Floats, Panel, Series, draw
from tools.exposure import bind_address, reachable

ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS = ROOT / "grafana" / "dashboards"
POINTS = 180  # of a series, at most
RATE_INTERVAL = "1m"  # what Grafana makes of our scrape interval

# In pixels; Grafana's grid has 24 columns.
COLUMNS, COLUMN, ROW, GAP, HEAD = 24, 62, 34, 8, 48
DPI = 100


class Prometheus:
    """A Prometheus, and the span of time that it is asked about."""

    def __init__(self, url: str, start: float, end: float) -> None:
        self._url = url
        self._step = max(1, math.ceil((end - start) / POINTS))
        self._seconds = np.arange(start, end + 1e-6, self._step)

    @property
    def times(self) -> Floats:
        """The times that it is asked about, in days since 1970, as matplotlib counts."""
        return self._seconds / 86400

    @property
    def span(self) -> str:
        """The span in words."""
        start, end = (datetime.fromtimestamp(t, UTC) for t in (self._seconds[0], self._seconds[-1]))
        return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"

    def series(self, target: Mapping[str, Any]) -> list[Series]:
        """Return what a panel's query comes to: over the span, or at its end."""
        query = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        if target.get("instant"):
            found = self._ask("query", query=query, time=self._seconds[-1])
            return [Series(_name(target, s["metric"]), np.array([float(s["value"][1])])) for s in found]
        span = {"start": self._seconds[0], "end": self._seconds[-1], "step": self._step}
        found = self._ask("query_range", query=query, **span)
        return [Series(_name(target, s["metric"]), self._values(s["values"])) for s in found]

    def marks(self, annotation: Mapping[str, Any]) -> list[float]:
        """Return when an annotation begins."""
        found = self.series({"expr": annotation["expr"], "legendFormat": ""})
        return [float(self.times[np.flatnonzero(~np.isnan(s.values))[0]]) for s in found]

    def _values(self, pairs: list[tuple[float, str]]) -> Floats:
        values = np.full(len(self._seconds), np.nan)
        for moment, value in pairs:
            values[round((moment - self._seconds[0]) / self._step)] = float(value)
        return values

    def _ask(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=30)
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])


def _name(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), target["legendFormat"])


def picture(dashboard: Mapping[str, Any], prometheus: Prometheus) -> Figure:
    """Return a dashboard, drawn."""
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
    width, height = GAP + COLUMNS * COLUMN, HEAD + rows * ROW + GAP
    figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    canvas = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    canvas.set_axis_off()
    canvas.text(GAP + 4, HEAD / 2, dashboard["title"], size=15, weight="bold", va="center", color=INK)
    canvas.text(width - GAP, HEAD / 2, prometheus.span, size=10, ha="right", va="center", color=FAINT)
    marks = [mark for annotation in dashboard["annotations"]["list"] for mark in prometheus.marks(annotation)]
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        series = [s for target in panel["targets"] for s in prometheus.series(target)]
        place = GAP + at["x"] * COLUMN, HEAD + at["y"] * ROW, at["w"] * COLUMN - GAP, at["h"] * ROW - GAP
        draw(canvas, Panel(panel, *place, series, prometheus.times, marks))
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    settings = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m tools.panels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    url = f"http://{reachable(bind_address('prometheus', {'HOST': settings.host}))}:{settings.prometheus_port}"
    parser.add_argument("--prometheus", metavar="URL", default=url, help=f"whose figures to draw ({url})")
    parser.add_argument("--minutes", type=float, default=20, help="how far back to look (20)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=ROOT / "docs", help="where to draw (docs/)")
    options = parser.parse_args(arguments)
    now = time.time()
    prometheus = Prometheus(options.prometheus, now - 60 * options.minutes, now)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(DASHBOARDS.glob("*.json")):
        to = options.out / f"dashboard-{file.stem}.png"
        picture(json.loads(file.read_text()), prometheus).savefig(to, pil_kwargs={"optimize": True})
        print(to)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
