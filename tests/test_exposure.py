"""HOST opens services with a login to other machines, and nothing else."""

import pytest

from tests.support.stacks import stack_of
from tools.access.exposure import bind_address, is_loopback, is_open, names
from tools.stack.services import SERVICES
from tools.stack.table import what_is_open

DOORS = {service.name for service in SERVICES if service.port}
LOGINS = {"mlflow", "prefect-server"}
KEYS = f"branch-12:{'a' * 64}"
PROXY = {"user_header": "X-Forwarded-User", "trusted_proxies": "192.0.2.9"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_a_loopback_address_opens_nothing(host, tmp_path):
    environment = stack_of(tmp_path, host=host, api_keys=KEYS).environment()
    assert {bind_address(name, environment) for name in DOORS} == {host}
    assert names(host) == []
    assert what_is_open(environment) == "every service answers on this machine only"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "bank.example", "::"])
def test_only_services_with_a_login_are_opened(host, tmp_path):
    environment = stack_of(tmp_path, host=host).environment()
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS
    assert {bind_address(name, environment) for name in DOORS - LOGINS} == {"127.0.0.1"}
    assert (
        what_is_open(environment).splitlines()[-1] == "everything else answers on this machine only"
    )


@pytest.mark.parametrize("access", [{"api_keys": KEYS}, PROXY])
def test_scoring_and_reports_are_opened_once_they_identify_callers(access, tmp_path):
    environment = stack_of(tmp_path, host="0.0.0.0", **access).environment()
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS | {
        "risk-o-meter",
        "evidently-exporter",
    }


def test_the_approvals_are_opened_only_where_tokens_name_people(tmp_path):
    oidc = {"oidc_issuer": "https://id.example", "oidc_audience": "x", "roles_file": "/roles.toml"}
    environment = stack_of(tmp_path, host="0.0.0.0", **oidc).environment()
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS | {
        "risk-o-meter",
        "evidently-exporter",
        "approvals",
    }


def test_empty_keys_open_nothing(tmp_path):
    environment = stack_of(tmp_path, host="0.0.0.0", api_keys=" , ").environment()
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS


def test_a_service_gets_its_address_and_the_names_that_reach_it(tmp_path):
    environment = stack_of(
        tmp_path, host="192.0.2.7", api_keys="", allowed_hosts="localhost,bank.example"
    ).environment()
    assert (environment["MLFLOW_ADDRESS"], environment["RISKOMETER_ADDRESS"]) == (
        "192.0.2.7",
        "127.0.0.1",
    )
    assert environment["MLFLOW_TRACKING_URI"] == "http://192.0.2.7:5051"
    assert environment["ALLOWED_HOSTS"] == "localhost,bank.example,192.0.2.7"


def test_a_service_on_all_addresses_has_a_name_for_each():
    assert not any(map(is_loopback, names("0.0.0.0")))
    assert names("0.0.0.0")  # at least its name
