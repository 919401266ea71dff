"""The pictures of dashboards: drawn of what a real Prometheus answers."""

import copy
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from monitoring.exporter.server import Server, serving
from tests.support.processes import free_port, wait_for
from tools.dashboards.formatting import formatted
from tools.dashboards.panels import Prometheus, picture

ROOT = Path(__file__).parents[2]
DASHBOARDS = [
    json.loads(file.read_text())
    for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
]
FIRST_OF_TYPE = {p["type"]: p for d in DASHBOARDS for p in reversed(d["panels"])}


@pytest.fixture
def asked(settings, watch):
    """The last seconds of a Prometheus that scrapes itself and an exporter without any figures."""
    server = Server("127.0.0.1", free_port(), settings)
    with serving(server), watch({"evidently-exporter": server.server_port}) as prometheus:
        wait_for(
            lambda: prometheus.ask('count_over_time(up{job="evidently-exporter"}[1m]) > 2'),
            what="scrapes",
        )
        yield Prometheus(prometheus.address, time.time() - 5, time.time())


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.slow
def test_a_whole_dashboard_is_drawn_with_what_is_known_of_it(asked):
    for dashboard in DASHBOARDS:
        drawn = texts(picture(dashboard, asked))
        assert {p["title"] for p in dashboard["panels"]} <= set(drawn)
        assert "No data" in drawn
        if dashboard["title"] == "Service":
            assert {"up", "not scraped", "down"} <= set(
                drawn
            )  # the exporter, the Risk-O-Meter; a legend


@pytest.mark.slow
def test_all_types_of_panels_are_drawn(asked):
    panels = []
    for y, panel in enumerate(FIRST_OF_TYPE.values()):
        panel = copy.deepcopy(panel) | {"gridPos": {"x": 0, "y": 6 * y, "w": 24, "h": 6}}
        panel["targets"] = [
            panel["targets"][0] | {"expr": "up", "legendFormat": "{{job}}, {{nothing}}!"}
        ]
        panels.append(panel)
    assert {p["type"] for p in panels} == {
        "stat",
        "timeseries",
        "state-timeline",
        "status-history",
        "bargauge",
    }
    figure = picture(DASHBOARDS[0] | {"panels": panels}, asked)
    drawn = texts(figure)
    assert "No data" not in drawn
    assert drawn.count("evidently-exporter, !") >= 2  # in a legend and at a bar
    _, *over_time = figure.axes
    (line,) = (line for axes in over_time for line in axes.lines)
    assert np.nanmin(line.get_ydata()) == np.nanmax(line.get_ydata()) == 1
    rows = [
        [label.get_text() for label in axes.get_yticklabels()]
        for axes in over_time
        if not axes.lines
    ]
    assert rows == [["evidently-exporter, !"]] * 2
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("value", "defaults", "expected"),
    [
        (0.5, {"unit": "percentunit"}, "50%"),
        (0.1234, {"unit": "percentunit", "decimals": 2}, "12.34%"),
        (0.0123, {"unit": "s"}, "12.3 ms"),
        (0, {"unit": "s"}, "0 s"),
        (60, {"unit": "s"}, "1 min"),
        (9000, {"unit": "s", "decimals": 0}, "2 hours"),
        (1500, {"unit": "short"}, "1.5 K"),
        (450, {"unit": "short"}, "450"),
        (0.25, {"unit": "reqps"}, "0.25 req/s"),
        (math.nan, {"unit": "none", "noValue": "too few decisions"}, "too few decisions"),
        (
            1,
            {"unit": "none", "mappings": [{"type": "value", "options": {"1": {"text": "drift"}}}]},
            "drift",
        ),
    ],
)
def test_a_value_is_written_in_its_unit(value, defaults, expected):
    assert formatted(value, defaults) == expected


@pytest.mark.parametrize(("tool", "option"), [("panels", "--minutes"), ("demo_traffic", "--past")])
def test_tools_have_a_help_text(tool, option):
    command = [sys.executable, "-m", f"tools.dashboards.{tool}", "--help"]
    shown = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert option in shown.stdout
