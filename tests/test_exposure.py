"""What HOST opens."""

import pytest

from credit_risk.settings import Settings
from tools.exposure import bind_address, is_loopback, is_open, names
from tools.local import Stack
from tools.services import SERVICES
from tools.stack import what_is_open

DOORS = {service.name for service in SERVICES if service.port}
LOGINS = {"mlflow", "prefect-server"}
KEYS = f"branch-12:{'a' * 64}"
PROXY = {"user_header": "X-Forwarded-User", "trusted_proxies": "192.0.2.9"}


def environment_of(tmp_path, **values):
    return Stack(Settings(_env_file=None, var_dir=tmp_path / "var", **values)).environment()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_an_address_of_this_machine_alone_opens_nothing(host, tmp_path):
    environment = environment_of(tmp_path, host=host, api_keys=KEYS)
    assert {bind_address(name, environment) for name in DOORS} == {host}
    assert names(host) == []
    assert what_is_open(environment) == "every service answers on this machine only"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "bank.example", "::"])
def test_only_what_has_a_login_is_opened(host, tmp_path):
    environment = environment_of(tmp_path, host=host)
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS
    assert {bind_address(name, environment) for name in DOORS - LOGINS} == {"127.0.0.1"}
    assert what_is_open(environment).splitlines()[-1] == "everything else answers on this machine only"


@pytest.mark.parametrize("access", [{"api_keys": KEYS}, PROXY])
def test_scoring_and_reports_are_opened_once_they_ask_who_comes(access, tmp_path):
    environment = environment_of(tmp_path, host="0.0.0.0", **access)
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS | {"risk-o-meter", "evidently-exporter"}


def test_keys_that_are_none_open_nothing(tmp_path):
    environment = environment_of(tmp_path, host="0.0.0.0", api_keys=" , ")
    assert {name for name in DOORS if is_open(name, environment)} == LOGINS


def test_a_service_is_told_its_own_address_and_by_which_names_it_is_reached(tmp_path):
    environment = environment_of(tmp_path, host="192.0.2.7", api_keys="", allowed_hosts="localhost,bank.example")
    assert (environment["MLFLOW_ADDRESS"], environment["RISKOMETER_ADDRESS"]) == ("192.0.2.7", "127.0.0.1")
    assert environment["MLFLOW_TRACKING_URI"] == "http://192.0.2.7:5051"
    assert environment["ALLOWED_HOSTS"] == "localhost,bank.example,192.0.2.7"


def test_on_all_addresses_it_is_reached_by_each_of_them():
    assert not any(map(is_loopback, names("0.0.0.0")))
    assert names("0.0.0.0")  # at least its name
