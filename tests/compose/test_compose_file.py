"""What docker-compose.yml and the Dockerfile promise, read from them; needs no Docker."""

import ast
import base64
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from dask.utils import parse_timedelta

from credit_risk.access.policy import OWN_ADDRESSES
from credit_risk.settings import Settings
from tools.access import handout
from tools.access.exposure import LOGINS
from tools.stack.credentials import RUNS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
FILE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
JOBS = (
    "passwords",
    "postgres-roles",
    "mongo-roles",
    "bucket-owner",
    "bucket",
    "deployments",
    "first-model",
)
ON_CALL = ("approver",)
# What `--profile scale` adds.
SCALE = {"dask-scheduler", "dask-worker", "scoring-worker"}
# What `--profile secure` adds.
SECURE = {"approvals", "secure-proxy", "sign-in"}
DOMAIN = "${DOMAIN:-credit-risk.localhost}"
LASTING = tuple(sorted(set(SERVICES) - set(JOBS) - set(ON_CALL)))
# The secrets in each container, file by file.
FOLDERS = handout.folders({name: f"<{name}>" for name in handout.MADE}, {})

# The clients of each server. Nobody else may reach it, except through a shared server's network.
ASKED_BY = {
    "postgres": {"postgres-roles", "mlflow", "prefect-server"},
    "mongo": {
        "mongo-roles",
        "training-worker",
        "first-model",
        "approver",
        "reporting-worker",
        "risk-o-meter",
        "evidently-exporter",
        "dask-worker",
        "scoring-worker",
        "approvals",
    },
    "fake-gcs-server": {
        "bucket",
        "mlflow",
        "training-worker",
        "reporting-worker",
        "risk-o-meter",
        "evidently-exporter",
        "dask-worker",
        "scoring-worker",
    },
    "mlflow": {
        "training-worker",
        "first-model",
        "approver",
        "reporting-worker",
        "risk-o-meter",
        "evidently-exporter",
        "dask-worker",
        "scoring-worker",
        "approvals",
        "secure-proxy",
    },
    "prefect-server": {
        "deployments",
        "training-worker",
        "first-model",
        "reporting-worker",
        "evidently-exporter",
        "scoring-worker",
        "approvals",
        "secure-proxy",
    },
    "proxy": {"prometheus", "secure-proxy"},
    "risk-o-meter": {"proxy", "prometheus"},
    "dask-scheduler": {"dask-worker", "scoring-worker"},
    "evidently-exporter": {"prometheus", "secure-proxy"},
    "alertmanager": {"prometheus", "secure-proxy"},
    "prometheus": {"grafana", "secure-proxy"},
    "grafana": {"secure-proxy"},
    "approvals": {"secure-proxy", "prometheus", "approver"},
    "sign-in": {"secure-proxy"},
}

# The modules that run in the container of each of our services: they show which settings it reads.
RUN = {
    "risk-o-meter": ("model_deployment.app", "model_deployment.score", "model_deployment.outcomes"),
    "scoring-worker": ("model_deployment.portfolio.flow",),
    "dask-worker": ("model_deployment.portfolio.part",),
    "evidently-exporter": ("monitoring.exporter.server",),
    "reporting-worker": ("monitoring.reports.flow",),
    "training-worker": (
        "model_orchestration_and_tracking.flow",
        "model_orchestration_and_tracking.run",
    ),
    "first-model": ("model_orchestration_and_tracking.bootstrap",),
    "deployments": ("model_orchestration_and_tracking.deploy",),
    "approver": (
        "credit_risk.registry.approvals",
        "credit_risk.registry.registry",
        "credit_risk.decision_log.log",
    ),
    "approvals": ("model_deployment.approvals.app",),
}
# The host chooses the ports: inside the containers they never change. How long MongoDB waits before
# it flushes is its own setting.
NOT_HANDED_ON = {name for name in Settings.model_fields if name.endswith("_port")} | {
    "decision_log_flush_ms"
}
# HOST decides which ports are published, which is done in this file.
NOT_HANDED_ON |= {"host"}


def after(service: dict[str, Any], condition: str) -> set[str]:
    return {
        name
        for name, needs in service.get("depends_on", {}).items()
        if needs["condition"] == condition
    }


