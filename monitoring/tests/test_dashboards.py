"""Each panel shows data: its queries run in a Prometheus that scrapes the real services."""

import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from matplotlib.text import Text

from credit_risk.decision_log.overrides import override
from credit_risk.schema.attributes import GREEN, RED
from tests.support.processes import running, wait_for
from tests.support.services import PREFECT_LOGIN, prefect_server
from tools.dashboards import panels
from tools.stack.local_stack import variables

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))

SIDES = ("window", "reference")
# Every name that the services serve, and their labels: what people outside build on.
EXPORTER = {
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
    **{
        f"credit_risk_{side}_{what}_ratio_bucket": {"le"}
        for side in SIDES
        for what in ("risks", "confidences")
    },
    "credit_risk_drift_psi": {"feature"},
    "credit_risk_drift_psi_limit": {"feature"},
    "credit_risk_unjudged_features": {"feature", "reason"},
    "credit_risk_portfolio_rows": {"outcome"},
    "credit_risk_portfolio_red_ratio": set(),
    "credit_risk_portfolio_risk_ratio": set(),
    "credit_risk_portfolio_timestamp_seconds": set(),
    "credit_risk_portfolio_drift_psi": {"feature"},
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
    "credit_risk_vintage_calibration_error_ratio": {"vintage", "age"},
    "credit_risk_vintage_predicted_calibration_error_ratio": {"vintage"},
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
    "credit_risk_alias_mismatch": set(),
    "credit_risk_break_glass_approvals": set(),
    "credit_risk_model_refused": set(),
    "credit_risk_last_report_timestamp_seconds": set(),
    "credit_risk_refresh_duration_seconds": set(),
    "credit_risk_refresh_timestamp_seconds": set(),
    "credit_risk_exporter_refusals_total": {"reason"},
    "credit_risk_decision_log_up": set(),
    "credit_risk_flow_runs": {"flow", "state"},
    "credit_risk_flow_last_run_failed": {"flow"},
    "credit_risk_flow_last_run_info": {"flow", "run", "state"},
    "credit_risk_flow_last_completed_timestamp_seconds": {"flow"},
}
RISKOMETER = {
    "riskometer_refusals_total": {"reason"},
    "riskometer_request_duration_seconds_bucket": {"route", "method", "status", "le"},
    "riskometer_request_duration_seconds_count": {"route", "method", "status"},
    "riskometer_request_duration_seconds_sum": {"route", "method", "status"},
    "riskometer_scoring_duration_seconds_bucket": {"le"},
    "riskometer_scoring_duration_seconds_count": set(),
    "riskometer_scoring_duration_seconds_sum": set(),
}
METRICS = EXPORTER | RISKOMETER
# Of the approvals service, which runs where tokens identify users.
APPROVALS = {"credit_risk_approvals_refusals_total": {"reason"}}


def whole(dashboard: Path) -> dict[str, Any]:
    return dict(json.loads(dashboard.read_text()))


def queries() -> list[tuple[str, str, str]]:
    """Return dashboard, panel and query."""
    return [
        (d.stem, p["title"], t["expr"])
        for d in DASHBOARDS
        for p in whole(d)["panels"]
        for t in p["targets"]
    ]


def annotations() -> set[str]:
    return {a["expr"] for d in DASHBOARDS for a in whole(d)["annotations"]["list"]}


def rules() -> list[dict[str, Any]]:
    return [
        r
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for r in group["rules"]
    ]


# Run for real


@pytest.fixture
def lived(served, log, draw, decide, become, register, other):
    """A log with a matured vintage and an override, a registry with a challenger."""
    register(served.model_name, other=other)
    record = decide(log, draw(200, labelled=True), time=datetime.now(UTC) - timedelta(days=430))
    become(log, record)
    first = log.read(record).to_pylist()[0]
    override(log, first["id"], RED if first["prediction"] == GREEN else GREEN, "Ann", "knows him")


@pytest.fixture
def prefect(served, tmp_path) -> Iterator[str]:
    """The API of a Prefect server with our deployments."""
    folder, log = tmp_path / "prefect", tmp_path / "deploy.log"
    folder.mkdir()
    with prefect_server(folder, schedules=True) as api:
        home = {
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": api,
            "PREFECT_API_AUTH_STRING": PREFECT_LOGIN,
        }
        with running(
            [sys.executable, "-m", "model_orchestration_and_tracking.deploy"], log, home
        ) as deploy:
            assert deploy.wait(120) == 0, log.read_text()
        yield api


