"""The dashboards' files: Grafana's schema, complete panels, and links."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import need

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}


def whole(dashboard: Path) -> dict[str, Any]:
    return dict(json.loads(dashboard.read_text()))


@pytest.fixture(scope="module")
def schema(tmp_path_factory) -> Path:
    """The program that holds dashboards to Grafana's schema."""
    program = tmp_path_factory.mktemp("schema") / "check"
    build = [need("go", "https://go.dev/dl"), "build", "-o", program, "."]
    done = subprocess.run(build, cwd=ROOT / "grafana" / "schema", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.slow
def test_the_dashboards_pass_grafanas_schema(schema, tmp_path):
    done = subprocess.run([schema, *DASHBOARDS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    it = whole(DASHBOARDS[0])
    it["panels"][0]["colour"] = "red"
    it["panels"][1]["options"].pop("textMode")
    it["panels"][2]["gridPos"]["w"] = "wide"
    (tmp_path / "wrong.json").write_text(json.dumps(it))
    wrong = subprocess.run([schema, tmp_path / "wrong.json"], capture_output=True, text=True)
    assert wrong.returncode == 1
    faults = [line.partition(":")[0] for line in wrong.stdout.splitlines()[1:]]
    assert faults == ["panels[0].Panel", "panels[1].options.textMode", "panels[2].gridPos.w"]


def test_there_are_three_dashboards():
    assert [d.stem for d in DASHBOARDS] == ["drift", "model", "service"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_complete(dashboard):
    it = whole(dashboard)
    assert it["uid"] == f"credit-risk-{dashboard.stem}"
    assert it["tags"] == ["credit-risk"]
    assert it["description"].endswith(".")
    ids = [p["id"] for p in it["panels"]]
    assert len(ids) == len(set(ids))
    titles = [p["title"] for p in it["panels"]]
    assert len(titles) == len(set(titles))
    taken: set[tuple[int, int]] = set()
    for panel in it["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(source["datasource"] == DATASOURCE for source in (panel, *panel["targets"]))
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_leads_to_reports_runbook_model_and_flows(dashboard):
    it = whole(dashboard)
    known = {v["name"]: v["query"] for v in it["templating"]["list"]}
    assert known == {
        "exporter": "http://localhost:8877",
        "mlflow": "http://localhost:5051",
        "prefect": "http://localhost:4200",
    }
    links = [link["url"] for link in it["links"] if link["type"] == "link"]
    assert links == [
        "${exporter}/reports",
        "${exporter}/runbook",
        "${mlflow}/#/models/credit-risk",
        "${prefect}/runs",
    ]
    at_panels = [
        link["url"] for p in it["panels"] for link in p["fieldConfig"]["defaults"].get("links", [])
    ]
    assert "${exporter}/reports/latest" in at_panels
    assert set(re.findall(r"\$\{(\w+)\}", " ".join(links + at_panels))) <= set(known)
    assert all(a["datasource"] == DATASOURCE for a in it["annotations"]["list"])


def test_a_version_leads_to_mlflow_and_a_run_to_prefect():
    panels = {p["title"]: p for d in DASHBOARDS for p in whole(d)["panels"]}
    (version,) = panels["Production version"]["fieldConfig"]["defaults"]["links"]
    assert (
        version["url"] == "${mlflow}/#/models/credit-risk/versions/${__field.labels.model_version}"
    )
    (run,) = panels["Last runs"]["fieldConfig"]["defaults"]["links"]
    assert run["url"] == "${prefect}/runs/flow-run/${__field.labels.run}"


def test_the_datasource_is_the_one_that_dashboards_name():
    provisioned = yaml.safe_load(
        (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    (source,) = provisioned["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    assert source["jsonData"]["timeInterval"] == scrape_interval()


def scrape_interval() -> str:
    configuration = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    return str(configuration["global"]["scrape_interval"])
