"""What services say about access when they start."""

import logging

import pytest
from pydantic import SecretStr

from credit_risk.access.notice import notices
from credit_risk.keys import digest

KEY = digest("k" * 32)


@pytest.fixture
def roles_file(tmp_path):
    file = tmp_path / "roles.toml"
    file.write_text('[clerk]\ngroups = ["c"]\n[auditor]\nusers = ["ann"]\n')
    return file


def test_open_service_says_so_in_one_line(settings):
    assert notices(settings, 9696) == [
        (
            logging.INFO,
            "access: open to everybody who reaches 127.0.0.1:9696; "
            "docs/access.md says how to close it",
        )
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"oidc_issuer": "https://login.example", "oidc_audience": "a"},
            "access: by tokens of https://login.example; ROLES_FILE sets 2 roles",
        ),
        (
            {"iap_audience": "/projects/1", "api_keys": SecretStr(f"a:{KEY}:2099-01-01")},
            "access: by Google's IAP and API keys (1); ROLES_FILE sets 2 roles",
        ),
        (
            {"user_header": "X-User", "trusted_proxies": "10.0.0.7"},
            "access: by X-User of 10.0.0.7; ROLES_FILE sets 2 roles",
        ),
    ],
)
def test_closed_service_says_who_is_let_in(settings, roles_file, more, said):
    made = settings.model_copy(update={**more, "roles_file": roles_file})
    assert notices(made, 9696) == [(logging.INFO, said)]


def test_keys_without_an_end_are_named_in_one_warning(settings):
    entries = f"old:{KEY},older:{digest('o' * 32)},new:{digest('n' * 32)}:2099-01-01"
    made = settings.model_copy(update={"api_keys": SecretStr(entries)})
    first, second = notices(made, 9696)
    assert first == (logging.INFO, "access: by API keys (3); no ROLES_FILE is set")
    assert second == (
        logging.WARNING,
        "access: keys that never expire: old, older; make new ones that do",
    )
    assert KEY not in str((first, second))


def test_wrong_roles_file_ends_the_service_with_one_line(settings, roles_file):
    roles_file.write_text("[clark]\n")
    with pytest.raises(SystemExit) as ended:
        notices(settings.model_copy(update={"roles_file": roles_file}), 9696)
    assert str(ended.value).startswith(f"ROLES_FILE {roles_file}, clark")
    assert "\n" not in str(ended.value)
