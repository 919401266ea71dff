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


def test_a_value_out_of_range_is_refused(monkeypatch):
    monkeypatch.setenv("N_ITER", "0")
    with pytest.raises(ValidationError, match="n_iter"):
        Settings(_env_file=None)
