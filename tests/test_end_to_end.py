"""A day with the whole local stack, started by its runner and used by all its users.

Nothing is simulated. The tests follow the order of the day and share one stack: an approval needs a
second version, drift needs decisions. They run once on SQLite and a folder, and at night
on MongoDB's protocol and a storage server.
"""

import csv
import os
import re
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from credit_risk.prefect_api import PrefectAPI
from credit_risk.storage.backends import open_blobs
from tests.support.processes import wait_for
from tests.support.stacks import alias, clients, others_can, serves, upload
from tools.stack.services import SERVICES

pytestmark = pytest.mark.timeout(900)


def gauge(stack, name: str, labels: str = "") -> float | None:
    """Return a figure of the exporter; None while it has none."""
    found = re.search(
        rf"^{name}{re.escape(labels)} (\S+)$", stack.get("EXPORTER", "/metrics").text, re.M
    )
    return float(found[1]) if found else None


def test_the_table_has_every_service_with_its_address_and_its_state(stack):
    console = stack.output
    wanted = [service for service in SERVICES if service.wanted(stack.environment)]
    for service in wanted:
        if not service.possible:
            continue
        line = re.search(rf"^{service.name} .*$", console, re.M)
        assert line, f"{service.name} is not in:\n{console}"
        assert re.search(r"(ready|done|ready, model version 1)$", line[0]), line[0]
        if service.port:
            assert f"http://127.0.0.1:{stack.environment[service.port]}" in line[0]
    status = stack.stack("status")
    assert status.returncode == 0
    assert all(f"\n{s.name} " in f"\n{status.stdout}" for s in wanted)
    assert not re.search("^approvals ", status.stdout, re.M), "nobody signs in here"
    assert "already running" in stack.stack("run").stdout


def test_each_page_answers_a_browser(stack):
    for service in ("RISKOMETER", "MLFLOW", "PREFECT"):
        page = requests.get(stack.url(service), headers={"Accept": "text/html"}, timeout=30)
        assert page.status_code == 200, service
        assert "<html" in page.text.lower(), service
    assert stack.get("PREFECT", "/ui-settings").json()["api_url"] == "/api"


def test_mlflow_shows_five_runs_with_metrics_and_plots(stack):
    found = stack.post(
        "MLFLOW", "/api/2.0/mlflow/experiments/search", json={"max_results": 10}
    ).json()
    experiments = [e["experiment_id"] for e in found["experiments"] if e["name"] != "Default"]
    runs = stack.post(
        "MLFLOW", "/api/2.0/mlflow/runs/search", json={"experiment_ids": experiments}
    ).json()["runs"]
    children = [
        run
        for run in runs
        if any(tag["key"] == "mlflow.parentRunId" for tag in run["data"]["tags"])
    ]
    assert len(children) == 5
    for run in children:
        names = {metric["key"] for metric in run["data"]["metrics"]}
        for figure in ("accuracy", "auc", "recall", "specificity"):
            assert any(figure in name for name in names), names
    listed = [
        file["path"]
        for run in runs
        for folder in ("", "figures", "plots")
        for file in stack.get(
            "MLFLOW", f"/api/2.0/mlflow/artifacts/list?run_id={run['info']['run_id']}&path={folder}"
        )
        .json()
        .get("files", [])
    ]
    assert sum(path.endswith(".png") for path in listed) >= 5, listed


def test_prefect_shows_the_deployments_with_their_schedules(stack):
    login = re.search(r"^Prefect +(\S+) ", stack.make("passwords"), re.M)[1]
    found = PrefectAPI(stack.url("PREFECT", "/api"), login).ask("deployments/filter", {})
    schedules = {d["name"]: [s["schedule"]["cron"] for s in d["schedules"]] for d in found}
    assert schedules == {
        "sunday-night": ["0 23 * * 0"],
        "every-3-hours": ["0 */3 * * *"],
        "nightly": ["0 2 * * *"],
        "on-demand": [],
    }


