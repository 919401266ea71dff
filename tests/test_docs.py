"""The pages are right about links, commands, addresses, routes, alerts and code."""

import json
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml

from benchmarks.results import Results
from credit_risk.access import roles
from credit_risk.access.policy import REASONS
from credit_risk.schema.attributes import Attribute, Category
from credit_risk.schema.dataset import Costs, Dataset, Format, Group, Lever, Target
from credit_risk.settings import Settings
from model_deployment.api.routes import OPERATIONS
from model_deployment.api.schemas import Decided

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
ACCESS = DOCS / "access.md"
MOST_WORDS = 1100
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def _files(*options: str) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", *options], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


PAGES = [ROOT / name for name in _files("--cached", "--others", "--exclude-standard", "*.md")]
# Their files are named in backticks, from the repository's folder.
FOLDERS = sorted({name.partition("/")[0] for name in _files() if "/" in name})

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Return a page without its blocks of code: a comment of a shell is not a heading."""
    return _BLOCK.sub("", page.read_text())


def commands(page: Path) -> str:
    """Return a page's blocks of code that have no language: commands, or what they print."""
    return "".join(text for language, text in _BLOCK.findall(page.read_text()) if not language)


def table(page: Path, heading: str, n: int | None = None) -> list[list[str]]:
    """Return the rows below a heading, without the head: of one table, or of all as one."""
    below = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    if n is not None:
        below = [part for part in below.split("\n\n") if part.lstrip().startswith("|")][n]
    lines = [line.strip().strip("|") for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        anchor = base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        again = 0
        while anchor in found:
            again += 1
            anchor = f"{base}-{again}"
        found.add(anchor)
    return found


def links(page: Path) -> list[str]:
    """Return a page's links within the repository."""
    return [
        link for link in _LINK.findall(prose(page)) if not link.startswith(("http://", "https://"))
    ]


@by_page
def test_links_lead_to_existing_files_and_headings(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme_or_the_list_of_decisions():
    lists = (README, DOCS / "adr" / "README.md")
    reached = {
        (page.parent / link.partition("#")[0]).resolve() for page in lists for link in links(page)
    }
    assert {page for page in PAGES if page.parent in (ROOT, DOCS, DOCS / "adr")} - {
        README
    } <= reached


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= MOST_WORDS


@by_page
def test_make_commands_on_a_page_are_targets(page):
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)", prose(page))
    named += re.findall(r"(?m)^ *(?:[A-Z_]+=\S+ )*make ([a-z-]+)", commands(page))
    assert set(named) <= targets


@by_page
def test_files_named_on_a_page_exist(page):
    named = re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*)`", prose(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_addresses_are_those_of_the_settings():
    rows = {row[0].removesuffix(" (compose only)"): row[1] for row in table(README, "Addresses")}
    ports = {
        "Risk-O-Meter": "riskometer",
        "MLflow": "mlflow",
        "Prefect": "prefect",
        "Reports": "exporter",
        "Runbook": "exporter",
        "Drift exporter": "exporter",
        "Prometheus": "prometheus",
        "Alertmanager": "alertmanager",
        "Grafana": "grafana",
    }
    assert set(rows) == set(ports)
    for what, name in ports.items():
        port = Settings.model_fields[f"{name}_port"].default
        assert re.fullmatch(rf"http://127\.0\.0\.1:{port}(/\w+)?", rows[what]), what


@by_page
def test_an_address_on_this_machine_has_a_port_of_ours(page):
    ports = {
        str(field.default)
        for name, field in Settings.model_fields.items()
        if name.endswith("_port")
    }
    assert set(re.findall(r"//(?:127\.0\.0\.1|localhost):(\d+)", page.read_text())) <= ports


def test_the_page_on_settings_has_every_variable_of_compose():
    text = (ROOT / "docker-compose.yml").read_text()
    passwords = yaml.safe_load(text)["services"]["passwords"]["environment"]
    variables = set(re.findall(r"\$\{(\w+)", text)) | {
        name for name, value in passwords.items() if value is None
    }
    listed = {
        row[0].strip("`") for row in table(DOCS / "settings.md", "Variables of docker compose only")
    }
    settings = {name.upper() for name in Settings.model_fields}
    assert variables - settings - {"VAR"} == listed


def test_the_page_on_settings_has_the_variables_of_make():
    rows = table(DOCS / "settings.md", "Variables of make")
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row[0])}
    recipes = "\n".join(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")
    )
    used = set(re.findall(r"\$(?:\$\{?|\()([A-Z_]+)", recipes))
    own = {"PY", "ENVIRONMENT", "EXPORT", "QUICK_TESTS", "STATE"}
    settings = {name.upper() for name in Settings.model_fields}
    assert used - own - settings <= listed
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row[1])} <= targets


