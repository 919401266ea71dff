"""The Helm chart: what it renders is valid, closed, and the same stack as docker-compose.yml."""

import copy
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from credit_risk.access.roles import read_roles
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.settings import Settings
from model_deployment.api.openapi import document
from model_deployment.api.routes import OPERATIONS
from model_deployment.app import UNLOCKED
from monitoring.exporter.server import HEALTHZ
from tests.support.processes import need
from tools.access import handout
from tools.paths import ROOT

Manifest = dict[str, Any]

CHART = ROOT / "deploy" / "helm" / "credit-risk"
POLICY = ROOT / "deploy" / "policy" / "kubernetes"
FIXTURES = Path(__file__).parent / "fixtures" / "kubernetes"
INSTALL = "make deploy-tools builds it"
# Those that the chart promises to run on: tools/install-deploy-tools.sh has the schemas of both.
KUBERNETES = ("1.30.0", "1.37.0")
MINIMAL = FIXTURES / "values-minimal.yaml"
FULL = FIXTURES / "values-full.yaml"
VALUES = {"minimal": (MINIMAL,), "full": (MINIMAL, FULL)}

COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# What the chart leaves to its user: databases and bucket with their users, secrets, what stands in
# front, and what watches.
OUTSIDE = {
    "passwords",
    "postgres",
    "postgres-roles",
    "mongo",
    "mongo-roles",
    "fake-gcs-server",
    "bucket-owner",
    "bucket",
    "proxy",
    "secure-proxy",
    "sign-in",
    "prometheus",
    "alertmanager",
    "grafana",
    "approver",  # with an identity, `approvals` does what it does
}
OURS = sorted(set(SERVICES) - OUTSIDE)
# What only the chart has.
CHART_ONLY = {"mlflow-migration", "prefect-migration", "helm-test"}
SECRETS = handout.folders({name: f"<{name}>" for name in handout.MADE}, {})

by_values = pytest.mark.parametrize("values", VALUES)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = need("helm", INSTALL)
    return subprocess.run([program, *arguments], text=True, capture_output=True, timeout=60)


def template(files: tuple[Path, ...], *options: str) -> subprocess.CompletedProcess[str]:
    chosen = [f"--values={file}" for file in files]
    version = f"--kube-version={KUBERNETES[-1]}"
    return helm("template", "loans", str(CHART), "--namespace=credit", version, *chosen, *options)


@cache
def rendered(values: str) -> str:
    done = template(VALUES[values])
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def parsed(values: str) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(rendered(values)) if manifest]


def manifests(values: str = "full", kind: str | None = None) -> list[Manifest]:
    return [manifest for manifest in parsed(values) if kind in (None, manifest["kind"])]


def named(kind: str, name: str) -> Manifest:
    (found,) = (m for m in manifests("full", kind) if m["metadata"]["name"] == name)
    return found


def pods(values: str = "full") -> dict[str, Manifest]:
    """Return the pods, or templates of pods, by the component that they are."""
    found = {}
    for manifest in manifests(values):
        pod = manifest if manifest["kind"] == "Pod" else manifest.get("spec", {}).get("template")
        if pod and "containers" in pod.get("spec", {}):
            found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
    return found


def container(name: str) -> Manifest:
    (found,) = pods()[name]["spec"]["containers"]
    return found


def environment(name: str) -> dict[str, Any]:
    entries = container(name).get("env", [])
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), f"{name} sets a variable twice"
    return {entry["name"]: entry.get("value") for entry in entries}


def secret_files(name: str) -> dict[str, set[str]]:
    """Return the keys that a pod mounts at /run/secrets, by Secret."""
    volumes = {volume["name"]: volume for volume in pods()[name]["spec"]["volumes"]}
    if "secrets" not in volumes:
        return {}
    (mount,) = (m for m in container(name)["volumeMounts"] if m["name"] == "secrets")
    assert mount == {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True}
    found = {}
    for source in volumes["secrets"]["projected"]["sources"]:
        items = source["secret"]["items"]
        assert all(item["key"] == item["path"] for item in items)
        found[source["secret"]["name"]] = {item["key"] for item in items}
    return found


# --- what Kubernetes, Helm and the policies say ---------------------------------------------------