def test_a_clerk_uploads_clients_and_sees_green_and_red(stack, chromium, tmp_path):
    from selenium.webdriver.common.by import By

    file = tmp_path / "clients.csv"
    file.write_bytes(clients(120))
    browser = chromium(width=1400)
    browser.get(stack.url("RISKOMETER"))
    wait_for(
        lambda: "Model version 1" in browser.find_element(By.ID, "banner").text, 60, "the page"
    )
    browser.find_element(By.ID, "file-input").send_keys(str(file))
    summary = wait_for(lambda: browser.find_element(By.ID, "summary").text, 60, "the result")
    assert re.search(r"120\s+clients", summary)
    assert re.search(r"Model version\s+1", summary, re.I)
    cells = ".ag-cell[col-id=prediction]"

    def drawn() -> list[str] | None:
        texts = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, cells)]
        return texts if all(texts) else None  # a cell is there before its text

    assert set(wait_for(drawn, 30, "the table")) == {"green", "red"}
    browser.save_screenshot(str(tmp_path / "risk-o-meter.png"))


def test_an_upload_by_the_api_is_in_the_log_before_it_is_answered(stack, log):
    before = len(log.batches())
    batch = upload(stack, clients(200))
    assert (batch["n_decided"], batch["n_rejected"], batch["model_version"]) == (200, 0, "1")
    records = log.batches()
    assert len(records) == before + 1
    stored = log.read(records[-1]).to_pylist()
    assert [(d["id"], d["prediction"]) for d in stored] == [
        (d["id"], d["prediction"]) for d in batch["decisions"]
    ]


def test_make_score_decides_on_a_file(stack, log, tmp_path):
    file, result = tmp_path / "few.csv", tmp_path / "result.csv"
    file.write_bytes(clients(5))
    stack.make("score", FILE=str(file), OUT=str(result))
    (newest,) = log.latest_batches(limit=1)
    assert (newest.source, newest.n_decided) == ("few.csv", 5)
    rows = list(csv.DictReader(result.read_text().splitlines()))
    assert [row["decision_id"] for row in rows] == [f"{newest.id}-{i}" for i in range(5)]


def test_drift_figures_appear_after_the_first_hundred_decisions(stack):
    wait_for(lambda: gauge(stack, "credit_risk_window_decisions") >= 200, 120, "the window")
    assert gauge(stack, "credit_risk_dataset_drift") == 0
    assert (
        len(re.findall(r"^credit_risk_drift_score\{", stack.get("EXPORTER", "/metrics").text, re.M))
        >= 17
    )


def test_a_drifted_file_moves_the_gauges(stack):
    upload(
        stack,
        clients(1000, credit_amount="15000", duration="60", purpose="business"),
        "drifted.csv",
    )
    for feature in ("credit_amount", "duration", "purpose"):
        label = f'{{feature="{feature}"}}'
        wait_for(
            lambda label=label: gauge(stack, "credit_risk_drift_detected", label) == 1, 120, feature
        )
    assert gauge(stack, "credit_risk_drifted_features") >= 3


def test_prometheus_has_scraped_the_drift_of_this_stack(stack, prometheus_binary):
    def drifted() -> Any:
        query = {"query": 'credit_risk_drift_detected{feature="credit_amount"}'}
        answer = requests.get(stack.url("PROMETHEUS", "/api/v1/query"), params=query, timeout=20)
        return [series["value"][1] for series in answer.json()["data"]["result"]] == ["1"]

    wait_for(drifted, 60, "the drift in Prometheus")
    targets = stack.get("PROMETHEUS", "/api/v1/targets").json()["data"]["activeTargets"]
    assert {t["labels"]["job"]: t["health"] for t in targets} == dict.fromkeys(
        ("risk-o-meter", "evidently-exporter", "prometheus"), "up"
    )


