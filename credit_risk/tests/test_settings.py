from pathlib import Path

import pytest
from pydantic import ValidationError

from credit_risk.settings import Settings, describe


def test_settings_page_has_the_table_of_settings():
    assert describe() in Path("docs/settings.md").read_text()


def test_a_variable_sets_its_setting(monkeypatch):
    monkeypatch.setenv("RISKOMETER_PORT", "1234")
    assert Settings(_env_file=None).riskometer_port == 1234


def test_an_empty_variable_sets_no_file_of_roles(monkeypatch):
    monkeypatch.setenv("ROLES_FILE", "")
    monkeypatch.setenv("FOUR_EYES", "")
    made = Settings(_env_file=None)
    assert (made.roles_file, made.four_eyes, made.needs_two) == (None, None, False)


@pytest.mark.parametrize("name", ["ROLES_FILE", "OIDC_AUDIENCE", "GROUPS_HEADER"])
def test_half_a_sign_in_does_not_leave_everything_open(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    with pytest.raises(ValidationError, match="need OIDC_ISSUER"):
        Settings(_env_file=None)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://issuer.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example/x",
        "http://localhost@evil.example",
        "ftp://issuer.example",
    ],
)
def test_issuer_without_tls_is_this_machine(monkeypatch, issuer):
    for name, value in {"OIDC_AUDIENCE": "x", "ROLES_FILE": "x"}.items():
        monkeypatch.setenv(name, value)
    for good in ("https://issuer.example/realms/a", "http://localhost:8080/a", "http://[::1]:1"):
        monkeypatch.setenv("OIDC_ISSUER", good)
        assert Settings(_env_file=None).has_tokens
    monkeypatch.setenv("OIDC_ISSUER", issuer)
    with pytest.raises(ValidationError, match="oidc_issuer"):
        Settings(_env_file=None)


def test_a_value_out_of_range_is_refused(monkeypatch):
    monkeypatch.setenv("N_ITER", "0")
    with pytest.raises(ValidationError, match="n_iter"):
        Settings(_env_file=None)
