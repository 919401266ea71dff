"""Three stories, each from files at the Risk-O-Meter to gauges, alerts, the report, and its page.

Every part is real and runs. The live Prometheus has our rules but not their patience, so that
alerts fire while the story lasts; promtool then runs the rules as they are on what was scraped.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
import yaml

from monitoring.drift.drift import TOO_FEW
from monitoring.exporter.prefect_runs import FLOWS
from monitoring.exporter.web import SANDBOX
from monitoring.reports.flow import evidently_report
from tests.support.processes import wait_for
from tests.support.services import flows_under, prefect_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CASES = ROOT / "prometheus" / "tests" / "alerts.yml"
# The alerts that clients can set off; the others are on parts, which are started and stopped here.
ON_CLIENTS = 'alertname=~"DatasetDrift|PredictionDrift|VintageDefaults|RowsRejected"'


@dataclass(frozen=True)
class Stage:
    """The addresses of the parts, and what they say."""

    riskometer: str
    exporter: str
    prometheus: Any

    def send(self, clients: pd.DataFrame) -> requests.Response:
        """Send a file of clients."""
        file = ("clients.csv", clients.to_csv(index=False))
        return requests.post(f"{self.riskometer}/api/v1/files", files={"file": file}, timeout=60)

    def read(self, path: str) -> requests.Response:
        """Return a page of the exporter."""
        return requests.get(self.exporter + path, timeout=10)

    def reports(self) -> list[list[str]]:
        """Return the rows of the list of reports as their cells."""
        page = self.read("/reports").text
        return [
            re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>(<td.+?)</tr>", page)
        ]

    def gauges(self, query: str) -> dict[str, float]:
        """Return the samples of a query by the values of their own labels, such as the feature."""
        found = self.prometheus.ask(query)
        own = (
            [v for k, v in s["metric"].items() if k not in ("__name__", "job", "instance")]
            for s in found
        )
        return {
            ", ".join(labels): float(s["value"][1]) for labels, s in zip(own, found, strict=True)
        }

    def gauge(self, query: str) -> float:
        """Return the only sample of a query."""
        (value,) = self.gauges(query).values()
        return value

    def until(self, query: str) -> None:
        """Wait until a query has a sample."""
        wait_for(lambda: self.gauges(query), 60, query)

    def fires(self, *alerts: str) -> dict[str, dict[str, str]]:
        """Wait until these alerts fire and none else does, and return what they say."""

        firing: dict[str, dict[str, str]] = {}

        def as_told() -> bool:
            found = self.prometheus.get("alerts")["alerts"]
            firing.clear()
            firing.update(
                (a["labels"]["alertname"], a["annotations"])
                for a in found
                if a["state"] == "firing"
            )
            assert firing.keys() == {*alerts}, f"firing: {[*firing]}"
            return True

        wait_for(as_told, 60, ", ".join(alerts) or "silence")
        return firing


@pytest.fixture(scope="module")
def prefect_api(tmp_path_factory) -> Iterator[str]:
    """Of these stories alone: a failed run of another test's is an alert."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as api, flows_under(api):
        yield api


@pytest.fixture(scope="module", autouse=True)
def _deployments(prefect_api) -> None:
    """All flows are deployed, as in any stack: it is an alert when they are not."""
    for name in FLOWS:
        evidently_report.with_options(name=name).to_deployment("story").apply()


@pytest.fixture
def settings(settings, prefect_api):
    return settings.model_copy(update={"prefect_api_url": prefect_api, "riskometer_processes": 1})


@pytest.fixture
def stage(served, serve, watch) -> Iterator[Stage]:
    with serve(served) as ports, watch(ports, at_once=True) as prometheus:
        riskometer, exporter = (
            f"http://127.0.0.1:{ports[job]}" for job in ("risk-o-meter", "evidently-exporter")
        )
        stage = Stage(riskometer, exporter, prometheus)
        # Only after a recorded zero are the first rejected rows an increase.
        stage.until("credit_risk:rejected_rows:total == 0")
        yield stage