@pytest.mark.parametrize(
    ("n", "part"),
    list(enumerate((Dataset, Target, Costs, Attribute, Category, Group, Lever, Format))),
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_page_on_own_data_has_every_field_of_a_definition(n, part):
    rows = table(DOCS / "bring-your-own-data.md", "Reference", n=n)
    assert [row[0].strip("`") for row in rows] == list(part.model_fields)
    for (name, default, meaning), field in zip(rows, part.model_fields.values(), strict=True):
        assert (default == "required") == field.is_required(), name
        assert meaning.startswith(field.description or ""), name


def test_the_page_on_the_api_has_every_route():
    rows = [(row[0].lower(), row[1].strip("`")) for row in table(DOCS / "api.md", "Routes")]
    assert rows == [(operation.method, operation.path) for operation in OPERATIONS]


def test_the_page_on_access_has_the_rights_of_each_role():
    rows = {row[0].strip("`"): row[1:] for row in table(ACCESS, "Roles", n=0)}
    rights = {role: set(re.findall(r"`([\w-]+)`", row[0])) for role, row in rows.items()}
    assert rights == roles.PERMISSIONS
    scopes = {"all": "all", "branch": "the branch", "own": "its own"}
    for role, row in rows.items():
        one = roles.Roles({role: roles.Members(groups=["g"])}).of("", ["g"])
        assert row[1] == (scopes[one.scope] if one.may("read") else "none"), role


def test_the_page_on_access_explains_each_right():
    rows = table(ACCESS, "Roles", n=1)
    named = [right for row in rows for right in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(named) == sorted(get_args(roles.Permission))


def test_the_page_on_access_has_every_reason_for_a_denial():
    rows = table(ACCESS, "Denials")
    assert {reason for row in rows for reason in re.findall(r"`([\w-]+)`", row[1])} == set(REASONS)


def test_the_file_of_roles_on_the_page_on_access_is_valid(tmp_path):
    (shown,) = (text for language, text in _BLOCK.findall(ACCESS.read_text()) if language == "toml")
    (tmp_path / "roles.toml").write_text(shown)
    read = roles.read_roles(tmp_path / "roles.toml")
    assert read.of("bo@bank.example", ["credit-clerks"]).roles == ("approver", "clerk")
    assert len(read) == 4


def test_the_page_on_monitoring_has_every_alert():
    groups = yaml.safe_load((ROOT / "prometheus" / "rules" / "alerts.yml").read_text())["groups"]
    rules = [
        (rule["alert"], rule["labels"]["severity"], rule["for"])
        for group in groups
        for rule in group["rules"]
    ]
    rows = [(row[0].strip("`"), row[1], row[2]) for row in table(DOCS / "monitoring.md", "Alerts")]
    assert rows == rules


@by_page
def test_metrics_named_on_a_page_are_served(page):
    listed = re.findall(
        r"^\| `(\w+)`", (ROOT / "monitoring" / "metrics.md").read_text(), re.MULTILINE
    )
    others = r"`(riskometer_\w+|credit_risk_approvals_\w+)`"
    known = {*listed, *re.findall(others, (DOCS / "contracts.md").read_text())}
    assert set(re.findall(r"`((?:credit_risk|riskometer)_\w+)`", prose(page))) <= known


def test_every_decision_is_in_the_list_and_has_its_parts():
    folder = DOCS / "adr"
    records = sorted(folder.glob("0*.md"))
    assert links(folder / "README.md") == [record.name for record in records]
    listed = re.findall(r"(?m)^\| \[(\d+)\]\(.*\) \| (.+) \|$", (folder / "README.md").read_text())
    for record, (number, title) in zip(records, listed, strict=True):
        text = record.read_text()
        assert record.name.startswith(f"{int(number):04}-")
        assert text.startswith(f"# {number}. {title}\n")
        assert re.findall(r"(?m)^## (.+)$", text) == [
            "Context",
            "Decision",
            "Figures",
            "Consequences",
        ]


def test_the_answer_in_the_contracts_is_valid():
    (shown,) = re.findall(r"```json\n(.*?)```", (DOCS / "contracts.md").read_text(), re.DOTALL)
    assert Decided.model_validate(json.loads(shown)).n_rejected == 1


def test_the_changelog_begins_with_unreleased_changes():
    headings = re.findall(r"(?m)^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == "Unreleased"


def test_hooks_need_no_network():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}


def test_readme_and_benchmarks_show_the_stored_results():
    results = Results.from_json((DOCS / "benchmarks.json").read_text())
    assert results.summary() in README.read_text()
    assert results.table() in (DOCS / "benchmarks.md").read_text()