def folder_of(name: str) -> str | None:
    """Return the folder of the volume of secrets that a service sees."""
    mounted = [
        v
        for v in SERVICES[name].get("volumes", [])
        if isinstance(v, dict) and v["source"] == "secrets"
    ]
    for volume in mounted:
        assert volume["target"] == "/run/secrets"
        assert volume["read_only"] is True
    return mounted[0]["volume"]["subpath"] if mounted else None


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_minimal_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "pid", "ipc", "devices"} & set(service)
    assert "cap_add" not in service or name == "bucket-owner"
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits_of_memory_cpu_and_processes(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] == 1 or service["cpus"] == "${CPUS:-2}"
    assert 0 < service["pids_limit"] <= 512
    for folder in service["tmpfs"]:  # it counts as memory
        assert re.search(r":size=\d+[mg]", folder), folder


def test_nobody_is_root_but_one_job_without_a_network() -> None:
    for name, service in SERVICES.items():
        user = service.get("user")
        if "build" in service or service["image"].startswith("${COMPOSE_PROJECT_NAME}"):
            assert user is None or name == "bucket-owner"
        else:
            assert user.split(":")[0] not in ("root", "0")
    owner = SERVICES["bucket-owner"]
    assert (owner["user"], owner["network_mode"]) == ("root", "none")
    assert owner["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]
    assert owner["volumes"] == ["bucket:/storage"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_settable_and_only_services_with_a_login_follow_host(name: str) -> None:
    variable = {"secure-proxy": "SECURE_HOST", **dict.fromkeys(LOGINS, "HOST")}.get(name)
    where = rf"\$\{{{variable}:-127\.0\.0\.1\}}" if variable else r"127\.0\.0\.1"
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(where + r":\$\{[A-Z]+_PORT:-\d+\}:\d+", port)


def test_stores_have_no_port_on_the_host() -> None:
    assert not any("ports" in SERVICES[name] for name in ("mongo", "postgres", "fake-gcs-server"))


def test_containers_share_networks_only_with_the_servers_that_they_use() -> None:
    networks = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert all(networks[name] or SERVICES[name].get("network_mode") == "none" for name in SERVICES)
    reached = {
        frozenset(pair)
        for pair in combinations(SERVICES, 2)
        if networks[pair[0]] & networks[pair[1]]
    }
    asked = {
        frozenset((server, client)) for server, clients in ASKED_BY.items() for client in clients
    }
    assert asked <= reached
    # Clients of the same server share its network, and so reach each other.
    peers = {
        frozenset(pair)
        for clients in ASKED_BY.values()
        for pair in combinations(sorted(clients), 2)
    }
    assert reached <= asked | peers
    for one, another in (
        ("risk-o-meter", "postgres"),
        ("risk-o-meter", "prefect-server"),
        ("mlflow", "prefect-server"),
        ("training-worker", "postgres"),
        ("proxy", "mongo"),
        ("proxy", "mlflow"),
    ):
        assert frozenset((one, another)) not in reached
    assert {name for name in SERVICES if "dask" in networks[name]} == SCALE
    assert {name for name in SERVICES if "risk-o-meter" in networks[name]} == {
        "proxy",
        "risk-o-meter",
    }
    for outside in ("prometheus", "alertmanager", "grafana"):
        assert not any(
            frozenset((outside, store)) in reached
            for store in ("postgres", "mongo", "mlflow", "prefect-server")
        )


def test_only_services_with_a_port_or_a_bucket_outside_have_a_way_out() -> None:
    internal = {name for name, network in FILE["networks"].items() if network.get("internal")}
    assert internal == {
        "mlflow-database",
        "prefect-database",
        "mongo",
        "mlflow",
        "risk-o-meter",
        "metrics",
        "dask",
        "reports",
        "approvals",
    }
    for name, service in SERVICES.items():
        way_out = set(service.get("networks", [])) - internal
        assert way_out or "ports" not in service, name
    shut_in = {
        name for name, service in SERVICES.items() if set(service.get("networks", [])) <= internal
    }
    assert {
        "passwords",
        "bucket-owner",
        "postgres",
        "postgres-roles",
        "mongo",
        "mongo-roles",
        "approver",
        "dask-scheduler",
    } == shut_in


@pytest.mark.parametrize(
    "name", [n for n in SERVICES if not SERVICES[n].get("image", "$").startswith("$")]
)
def test_images_are_pinned_to_a_release(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", LASTING)
def test_lasting_services_have_a_healthcheck_and_are_restarted(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_and_a_service_waits_for_it(name: str) -> None:
    """`docker compose up --wait` fails if a container ends, unless a service waits for it."""
    assert SERVICES[name]["restart"] == "no"
    # Grafana does not count: its image may be missing where the file is tested.
    assert any(
        name in after(SERVICES[s], "service_completed_successfully")
        for s in LASTING
        if s != "grafana"
    )


def test_the_approver_runs_only_on_demand() -> None:
    approver = SERVICES["approver"]
    assert (approver["profiles"], approver["restart"]) == (["approve"], "no")
    assert approver["image"] == SERVICES["training-worker"]["image"]


def test_the_alertmanager_gets_every_setting_of_alerts_and_mail() -> None:
    settings = {
        name.upper() for name in Settings.model_fields if name.startswith(("alert_", "smtp_"))
    }
    assert settings == {
        name.removesuffix("_FILE") for name in SERVICES["alertmanager"]["environment"]
    }


def test_only_the_profile_scale_starts_dask_and_its_clients() -> None:
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["scale"]} == SCALE
    for name in set(SERVICES) - SCALE:
        assert SCALE.isdisjoint(SERVICES[name].get("depends_on", {})), name


def test_what_is_scaled_has_no_port_and_no_name_of_its_own() -> None:
    for name in ("risk-o-meter", "dask-worker"):
        assert not {"ports", "container_name", "hostname"} & set(SERVICES[name])
        # Its own name stands for all of them.
        assert name not in str(SERVICES[name]["healthcheck"]["test"])
    assert [n for n, s in SERVICES.items() if "RISKOMETER_PORT" in str(s.get("ports"))] == ["proxy"]


def test_code_is_sent_to_dask_only_by_those_whom_it_serves() -> None:
    """Its scheduler asks nobody who they are."""
    assert SERVICES["dask-scheduler"]["networks"] == ["dask"]
    assert "dask-scheduler" not in FOLDERS
    assert "PREFECT" not in str(FOLDERS["dask-worker"])
    assert SERVICES["dask-worker"]["command"][:3] == ["python", "-m", "tools.servers.dask_worker"]


def test_the_risk_o_meter_believes_its_proxy_alone() -> None:
    (addresses,) = FILE["networks"]["risk-o-meter"]["ipam"]["config"]
    assert SERVICES["risk-o-meter"]["environment"]["TRUSTED_PROXIES"] == addresses["subnet"]
    assert SERVICES["proxy"]["environment"]["TRUSTED_PROXIES"] is None


def test_defaults_of_the_proxy_and_the_risk_o_meter_are_those_of_the_settings() -> None:
    default = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    size = SERVICES["proxy"]["environment"]["MAX_UPLOAD_MB"]
    assert size == f"${{MAX_UPLOAD_MB:-{default['MAX_UPLOAD_MB']}}}"
    given = f"${{ALLOWED_HOSTS:-{default['ALLOWED_HOSTS']}}}"
    more = f"riskometer.{DOMAIN},api.{DOMAIN},{OWN_ADDRESSES}"
    for name, added in (("risk-o-meter", more), ("evidently-exporter", f"reports.{DOMAIN}")):
        assert SERVICES[name]["environment"]["ALLOWED_HOSTS"] == f"{given},{added}"


def test_only_the_profile_secure_starts_the_door_and_what_is_behind_it_alone() -> None:
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["secure"]} == SECURE
    for name in set(SERVICES) - SECURE:
        assert SECURE.isdisjoint(SERVICES[name].get("depends_on", {})), name
    assert [name for name in SECURE if "ports" in SERVICES[name]] == ["secure-proxy"]
    assert SERVICES["approvals"]["image"] == SERVICES["risk-o-meter"]["image"]


def test_sessions_are_known_to_the_door_alone() -> None:
    """Whoever reached oauth2-proxy with a person's cookies would get their token."""
    on_its_network = {
        name for name, service in SERVICES.items() if "sign-in" in service.get("networks", [])
    }
    assert on_its_network == {"sign-in", "secure-proxy"}
    assert SERVICES["sign-in"]["networks"] == ["sign-in"]


def test_the_door_has_the_logins_of_people_and_no_other_secret() -> None:
    known = set(re.findall("<[a-z-]+>", str(FOLDERS["secure-proxy"].values())))
    assert known == set()  # they are encoded
    decoded = {base64.b64decode(text).decode() for text in FOLDERS["secure-proxy"].values()}
    assert decoded == {"people:<mlflow-people>", "admin:<prefect-login>"}
    assert set(FOLDERS["sign-in"]) == {"cookie-secret", "client-secret"}


def test_the_roles_are_where_the_setting_says_in_each_container_that_asks_for_them() -> None:
    mounted = "${ROLES_FILE:-/dev/null}:${ROLES_FILE:-/run/roles.toml}:ro"
    for name in ("risk-o-meter", "evidently-exporter", "approvals"):
        assert mounted in SERVICES[name]["volumes"]
        assert SERVICES[name]["environment"]["ROLES_FILE"] is None


def test_mlflow_has_its_login_where_people_sign_in() -> None:
    assert SERVICES["mlflow"]["environment"]["HOST"] == "${HOST:-${OIDC_ISSUER:+0.0.0.0}}"
    # With HOST set it could be without: then the proxy does not start (tests/test_secure_proxy.py).
    assert SERVICES["secure-proxy"]["environment"]["HOST"] is None


def test_services_answer_to_the_names_that_people_know_them_by() -> None:
    for service, name in (
        ("mlflow", "mlflow"),
        ("prefect-server", "prefect"),
        ("evidently-exporter", "reports"),
        ("approvals", "approvals"),
        ("risk-o-meter", "riskometer"),
        ("risk-o-meter", "api"),
    ):
        assert f"{name}.{DOMAIN}" in SERVICES[service]["environment"]["ALLOWED_HOSTS"].split(",")


def test_those_answer_to_their_addresses_whom_prometheus_finds_by_them() -> None:
    found = {
        name
        for name, service in SERVICES.items()
        if OWN_ADDRESSES in service.get("environment", {}).get("ALLOWED_HOSTS", "").split(",")
    }
    prometheus = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    (scraped,) = prometheus["scrape_configs"]
    names = {each["names"][0].partition(".")[0] for each in scraped["dns_sd_configs"]}
    assert found == names == {"risk-o-meter", "approvals"}


def test_grafana_shows_dashboards_without_a_login_only_where_people_sign_in() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "${OIDC_ISSUER:+true}"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert not any(name.startswith("GF_AUTH_PROXY") for name in environment)


def test_oauth2_proxy_is_the_version_that_is_tested() -> None:
    tested = re.search(
        r"(?m)^OAUTH2_PROXY=(v[\d.]+)", (ROOT / "tools" / "install-parts.sh").read_text()
    )
    assert tested
    assert f":{tested[1]}-" in SERVICES["sign-in"]["image"]


def test_prometheus_finds_each_replica_by_a_name_of_its_network() -> None:
    (job,) = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert "metrics" in SERVICES["prometheus"]["networks"]
    naming = next(rule for rule in job["relabel_configs"] if rule.get("target_label") == "job")
    found = []
    for discovery in job["dns_sd_configs"]:
        (name,) = discovery["names"]
        named = re.fullmatch(naming["regex"], name)
        assert named
        (alias,) = SERVICES[named[1]]["networks"]["metrics"]["aliases"]
        assert name == f"{alias}."
        found.append(named[1])
    assert found == ["risk-o-meter", "approvals"]


def test_the_risk_o_meter_waits_for_no_model() -> None:
    waits_for = set(SERVICES["risk-o-meter"]["depends_on"])
    assert waits_for.isdisjoint({"mlflow", "first-model"})


@pytest.mark.parametrize("worker", ["training-worker", "reporting-worker", "scoring-worker"])
def test_workers_stop_before_their_servers(worker: str) -> None:
    """Compose stops what depends on others first."""
    assert {"prefect-server", "mlflow", "mongo"} <= set(SERVICES[worker]["depends_on"])


@pytest.mark.parametrize("name", ["training-worker", "reporting-worker", "scoring-worker"])
def test_workers_start_runs_with_the_same_settings_as_locally(name: str) -> None:
    assert RUNS.items() <= SERVICES[name]["environment"].items()


def read_settings(modules: tuple[str, ...]) -> set[str]:
    """Return the settings that these modules, and the modules of ours they import, read."""
    found: set[str] = set()
    seen: set[Path] = set()
    left = list(modules)
    while left:
        name = left.pop()
        file = ROOT / f"{name.replace('.', '/')}.py"
        if not file.exists() or file in seen or name == "credit_risk.settings":
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute) and node.attr in Settings.model_fields:
                of = node.value
                name_of = (
                    of.id
                    if isinstance(of, ast.Name)
                    else of.attr
                    if isinstance(of, ast.Attribute)
                    else ""
                )
                if name_of.lstrip("_") == "settings":
                    found.add(node.attr)
    return found


@pytest.mark.parametrize("name", RUN)
def test_each_service_gets_the_settings_that_it_reads(name: str) -> None:
    handed_on = {
        variable.lower()
        for variable in {*SERVICES[name].get("environment", {}), *FOLDERS.get(name, {})}
    }
    wanted = read_settings(RUN[name]) - NOT_HANDED_ON
    if name == "training-worker":
        wanted -= {"dask_scheduler"}  # its image has no Dask
    if name == "approvals":
        wanted -= {"user_header", "groups_header", "trusted_proxies"}  # people have tokens
    assert wanted
    assert wanted <= handed_on


def test_approved_files_outlive_the_containers_that_use_them() -> None:
    for name in ("risk-o-meter", "evidently-exporter"):
        assert f"{name}:{SERVICES[name]['environment']['VAR_DIR']}" in SERVICES[name]["volumes"]


def test_api_keys_reach_only_the_services_that_check_them() -> None:
    said = {
        name for name, service in SERVICES.items() if "API_KEYS" in service.get("environment", {})
    }
    assert said <= {"risk-o-meter", "evidently-exporter", "approvals"}


def test_every_setting_reaches_a_container() -> None:
    handed_on = {
        variable.lower() for s in SERVICES.values() for variable in s.get("environment", {})
    }
    handed_on |= {
        variable.lower()
        for f in handout.folders(dict.fromkeys(handout.MADE, "x"), {}).values()
        for variable in f
    }
    assert set(Settings.model_fields) - NOT_HANDED_ON <= handed_on


def test_each_container_sees_its_own_secrets_alone() -> None:
    assert {name: folder_of(name) for name in SERVICES if folder_of(name)} == {
        name: name for name in FOLDERS
    }
    whole = [
        name
        for name, s in SERVICES.items()
        if any(str(v).startswith("secrets:") for v in s.get("volumes", []))
    ]
    assert whole == ["passwords"]
    assert SERVICES["passwords"]["network_mode"] == "none"


def test_no_secret_is_in_what_docker_shows_of_a_container() -> None:
    """Except for the job that hands them out, which shows only what a person has set."""
    secret = re.compile("PASSWORD|SECRET|TOKEN|WEBHOOK|AUTH_STRING|CREDENTIAL")
    allowed = {"GOOGLE_APPLICATION_CREDENTIALS", "SECRETS_DIR"}  # where they are
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if name == "passwords":
                assert value is None or variable == "SECRETS_DIR"
            elif secret.search(variable) and variable not in allowed:
                assert variable.endswith("_FILE"), (name, variable)
                assert value.startswith("/run/secrets/")
            assert not re.search("://[^/]*@", str(value)), (name, variable)
        words = " ".join(
            map(
                str,
                [
                    service.get("command", ""),
                    service.get("entrypoint", ""),
                    service.get("healthcheck", ""),
                ],
            )
        )
        assert not re.search("PASSWORD|://[^/ ]*@", words), name
    assert "local-only" not in TEXT


def test_only_the_approver_has_the_credential_to_approve() -> None:
    known = {name for name, files in FOLDERS.items() if "<mongo-approver>" in str(files)}
    assert known == {"approver", "approvals", "first-model", "mongo-roles"}


def test_every_built_service_has_a_target_and_runs_unprivileged() -> None:
    stages = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text())
    targets = {stage.splitlines()[0].split(" AS ")[-1]: stage for stage in stages[1:]}
    for name, service in SERVICES.items():
        if build := service.get("build"):
            assert build["target"] == ("passwords" if name == "bucket-owner" else name)
            assert "\nUSER app\n" in targets[build["target"]]


def test_only_what_an_image_needs_is_sent_to_the_builder() -> None:
    patterns = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in patterns
    for kept in (pattern[1:] for pattern in patterns if pattern.startswith("!")):
        assert (ROOT / kept).exists()


def test_every_variable_is_in_the_example() -> None:
    variables = set(re.findall(r"\$\{(\w+)", TEXT)) | set(SERVICES["passwords"]["environment"])
    example = (ROOT / ".env.example").read_text()
    assert variables - {"VAR", "COMPOSE_PROJECT_NAME", "SECRETS_DIR"} <= set(
        re.findall(r"(?m)^# (\w+)=", example)
    )


def test_dask_takes_the_time_after_which_work_without_workers_fails():
    environment = SERVICES["dask-scheduler"]["environment"]
    seconds = parse_timedelta(environment["DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT"])
    assert 60 < seconds < 3600