@pytest.fixture
def in_time(stage, prometheus_binary, tmp_path) -> Callable[[str, Mapping[int, Set[str]]], None]:
    """A function that asserts which alerts on clients fire some minutes after an event.

    The rules are those of the stack. promtool is given what Prometheus scraped, each second of it
    as a minute, and then two hours of the story's end. The event is when a query first has data.
    """

    def replay(event: str, firing: Mapping[int, Set[str]]) -> None:
        (seen,) = stage.prometheus.ask('up{job="evidently-exporter"}[10m]')
        span = {
            "start": int(seen["values"][0][0]) + 1,
            "end": int(seen["values"][-1][0]),
            "step": 1,
        }
        moments = range(span["start"], span["end"] + 1)

        def during(query: str) -> list[dict[str, Any]]:
            return list(stage.prometheus.ask(query, "query_range", **span))

        series = []
        for found in during('{__name__=~"(credit_risk|riskometer)_.+|up",job!="prometheus"}'):
            name, taken = found["metric"].pop("__name__"), dict(found["values"])
            labels = ",".join(
                f"{label}={json.dumps(value)}" for label, value in found["metric"].items()
            )
            values = [taken.get(moment, "_") for moment in moments]
            series.append(
                {
                    "series": f"{name}{{{labels}}}",
                    "values": " ".join([*values, f"{values[-1]}x120"]),
                }
            )
        began = moments.index(during(event)[0]["values"][0][0])
        expected = [
            {
                "expr": f'count by (alertname) (ALERTS{{{ON_CLIENTS},alertstate="firing"}})',
                "eval_time": f"{began + minutes}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in names
                ],
            }
            for minutes, names in firing.items()
        ]
        cases = yaml.safe_load(CASES.read_text())
        cases["rule_files"] = [str(CASES.parent / file) for file in cases["rule_files"]]
        cases["tests"] = [{"interval": "1m", "input_series": series, "promql_expr_test": expected}]
        story = tmp_path / "story.yml"
        story.write_text(json.dumps(cases))  # which is YAML
        promtool = Path(prometheus_binary).with_name("promtool")
        done = subprocess.run([promtool, "test", "rules", story], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return replay


def test_clients_without_drift_set_off_no_alert(stage, served, draw, run_report, in_time):
    answer = stage.send(draw(300))
    assert (answer.status_code, answer.json()["n_decided"]) == (200, 300)
    stage.until("count_over_time(credit_risk_dataset_drift[1m]) > 3")
    assert stage.gauge("credit_risk_window_decisions") == 300
    assert (
        stage.gauge("credit_risk_dataset_drift") == stage.gauge("credit_risk_drifted_features") == 0
    )
    assert set(stage.gauges("credit_risk_drift_detected").values()) == {0}
    assert len(stage.gauges("credit_risk_drift_detected")) == 21
    assert stage.gauges("credit_risk_unjudged_features") == {}

    assert run_report(served).message.startswith("dataset drift: no, drifted: no feature; ")
    ((_, *row, link),) = stage.reports()
    assert row == ["1", "300", "no", "-"]
    assert_is_sandboxed(stage, link, "Dataset Drift is NOT detected")

    stage.fires()
    assert (
        stage.gauges(f"count_over_time(ALERTS{{{ON_CLIENTS}}}[10m])") == {}
    )  # nor were they about to
    in_time("credit_risk_dataset_drift", {1: set(), 10: set(), 40: set(), 100: set()})


def test_falling_balances_and_rising_amounts_set_off_drift_alerts(
    stage, served, draw, run_report, in_time
):
    assert stage.send(draw(150)).ok
    stage.until("credit_risk_dataset_drift == 0")
    assert stage.send(draw(500, drifted=True)).ok
    stage.until("credit_risk_dataset_drift == 1")
    assert stage.gauge("credit_risk_window_decisions") == 650
    drifted = set(stage.gauges("credit_risk_drift_detected == 1"))
    assert drifted >= {"checking_status", "savings_status", "credit_amount", "risk"}
    assert stage.gauge("credit_risk_drifted_features") == len(drifted)
    assert stage.gauge("credit_risk_window_risk_ratio") > stage.gauge(
        "credit_risk_reference_risk_ratio"
    )

    assert run_report(served).message.startswith("dataset drift: yes")
    ((_, *row, named, link),) = stage.reports()
    assert row == ["1", "650", "yes"]
    assert set(named.split(", ")) == drifted
    assert_is_sandboxed(stage, link, "Dataset Drift is detected")

    fired = stage.fires("DatasetDrift", "PredictionDrift")
    assert (
        f"Drifted: {', '.join(sorted(drifted))}. Open the report"
        in fired["DatasetDrift"]["description"]
    )
    for alert in fired.values():  # which leads to the report
        assert link in requests.get(alert["report_url"], timeout=10).text
    in_time("credit_risk_dataset_drift == 1", {29: set(), 32: {"DatasetDrift", "PredictionDrift"}})


def test_a_broken_column_sets_off_rows_rejected(stage, served, draw, run_report, in_time):
    assert stage.send(draw(40)).ok
    stage.until("credit_risk_window_decisions == 40")
    answer = stage.send(draw(200).assign(purpose="yacht"))
    assert (answer.status_code, answer.json()["n_rejected"], answer.json()["decisions"]) == (
        422,
        200,
        [],
    )
    stage.until("credit_risk:rejected_rows:ratio30m > 0.1")
    assert stage.gauges("credit_risk_rejected_values_total") == {"purpose, unknown_category": 200}
    assert stage.gauge("credit_risk_window_decisions") == 40
    unjudged = stage.gauges("credit_risk_unjudged_features")
    assert len(unjudged) == 21
    assert all(TOO_FEW in which for which in unjudged)
    assert stage.gauges("count_over_time(credit_risk_dataset_drift[10m])") == {}

    assert run_report(served).message == "no report: 40 decisions, and it takes 100"
    ((_, words),) = stage.reports()
    assert words == "no report: 40 decisions, and it takes 100"
    assert stage.read("/reports/latest").status_code == 404

    fired = stage.fires("RowsRejected")["RowsRejected"]
    assert re.match(
        r"\d+(\.\d+)?% of the rows of the last 30 minutes were rejected.", fired["summary"]
    )
    in_time(
        'credit_risk_rows_total{outcome="rejected"} > 0', {3: set(), 8: {"RowsRejected"}, 60: set()}
    )


def assert_is_sandboxed(stage: Stage, link: str, verdict: str) -> None:
    """Assert that a link leads to a sandboxed report with this verdict."""
    path = re.search('href="(.+?)"', link)
    assert path
    page = stage.read(path[1])
    assert page.ok
    assert page.headers["Content-Security-Policy"] == SANDBOX
    assert SANDBOX.startswith("sandbox allow-scripts; default-src 'none'")
    assert verdict in page.text
