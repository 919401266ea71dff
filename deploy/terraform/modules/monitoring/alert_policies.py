"""Write alerts.json and figures.json: our alerts and dashboards without recorded figures.

    python deploy/terraform/modules/monitoring/alert_policies.py

Cloud Monitoring has no recording rules, and its texts have no templates. So where an alert or a
panel reads a recorded figure, that figure's own expression takes its place, and a template becomes
an ellipsis. figures.json has what to put for each figure in the text of a dashboard.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[4]
RULES = ROOT / "prometheus" / "rules"
DASHBOARDS = ROOT / "grafana" / "dashboards"
ALERTS_FILE = Path(__file__).with_name("alerts.json")
FIGURES_FILE = Path(__file__).with_name("figures.json")
SCRAPES = "30s"
"""The interval of scrapes, at which a range over a recorded figure is computed."""

SEVERITIES = {"critical": "CRITICAL", "warning": "WARNING"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# A recorded figure, with one matcher or a range.
_FIGURE = re.compile(r'([a-z_]+:[a-z0-9_:]+)(?:\{(\w+)="([^"]*)"\}|\[(\w+)\])?')
# The same in the text of a JSON file; stack/grafana.tf finds them by this, too.
_IN_JSON = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+(?:\{[^}]*\})?")
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def inlined(expression: str, recorded: Mapping[str, str]) -> str:
    """Return an expression in which no recorded figure is named.

    Parameters
    ----------
    expression : str
        In PromQL.
    recorded : mapping
        The expression of each recorded figure.
    """

    def put(figure: re.Match[str]) -> str:
        name, label, value, duration = figure.groups()
        inner = f"({inlined(recorded[name], recorded)})"
        if label:
            wanted = f'label_replace(vector(1), "{label}", "{value}", "", "")'
            return f"({inner} and on ({label}) {wanted})"
        return f"{inner}[{duration}:{SCRAPES}]" if duration else inner

    return _FIGURE.sub(put, expression.strip())


def policies(rules: Path = RULES) -> dict[str, dict[str, Any]]:
    """Return what each alert's policy is made of, by the alert's name."""
    recorded = {rule["record"]: rule["expr"] for rule, _ in _rules(rules / "recording.yml")}
    return {
        rule["alert"]: {
            "query": inlined(rule["expr"], recorded),
            "for_seconds": _seconds(rule.get("for", "0s")),
            "severity": SEVERITIES[rule["labels"]["severity"]],
            "group": group,
            "summary": _text(rule["annotations"]["summary"]),
            "description": _text(rule["annotations"]["description"]),
            "section": rule["annotations"]["runbook_url"].partition("#")[2],
        }
        for rule, group in _rules(rules / "alerts.yml")
        # There is no such proxy: Cloud Run has its own.
        if rule["alert"] != "ProxyDown"
    }


def figures(rules: Path = RULES, dashboards: Path = DASHBOARDS) -> dict[str, str]:
    """Return what to put for each recorded figure in the text of the dashboards' JSON."""
    recorded = {rule["record"]: rule["expr"] for rule, _ in _rules(rules / "recording.yml")}
    named = {
        found
        for file in dashboards.glob("*.json")
        for found in _IN_JSON.findall(file.read_text())
        if found.partition("{")[0] in recorded
    }
    return {found: json.dumps(inlined(json.loads(f'"{found}"'), recorded))[1:-1] for found in named}


def as_json(made: Mapping[str, object]) -> str:
    """Return the text of a file."""
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _rules(file: Path) -> list[tuple[dict[str, Any], str]]:
    groups = yaml.safe_load(file.read_text())["groups"]
    return [(rule, group["name"]) for group in groups for rule in group["rules"]]


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


def _text(template: str) -> str:
    """Return a text without templates; what they compute is in the alert's figures."""
    text = " ".join(_TEMPLATE.sub(" … ", template).split())
    text = re.sub(r"…(?:[ ,]*…)+", "…", text)
    return re.sub(r"… ([.,;])", r"…\1", text)


def main() -> int:
    """Write both files."""
    ALERTS_FILE.write_text(as_json(policies()))
    FIGURES_FILE.write_text(as_json(figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
