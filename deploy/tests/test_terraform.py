"""Terraform: form, names, policies, and that it runs what docker-compose.yml runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from credit_risk.settings import Settings
from tests.support.processes import need
from tools.access.handout import MADE, folders
from tools.paths import ROOT

TERRAFORM = ROOT / "deploy" / "terraform"
POLICY = ROOT / "deploy" / "policy" / "terraform"
FIXTURES = Path(__file__).parent / "fixtures" / "terraform"
SCHEMA = Path(__file__).parent / "fixtures" / "google-provider.json"
MONITORING = TERRAFORM / "modules" / "monitoring"
HOW = "tools/install-deploy-tools.sh builds it"
UV = str(ROOT / ".venv" / "bin" / "uv")

FILES = sorted(path for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts)
# What every resource takes, whatever its type.
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection"}

# What each bad fixture is refused for.
REFUSED = {
    "everybody": "allUsers is everybody",
    "everybody_signed_in": "allAuthenticatedUsers is everybody",
    "primitive_role": "roles/editor may do almost anything",
    "default_account": "is a default service account",
    "no_account": "has no service_account",
    "account_key": "is a key that lasts",
    "any_repository": "has no attribute_condition",
    "condition_of_nothing": "its attribute_condition names no repository",
    "password_in_url": "has a password in a URL",
    "password_without_user": "has a password in a URL",
    "pass_in_env": "DB_PASS is in plain sight",
    "password_in_env": "MLFLOW_TRACKING_PASSWORD is in plain sight",
    "password_in_map": "PREFECT_API_AUTH_STRING: is in plain sight",
    "secret_in_env": "hands a secret to the environment",
    "secret_in_state": "puts a secret into Terraform's state",
    "database_password": "has a password, which is in Terraform's state",
    "latest": "is another image tomorrow",
    "image_by_tag": "has no digest",
    "image_on_its_way": "has no digest",
    "image_by_local": "comes from a local",
    "images_unchecked": "takes images without a digest",
    "open_firewall": "lets in everybody",
    "firewall_without_source": "names no source",
    "open_database": "has a public address",
    "public_bucket": "can be opened to everybody",
    "versions_of_what_is_kept": "has versions beside a retention policy",
    "first_generation": "is of a kind that no rule looks into",
    "open_service": "is open to the internet without IAP",
    "open_by_default": "is open to the internet without IAP",
    "asks_nobody": "asks nobody who they are",
    "iap_on_another_condition": "is open to the internet without IAP",
}


@pytest.fixture(scope="session")
def terraform() -> str:
    return need("terraform", HOW)


@pytest.fixture(scope="session")
def conftest() -> str:
    return need("conftest", HOW)


@pytest.fixture(scope="session")
def parsed(conftest: str) -> dict[Path, dict[str, Any]]:
    """Each file of our Terraform, as the policies see it."""
    names = [str(path) for path in FILES]
    done = subprocess.run(
        [conftest, "parse", "--parser=hcl2", "--combine", *names],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    return {Path(file["path"]): file["contents"] for file in json.loads(done.stdout)}


def computed(terraform: str, folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Return what services need; the catalog uses no provider, so it is computed anywhere."""
    module = folder / "catalog"
    shutil.copytree(TERRAFORM / "modules" / "catalog", module)
    given = {
        "project_id": "bank-credit-risk",
        "project_number": "123456789012",
        "region": "europe-west1",
        "buckets": {"data": "bank-data", "mlflow": "bank-mlflow"},
        "settings": settings,
    }
    (module / "terraform.tfvars.json").write_text(json.dumps(given))
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    for command in (["init"], ["apply", "-auto-approve"]):
        done = subprocess.run(
            [terraform, *command, "-input=false", "-no-color"],
            cwd=module, env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.returncode, done.stdout + done.stderr
    state = json.loads((module / "terraform.tfstate").read_text())
    return {name: output["value"] for name, output in state["outputs"].items()}


@pytest.fixture(scope="session")
def catalog(terraform: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What services need, without further settings."""
    return computed(terraform, tmp_path_factory.mktemp("terraform"), {})


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


# --- form -----------------------------------------------------------------------------------------


def test_code_is_formatted_and_parses(terraform):
    command = [terraform, "fmt", "-check", "-recursive", "-diff", str(TERRAFORM)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


def test_every_variable_and_output_says_what_it_is(parsed):
    for path, contents in parsed.items():
        for kind in ("variable", "output"):
            for name, (body,) in contents.get(kind, {}).items():
                place = f"{path.relative_to(TERRAFORM)}: {kind} {name}"
                assert body.get("description", "").endswith("."), place
                for validation in body.get("validation", []):
                    assert len(validation["error_message"]) > 30, place


def folder(parsed: dict[Path, dict[str, Any]], place: Path) -> dict[str, dict[str, Any]]:
    """Return what the files of a folder declare, by kind and name."""
    declared: dict[str, dict[str, Any]] = {}
    for path, contents in parsed.items():
        for kind, named in contents.items() if path.parent == place else ():
            if kind == "locals":
                named = {name: value for block in named for name, value in block.items()}
            declared.setdefault(kind, {}).update(named if isinstance(named, dict) else {})
    return declared


# `terraform validate` needs the provider; this needs nothing.
def test_every_reference_is_declared_and_every_declaration_is_used(parsed):
    for place in sorted({path.parent for path in parsed}):
        declared = folder(parsed, place)
        text = "".join(path.read_text() for path in place.glob("*.tf"))
        for word, kind in (("var", "variable"), ("local", "locals"), ("module", "module")):
            used = set(re.findall(rf"(?<![\w.])(?<!data\.){word}\.([\w-]+)", text))
            names = set(declared.get(kind, {}))
            assert used <= names, (place.name, word, used - names)
            if kind != "module":
                assert names <= used, (place.name, word, names - used)
        for type_, name in re.findall(r"(?<![\w.])(?<!data\.)(google_\w+)\.(\w+)", text):
            assert name in declared["resource"].get(type_, {}), (place.name, type_, name)
        for type_, name in re.findall(r"\bdata\.(google_\w+)\.(\w+)", text):
            assert name in declared["data"][type_], (place.name, type_, name)


def test_modules_are_called_with_what_they_take_and_asked_for_what_they_have(parsed):
    for place in sorted({path.parent for path in parsed}):
        text = "".join(path.read_text() for path in place.glob("*.tf"))
        for name, (call,) in folder(parsed, place).get("module", {}).items():
            module = folder(parsed, (place / call["source"]).resolve())
            given = set(call) - {"source", "count", "for_each", "depends_on", "providers"}
            taken = module["variable"]
            required = {key for key, (body,) in taken.items() if "default" not in body}
            assert required <= given <= set(taken), (place.name, name)
            asked = set(re.findall(rf"\bmodule\.{name}(?:\[[^]]*\])?\.(\w+)", text))
            assert asked <= set(module["output"]), (place.name, name)


def test_environments_have_the_same_variables_and_outputs():
    one, other = (TERRAFORM / "envs" / name for name in ("dev", "prod"))
    for name in ("variables.tf", "outputs.tf", "versions.tf"):
        texts = [(folder / name).read_text() for folder in (one, other)]
        plain = [re.sub(r"(default +=|environment =) \S+", r"\1", text) for text in texts]
        assert plain[0] == plain[1], name


def test_every_module_asks_for_the_same_versions():
    asked = {
        re.search(r'required_version = "(.+)"', file.read_text())[1]: file
        for file in TERRAFORM.rglob("versions.tf")
    }
    assert list(asked) == [">= 1.5.7, < 2.0.0"]
    providers = {
        found
        for file in TERRAFORM.rglob("versions.tf")
        for found in re.findall(r'^ +version = "(.+)"', file.read_text(), re.MULTILINE)
    }
    assert providers == {">= 7.24.0, < 8.0.0"}


# --- names, as the provider has them --------------------------------------------------------------


def spellings(name: str) -> tuple[str, ...]:
    """Return how the package of the schema may spell a name: in the plural, too."""
    return name, f"{name}s", f"{name}es", f"{name[:-1]}ies"


def faults(body: dict[str, Any], known: dict[str, Any], place: str) -> Iterator[str]:
    """Yield the arguments and blocks in a body that its schema does not have."""
    for name, value in body.items():
        if name == "dynamic":
            for block, dynamics in value.items():
                contents = [content for dynamic in dynamics for content in dynamic["content"]]
                yield from faults({block: contents}, known, place)
            continue
        found = next((spelt for spelt in spellings(name) if spelt in known), None)
        if not found:
            yield f"{place}.{name}"
        elif known[found] and isinstance(value, list):
            for inner in value:
                yield from faults(inner, known[found], f"{place}.{name}")


def test_resources_have_only_arguments_that_the_provider_knows(parsed):
    schema = json.loads(SCHEMA.read_text())
    used, wrong = set(), []
    for path, contents in parsed.items():
        for kind, known in (("resource", schema["resource"]), ("data", schema["data"])):
            for type_, resources in contents.get(kind, {}).items():
                used.add((kind, type_))
                for name, bodies in resources.items():
                    assert type_ in known, f"{path}: {type_} is not in {SCHEMA.name}"
                    for body in bodies:
                        own = {key: value for key, value in body.items() if key not in META}
                        wrong += faults(own, known[type_], f"{path.parent.name}: {type_}.{name}")
    assert not wrong
    assert used == {(kind, type_) for kind in ("resource", "data") for type_ in schema[kind]}


@pytest.mark.slow
def test_provider_schema_is_that_of_the_package(tmp_path):
    from deploy.terraform import provider_schema

    package = f"pulumi-gcp=={provider_schema.VERSION}"
    command = [UV, "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), package]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    made = provider_schema.as_json(provider_schema.schema(tmp_path / "pulumi_gcp"))
    assert SCHEMA.read_text() == made, "run deploy/terraform/provider_schema.py"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "n", "iap": True}, ["r.iap"]),
        ({"template": [{"containers": [{"imag": "i"}]}]}, ["r.template.containers.imag"]),
        ({"dynamic": {"template": [{"content": [{"nam": "n"}]}]}}, ["r.template.nam"]),
        ({"name": "n", "template": [{"containers": [{"image": "i"}]}]}, []),
    ],
)  # fmt: skip
def test_arguments_that_the_provider_does_not_know_are_found(body, wrong):
    known = json.loads(SCHEMA.read_text())["resource"]["google_cloud_run_v2_service"]
    assert list(faults(body, known, "r")) == wrong


def test_who_plans_may_ask_in_the_name_of_the_project(parsed):
    for name in ("dev", "prod"):
        (provider,) = parsed[TERRAFORM / "envs" / name / "versions.tf"]["provider"]["google"]
        assert provider["user_project_override"] is True
    reads = folder(parsed, TERRAFORM / "modules" / "github")["locals"]["reads"]
    assert "roles/serviceusage.serviceUsageConsumer" in reads


# --- policies -------------------------------------------------------------------------------------


def verdict(conftest: str, namespace: str, *files: Path) -> list[str]:
    """Return what the policies refuse files for."""
    command = [conftest, "test", "--policy", str(POLICY), "--namespace", namespace, "--output=json"]
    if namespace == "terraform":
        command += ["--parser=hcl2"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    results = json.loads(done.stdout)
    assert len(results) == len(files)
    return [found["msg"] for result in results for found in result.get("failures", [])]


def test_our_code_keeps_the_policies(conftest):
    assert verdict(conftest, "terraform", *FILES) == []


def test_good_code_keeps_the_policies(conftest):
    assert verdict(conftest, "terraform", *(FIXTURES / "good").glob("*.tf")) == []


def test_there_is_a_verdict_for_each_bad_fixture():
    assert {path.stem for path in (FIXTURES / "bad").glob("*.tf")} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_bad_code_is_refused(conftest, name):
    found = verdict(conftest, "terraform", FIXTURES / "bad" / f"{name}.tf")
    assert any(REFUSED[name] in message for message in found), found


def test_bad_code_is_refused_for_its_own_fault_alone(conftest):
    for name in REFUSED:
        found = verdict(conftest, "terraform", FIXTURES / "bad" / f"{name}.tf")
        allowed = {"open_database": 2, "public_bucket": 2}.get(name, 1)
        assert len(found) == allowed, (name, found)


def test_no_plan_state_or_key_is_in_the_folder(conftest, tmp_path):
    kept = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "deploy"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if kept.returncode:
        pytest.skip("this is no git repository, so nobody can say what is committed")
    listed = tmp_path / "files.json"
    listed.write_text(json.dumps({"files": kept.stdout.split()}))
    assert verdict(conftest, "files", listed) == []


@pytest.mark.parametrize(
    "name",
    [
        "deploy/terraform/envs/prod/tfplan",
        "deploy/terraform/envs/prod/prod.tfplan",
        "deploy/terraform/envs/prod/plan.json",
        "deploy/terraform/envs/prod/terraform.tfstate",
        "deploy/terraform/envs/prod/terraform.tfstate.backup",
        "deploy/terraform/envs/prod/.terraform/modules/modules.json",
        "deploy/terraform/envs/prod/crash.log",
        "deploy/service-account.json",
    ],
)
def test_plans_states_and_keys_are_refused(conftest, tmp_path, name):
    listed = tmp_path / "files.json"
    listed.write_text(json.dumps({"files": ["deploy/README.md", name]}))
    found = verdict(conftest, "files", listed)
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")


@pytest.mark.slow
def test_checkov_finds_nothing_that_is_not_justified():
    config = TERRAFORM / ".checkov.yaml"
    command = [UV, "tool", "run", "checkov@3.3.30", f"--config-file={config}", "--skip-download"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    assert "Failed checks: 0" in done.stdout
    assert not re.search("Passed checks: 0", done.stdout)


# --- what runs is what docker-compose.yml runs ----------------------------------------------------


def megabytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([mg]|Mi|Gi)", text).groups()
    return int(number) * (1024 if unit[0].lower() == "g" else 1)


def everything(catalog: dict[str, Any]) -> dict[str, Any]:
    return {**catalog["services"], **catalog["pools"], **catalog["jobs"]}


def shared(catalog: dict[str, Any], compose: dict[str, Any]) -> list[str]:
    return sorted(everything(catalog).keys() & compose.keys())


def test_services_of_both_are_named_alike(catalog, compose):
    assert set(shared(catalog, compose)) >= {
        "deployments", "evidently-exporter", "first-model", "mlflow", "prefect-server",
        "reporting-worker", "risk-o-meter", "scoring-worker", "training-worker",
    }  # fmt: skip


def test_services_run_images_of_the_dockerfile(catalog):
    targets = re.findall(r"^FROM .+ AS (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {entry["target"] for entry in everything(catalog).values()} <= set(targets)
    assert set(catalog["images"]) == {entry["target"] for entry in everything(catalog).values()}


def test_services_have_the_commands_of_docker_compose(catalog, compose):
    for name in shared(catalog, compose):
        command = compose[name]["command"]
        if command[0] == "sh":  # which only adds an address by which Prometheus asks there
            command = command[-1].partition("exec ")[2].split()
        ours = [
            re.sub(r"=gs://[^/]+/", "=gs://BUCKET/", word)
            for word in everything(catalog)[name]["args"]
        ]
        assert ours == [re.sub(r"=\$\{BUCKET.*\}/", "=gs://BUCKET/", word) for word in command]


def test_services_have_no_less_memory_than_in_docker_compose(catalog, compose):
    for name in shared(catalog, compose):
        ours = megabytes(everything(catalog)[name]["memory"])
        assert ours >= megabytes(compose[name]["mem_limit"]), name


def test_settings_of_services_exist(catalog, compose):
    known = {name.upper() for name in Settings.model_fields}
    known |= {"MLFLOW_TRACKING_USERNAME", "MLFLOW_BACKEND_STORE_URI"}
    known |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL"}
    for name, entry in everything(catalog).items():
        theirs = set(compose.get(name, {}).get("environment", {}))
        assert set(entry["env"]) <= known | theirs | set(compose["mlflow"]["environment"]), name


GIVEN = {
    "TIMEZONE": "Europe/Berlin",
    "FOUR_EYES": "true",
    "DASK_SCHEDULER": "tcp://10.20.1.5:8786",
    "DRIFT_MIN_ROWS": "200",
}


def test_further_settings_reach_all_who_may_have_them(terraform, tmp_path):
    entries = everything(computed(terraform, tmp_path, GIVEN))
    reached = {
        setting: {name for name, entry in entries.items() if entry["env"].get(setting) == value}
        for setting, value in GIVEN.items()
    }
    knows_people = {name for name, entry in entries.items() if "IAP_AUDIENCE" in entry["env"]}
    assert reached == {
        "TIMEZONE": set(entries),
        "FOUR_EYES": knows_people,
        "DASK_SCHEDULER": {"scoring-worker"},
        "DRIFT_MIN_ROWS": set(entries),
    }
    for entry in entries.values():
        taken = {name.lower(): value for name, value in entry["env"].items()}
        Settings(_env_file=None, **{k: v for k, v in taken.items() if k in Settings.model_fields})


def test_who_could_approve_knows_that_it_takes_two(catalog, compose):
    told = {
        name for name in shared(catalog, compose)
        if "FOUR_EYES" in compose[name].get("environment", {})
    }  # fmt: skip
    assert {"approvals", "first-model"} <= told
    for name in told:
        env = everything(catalog)[name]["env"]
        settings = Settings(
            _env_file=None,
            iap_audience=env.get("IAP_AUDIENCE", ""),
            roles_file=env.get("ROLES_FILE"),
        )
        assert settings.needs_two, name
        assert everything(catalog)[name]["secrets"]["roles"] == "roles"


def test_services_have_the_secrets_that_docker_compose_hands_out(catalog):
    handed = folders(dict.fromkeys(MADE, "x"), {})
    added = {"roles", "API_KEYS"}  # a file of its own, and a setting, there
    for name, entry in everything(catalog).items():
        if name in handed:
            there = set(entry["secrets"]) | set(entry["env"])
            assert there >= set(handed[name]), name
            assert set(entry["secrets"]) <= set(handed[name]) | added, name


def readers(catalog: dict[str, Any], secret: str) -> set[str]:
    return {
        name for name, entry in everything(catalog).items() if secret in entry["secrets"].values()
    }


def test_only_who_approves_has_the_approvers_credentials(catalog):
    assert readers(catalog, "decision-log-approver") == {"approvals", "first-model"}
    assert readers(catalog, "mlflow-approver") == {"approvals", "first-model", "mlflow"}
    assert readers(catalog, "decision-log-admin") == {"decision-log-setup"}


def test_what_clerks_reach_cannot_log_in_to_prefect(catalog):
    assert "risk-o-meter" not in readers(catalog, "prefect-login")


def test_every_secret_is_read_and_every_one_read_exists(catalog):
    read = {
        secret for entry in everything(catalog).values() for secret in entry["secrets"].values()
    }
    assert read | {"mlflow-admin", "mlflow-people"} == set(catalog["secrets"])


def test_no_login_is_in_an_address(catalog):
    for entry in everything(catalog).values():
        for value in entry["env"].values():
            assert not re.search(r"://[^/@]*:[^/@]*@", value)


def test_services_that_people_reach_ask_google_who_they_are(catalog):
    for name, service in catalog["services"].items():
        audience = f"/projects/123456789012/locations/europe-west1/services/{name}"
        assert service["env"].get("IAP_AUDIENCE") == (audience if service["iap"] else None)
    closed = {name for name, service in catalog["services"].items() if not service["iap"]}
    assert closed == {"mlflow", "prefect-server"}


def test_services_are_called_by_their_own_addresses(catalog):
    for name, service in catalog["services"].items():
        host = catalog["urls"][name].removeprefix("https://")
        assert host in service["env"]["ALLOWED_HOSTS"].split(",")
    assert set(catalog["urls"]) == set(catalog["services"])


def test_decision_log_is_set_up_by_its_administrator(mongodb_url):
    import pymongo

    from credit_risk.storage.documents import INDEXES

    script = TERRAFORM / "modules" / "catalog" / "decision_log_setup.py"
    env = {**os.environ, "DECISION_LOG": mongodb_url}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script.read_text()],
            cwd=ROOT, env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.returncode, done.stderr
    with pymongo.MongoClient(mongodb_url) as client:
        database = client.get_default_database()
        for name, indexes in INDEXES.items():
            made = {tuple(index["key"]) for index in database[name].list_indexes()}
            assert {fields for fields in indexes if isinstance(fields[0], str)} <= made, name
        assert database["approvals"].count_documents({"kind": "opened"}) == 1


# --- alerts and dashboards ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def alert_policies() -> Any:
    from deploy.terraform.modules.monitoring import alert_policies

    return alert_policies


def test_alerts_and_figures_are_those_of_prometheus(alert_policies):
    again = f"run: python {(MONITORING / 'alert_policies.py').relative_to(ROOT)}"
    made = alert_policies.as_json(alert_policies.policies())
    assert (MONITORING / "alerts.json").read_text() == made, again
    figures = alert_policies.as_json(alert_policies.figures())
    assert (MONITORING / "figures.json").read_text() == figures, again


def test_no_alert_reads_a_recorded_figure_or_has_a_template(alert_policies):
    for name, policy in alert_policies.policies().items():
        assert not re.search(r"[a-z]:[a-z]", policy["query"]), name
        assert "{{" not in policy["summary"] + policy["description"], name


def test_alerts_without_recorded_figures_fire_as_with_them(
    alert_policies, tmp_path, prometheus_binary
):
    promtool = need("promtool", "Debian's package prometheus has it")
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "prometheus" / "rules", rules)
    made = alert_policies.policies()
    alerts = yaml.safe_load((rules / "alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            rule["expr"] = made.get(rule["alert"], {"query": rule["expr"]})["query"]
    (rules / "alerts.yml").write_text(yaml.safe_dump(alerts, sort_keys=False))
    (tmp_path / "tests").mkdir()
    cases = shutil.copy(ROOT / "prometheus" / "tests" / "alerts.yml", tmp_path / "tests")
    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


def test_dashboards_find_every_recorded_figure_that_they_show(alert_policies):
    figures = alert_policies.figures()
    pieces = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+(?:\{[^}]*\})?|[a-z_]+|[^a-z_]+")
    for file in (ROOT / "grafana" / "dashboards").glob("*.json"):
        text = file.read_text()
        assert "".join(pieces.findall(text)) == text
        put = "".join(figures.get(piece, piece) for piece in pieces.findall(text))
        for panel in json.loads(put)["panels"]:
            for target in panel.get("targets", []):
                assert not re.search(r"\b[a-z_]+:[a-z0-9_]+:", target["expr"]), panel["title"]
