"""Roles: what each may do, and who has which.

ROLES_FILE is a TOML file with a table for each role that anybody has:

    [clerk]
    groups = ["credit-clerks"]
    reads = "branch"

    [approver]
    users = ["ann@bank.example", "bo@bank.example"]

Groups are those of the user's token (or of GROUPS_HEADER), users the names in it. Whoever is in no
table may do nothing.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

Permission = Literal[
    "score",
    "read",
    "override",
    "export",
    "outcomes",
    "model",
    "train",
    "propose",
    "approve",
    "versions",
    "reports",
    "metrics",
    "mlflow",
    "prefect",
    "prometheus",
    "grafana",
]
Role = Literal[
    "clerk", "reviewer", "data-scientist", "approver", "auditor", "operator", "service", "scraper"
]
# Whose decisions: those that the caller had made, those of the caller's branch, or everybody's.
Scope = Literal["own", "branch", "all"]

# Prefect runs whatever code it is given, so that nobody but operators reaches it; data scientists
# start trainings through the approvals service.
PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "clerk": frozenset(("score", "read", "override", "export", "model")),
    "reviewer": frozenset(("read", "override", "export", "outcomes", "model")),
    "data-scientist": frozenset(
        ("model", "train", "propose", "versions", "reports", "mlflow", "grafana")
    ),
    "approver": frozenset(("model", "approve", "versions", "reports", "mlflow", "grafana")),
    "auditor": frozenset(("read", "export", "model", "versions", "reports", "grafana")),
    "operator": frozenset(
        ("model", "versions", "reports", "metrics", "prefect", "prometheus", "grafana")
    ),
    # The holder of an API key: a program.
    "service": frozenset(("score", "read", "override", "export", "outcomes", "model")),
    # Prometheus.
    "scraper": frozenset(("metrics",)),
}
_SCOPES: Mapping[Role, Scope] = {
    "clerk": "branch",
    "reviewer": "all",
    "auditor": "all",
}
# In the order of how much they show.
_WIDER: tuple[Scope, ...] = get_args(Scope)


class RolesFileInvalid(ValueError):
    """ROLES_FILE cannot be read, or is not what it should be; the message says where."""


@dataclass(frozen=True)
class Rights:
    """What a caller may do.

    Attributes
    ----------
    roles : tuple of str
        In alphabetical order; empty where the caller has none.
    scope : str
        Whose decisions they see, `own`, `branch` or `all`.
    """

    roles: tuple[Role, ...] = ()
    scope: Scope = "own"

    def may(self, permission: Permission) -> bool:
        """Return whether one of the roles has a permission."""
        return any(permission in PERMISSIONS[role] for role in self.roles)


NOBODY = Rights()
# Where nobody has to identify themselves, or a proxy names users and there is no ROLES_FILE. It is
# no more than a name, so that no version is proposed or approved by it.
ANYBODY = Rights(("auditor", "clerk", "operator", "reviewer"), "all")
SERVICE = Rights(("service",))
SCRAPER = Rights(("scraper",))


def folded(name: str) -> str:
    """Return a user's name in lower case, as in email addresses.

    A name with other letters than ASCII's stays as it is: some of them, such as the sign for
    kelvin, have one of ASCII's as their lower case, so that a name could pass for another.
    """
    return name.lower() if name.isascii() else name


class Members(BaseModel):
    """Who has a role: the table of one role in ROLES_FILE."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    groups: list[str] = []
    users: list[str] = []
    reads: Scope | None = None


# Nobody is Prometheus but who has its key.
_Given = Literal[
    "clerk", "reviewer", "data-scientist", "approver", "auditor", "operator", "service"
]
_FILE = TypeAdapter(dict[_Given, Members])


class Roles:
    """The roles of ROLES_FILE.

    Parameters
    ----------
    members : mapping of str to Members
        By role.
    """

    def __init__(self, members: Mapping[_Given, Members]) -> None:
        self._n = len(members)
        self._by_group: dict[str, set[Role]] = {}
        self._by_user: dict[str, set[Role]] = {}
        self._scopes: dict[Role, Scope] = dict(_SCOPES)

        for role, table in members.items():
            for group in table.groups:
                self._by_group.setdefault(group, set()).add(role)
            for user in table.users:
                self._by_user.setdefault(folded(user), set()).add(role)
            if table.reads:
                self._scopes[role] = table.reads

    def __len__(self) -> int:
        """Return how many roles have a table."""
        return self._n

    @property
    def of_keys(self) -> Rights:
        """The rights of the holders of API keys."""
        return Rights(SERVICE.roles, self._scopes.get("service", SERVICE.scope))

    def of(self, user: str, groups: Collection[str]) -> Rights:
        """Return the rights of a user; those of several roles add up."""
        roles = set(self._by_user.get(folded(user), ()))
        for group in groups:
            roles |= self._by_group.get(group, set())

        scopes = [self._scopes.get(role, _WIDER[0]) for role in roles]
        return Rights(tuple(sorted(roles)), max(scopes, key=_WIDER.index, default=_WIDER[0]))


def read_roles(file: Path) -> Roles:
    """Return the roles of a file.

    Raises
    ------
    RolesFileInvalid
        When it cannot be read, or has an unknown role or entry.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise RolesFileInvalid(f"ROLES_FILE {file} cannot be read: {why}") from None

    try:
        return Roles(_FILE.validate_python(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise RolesFileInvalid(f"ROLES_FILE {file} is not TOML: {error}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        raise RolesFileInvalid(f"ROLES_FILE {file}, {where}: {fault['msg']}") from None
