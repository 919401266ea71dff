"""Draw Grafana's dashboards without Grafana, one picture for each.

    python -m tools.dashboards.panels --minutes 20

The queries of each panel are run in the Prometheus at PROMETHEUS_PORT, and the pictures go to
docs/. Titles, places, types, units, legends, thresholds and annotations are the dashboards'; the
look only resembles Grafana's. demo_traffic.py sends a stack the clients that the pictures show.
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import requests
from matplotlib.figure import Figure

from credit_risk.settings import Settings
from tools.access.exposure import bind_address, reachable
from tools.dashboards.drawing import FAINT, INK, PAPER, Floats, Panel, Series, draw
from tools.paths import ROOT

DASHBOARDS = ROOT / "grafana" / "dashboards"
POINTS = 180  # at most, in a series
RATE_INTERVAL = "1m"  # as Grafana derives it from our scrape interval

# In pixels, but for the 24 columns of Grafana's grid.
COLUMNS, COLUMN, ROW, GAP, HEAD = 24, 62, 34, 8, 48
DPI = 100


class Prometheus:
    """A Prometheus, and the span of time that it is queried for."""

    def __init__(self, url: str, start: float, end: float) -> None:
        self._url = url
        self._step = max(1, math.ceil((end - start) / POINTS))
        self._seconds = np.arange(start, end + 1e-6, self._step)

    @property
    def times(self) -> Floats:
        """The times that it is queried for, in days since 1970, as matplotlib counts."""
        return self._seconds / 86400

    @property
    def span(self) -> str:
        """The span as text."""
        start = datetime.fromtimestamp(self._seconds[0], UTC)
        end = datetime.fromtimestamp(self._seconds[-1], UTC)
        return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"

    def series(self, target: Mapping[str, Any]) -> list[Series]:
        """Return the result of a panel's query, over the span or at its end."""
        query = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        if target.get("instant"):
            results = self._ask("query", query=query, time=self._seconds[-1])
            return [
                Series(_name(target, result["metric"]), np.array([float(result["value"][1])]))
                for result in results
            ]

        span = {"start": self._seconds[0], "end": self._seconds[-1], "step": self._step}
        results = self._ask("query_range", query=query, **span)
        return [
            Series(_name(target, result["metric"]), self._values(result["values"]))
            for result in results
        ]

    def marks(self, annotation: Mapping[str, Any]) -> list[float]:
        """Return the times at which an annotation begins."""
        found = self.series({"expr": annotation["expr"], "legendFormat": ""})
        first = [np.flatnonzero(~np.isnan(series.values))[0] for series in found]
        return [float(self.times[index]) for index in first]

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
    def label(found: re.Match[str]) -> str:
        return labels.get(found[1], "")

    return re.sub(r"{{\s*(\w+)\s*}}", label, target["legendFormat"])


def picture(dashboard: Mapping[str, Any], prometheus: Prometheus) -> Figure:
    """Return the picture of a dashboard."""
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
    width, height = GAP + COLUMNS * COLUMN, HEAD + rows * ROW + GAP
    figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    canvas = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    canvas.set_axis_off()

    title, span, middle = dashboard["title"], prometheus.span, HEAD / 2
    canvas.text(GAP + 4, middle, title, size=15, weight="bold", va="center", color=INK)
    canvas.text(width - GAP, middle, span, size=10, ha="right", va="center", color=FAINT)

    annotations = dashboard["annotations"]["list"]
    marks = list(chain.from_iterable(map(prometheus.marks, annotations)))
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        series = list(chain.from_iterable(map(prometheus.series, panel["targets"])))
        place = (
            GAP + at["x"] * COLUMN,
            HEAD + at["y"] * ROW,
            at["w"] * COLUMN - GAP,
            at["h"] * ROW - GAP,
        )
        draw(canvas, Panel(panel, *place, series, prometheus.times, marks))
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    settings = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m tools.dashboards.panels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    host = reachable(bind_address("prometheus", {"HOST": settings.host}))
    url = f"http://{host}:{settings.prometheus_port}"
    parser.add_argument(
        "--prometheus", metavar="URL", default=url, help=f"whose figures to draw ({url})"
    )
    parser.add_argument("--minutes", type=float, default=20, help="how far back to look (20)")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=ROOT / "docs", help="where to draw (docs/)"
    )
    options = parser.parse_args(arguments)

    now = time.time()
    prometheus = Prometheus(options.prometheus, now - 60 * options.minutes, now)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(DASHBOARDS.glob("*.json")):
        to = options.out / f"dashboard-{file.stem}.png"
        figure = picture(json.loads(file.read_text()), prometheus)
        figure.savefig(to, pil_kwargs={"optimize": True})
        print(to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
