"""GitHub's workflows: sound, pinned, without keys, and with every check that `.ci/run` has."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict

import pytest
import yaml

from tests.support.processes import need
from tools.paths import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FILES = [*WORKFLOWS, *sorted((GITHUB / "actions").glob("*/action.yml"))]
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
USES = re.compile(r"^ *(?:- )?uses: (.+)$", re.MULTILINE)
MAKE = re.compile(r"\bmake [a-z-]+(?: [A-Z_]+=\S+)*")

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(GITHUB)))
by_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def parsed(file):
    """Return a file; its `on` is the key True, which is how YAML 1.1 reads that word."""
    return yaml.safe_load(file.read_text())


def jobs(file):
    return parsed(file).get("jobs", {})


def steps(file):
    document = parsed(file)
    if "runs" in document:
        return document["runs"]["steps"]
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


def commands(file):
    """Return what the steps of a file run."""
    return [step["run"] for step in steps(file) if "run" in step]


def made(file):
    """Return the calls of make in a workflow, and in the actions of ours that it uses."""
    local = {step["uses"] for step in steps(file) if step.get("uses", "").startswith("./")}
    files = [file, *(ROOT / name / "action.yml" for name in local)]
    return {call for each in files for text in commands(each) for call in MAKE.findall(text)}


def run(*command):
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120)


def test_actionlint_finds_nothing():
    actionlint = need("actionlint", "make deploy-tools builds it")
    said = run(actionlint, "-no-color")
    assert said.returncode == 0, said.stdout + said.stderr


def test_zizmor_finds_nothing():
    zizmor = need("zizmor", "make deploy-tools installs it")
    said = run(zizmor, "--offline", "--no-progress", "--color=never", ".github")
    assert said.returncode == 0, said.stdout + said.stderr


def test_scripts_of_jobs_pass_bash_and_shellcheck():
    scripts = sorted(str(file) for file in (ROOT / "deploy/scripts").glob("*.sh"))
    assert scripts
    for script in scripts:
        said = run("bash", "-n", script)
        assert said.returncode == 0, said.stderr
    said = run(need("shellcheck", "Debian's package of that name has it"), *scripts)
    assert said.returncode == 0, said.stdout


@by_file
def test_each_action_is_ours_or_pinned_by_its_commit_and_version(file):
    for action in USES.findall(file.read_text()):
        if action.startswith("./"):
            assert (ROOT / action).is_file() or (ROOT / action / "action.yml").is_file(), action
        else:
            assert PINNED.fullmatch(action), action


def test_an_action_has_one_version():
    versions = defaultdict(set)
    for file in FILES:
        for action in USES.findall(file.read_text()):
            versions[action.partition("@")[0]].add(action)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@by_file
def test_no_secret_of_the_repository_and_no_key_of_google_is_used(file):
    text = file.read_text()
    assert "credentials_json" not in text
    assert not re.search(r"\bsecrets\b\s*[.:\[]", text)


@by_file
def test_what_runs_is_not_put_together_from_expressions(file):
    assert [text for text in commands(file) if "${{" in text] == []


@by_workflow
def test_nothing_is_permitted_but_what_a_job_says(file):
    assert parsed(file)["permissions"] == {}
    for name, job in jobs(file).items():
        assert "permissions" in job, name
        assert "write-all" not in str(job["permissions"]), name


@by_workflow
def test_each_job_ends(file):
    for name, job in jobs(file).items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, name


@by_workflow
def test_a_checkout_keeps_no_token(file):
    for step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@by_workflow
def test_pull_requests_of_strangers_run_without_our_rights(file):
    assert not {"pull_request_target", "workflow_run"} & set(parsed(file)[True])


@by_file
def test_targets_of_make_exist(file):
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {call.split()[1] for text in commands(file) for call in MAKE.findall(text)}
    assert called <= targets


@by_file
def test_scripts_exist_and_can_be_run(file):
    for text in commands(file):
        for name in re.findall(r"\b(?:deploy|tools|\.github)/[\w./-]+\.(?:sh|py)\b", text):
            assert os.access(ROOT / name, os.X_OK), name


def test_ci_calls_what_the_command_on_this_machine_calls():
    steps_here = re.findall(r"^ *step \S+ (make .+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "make test-deploy" in steps_here
    ci = GITHUB / "workflows/ci.yml"
    assert set(steps_here) <= made(ci)
    assert parsed(ci)["env"]["REQUIRE_PARTS"] == "1"


def test_ci_runs_on_every_python_that_the_project_supports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least, above = map(int, re.findall(r"3\.(\d+)", project["requires-python"]))
    matrix = jobs(GITHUB / "workflows/ci.yml")["test"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(least, above)]


def test_ci_is_passed_only_when_each_check_is():
    found = jobs(GITHUB / "workflows/ci.yml")
    assert set(found["passed"]["needs"]) == set(found) - {"passed", "audit", "test-nightly"}


def test_ci_runs_the_longest_tests_each_night():
    ci = parsed(GITHUB / "workflows/ci.yml")
    assert ci[True]["schedule"] == [{"cron": "0 5 * * *"}]
    nightly = ci["jobs"]["test-nightly"]
    assert nightly["if"] == "github.event_name == 'schedule'"
    assert "make test-nightly" in [step.get("run") for step in nightly["steps"]]


def test_images_are_built_of_every_service():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    targets = {service["build"]["target"] for service in services if "build" in service}
    built = jobs(GITHUB / "workflows/images.yml")["build"]["strategy"]["matrix"]["target"]
    assert sorted(built) == sorted(targets)


def test_production_comes_after_staging_and_in_an_environment():
    deploy = jobs(GITHUB / "workflows/deploy.yml")
    assert "staging" in deploy["production"]["needs"]
    assert deploy["production"]["with"]["environment"] == "production"
    apply = jobs(GITHUB / "workflows/environment.yml")["apply"]
    assert apply["environment"] == "${{ inputs.environment }}"
    assert not any("apply" in text for text in commands(GITHUB / "workflows/deploy.yml"))


def place(found, wanted):
    """Return where in the steps of a job the one is that has a word in its command."""
    (index,) = (n for n, step in enumerate(found) if wanted in step.get("run", ""))
    return index


def test_a_plan_that_was_not_approved_is_no_reason_to_go_back():
    apply = jobs(GITHUB / "workflows/environment.yml")["apply"]["steps"]
    order = [place(apply, script) for script in ("plan.sh", "compare.sh", "apply.sh")]
    assert order == sorted(order)
    assert apply[order[2]]["id"] == "apply"
    (back,) = (step for step in apply if "restore" in step.get("run", ""))
    assert "steps.apply.outcome != 'skipped'" in back["if"]


def test_prefect_gets_its_deployments_before_anything_is_asked():
    apply = jobs(GITHUB / "workflows/environment.yml")["apply"]["steps"]
    deployed = place(apply, "gcloud run jobs execute deployments")
    (smoke,) = (n for n, step in enumerate(apply) if step.get("name") == "Smoke test")
    assert place(apply, "apply.sh") < deployed < smoke
    assert "--wait" in apply[deployed]["run"]
    assert "if" not in apply[deployed]


def needs_google(found, name):
    """Return whether a job is skipped in a repository that has no project of Google's."""
    condition = str(found[name].get("if", ""))
    if "vars.WORKLOAD_IDENTITY_PROVIDER != ''" in condition:
        return True
    if "||" in condition:
        return False
    needs = found[name].get("needs", [])
    before = [needs] if isinstance(needs, str) else needs
    return any(
        needs_google(found, one)
        for one in before
        if not condition or f"needs.{one}.result == 'success'" in condition
    )


