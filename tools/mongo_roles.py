"""Have MongoDB know each service by a user of its own, with the rights that tools/mongo-roles.json gives it.

A one-shot job does this before any service starts: in a new volume, in one that has them already, and in one of before,
when every service was the administrator and the password was the same everywhere. It makes the indexes too, so that no
service needs a right for that. And it takes what was approved before into the approvals: whatever a flow writes from
then on, it is none.
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
from credit_risk.registry.approvals import open_collection
from credit_risk.settings import Settings
from credit_risk.storage.documents import INDEXES, LogUnavailable, create_indexes

Client = pymongo.MongoClient[dict[str, Any]]

DATABASE = "credit_risk"
# By role, and user of the same name: what it may do in each collection.
ROLES: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("mongo-roles.json").read_text())
# Every password was this one in earlier versions.
EARLIER = "local-only"

AUTHENTICATION_FAILED = 18
NO_SUCH_COMMAND = 59


def privileges(rights: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return a role's rights as MongoDB takes them; every service also looks which indexes there are."""
    return [
        {"resource": {"db": DATABASE, "collection": collection}, "actions": [*actions, "listIndexes"]}
        for collection, actions in rights.items()
    ]


def connect(address: str, user: str, passwords: Sequence[str]) -> Client:
    """Return a client who is let in, by the first of these passwords that is right.

    Raises
    ------
    SystemExit
        When none is, with a line that says what to do.
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
    raise SystemExit("MongoDB takes none of the passwords: set the one that its volume was made with as MONGO_PASSWORD")


def set_up(client: Client, administrator: str, passwords: Mapping[str, str]) -> str:
    """Set roles, users, passwords and indexes as they are to be, and say what was done.

    Parameters
    ----------
    client : MongoClient
        The administrator's.
    administrator : str
        Whose name this is.
    passwords : mapping
        Of each role's user, and of `admin`, the administrator.
    """
    roles = _knows_roles(client)
    for name, rights in ROLES.items():
        if roles:
            _put(client, "role", name, privileges=privileges(rights), roles=[])
        _put(client, "user", name, pwd=passwords[name], roles=[name] if roles else [])
    for name in INDEXES:
        create_indexes(client[DATABASE][name])
    # Last: until here, whoever comes again after a failure gets in as we did.
    client.admin.command("updateUser", administrator, pwd=passwords["admin"])
    return f"{len(ROLES)} users, " + ("each with a role" if roles else "all with every right: this server has no roles")


def open_approvals(address: str, password: str) -> None:
    """Have only approvals count that the approver has written."""
    mine = address.replace("://", f"://approver:{password}@", 1).rstrip("/")
    open_collection(open_log(Settings(decision_log=f"{mine}/{DATABASE}?authSource=admin")))


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
    """Do it at the address in MONGO, as MONGO_USER, with the passwords of /run/secrets."""
    secrets = Path("/run/secrets")
    passwords = {name: (secrets / name).read_text() for name in ("admin", *ROLES)}
    user = os.environ["MONGO_USER"]
    try:
        client = connect(os.environ["MONGO"], user, [passwords["admin"], (secrets / "admin-made").read_text(), EARLIER])
        done = set_up(client, user, passwords)
        open_approvals(os.environ["MONGO"], passwords["approver"])
    except (PyMongoError, LogUnavailable) as error:
        print(f"MongoDB: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(done)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
