"""Prometheus' rules: promtool runs their cases, and each alert says what a person needs."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.exporter.web import Site

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus" / "rules"
CASES = ROOT / "prometheus" / "tests" / "alerts.yml"
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
by_name = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


@pytest.fixture
def promtool(prometheus_binary) -> Path:
    return Path(prometheus_binary).with_name("promtool")


def test_every_case_of_the_rules_holds(promtool):
    done = subprocess.run([promtool, "test", "rules", CASES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration_and_the_rules(promtool, tmp_path):
    shutil.copytree(ROOT / "prometheus", tmp_path / "prometheus")
    config, key = tmp_path / "prometheus" / "prometheus.yml", tmp_path / "scrape-key"
    key.touch()
    config.write_text(config.read_text().replace("/run/secrets/scrape-key", str(key)))
    command = [promtool, "check", "config", config]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


def test_every_alert_fires_in_a_case():
    cases = yaml.safe_load(CASES.read_text())["tests"]
    expected = {s["labels"] for c in cases for t in c["promql_expr_test"] for s in t["exp_samples"]}
    fired = set(re.findall(r'alertname="(\w+)"', " ".join(expected)))
    assert fired == {alert["alert"] for alert in ALERTS}


def test_the_cases_run_all_groups_in_order():
    files = [
        yaml.safe_load((RULES / f"{name}.yml").read_text()) for name in ("recording", "alerts")
    ]
    assert yaml.safe_load(CASES.read_text())["group_eval_order"] == [
        g["name"] for f in files for g in f["groups"]
    ]


@by_name
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert):
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["for"], "one bad scrape is no reason to wake anybody"
    annotations = alert["annotations"]
    assert set(annotations) - {"report_url"} == {"summary", "description", "runbook_url"}
    assert all(annotations[text].endswith(".") for text in ("summary", "description"))


@by_name
def test_an_alert_links_to_its_section_of_the_runbook(alert, settings):
    page = Site(settings).answer("/runbook").body.decode()
    base, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert base == "http://{{ $externalLabels.exporter }}/runbook"
    assert f'<h2 id="{anchor}">{alert["alert"]}</h2>' in page
    section = page.split(f'id="{anchor}"')[1].split("<h2")[0]
    assert ("<strong>critical.</strong>" in section) == (alert["labels"]["severity"] == "critical")


def test_every_section_of_the_runbook_is_about_an_alert():
    sections = re.findall("(?m)^## (.+)$", (ROOT / "monitoring" / "runbook.md").read_text())
    assert sections == [
        alert["alert"] for alert in sorted(ALERTS, key=lambda a: sections.index(a["alert"]))
    ]


def test_make_targets_in_the_runbook_exist():
    targets = set(re.findall("(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert (
        set(re.findall("`make ([a-z-]+)", (ROOT / "monitoring" / "runbook.md").read_text()))
        <= targets
    )


def test_compose_scrapes_what_has_metrics():
    targets = json.loads((ROOT / "prometheus" / "targets" / "compose.json").read_text())
    assert {(t["labels"]["job"], *t["targets"]) for t in targets} == {
        ("risk-o-meter", "risk-o-meter:9696"),
        ("approvals", "approvals:9697"),
        ("proxy", "proxy:9180"),
        ("evidently-exporter", "evidently-exporter:8877"),
        ("prometheus", "prometheus:9090"),
    }


def test_prometheus_in_compose_sends_to_its_alertmanager():
    (group,) = json.loads((ROOT / "prometheus" / "alertmanagers" / "compose.json").read_text())
    assert group == {"targets": ["alertmanager:9093"]}