@pytest.mark.parametrize("name", ["deploy.yml", "release.yml"])
def test_without_a_project_of_googles_no_job_asks_google(name):
    found = jobs(GITHUB / "workflows" / name)
    asking = [job for job in found if "id-token" in found[job]["permissions"]]
    assert asking
    assert [job for job in asking if not needs_google(found, job)] == []


@pytest.mark.parametrize(
    ("conclusions", "code"), [("success", 0), ("failure", 1), ("", 1), ("success\nfailure", 0)]
)
def test_release_is_of_what_passed_however_often_it_ran(tmp_path, conclusions, code):
    check = jobs(GITHUB / "workflows/release.yml")["check"]["steps"]
    script = check[place(check, "check-runs")]["run"]
    # What is left over fills a pipe that nobody reads any more.
    for program, said in (("gh", f"{conclusions}\n" + "skipped\n" * 50_000), ("git", "")):
        (tmp_path / f"{program}.txt").write_text(said)
        (tmp_path / program).write_text(f'#!/bin/sh\nexec cat "{tmp_path}/{program}.txt"\n')
        (tmp_path / program).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    names = {"PATH": path, "GITHUB_SHA": "0" * 40, "GITHUB_REPOSITORY": "bank/credit-risk"}
    said = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env=os.environ | names, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert said.returncode == code, said.stderr


def test_terraform_is_the_one_that_is_tested():
    (tested,) = re.findall(
        r"^TERRAFORM=v(.+)$", (ROOT / "tools/install-deploy-tools.sh").read_text(), re.MULTILINE
    )
    used = {
        step["with"]["terraform_version"]
        for file in FILES
        for step in steps(file)
        if step.get("uses", "").startswith("hashicorp/setup-terraform@")
    }
    assert used == {tested}


def test_the_page_lists_every_variable():
    page = (ROOT / "docs/delivery.md").read_text()
    used = {name for file in FILES for name in re.findall(r"\bvars\.(\w+)", file.read_text())}
    assert used == set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))