def test_prometheus_has_the_rules_and_reports_to_the_alertmanager(
    stack, prometheus_binary, alertmanager_binary
):
    groups = stack.get("PROMETHEUS", "/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    known = stack.get("PROMETHEUS", "/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
    assert [a["url"] for a in known] == [stack.url("ALERTMANAGER", "/api/v2/alerts")]
    assert stack.get("ALERTMANAGER", "/api/v2/alerts").ok


def test_training_makes_a_challenger_and_only_a_person_makes_it_decide(stack):
    said = stack.make("model-train-flow", N_ITER="2")
    assert said.startswith("stack: local\n")
    assert (alias(stack, "challenger"), alias(stack, "production"), serves(stack)) == (
        "2",
        "1",
        "1",
    )
    stack.make("approve", VERSION="2", BY="Test Person", REASON="tried end to end")
    wait_for(lambda: serves(stack) == "2", 120, "the approved version in service")
    # Each process loads it by itself, once it has tried it.
    wait_for(
        lambda: upload(stack, clients(3))["model_version"] == "2",
        60,
        "a decision by the approved version",
    )
    listed = stack.make("approvals")
    assert re.search(r"version 1 +by bootstrap", listed)
    assert re.search(r"version 2 +by Test Person: tried end to end", listed)


def test_a_rollback_puts_the_previous_version_in_service(stack):
    stack.make("rollback", BY="Test Person", REASON="tried that too")
    wait_for(lambda: serves(stack) == "1", 120, "the version before in service")


def test_a_report_is_stored_in_the_bucket_and_in_the_log(stack, log):
    said = stack.make("evidently-report-flow")
    assert "dataset drift: yes" in said
    blobs = open_blobs(stack.environment["BUCKET"])
    assert "reports/latest.html" in blobs.names("reports/")
    (report,) = log.reports("report", 1)
    page = blobs.get(report["body"]["page"])
    assert page.lower().count(b"<html") >= 1
    assert f'/reports/{report["_id"]}"' in stack.get("EXPORTER", "/reports").text
    assert stack.get("EXPORTER", "/reports/latest").content == page
    label = '{flow="evidently-report",state="completed"}'
    wait_for(
        lambda: gauge(stack, "credit_risk_flow_runs", label),
        60,
        "the run in the exporter's figures",
    )


def test_a_run_that_fails_makes_its_target_fail(stack):
    done = stack.call(["make", "model-train-flow"], N_ITER="none")
    assert done.returncode != 0


def test_a_killed_mlflow_is_restarted_and_scoring_goes_on_without_it(stack):
    stack.kill("mlflow")
    assert upload(stack, clients(3))["n_decided"] == 3
    wait_for(lambda: alias(stack, "production") == "1", 120, "MLflow")
    wait_for(
        lambda: "mlflow had died and was started again" in stack.output, 10, "the line that says so"
    )


@pytest.mark.parametrize(
    ("service", "port"), [("risk-o-meter", "RISKOMETER"), ("evidently-exporter", "EXPORTER")]
)
def test_another_killed_service_is_restarted(stack, service, port):
    stack.kill(service)
    wait_for(lambda: stack.get(port, "/healthz").ok, 120, service)
    wait_for(
        lambda: f"{service} had died and was started again" in stack.output,
        10,
        "the line that says so",
    )


def test_only_its_user_can_read_the_state(stack):
    assert stack.var.stat().st_mode & 0o777 == 0o700
    # Except for copies of files that everybody may read: Prometheus' rules and Prefect's page.
    copies = (stack.var / "prometheus", stack.var / "prefect" / "ui")
    # Not by `rglob`, which fails when a folder is removed meanwhile.
    found = (Path(at, name) for at, *names in os.walk(stack.var) for name in chain(*names))
    state = [path for path in found if not any(path.is_relative_to(copy) for copy in copies)]
    assert {"secrets", "log", "prefect", "mlflow.db"} <= {path.name for path in state}
    assert [str(path) for path in state if others_can(path)] == []
    # Output that does not go to a terminal is kept, so it must not contain the login.
    login = (stack.var / "secrets" / "prefect-login").read_text()
    for kept in (
        stack.output,
        *(log.read_text(errors="replace") for log in (stack.var / "log").glob("*.log")),
    ):
        assert login not in kept
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):  # it has ended since
            assert login not in " ".join(process.cmdline())


def test_ctrl_c_leaves_nothing_running(stack):
    assert "the state is kept in" in stack.stop()
    assert stack.runner.returncode == 0
    assert not stack.processes()
    assert stack.stack("status").returncode == 3