@by_values
def test_lint_finds_nothing(values: str) -> None:
    chosen = [f"--values={file}" for file in VALUES[values]]
    done = helm("lint", "--strict", f"--kube-version={KUBERNETES[-1]}", *chosen, str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@by_values
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_are_valid(values: str, version: str) -> None:
    program = need("kubeconform-offline", INSTALL)
    command = [program, "-kubernetes-version", version, "-summary", "-output", "json"]
    done = subprocess.run(command, input=rendered(values), text=True, capture_output=True)
    summary = json.loads(done.stdout)["summary"]
    assert done.returncode == 0, done.stdout
    assert (summary["valid"], summary["skipped"]) == (len(manifests(values)), 0)


@pytest.mark.parametrize("kind", ["Deployment", "ServiceMonitor"])
def test_a_field_that_nobody_knows_is_not_valid(kind: str) -> None:
    program = need("kubeconform-offline", INSTALL)
    manifest = copy.deepcopy(manifests("full", kind)[0])
    manifest["spec"]["replica"] = 2
    command = [program, "-kubernetes-version", KUBERNETES[-1]]
    done = subprocess.run(command, input=yaml.dump(manifest), text=True, capture_output=True)
    assert done.returncode == 1
    assert "replica" in done.stdout


def refusals(text: str, folder: Path) -> set[str]:
    """Return what the policies say of manifests."""
    program = need("conftest", INSTALL)
    (folder / "manifests.yaml").write_text(text)
    command = [program, "test", "--combine", "--no-color", "--output=json", f"--policy={POLICY}"]
    done = subprocess.run([*command, "manifests.yaml"], cwd=folder, text=True, capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    results = json.loads(done.stdout)
    assert sum(result["successes"] + len(result.get("failures", [])) for result in results) > 0
    return {failure["msg"] for result in results for failure in result.get("failures", [])}


@by_values
def test_policies_let_the_chart_pass(values: str, tmp_path: Path) -> None:
    assert refusals(rendered(values), tmp_path) == set()


GOOD = (FIXTURES / "good.yaml").read_text()
BAD: list[dict[str, Any]] = yaml.safe_load((FIXTURES / "bad.yaml").read_text())


def spoilt(case: dict[str, Any]) -> str:
    """Return good.yaml with what a case changes in it."""
    deployment, service, policy = documents = list(yaml.safe_load_all(GOOD))
    pod = deployment["spec"]["template"]
    places = {
        "container": pod["spec"]["containers"][0],
        "pod": pod["spec"],
        "template": pod,
        "service": service,
        "policy": policy,
    }
    start, *path, last = case["at"].split("/")
    place = places[start]
    for step in path:
        place = place[step]
    if case["is"] is None:
        del place[last]
    else:
        place[last] = case["is"]
    return yaml.dump_all(documents)


def test_policies_let_the_good_fixture_pass(tmp_path: Path) -> None:
    assert refusals(GOOD, tmp_path) == set()


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case['at']}={case['is']}"[:70])
def test_policies_refuse_a_bad_fixture_and_say_why(case: dict[str, Any], tmp_path: Path) -> None:
    said = {message.partition(": ")[2] for message in refusals(spoilt(case), tmp_path)}
    assert said == set([case["says"]] if isinstance(case["says"], str) else case["says"])


def test_every_rule_of_the_policies_has_a_bad_fixture() -> None:
    rego = "".join(file.read_text() for file in POLICY.glob("*.rego"))
    formats = re.findall(r'deny contains sprintf\("%s: ([^"]*)"', rego)
    assert len(formats) == rego.count("deny contains")
    said = [
        text
        for case in BAD
        for text in ([case["says"]] if isinstance(case["says"], str) else case["says"])
    ]
    for text in formats:
        pattern = re.sub(r"%[sv]", ".*", re.escape(text))
        assert any(re.fullmatch(pattern, message) for message in said), text


# --- values ---------------------------------------------------------------------------------------


def changed(tmp_path: Path, changes: dict[str, Any], *without: str) -> Path:
    """Return a file of the minimal values with changes, or without a value."""
    values = yaml.safe_load(MINIMAL.read_text())
    for path in without:
        *parents, last = path.split(".")
        place = values
        for parent in parents:
            place = place[parent]
        del place[last]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.dump(merged(values, changes)))
    return file


def refused(tmp_path: Path, changes: dict[str, Any], *without: str) -> str:
    """Return what Helm says of the minimal values with changes, or without a value."""
    done = template((changed(tmp_path, changes, *without),))
    assert done.returncode != 0, done.stdout[:500]
    return done.stderr


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def test_the_defaults_alone_are_refused_and_what_is_missing_is_named() -> None:
    done = template(())
    assert done.returncode != 0
    for missing in ("registry", "bucket", "/mlflow/image", "/riskOMeter/image", "digest"):
        assert missing in done.stderr
    assert "/network/mongo" in done.stderr
    assert "cidrs" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "mlflow",
        "prefectServer",
        "trainingWorker",
        "reportingWorker",
        "riskOMeter",
        "evidentlyExporter",
    ],
)
def test_an_image_without_a_digest_is_refused(name: str, tmp_path: Path) -> None:
    said = refused(tmp_path, {}, f"{name}.image.digest")
    assert f"/{name}/image" in said
    assert "digest" in said