def test_the_page_describes_every_workflow():
    page = (ROOT / "docs/delivery.md").read_text()
    assert [file.name for file in WORKFLOWS if f"`{file.name}`" not in page] == []


CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-29

### Added

- A thing.

## [1.1.0] - 2026-11-01

- An older thing.
"""


def release_notes(folder, tag, changelog=CHANGELOG):
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2.0"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    script = str(ROOT / "deploy/scripts/release_notes.py")
    return run(sys.executable, script, tag, "--root", str(folder))


def test_release_notes_are_the_section_of_the_tag(tmp_path):
    said = release_notes(tmp_path, "v1.2.0")
    assert (said.returncode, said.stdout) == (0, "### Added\n\n- A thing.\n")


@pytest.mark.parametrize(
    ("tag", "changelog", "why"),
    [
        ("v1.3.0", CHANGELOG, "pyproject.toml has version 1.2.0"),
        ("1.2.0", CHANGELOG, "pyproject.toml has version 1.2.0"),
        ("v1.2.0", CHANGELOG.replace("[1.2.0]", "[1.2.1]"), "needs one"),
        ("v1.2.0", CHANGELOG.replace(" - 2026-11-29", ""), "needs one"),
        ("v1.2.0", CHANGELOG + CHANGELOG, "needs one"),
        ("v1.2.0", "## [1.2.0] - 2026-11-29\n\n## [1.1.0] - 2026-11-01\n", "says nothing"),
    ],
)
def test_release_is_refused_where_tag_version_and_changelog_disagree(tmp_path, tag, changelog, why):
    said = release_notes(tmp_path, tag, changelog)
    assert said.returncode == 1
    assert why in said.stderr


DIGEST = "sha256:" + "a" * 64


def test_chart_runs_the_images_of_its_release(tmp_path):
    helm = need("helm", "make deploy-tools builds it")
    built = jobs(GITHUB / "workflows/images.yml")["build"]["strategy"]["matrix"]["target"]
    registry = "eu-docker.pkg.dev/p/r"
    images = {name: f"{registry}/{name}@{DIGEST}" for name in built}
    said = subprocess.run(
        [ROOT / "deploy/scripts/chart-values.sh"],
        env=os.environ | {"IMAGES": json.dumps(images)},
        text=True,
        capture_output=True,
        check=True,
    )
    values = tmp_path / "chart-values.json"
    values.write_text(said.stdout)

    folder = ROOT / "deploy/tests/fixtures/kubernetes"
    files = (folder / "values-minimal.yaml", folder / "values-full.yaml", values)
    chart = str(ROOT / "deploy/helm/credit-risk")
    said = run(helm, "template", "x", chart, *(f"--values={file}" for file in files))
    assert said.returncode == 0, said.stderr
    used = set(re.findall(r"^ +(?:- )?image: (.+)$", said.stdout, re.MULTILINE))
    assert len(used) > 1
    assert used <= set(images.values())


def verify(images):
    environment = {"IMAGES": images, "REGISTRY": "eu-docker.pkg.dev/p/r", "GITHUB_REPOSITORY": ""}
    return subprocess.run(
        [ROOT / "deploy/scripts/verify-images.sh"],
        env=os.environ | environment,
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "images",
    [
        "",
        "not JSON",
        "{}",
        "[]",
        '{"mlflow": 1}',
        '{"mlflow": "eu-docker.pkg.dev/p/r/mlflow:latest"}',
        '{"mlflow": "eu-docker.pkg.dev/p/r/mlflow@sha256:ab"}',
        f'{{"mlflow": "evil.example/p/r/mlflow@{DIGEST}"}}',
        f'{{"mlflow": "eu-docker.pkg.dev/p/r/proxy@{DIGEST}"}}',
        f'{{"mlflow": "eu-docker.pkg.dev/p/r/mlflow@{DIGEST}\\n"}}',
        f'{{"mlflow": "{DIGEST.removeprefix("sha256:")}"}}',
        f'{{"a b": "eu-docker.pkg.dev/p/r/a b@{DIGEST}"}}',
        f'{{"mlflow\\n": "eu-docker.pkg.dev/p/r/mlflow\\n@{DIGEST}"}}',
    ],
)
def test_images_that_are_not_of_the_registry_by_digest_are_refused(images):
    said = verify(images)
    assert said.returncode != 0
    assert "GITHUB_REPOSITORY" not in said.stderr  # that is, before any signature was asked for


def test_images_of_the_registry_are_asked_for_their_signatures():
    said = verify(f'{{"mlflow": "eu-docker.pkg.dev/p/r/mlflow@{DIGEST}"}}')
    assert said.returncode != 0
    assert "GITHUB_REPOSITORY" in said.stderr