@pytest.fixture
def services(
    served, prefect, serve, log, draw, decide, lived, tmp_path
) -> Iterator[dict[str, int]]:
    """Ports of a real exporter and Risk-O-Meter with drift, a report and a stream of clients."""
    decide(log, draw(120).drop(columns="foreign_worker"))
    decide(log, draw(120, drifted=True).drop(columns="foreign_worker"))
    decide(log, draw(150), kind="portfolio", idempotency_key="run/0")
    settings = served.model_copy(update={"prefect_api_url": prefect})
    report = [
        sys.executable,
        "-c",
        "from monitoring.reports.flow import evidently_report; evidently_report()",
    ]
    environment = variables(settings) | {"PREFECT_HOME": str(tmp_path / "prefect")}
    with serve(settings) as ports:
        with running(report, tmp_path / "report.log", environment) as run:
            assert run.wait(180) == 0, (tmp_path / "report.log").read_text()
        riskometer = f"http://127.0.0.1:{ports['risk-o-meter']}"
        done = threading.Event()
        coming = threading.Thread(
            target=keep_asking, args=(riskometer, draw(20).drop(columns="foreign_worker"), done)
        )
        coming.start()
        yield ports
        done.set()
        coming.join()


def keep_asking(riskometer: str, clients: Any, done: threading.Event) -> None:
    """Send clients as JSON and as a file, some with a purpose that nobody knows."""
    rows = [
        {name: value for name, value in row.items() if value == value}
        for row in clients.to_dict("records")
    ]
    while not done.wait(0.5):
        requests.post(f"{riskometer}/api/v1/score", json=rows, timeout=30)
        csv = clients.assign(purpose="yacht").head(2).to_csv(index=False) + clients.to_csv(
            index=False, header=False
        )
        requests.post(
            f"{riskometer}/api/v1/files", files={"file": ("clients.csv", csv)}, timeout=30
        )


@pytest.fixture
def prometheus(services, watch) -> Iterator[Any]:
    """A Prometheus that scrapes these services."""
    with watch(services) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_panel_has_data_and_every_metric_its_name(prometheus, served, register, log):
    ask = prometheus.ask

    def has_data(query: str) -> bool:
        return any(
            series["value"][1] != "NaN" for series in ask(query.replace("$__rate_interval", "1m"))
        )

    wait_for(
        lambda: ask("count_over_time(credit_risk_dataset_drift[1m]) > 2"), 150, "drift figures"
    )
    wait_for(lambda: ask("credit_risk_flow_last_run_info"), 60, "the flows")
    wait_for(lambda: ask("credit_risk:rejected_rows:increase30m > 0"), 60, "rejected rows")
    wait_for(lambda: not [q for q in queries() if not has_data(q[2])], 30, "every panel's data")
    served_as = ask('{__name__=~"(credit_risk|riskometer)_.+"}')
    found: dict[str, set[str]] = {}
    for series in served_as:
        found.setdefault(series["metric"]["__name__"], set()).update(
            set(series["metric"]) - {"job", "instance"}
        )
    assert {name: labels - {"__name__"} for name, labels in found.items()} == METRICS
    assert ask("credit_risk_dataset_drift")[0]["value"][1] == "1"
    assert (
        ask("sum(credit_risk_drift_detected)")[0]["value"][1]
        == ask("credit_risk_drifted_features")[0]["value"][1]
    )
    recorded = {r["record"] for r in rules() if "record" in r}
    assert recorded == {s["metric"]["__name__"] for s in ask('{__name__=~".+:.+"}')}
    assert {r["health"] for group in prometheus.get("rules")["groups"] for r in group["rules"]} == {
        "ok"
    }

    # And there is something to see in each picture of a dashboard.
    for dashboard in DASHBOARDS:
        asked = panels.Prometheus(prometheus.address, time.time() - 30, time.time())
        drawn = {text.get_text() for text in panels.picture(whole(dashboard), asked).findobj(Text)}
        assert {panel["title"] for panel in whole(dashboard)["panels"]} <= drawn
        assert "No data" not in drawn

    # Another version takes over: each dashboard marks the moment, once and with its number.
    began = time.time()
    assert register(served.model_name, log) == "3"  # after the challenger
    (query,) = annotations()
    wait_for(
        lambda: ask('credit_risk_production_model_info{model_version="3"}'), 60, "the next version"
    )
    time.sleep(8)
    now = {"start": began, "end": time.time(), "step": 1}
    marks = ask(query.replace("offset 2m", "offset 5s"), "query_range", **now)
    assert {s["metric"]["model_version"] for s in marks} == {"3"}
    assert len(marks[0]["values"]) <= 6


# Read from the files


def test_dashboards_and_rules_use_no_other_metrics():
    texts = [q for *_, q in queries()] + [*annotations()]
    texts += [r["expr"] for r in rules()] + [
        t for r in rules() for t in r.get("annotations", {}).values()
    ]
    used = {
        name
        for text in texts
        for name in re.findall(r"\b(?:credit_risk|riskometer)[_:][\w:]+", text)
    }
    recorded = {r["record"] for r in rules() if "record" in r}
    assert used - recorded <= set(METRICS | APPROVALS)
    assert recorded <= used | {"credit_risk:decisions:total"}


def test_the_page_on_metrics_lists_each_with_its_labels():
    page = (ROOT / "monitoring" / "metrics.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    listed = {
        name.strip(" `"): {part.split("`")[1] for part in labels.split(";") if "`" in part}
        for name, labels in rows
    }
    assert listed == EXPORTER