@pytest.mark.parametrize("digest", ["latest", "sha256:12", "", "sha512:" + "0" * 64])
def test_what_is_no_digest_is_refused(digest: str, tmp_path: Path) -> None:
    said = refused(tmp_path, {"riskOMeter": {"image": {"digest": digest}}})
    assert "/riskOMeter/image/digest" in said
    assert "does not match pattern" in said


def test_dask_needs_the_digest_of_its_image(tmp_path: Path) -> None:
    said = refused(tmp_path, {"dask": {"enabled": True}})
    assert "/scoringWorker/image" in said
    assert "digest" in said


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"replicas": 2}, "replicas"),
        ({"riskOMeter": {"tag": "1.2.3"}}, "tag"),
        ({"riskOMeter": {"image": {"tag": "1.2.3"}}}, "tag"),
        ({"settings": {"DECISION_LOG": "mongodb://a:b@c/d"}}, "DECISION_LOG"),
        ({"settings": {"FOLLOW_ALIAS": "true"}}, "FOLLOW_ALIAS"),
        ({"settings": {"IAP_AUDIENCE": "/projects/1"}}, "IAP_AUDIENCE"),
        ({"access": {"mlflow": {"iapAudience": "/projects/1"}}}, "iapAudience"),
        ({"roles": {"admin": {"users": ["ann"]}}}, "admin"),
        ({"roles": {"clerk": {"group": ["a"]}}}, "group"),
        ({"access": {"riskOMeter": {"hosts": ["a"]}}}, "hosts"),
        ({"dask": {"worker": 2}}, "worker"),
    ],
)
def test_keys_that_nobody_knows_are_refused(
    changes: dict[str, Any], key: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, changes)
    assert "additional properties" in said
    assert f"'{key}' not allowed" in said


def test_a_setting_that_is_a_number_is_refused(tmp_path: Path) -> None:
    """Helm would hand on a million as 1e+06."""
    said = refused(tmp_path, {"settings": {"MAX_EXPLAINED_ROWS": 1_000_000}})
    assert "/settings/MAX_EXPLAINED_ROWS" in said
    assert "want string" in said


