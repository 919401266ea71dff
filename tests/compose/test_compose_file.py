"""What docker-compose.yml and the Dockerfile promise, read from them; needs no Docker."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from credit_risk.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
JOBS = ("bucket", "deployments", "first-model")
LASTING = tuple(sorted(set(SERVICES) - set(JOBS)))
SECRET = r"\$\{[A-Z_]+_PASSWORD:-[a-z-]*\}"
# A port is the host's to choose: inside, what they bind to never changes.
NOT_HANDED_ON = {name for name in Settings.model_fields if name.endswith("_port")}
# Whom to tell is the Alertmanager's alone to know.
NOT_HANDED_ON |= {name for name in Settings.model_fields if name.startswith(("alert_", "smtp_"))}


def after(service: dict[str, Any], condition: str) -> set[str]:
    return {name for name, needs in service.get("depends_on", {}).items() if needs["condition"] == condition}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_as_few_rights_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "postgres")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_this_machine_only_and_settable(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port)


def test_stores_have_no_port_on_the_host() -> None:
    assert not any("ports" in SERVICES[name] for name in ("mongo", "postgres", "fake-gcs-server"))


@pytest.mark.parametrize("name", [name for name in SERVICES if "image" in SERVICES[name]])
def test_images_are_pinned_to_a_release(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_has_a_healthcheck_and_is_started_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_and_a_service_waits_for_it(name: str) -> None:
    """`docker compose up --wait` takes a container that ended for a failure, unless something waits for its success."""
    assert SERVICES[name]["restart"] == "no"
    # Other than Grafana's, whose image may be missing where the file is tested.
    assert any(name in after(SERVICES[s], "service_completed_successfully") for s in LASTING if s != "grafana")


def test_alerts_get_out_by_what_is_set() -> None:
    settings = {name.upper() for name in Settings.model_fields if name.startswith(("alert_", "smtp_"))}
    assert settings == set(SERVICES["alertmanager"]["environment"])
    assert SERVICES["alertmanager"]["user"] == "nobody"


def test_the_risk_o_meter_waits_for_no_model() -> None:
    waits_for = set(SERVICES["risk-o-meter"]["depends_on"])
    assert waits_for.isdisjoint({"mlflow", "first-model"})


@pytest.mark.parametrize("worker", ["training-worker", "reporting-worker"])
def test_workers_stop_before_their_servers(worker: str) -> None:
    """Compose stops what depends on others first."""
    assert {"prefect-server", "mlflow", "mongo"} <= set(SERVICES[worker]["depends_on"])


@pytest.mark.parametrize("name", [name for name in SERVICES if "DECISION_LOG" in SERVICES[name].get("environment", {})])
def test_every_setting_reaches_our_services(name: str) -> None:
    handed_on = set(SERVICES[name]["environment"])
    assert {field.upper() for field in set(Settings.model_fields) - NOT_HANDED_ON} <= handed_on


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_can_be_set(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if variable.endswith("PASSWORD"):
            assert re.fullmatch(SECRET, value)
        if "@" in str(value):
            assert re.search(rf":{SECRET}@", value)


def test_every_service_of_ours_has_a_target_and_runs_as_nobody() -> None:
    stages = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text())
    targets = {stage.splitlines()[0].split(" AS ")[-1]: stage for stage in stages[1:]}
    for name, service in SERVICES.items():
        if build := service.get("build"):
            assert build["target"] == (name if name in LASTING else "training-worker")
            assert "\nUSER app\n" in targets[build["target"]]


def test_only_what_an_image_needs_is_sent_to_the_builder() -> None:
    patterns = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in patterns
    for kept in (pattern[1:] for pattern in patterns if pattern.startswith("!")):
        assert (ROOT / kept).exists()


def test_whatever_can_be_set_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    variables = set(re.findall(r"\$\{(\w+)", text)) - {"VAR"}
    example = (ROOT / ".env.example").read_text()
    assert variables <= set(re.findall(r"(?m)^# (\w+)=", example))
