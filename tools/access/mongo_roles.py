"""Set up a MongoDB user for each service, with the rights of mongo-roles.json.

A one-shot job does this before any service starts: in a new volume, in one that has the users
already, and in one of an earlier version, in which every service was the administrator and the
password was the same everywhere. It also makes the indexes, so that no service needs a right for
that. And it copies earlier approvals into their own collection: what a flow writes from then on
does not count as an approval.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import open_collection
from credit_risk.settings import Settings
from credit_risk.storage.documents import INDEXES, LogUnavailable
from credit_risk.storage.mongodb import create_indexes

Client = pymongo.MongoClient[dict[str, Any]]

DATABASE = "credit_risk"
# The actions in each collection that a role, and the user of the same name, has a right to.
ROLES: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("mongo-roles.json").read_text()
)
# Every password was this one in earlier versions.
EARLIER = "local-only"

AUTHENTICATION_FAILED = 18
NO_SUCH_COMMAND = 59


def privileges(rights: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return a role's rights as MongoDB takes them; every service may also list the indexes."""
    return [
        {
            "resource": {"db": DATABASE, "collection": collection},
            "actions": [*actions, "listIndexes"],
        }
        for collection, actions in rights.items()
    ]


def connect(address: str, user: str, passwords: Sequence[str]) -> Client:
    """Return a client that is logged in, by the first of these passwords that is right.

    Raises
    ------
    SystemExit
        When none is right, with a line that says what to do.
    """
    for password in passwords:
        client: Client = pymongo.MongoClient(address, username=user, password=password)
        try:
            client.admin.command("usersInfo")
        except OperationFailure as error:
            client.close()
            if error.code != AUTHENTICATION_FAILED:
                raise
        else:
            return client
    raise SystemExit(
        "MongoDB takes none of the passwords: "
        "set the one that its volume was made with as MONGO_PASSWORD"
    )


def set_up(client: Client, administrator: str, passwords: Mapping[str, str]) -> str:
    """Set up roles, users, passwords and indexes, and return a summary.

    Parameters
    ----------
    client : MongoClient
        Logged in as the administrator.
    administrator : str
        The administrator's name.
    passwords : mapping
        The password of each role's user, and of the administrator as `admin`.
    """
    roles = _knows_roles(client)
    for name, rights in ROLES.items():
        if roles:
            _put(client, "role", name, privileges=privileges(rights), roles=[])
        _put(client, "user", name, pwd=passwords[name], roles=[name] if roles else [])

    for name in INDEXES:
        create_indexes(client[DATABASE][name])

    # Last: after a failure before this, the next attempt logs in with the same password.
    client.admin.command("updateUser", administrator, pwd=passwords["admin"])
    summary = "each with a role" if roles else "all with every right: this server has no roles"
    return f"{len(ROLES)} users, {summary}"


def open_approvals(address: str, password: str) -> None:
    """Open the collection of approvals, from which on only the approver's entries count."""
    mine = address.replace("://", f"://approver:{password}@", 1).rstrip("/")
    open_collection(
        open_log(Settings(decision_log=f"{mine}/{DATABASE}?authSource=admin&journal=true"))
    )


def _knows_roles(client: Client) -> bool:
    try:
        client.admin.command("rolesInfo", 1)
    except OperationFailure as error:
        if error.code != NO_SUCH_COMMAND:
            raise
        return False
    return True


def _put(client: Client, kind: str, name: str, **what: Any) -> None:
    known = client.admin.command(f"{kind}sInfo", name)[f"{kind}s"]
    client.admin.command(f"{'update' if known else 'create'}{kind.capitalize()}", name, **what)


def main() -> int:
    """Set up the server at MONGO as MONGO_USER, with the passwords of /run/secrets."""
    secrets = Path("/run/secrets")
    passwords = {name: (secrets / name).read_text() for name in ("admin", *ROLES)}
    user = os.environ["MONGO_USER"]
    known = [passwords["admin"], (secrets / "admin-made").read_text(), EARLIER]
    try:
        client = connect(os.environ["MONGO"], user, known)
        done = set_up(client, user, passwords)
        open_approvals(os.environ["MONGO"], passwords["approver"])
    except (PyMongoError, LogUnavailable) as error:
        print(f"MongoDB: {error}", file=sys.stderr)
        return 1
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