@pytest.mark.parametrize(
    ("changes", "without", "what"),
    [
        ({}, ("settings", "roles"), "nobody would be asked who they are"),
        ({}, ("roles",), "/roles"),
        ({}, ("settings.OIDC_AUDIENCE",), "OIDC_AUDIENCE"),
        ({"settings": {"USER_HEADER": "X-User"}}, (), "TRUSTED_PROXIES"),
        ({}, ("network.mongo.cidrs",), "/network/mongo"),
    ],
)
def test_an_open_or_half_closed_stack_is_refused(
    changes: dict[str, Any], without: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    assert what in refused(tmp_path, changes, *without)


AUDIENCES = {
    name: {"iapAudience": f"/projects/1/global/backendServices/{number}"}
    for number, name in enumerate(("riskOMeter", "approvals", "reports"))
}


def test_with_iap_each_service_takes_assertions_for_itself_alone(tmp_path: Path) -> None:
    given = {"access": AUDIENCES, "firstModel": {"enabled": True}}
    done = template((changed(tmp_path, given, "settings"),))
    assert done.returncode == 0, done.stderr
    taken = {
        container["name"]: variable["value"]
        for manifest in yaml.safe_load_all(done.stdout)
        if manifest and manifest["kind"] in ("Deployment", "Job")
        for container in manifest["spec"]["template"]["spec"]["containers"]
        for variable in container.get("env", [])
        if variable["name"] == "IAP_AUDIENCE"
    }
    assert taken == {
        "risk-o-meter": "/projects/1/global/backendServices/0",
        "approvals": "/projects/1/global/backendServices/1",
        "first-model": "/projects/1/global/backendServices/1",
        "evidently-exporter": "/projects/1/global/backendServices/2",
    }


@pytest.mark.parametrize(
    ("access", "without", "what"),
    [
        *[
            (
                {one: AUDIENCES[one] for one in AUDIENCES if one != missing},
                ("settings",),
                "for each",
            )
            for missing in AUDIENCES
        ],
        (AUDIENCES, (), "in one way"),
        (AUDIENCES, ("settings", "roles"), "/roles"),
    ],
)
def test_half_of_iap_is_refused(
    access: dict[str, Any], without: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    assert what in refused(tmp_path, {"access": access}, *without)


def test_values_and_ingress_of_the_page_are_valid(tmp_path: Path) -> None:
    page = (CHART.parent / "README.md").read_text()
    values, ingress = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for placeholder, value in (
        ("sha256:...", "sha256:" + "0" * 64),
        ("PROJECT", "p"),
        ("BUCKET", "b"),
    ):
        values = values.replace(placeholder, value)
    file = tmp_path / "values.yaml"
    file.write_text(values)
    done = template((file,))
    assert done.returncode == 0, done.stderr

    program = need("kubeconform-offline", INSTALL)
    command = [program, "-kubernetes-version", KUBERNETES[-1]]
    checked = subprocess.run(command, input=ingress, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stdout
    (path,) = yaml.safe_load(ingress)["spec"]["rules"][0]["http"]["paths"]
    service = path["backend"]["service"]
    ports = [port["name"] for port in named("Service", service["name"])["spec"]["ports"]]
    assert service["port"]["name"] in ports
    (host,) = yaml.safe_load(ingress)["spec"]["tls"][0]["hosts"]
    assert host == yaml.safe_load(values)["access"]["riskOMeter"]["host"]


# Set by the chart, a secret, of what the chart leaves out, or of one machine.
NOT_A_VALUE = {
    "VAR_DIR", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "BUCKET", "BIND_ADDRESS", "ALLOWED_HOSTS",
    "SCRAPE_KEY_FILE", "ROLES_FILE", "DASK_SCHEDULER", "APPROVALS_URL",
    "API_KEYS", "DECISION_LOG", "PREFECT_API_AUTH_STRING",
    "IAP_AUDIENCE",  # each service has its own, of `access`
    "HOST", "DECISION_LOG_FLUSH_MS",
    "FOLLOW_ALIAS",  # one person alone would decide, and FOUR_EYES refuses it
}  # fmt: skip


def test_every_setting_is_a_value_or_left_out_for_a_reason() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = {name.upper() for name in Settings.model_fields}
    left_out = NOT_A_VALUE | {
        n for n in known if n.endswith("_PORT") or n.startswith(("ALERT_", "SMTP_"))
    }
    assert known - left_out == set(schema["properties"]["settings"]["properties"])
    assert known >= NOT_A_VALUE


@pytest.mark.parametrize("name", OURS)
def test_a_service_takes_its_settings(name: str) -> None:
    given = {variable.lower(): value for variable, value in environment(name).items()}
    known = {
        variable: value for variable, value in given.items() if variable in Settings.model_fields
    }
    settings = Settings(_env_file=None, **known)
    if "roles_file" in known:
        assert settings.has_tokens
        assert settings.needs_two


def test_every_setting_that_is_given_reaches_a_service() -> None:
    given = yaml.safe_load(FULL.read_text())["settings"]
    reached = {name for pod in pods() for name in environment(pod)}
    assert set(given) <= reached


def test_roles_become_a_file_that_the_services_read(tmp_path: Path) -> None:
    file = tmp_path / "roles.toml"
    file.write_text(named("ConfigMap", "roles")["data"]["roles.toml"])
    roles = read_roles(file)
    clerk = roles.of("carl@bank.example", ["credit-clerks"])
    assert (clerk.roles, clerk.scope) == (("clerk",), "branch")
    assert roles.of("Ann@bank.example", []).roles == ("approver",)
    assert roles.of("nobody@bank.example", ["others"]).roles == ()
    for name in ("risk-o-meter", "approvals", "evidently-exporter", "first-model"):
        assert environment(name)["ROLES_FILE"] == "/etc/credit-risk/roles.toml"
        mounts = {mount["mountPath"]: mount["name"] for mount in container(name)["volumeMounts"]}
        assert mounts["/etc/credit-risk"] == "roles"


# --- the same stack as docker-compose.yml ---------------------------------------------------------


def test_services_are_those_of_compose() -> None:
    assert set(pods()) - CHART_ONLY == set(SERVICES) - OUTSIDE
    scale = {name for name in SERVICES if SERVICES[name].get("profiles") == ["scale"]}
    assert set(pods("full")) - set(pods("minimal")) == scale | {"first-model"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_the_image_and_command_of_compose(name: str) -> None:
    service = SERVICES[name]
    built = (service.get("image") or "").removeprefix("${COMPOSE_PROJECT_NAME}-")
    image = built or service["build"]["target"]
    assert container(name)["image"].startswith(f"registry.example/credit-risk/{image}@sha256:")
    assert "command" not in container(name)  # which would leave out the entrypoint, with-secrets
    said = service["command"]
    program = said[: 3 if said[1] == "-m" else 8]
    assert container(name)["args"][: len(program)] == program


# Of the emulator, of a key file, of names and ports on the host. FOLLOW_ALIAS is refused, and API
# keys are a Secret.
COMPOSE_ONLY = {
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "MLFLOW_PORT",
    "DOMAIN",
    "FOLLOW_ALIAS",
    "API_KEYS",
}


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_the_variables_of_compose(name: str) -> None:
    wanted = set(SERVICES[name].get("environment", {})) - COMPOSE_ONLY
    assert set(environment(name)) - {"POD_IP"} == wanted - NOT_GIVEN


# Of the identities, the full values give one.
NOT_GIVEN = {"IAP_AUDIENCE", "USER_HEADER", "GROUPS_HEADER", "TRUSTED_PROXIES"}


@pytest.mark.parametrize("name", OURS)
def test_variables_that_are_fixed_have_the_values_of_compose(name: str) -> None:
    ours, theirs = environment(name), SERVICES[name].get("environment", {})
    same = (
        "MLFLOW_",
        "PREFECT_",
        "DASK_",
        "OMP_",
        "PGCLIENT",
        "SECRETS_",
        "SCRAPE_",
        "BIND_",
        "VAR_DIR",
    )
    for variable, value in ours.items():
        if variable.startswith(same) and variable != "PREFECT_UI_URL":
            assert value == str(theirs[variable]), variable


def test_variables_are_settings_or_on_a_page() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()
    compose = {name for service in SERVICES.values() for name in service.get("environment", {})}
    for name in pods():
        for variable in environment(name):
            known = variable.lower() in Settings.model_fields or f"`{variable}`" in documented
            assert known or variable in compose | {"POD_IP"}, f"{name}: {variable}"


@pytest.mark.parametrize("name", OURS)
def test_a_service_mounts_the_secrets_that_compose_hands_out(name: str) -> None:
    mounted = secret_files(name)
    assert mounted.pop("api-keys", {"API_KEYS"}) == {"API_KEYS"}
    assert set().union(*mounted.values()) == set(SECRETS.get(name, {}))


def test_api_keys_reach_those_who_check_them() -> None:
    checking = {name for name in pods() if "api-keys" in secret_files(name)}
    assert checking == {
        name for name in OURS if "API_KEYS" in SERVICES[name].get("environment", {})
    }


def bytes_of(amount: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", amount).groups()  # type: ignore[union-attr]
    power = {"": 0, "m": 2, "g": 3, "Mi": 2, "Gi": 3, "MB": 2, "GB": 3}[unit]
    return float(number) * (1000 if unit.endswith("B") else 1024) ** power


@pytest.mark.parametrize("name", OURS)
def test_limits_are_those_of_compose(name: str) -> None:
    limits, service = container(name)["resources"]["limits"], SERVICES[name]
    assert bytes_of(limits["memory"]) == bytes_of(service["mem_limit"])
    assert limits["cpu"] == ("2" if service["cpus"] == "${CPUS:-2}" else str(service["cpus"]))
    (tmp,) = (volume for volume in pods()[name]["spec"]["volumes"] if volume["name"] == "tmp")
    (size,) = re.findall(r":size=(\w+)", "".join(service["tmpfs"]))
    assert bytes_of(tmp["emptyDir"]["sizeLimit"]) == bytes_of(size)


def test_memory_requested_is_at_least_what_was_measured_at_rest() -> None:
    rows = re.findall(
        r"(?m)^\| (`[^|]*) \| [^|]* \| ([^|]*) \|", (ROOT / "docs" / "operations.md").read_text()
    )
    measured = {}
    for names, amounts in rows:
        services = re.findall(r"`([\w-]+)`", names)
        for service, amount in zip(services, amounts.split(";"), strict=False):
            measured[service] = amount.strip().replace(" ", "")
    checked = [name for name in OURS if name in measured]
    assert len(checked) >= 7
    for name in checked:
        requested = container(name)["resources"]["requests"]["memory"]
        assert bytes_of(requested) >= bytes_of(measured[name]), name


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_as_long_to_stop_as_in_compose(name: str) -> None:
    grace = int(SERVICES[name].get("stop_grace_period", "10s").removesuffix("s"))
    assert pods()[name]["spec"].get("terminationGracePeriodSeconds", 30) >= grace


# --- probes ---------------------------------------------------------------------------------------


def probes(name: str) -> dict[str, Manifest]:
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    return {kind: container(name)[kind] for kind in kinds if kind in container(name)}


LASTING = [name for name in OURS if "healthcheck" in SERVICES[name]]


@pytest.mark.parametrize("name", LASTING)
def test_probes_ask_what_compose_asks(name: str) -> None:
    asked = " ".join(SERVICES[name]["healthcheck"]["test"])
    found = probes(name)
    assert {"startupProbe", "livenessProbe"} <= set(found)
    ports = {port["name"]: port["containerPort"] for port in container(name).get("ports", [])}
    for kind, probe in found.items():
        if "exec" in probe:
            assert " ".join(probe["exec"]["command"]) in asked.removeprefix("CMD ")
        elif (name, probe["httpGet"]["path"]) not in {
            ("risk-o-meter", "/readyz"),
            ("mlflow", "/health"),
        }:
            where = f":{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}'"
            assert where in asked, kind


def test_only_readiness_asks_whether_the_risk_o_meter_can_decide() -> None:
    """A process that is well is not started anew because the log or MLflow is away."""
    asked = {kind: probe["httpGet"]["path"] for kind, probe in probes("risk-o-meter").items()}
    assert asked == {
        "startupProbe": "/healthz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    assert {"/healthz", "/readyz"} <= set(UNLOCKED)


def test_probes_name_routes_that_are_there() -> None:
    assert {probe["httpGet"]["path"] for probe in probes("evidently-exporter").values()} == {
        HEALTHZ
    }
    (test,) = (m for m in manifests("full", "Pod"))
    script = test["spec"]["containers"][0]["args"][-1]
    paths = set(re.findall(r"/api/v1/[\w.]+", script))
    assert paths == {"/api/v1/openapi.json", "/api/v1/score"}
    assert paths <= {operation.path for operation in OPERATIONS}
    assert "/api/v1/score" in document(OPERATIONS, 1, load_dataset())["paths"]
    compile(script, "helm-test", "exec")


@pytest.mark.parametrize(
    "name", ["prefect-server", "risk-o-meter", "evidently-exporter", "approvals"]
)
def test_probes_ask_by_a_name_that_is_answered(name: str) -> None:
    """They ask a pod by its address, and these answer to names alone."""
    for probe in probes(name).values():
        (header,) = probe["httpGet"]["httpHeaders"]
        assert header == {"name": "Host", "value": name}
    allowed = environment(name)["ALLOWED_HOSTS"].split(",")
    assert name in allowed or name == "prefect-server"


def test_mlflow_checks_itself_by_the_name_that_its_check_asks() -> None:
    (alias,) = pods()["mlflow"]["spec"]["hostAliases"]
    assert alias == {"ip": "127.0.0.1", "hostnames": ["mlflow"]}


# --- who reaches whom -----------------------------------------------------------------------------

# Who answers on each network of compose; the others on it ask them.
ANSWERS = {
    "mlflow-database": {"postgres"},
    "prefect-database": {"postgres"},
    "mongo": {"mongo"},
    "bucket": {"fake-gcs-server"},
    "mlflow": {"mlflow"},
    "prefect": {"prefect-server"},
    "proxy": {"proxy"},
    "approvals": {"approvals"},
    "reports": {"evidently-exporter"},
    "sign-in": {"sign-in"},
    "risk-o-meter": {"risk-o-meter"},
    "metrics": {"risk-o-meter", "evidently-exporter", "approvals"},
    "dask": {"dask-scheduler", "dask-worker", "scoring-worker"},  # they talk in both directions
    "alerts": {"alertmanager"},
    "dashboards": {"prometheus"},
}
# What stands in the chart's place for a service that it has not.
STANDS_FOR = {"fake-gcs-server": "internet", "proxy": "people", "secure-proxy": "people"}
PEERS = {"192.0.2.0/28": "postgres", "198.51.100.0/28": "mongo", "0.0.0.0/0": "internet"}
NAMESPACES = {"ingress": "people", "monitoring": "prometheus"}


def edges_of_compose() -> set[tuple[str, str]]:
    """Return who asks whom, of what is in the chart or beside it."""
    found = set()
    for network in COMPOSE["networks"]:
        members = {name for name in SERVICES if network in SERVICES[name].get("networks", [])}
        for server in members & ANSWERS[network]:
            clients = members if network == "dask" else members - ANSWERS[network]
            found |= {(client, server) for client in clients}
    # A port on the host is for people.
    found |= {("people", name) for name in OURS if "ports" in SERVICES[name]}
    named = {(STANDS_FOR.get(one, one), STANDS_FOR.get(two, two)) for one, two in found}
    known = set(OURS) | {"postgres", "mongo", "internet", "people", "prometheus"}
    ends = {(one, two) for one, two in named if {one, two} <= known and {one, two} & set(OURS)}
    return {(one, two) for one, two in ends if one != two}


def selected(selector: Manifest) -> set[str]:
    found = set()
    for name, pod in pods().items():
        labels = pod["metadata"]["labels"]
        wanted = selector.get("matchLabels", {})
        among = selector.get("matchExpressions", [])
        assert all(expression["operator"] == "In" for expression in among)
        if wanted.items() <= labels.items() and all(labels[e["key"]] in e["values"] for e in among):
            found.add(name)
    return found


def peers(rule: list[Manifest]) -> Iterator[str]:
    for peer in rule:
        if "ipBlock" in peer:
            yield PEERS.get(peer["ipBlock"]["cidr"], "")
        elif "namespaceSelector" in peer:
            namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            yield NAMESPACES.get(namespace, "")
        else:
            yield from selected(peer["podSelector"])


def edges_of_chart() -> set[tuple[str, str]]:
    """Return who gets through: the policies of both ends let them."""
    comes, goes = set(), set()
    for policy in manifests("full", "NetworkPolicy"):
        for name in selected(policy["spec"]["podSelector"]):
            for rule in policy["spec"].get("ingress", []):
                comes |= {(peer, name) for peer in peers(rule["from"])}
            for rule in policy["spec"].get("egress", []):
                goes |= {(name, peer) for peer in peers(rule["to"])}
    assert {edge for edge in comes if edge[0] in pods()} == {e for e in goes if e[1] in pods()}
    return {(one, two) for one, two in comes | goes if one and two and one != two}


def test_edges_are_those_of_the_networks_of_compose() -> None:
    of_chart_only = {
        ("mlflow-migration", "postgres"),
        ("prefect-migration", "postgres"),
        ("helm-test", "risk-o-meter"),
        # For the keys of the issuer. In compose the network of Prefect has a way out.
        ("approvals", "internet"),
    }
    assert edges_of_chart() - of_chart_only == edges_of_compose()
    assert edges_of_chart() >= of_chart_only


def test_every_pod_is_closed_before_anything_opens_it() -> None:
    policy = named("NetworkPolicy", "deny-by-default")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert not {"ingress", "egress"} & set(policy)
    assert selected(policy["podSelector"]) == set(pods())


def test_nobody_comes_in_from_outside_unless_they_are_named() -> None:
    for policy in manifests("minimal", "NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            assert rule["from"]
            assert all(set(peer) == {"podSelector"} for peer in rule["from"])


def test_a_server_is_reached_at_its_own_port_alone() -> None:
    ports = {
        service["metadata"]["name"]: service["spec"]["ports"][0]["port"]
        for service in manifests("full", "Service")
    }
    for name in set(ports) - {"dask-scheduler"}:
        for rule in named("NetworkPolicy", name)["spec"]["ingress"]:
            assert rule["ports"] == [{"port": ports[name], "protocol": "TCP"}]


# --- what else the chart has ----------------------------------------------------------------------


@by_values
def test_no_service_becomes_a_setting(values: str) -> None:
    """A Service named mlflow would set MLFLOW_PORT to an address."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(values).values())


def test_every_pod_has_a_service_account_that_is_its_own() -> None:
    accounts = {account["metadata"]["name"] for account in manifests("full", "ServiceAccount")}
    users = {"mlflow-migration": "mlflow", "prefect-migration": "prefect-server"}
    for name, pod in pods().items():
        assert pod["spec"]["serviceAccountName"] == users.get(name, name)
    assert accounts == set(pods()) - set(users)
    annotations = named("ServiceAccount", "mlflow")["metadata"]["annotations"]
    assert annotations == {"iam.gke.io/gcp-service-account": "mlflow@bank.iam.gserviceaccount.com"}


def test_databases_are_migrated_before_an_upgrade_and_flows_are_deployed_after_it() -> None:
    hooks = {
        job["metadata"]["name"]: (
            job["metadata"]["annotations"]["helm.sh/hook"],
            int(job["metadata"]["annotations"]["helm.sh/hook-weight"]),
        )
        for job in manifests("full", "Job")
    }
    after = "post-install,post-upgrade"
    assert hooks.pop("mlflow-migration") == ("pre-upgrade", 0)
    assert hooks.pop("prefect-migration") == ("pre-upgrade", 0)
    assert hooks == {"deployments": (f"{after},post-rollback", 0), "first-model": (after, 5)}
    for name in ("mlflow", "prefect"):
        assert container(f"{name}-migration")["args"][2:] == [
            f"tools.servers.{name}_server",
            "--upgrade",
        ]
    assert secret_files("mlflow-migration") == {"mlflow": {"MLFLOW_BACKEND_STORE_URI"}}


def test_single_instances_are_recreated_not_rolled() -> None:
    for deployment in manifests("full", "Deployment"):
        name = deployment["metadata"]["name"]
        several = {"risk-o-meter", "approvals", "dask-worker"}
        alone = deployment["spec"].get("strategy", {}).get("type") == "Recreate"
        assert alone == (name not in several), name


def test_the_risk_o_meter_is_scaled_and_its_replicas_do_not_go_all_at_once() -> None:
    deployment = named("Deployment", "risk-o-meter")
    assert "replicas" not in deployment["spec"]  # it would undo what the autoscaler has done
    scaler = named("HorizontalPodAutoscaler", "risk-o-meter")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "risk-o-meter"
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    budget = named("PodDisruptionBudget", "risk-o-meter")["spec"]
    assert budget["maxUnavailable"] == 1
    assert selected(budget["selector"]) == {"risk-o-meter"}


def test_services_find_their_pods_and_ports() -> None:
    for service in manifests("full", "Service"):
        name = service["metadata"]["name"]
        assert selected({"matchLabels": service["spec"]["selector"]}) == {name}
        (port,) = service["spec"]["ports"]
        ports = {p["name"]: p["containerPort"] for p in container(name)["ports"]}
        assert ports[port["targetPort"]] == port["port"]


def test_prometheus_is_told_where_figures_are_and_by_which_key() -> None:
    monitors = {
        monitor["metadata"]["name"]: monitor for monitor in manifests("full", "ServiceMonitor")
    }
    targets = json.loads((ROOT / "prometheus" / "targets" / "compose.json").read_text())
    jobs = {target["labels"]["job"] for target in targets} - OUTSIDE
    assert jobs <= set(monitors)
    for name, monitor in monitors.items():
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        service = named("Service", name)
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == name
        (endpoint,) = monitor["spec"]["endpoints"]
        assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
        key = endpoint["authorization"]["credentials"]
        assert key["key"] in secret_files(name)[key["name"]]
        assert "$(POD_IP)" in environment(name)["ALLOWED_HOSTS"]


def test_rules_are_those_of_prometheus_with_links_that_lead_to_the_reports() -> None:
    rules = {rule["metadata"]["name"]: rule["spec"] for rule in manifests("full", "PrometheusRule")}
    assert set(rules) == {
        f"credit-risk-{file.stem}" for file in (ROOT / "prometheus" / "rules").glob("*")
    }
    for name, rule in rules.items():
        text = (
            ROOT / "prometheus" / "rules" / f"{name.removeprefix('credit-risk-')}.yml"
        ).read_text()
        link = "https://reports.bank.example"
        assert rule == yaml.safe_load(text.replace("http://{{ $externalLabels.exporter }}", link))


def test_rules_are_in_the_package(tmp_path: Path) -> None:
    """In the repository they are a link out of the chart."""
    done = helm("package", str(CHART), f"--destination={tmp_path}")
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as files:
        for file in (ROOT / "prometheus" / "rules").iterdir():
            packed = files.extractfile(f"credit-risk/files/rules/{file.name}")
            assert packed is not None
            assert packed.read() == file.read_bytes()


def test_an_upgrade_of_roles_starts_those_anew_who_read_them(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.dump({"roles": {"clerk": {"groups": ["others"]}}}))
    changed = list(yaml.safe_load_all(template((MINIMAL, file)).stdout))
    checksums = {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["metadata"]["annotations"]
        for manifest in changed
        if manifest
        and manifest["metadata"]["name"] in ("risk-o-meter", "approvals", "evidently-exporter")
        and manifest["kind"] == "Deployment"
    }
    assert len(checksums) == 3
    for name, annotations in checksums.items():
        assert annotations != pods("minimal")[name]["metadata"]["annotations"]
