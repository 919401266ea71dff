"""What each role may do, and who gets which from ROLES_FILE."""

from typing import get_args

import pytest

from credit_risk.access.roles import (
    ANYBODY,
    NOBODY,
    PERMISSIONS,
    SCRAPER,
    SERVICE,
    Permission,
    Rights,
    Role,
    RolesFileInvalid,
    read_roles,
)

# Written out once more, so that nobody changes what a role may do by accident.
EXPECTED = {
    "clerk": "score read override export model",
    "reviewer": "read override export outcomes model",
    "data-scientist": "model train propose versions reports mlflow grafana",
    "approver": "model approve versions reports mlflow grafana",
    "auditor": "read export model versions reports grafana",
    "operator": "model versions reports metrics prefect prometheus grafana",
    "service": "score read override export outcomes model",
    "scraper": "metrics",
}


@pytest.fixture
def roles_of(tmp_path):
    """A function that returns the roles of a file with some text."""

    def read(text: str):
        file = tmp_path / "roles.toml"
        file.write_text(text)
        return read_roles(file)

    return read


def test_each_role_may_do_what_is_written_here_and_no_more():
    assert {role: set(rights.split()) for role, rights in EXPECTED.items()} == PERMISSIONS
    assert set(PERMISSIONS) == set(get_args(Role))
    for role in get_args(Role):
        for permission in get_args(Permission):
            may = permission in EXPECTED[role].split()
            assert Rights((role,)).may(permission) is may, (role, permission)


@pytest.mark.parametrize("permission", get_args(Permission))
def test_nobody_may_do_anything(permission):
    assert not NOBODY.may(permission)


@pytest.mark.parametrize(
    "forbidden", ["train", "propose", "approve", "mlflow"], ids=lambda name: name
)
def test_without_identity_nobody_proposes_or_approves(forbidden):
    for rights in (ANYBODY, SERVICE, SCRAPER):
        assert not rights.may(forbidden)


def test_a_clerk_never_reaches_what_runs_code_or_moves_aliases():
    for tool in ("mlflow", "prefect", "prometheus", "grafana"):
        assert not Rights(("clerk",)).may(tool)
    assert [role for role in get_args(Role) if Rights((role,)).may("prefect")] == ["operator"]


def test_scopes_without_identity_and_of_programs():
    assert (ANYBODY.scope, SERVICE.scope, SCRAPER.scope, NOBODY.scope) == ("all", *["own"] * 3)


TABLE = """
[clerk]
groups = ["credit-clerks"]
users = ["zoe@bank.example"]

[reviewer]
groups = ["credit-heads"]

[approver]
users = ["Ann@Bank.example"]

[operator]
groups = ["it"]
"""


@pytest.mark.parametrize(
    ("user", "groups", "roles", "scope"),
    [
        ("bo@bank.example", ["credit-clerks"], ("clerk",), "branch"),
        ("zoe@bank.example", [], ("clerk",), "branch"),
        ("bo@bank.example", ["credit-heads", "credit-clerks"], ("clerk", "reviewer"), "all"),
        ("ann@bank.example", [], ("approver",), "own"),
        ("ANN@bank.EXAMPLE", ["it"], ("approver", "operator"), "own"),
        ("bo@bank.example", [], (), "own"),
        ("bo@bank.example", ["Credit-Clerks", "credit-clerk", "clerk", ""], (), "own"),
        ("credit-clerks", [], (), "own"),
        ("", [], (), "own"),
    ],
)
def test_roles_are_those_of_user_and_groups(roles_of, user, groups, roles, scope):
    assert roles_of(TABLE).of(user, groups) == Rights(roles, scope)


def test_name_with_letters_that_look_alike_in_lower_case_is_nobody_elses(roles_of):
    roles = roles_of('[approver]\nusers = ["mike@bank.example"]\n')
    assert roles.of("MIKE@bank.example", []).roles == ("approver",)
    assert "mi\u212ae".lower() == "mike", "the sign for kelvin"
    assert roles.of("mi\u212ae@bank.example", []).roles == ()


@pytest.mark.parametrize("scope", ["own", "branch", "all"])
def test_file_says_whose_decisions_a_role_reads(roles_of, scope):
    roles = roles_of(f'[clerk]\ngroups = ["c"]\nreads = "{scope}"\n')
    assert roles.of("bo", ["c"]).scope == scope


def test_of_several_roles_the_widest_scope_counts(roles_of):
    roles = roles_of('[clerk]\ngroups = ["c"]\nreads = "own"\n[auditor]\ngroups = ["a"]\n')
    assert roles.of("bo", ["c", "a"]) == Rights(("auditor", "clerk"), "all")


def test_empty_file_gives_nobody_a_role(roles_of):
    assert roles_of("").of("ann", ["it"]) == NOBODY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[clerk", "is not TOML"),
        ('clerk = "ann"', "clerk"),
        ('[clark]\ngroups = ["c"]', "clark"),
        ('[scraper]\nusers = ["ann"]', "scraper"),
        ('[clerk]\ngroup = ["c"]', "clerk.group"),
        ('[clerk]\ngroups = "c"', "clerk.groups"),
        ("[clerk]\ngroups = [1]", "clerk.groups.0"),
        ('[clerk]\nreads = "everything"', "clerk.reads"),
        ('[clerk]\npermissions = ["approve"]', "clerk.permissions"),
    ],
)
def test_file_with_a_fault_is_refused_and_the_fault_named_in_one_line(roles_of, text, said):
    with pytest.raises(RolesFileInvalid, match="ROLES_FILE") as refused:
        roles_of(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(RolesFileInvalid, match="No such file or directory"):
        read_roles(tmp_path / "none.toml")
    with pytest.raises(RolesFileInvalid, match="Is a directory"):
        read_roles(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'[clerk]\nusers = ["\xe9"]')
    with pytest.raises(RolesFileInvalid, match="it is not UTF-8"):
        read_roles(tmp_path / "latin.toml")
