"""Each panel of each dashboard shows something: its queries are run in a Prometheus that scrapes a real exporter."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from conftest import free_port, running, wait_for
from credit_risk.decisions import GREEN, RED
from credit_risk.overrides import override
from monitoring.window import REPORT

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}

# Every name that the exporter serves, and their labels: what people outside build on.
METRICS = {
    "credit_risk_drift_score": {"feature"},
    "credit_risk_drift_detected": {"feature"},
    "credit_risk_drifted_features": set(),
    "credit_risk_drifted_features_ratio": set(),
    "credit_risk_dataset_drift": set(),
    "credit_risk_window_decisions": set(),
    "credit_risk_decisions_total": {"prediction", "model_version"},
    "credit_risk_rejected_rows_total": {"reason"},
    "credit_risk_rejected_values_total": {"column", "reason"},
    "credit_risk_rows_total": {"outcome"},
    "credit_risk_batches_total": {"source", "outcome"},
    "credit_risk_window_missing_values": {"feature"},
    "credit_risk_window_outside_training_values": {"feature"},
    "credit_risk_window_green_ratio": set(),
    "credit_risk_window_risk_ratio": set(),
    "credit_risk_window_confidence_ratio": set(),
    **{f"credit_risk_reference_{what}_ratio": set() for what in ("green", "risk", "confidence")},
    "credit_risk_drift_psi": {"feature"},
    "credit_risk_drift_psi_limit": {"feature"},
    "credit_risk_unjudged_features": {"feature", "reason"},
    "credit_risk_newest_decisions": set(),
    "credit_risk_newest_drift_score": {"feature"},
    "credit_risk_newest_drift_detected": {"feature"},
    "credit_risk_newest_dataset_drift": set(),
    "credit_risk_estimated_decisions": set(),
    "credit_risk_estimated_auc_ratio": set(),
    "credit_risk_estimated_accuracy_ratio": set(),
    "credit_risk_estimated_cost": set(),
    "credit_risk_out_of_fold_auc_ratio": set(),
    "credit_risk_out_of_fold_accuracy_ratio": set(),
    "credit_risk_out_of_fold_cost": set(),
    "credit_risk_last_outcomes_timestamp_seconds": set(),
    "credit_risk_vintage_applicants": {"vintage"},
    "credit_risk_vintage_funded": {"vintage"},
    "credit_risk_vintage_open": {"vintage"},
    "credit_risk_vintage_age_months": {"vintage"},
    "credit_risk_vintage_bad_ratio": {"vintage", "age"},
    "credit_risk_vintage_predicted_bad_ratio": {"vintage"},
    "credit_risk_vintage_auc_ratio": {"vintage", "age"},
    "credit_risk_vintage_predicted_auc_ratio": {"vintage"},
    "credit_risk_vintage_brier": {"vintage", "age"},
    "credit_risk_vintage_predicted_brier": {"vintage"},
    "credit_risk_vintage_defaults": {"vintage"},
    "credit_risk_vintage_defaults_bound": {"vintage"},
    "credit_risk_vintage_estimated_recall_ratio": {"vintage", "age"},
    "credit_risk_vintage_estimated_specificity_ratio": {"vintage", "age"},
    "credit_risk_vintage_estimated_cost": {"vintage", "age"},
    "credit_risk_vintage_acceptance_ratio": {"vintage", "attribute", "group"},
    "credit_risk_overrides": {"to", "result"},
    "credit_risk_overrides_predicted_wrong": {"to"},
    "credit_risk_challenger_model_info": {"model_version"},
    "credit_risk_shadow_decisions": set(),
    "credit_risk_shadow_agreement_ratio": set(),
    "credit_risk_shadow_green_ratio": set(),
    "credit_risk_shadow_expected_cost": {"decisions", "risks"},
    "credit_risk_shadow_observed_clients": set(),
    "credit_risk_shadow_observed_agreement_ratio": set(),
    "credit_risk_shadow_observed_cost": {"decisions"},
    "credit_risk_production_model_info": {"model_version"},
    "credit_risk_model_trained_timestamp_seconds": set(),
    "credit_risk_last_report_timestamp_seconds": set(),
    "credit_risk_refresh_duration_seconds": set(),
    "credit_risk_refresh_timestamp_seconds": set(),
}


def panels(dashboard: Path) -> list[dict[str, Any]]:
    return list(json.loads(dashboard.read_text())["panels"])


def queries() -> list[tuple[str, str]]:
    return [(p["title"], t["expr"]) for d in DASHBOARDS for p in panels(d) for t in p["targets"]]


@pytest.fixture
def lived(served, log, draw, decide, become, register, other):
    """A log with a matured vintage and an override, a registry with a challenger."""
    register(served.model_name, other=other)
    record = decide(log, draw(200, labelled=True), time=datetime.now(UTC) - timedelta(days=430))
    become(log, record)
    first = log.read(record).to_pylist()[0]
    override(log, first["id"], RED if first["prediction"] == GREEN else GREEN, "Ann", "knows him")


@pytest.fixture
def prometheus(served, log, draw, decide, lived, prometheus_binary, tmp_path):
    """The address of a Prometheus with our configuration that scrapes an exporter with drifted decisions."""
    decide(log, draw(120).drop(columns="foreign_worker"))
    decide(log, draw(120, drifted=True).drop(columns="foreign_worker"))
    decide(log, draw(2).assign(purpose="yacht"))
    log.put_report(REPORT, {})
    port, exporter_port = free_port(), free_port()
    folder = tmp_path / "prometheus"
    shutil.copytree(ROOT / "prometheus", folder, ignore=shutil.ignore_patterns("targets"))
    (folder / "targets").mkdir()
    targets = [{"targets": [f"127.0.0.1:{exporter_port}"], "labels": {"job": "evidently-exporter"}}]
    (folder / "targets" / "local.json").write_text(json.dumps(targets))
    config = folder / "prometheus.yml"
    config.write_text(re.sub(r"(scrape_interval|scrape_timeout): \d+s", r"\1: 1s", config.read_text()))
    values = {**served.model_dump(), "exporter_port": exporter_port, "exporter_interval_seconds": 1}
    command = [prometheus_binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    exporter = [sys.executable, "-m", "monitoring.exporter"]
    environment = {name.upper(): str(value) for name, value in values.items()}
    with running(exporter, tmp_path / "exporter.log", environment), running(command, tmp_path / "prometheus.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_every_panel_has_data_and_every_metric_its_name(prometheus):
    def ask(query: str) -> list[dict[str, Any]]:
        answer = requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=10)
        assert answer.ok, answer.text
        return list(answer.json()["data"]["result"])

    wait_for(lambda: ask("count_over_time(credit_risk_dataset_drift[1m]) > 2"), 150, "drift figures")
    served = ask('{__name__=~"credit_risk_.+"}')
    found = {s["metric"]["__name__"]: set(s["metric"]) - {"__name__", "job", "instance"} for s in served}
    assert found == METRICS
    assert ask("credit_risk_dataset_drift")[0]["value"][1] == "1"
    assert ask("sum(credit_risk_drift_detected)")[0]["value"][1] == ask("credit_risk_drifted_features")[0]["value"][1]
    empty = [title for title, query in queries() if not ask(query.replace("$__rate_interval", "1m"))]
    assert queries()
    assert not empty


def test_the_page_on_metrics_lists_each_with_its_labels():
    page = (ROOT / "monitoring" / "metrics.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    listed = {
        name.strip(" `"): {part.split("`")[1] for part in labels.split(";") if "`" in part} for name, labels in rows
    }
    assert listed == METRICS


def test_dashboards_use_no_other_metrics():
    used = {name for _, query in queries() for name in re.findall(r"\b(?:credit_risk|riskometer)_\w+", query)}
    assert used <= {*METRICS, *(f"riskometer_{what}_duration_seconds_bucket" for what in ("request", "scoring"))}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(dashboard):
    whole = json.loads(dashboard.read_text())
    assert whole["uid"] == f"credit-risk-{dashboard.stem}"
    ids = [p["id"] for p in whole["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in whole["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert all(source["datasource"] == DATASOURCE for source in (panel, *panel["targets"]))
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_datasource_is_the_one_that_dashboards_name():
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    assert source["jsonData"]["timeInterval"] == scrape_interval()


def scrape_interval() -> str:
    return str(yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"])


def test_prometheus_takes_the_configuration(prometheus_binary):
    config = ROOT / "prometheus" / "prometheus.yml"
    promtool = Path(prometheus_binary).with_name("promtool")
    subprocess.run([promtool, "check", "config", config], check=True, capture_output=True)


def test_compose_scrapes_what_has_metrics():
    targets = json.loads((ROOT / "prometheus" / "targets" / "compose.json").read_text())
    assert {(t["labels"]["job"], *t["targets"]) for t in targets} == {
        ("risk-o-meter", "risk-o-meter:9696"),
        ("evidently-exporter", "evidently-exporter:8877"),
        ("prometheus", "prometheus:9090"),
    }
