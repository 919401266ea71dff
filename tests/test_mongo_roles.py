"""MongoDB's users and their roles, on a new server and on one of an earlier version.

The server of these tests, FerretDB, has users but no roles; the commands about roles go to a
stand-in.
"""

import pymongo
import pytest
from pymongo.errors import OperationFailure

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import decisions
from credit_risk.settings import Settings
from credit_risk.storage.documents import INDEXES
from credit_risk.storage.mongodb import BY_HAND, GIVEN
from tests.support.processes import free_port, need, running, wait_for
from tools.access.mongo_roles import (
    DATABASE,
    EARLIER,
    ROLES,
    connect,
    open_approvals,
    privileges,
    set_up,
)

ADMIN = "credit-risk"
PASSWORDS = {name: f"{name}-made" for name in ("admin", *ROLES)}


@pytest.fixture
def server(tmp_path):
    """The address of a server with the login of earlier versions, and decisions in it."""
    program = need("ferretdb", "tools/install-parts.sh builds it")
    port = free_port()
    command = [
        program,
        "--handler=sqlite",
        f"--sqlite-url=file:{tmp_path}/",
        f"--state-dir={tmp_path}",
    ]
    command += [
        f"--listen-addr=127.0.0.1:{port}",
        "--debug-addr=-",
        "--telemetry=disable",
        "--test-enable-new-auth",
    ]
    command += [
        "--setup-database=admin",
        f"--setup-username={ADMIN}",
        f"--setup-password={EARLIER}",
    ]
    with running(command, tmp_path / "log"):
        address = f"mongodb://127.0.0.1:{port}/"
        with pymongo.MongoClient(address, username=ADMIN, password=EARLIER) as client:
            wait_for(lambda: client.admin.command("usersInfo"), what="FerretDB")
            client[DATABASE].decisions.insert_one({"_id": "1-0"})
        yield address


def logged_in(address, user, password):
    with pymongo.MongoClient(
        address, username=user, password=password, serverSelectionTimeoutMS=5000
    ) as client:
        try:
            return bool(client[DATABASE].decisions.find_one({"_id": "1-0"}))
        except OperationFailure:
            return False


def prepare(address, *more):
    with connect(address, ADMIN, [PASSWORDS["admin"], *more, EARLIER]) as client:
        return set_up(client, ADMIN, PASSWORDS)


def test_a_server_of_an_earlier_version_keeps_its_data_and_gets_its_users_and_passwords(server):
    prepare(server)
    for user in (ADMIN, *ROLES):
        assert logged_in(server, user, PASSWORDS["admin" if user == ADMIN else user])
        assert not logged_in(server, user, EARLIER)
    assert not logged_in(server, "training", PASSWORDS["risk-o-meter"])


def test_setting_up_again_changes_only_passwords_that_are_new(server, monkeypatch):
    assert prepare(server) == prepare(server)
    monkeypatch.setitem(PASSWORDS, "training", "another")
    monkeypatch.setitem(PASSWORDS, "admin", "set in .env")
    prepare(server, "admin-made")
    assert logged_in(server, "training", "another")
    assert not logged_in(server, "training", "training-made")
    assert logged_in(server, ADMIN, "set in .env")
    assert not logged_in(server, ADMIN, "admin-made")


def test_without_a_right_password_it_says_what_to_do(server):
    with pytest.raises(
        SystemExit, match="set the one that its volume was made with as MONGO_PASSWORD"
    ):
        connect(server, ADMIN, ["one", "another"])


def test_setting_up_makes_every_index(server):
    prepare(server)
    with pymongo.MongoClient(server, username=ADMIN, password=PASSWORDS["admin"]) as client:
        there = {
            name: set(client[DATABASE][name].index_information()) - {"_id_"} for name in INDEXES
        }
    wanted = {
        name: {
            "_".join(f"{f}_1" for f in fields) for fields in INDEXES[name] + BY_HAND.get(name, [])
        }
        for name in INDEXES
    }
    assert there == wanted


@pytest.mark.slow
def test_earlier_approvals_are_copied_and_later_events_do_not_count(server):
    """Others who may write events cannot approve, even before the first flow of a start runs."""
    prepare(server)
    mine = server.replace("://", f"://training:{PASSWORDS['training']}@")
    log = open_log(Settings(_env_file=None, decision_log=f"{mine}{DATABASE}?authSource=admin"))
    decision = {"reason": "x", "digest": "0" * 64, "forced": False}
    log.append_event("approval", "1", by="Ada", **decision)
    for _ in range(2):
        open_approvals(server, PASSWORDS["approver"])
    log.append_event("approval", "2", by="CEO", **decision)
    assert [(one.version, one.by) for one in decisions(log)] == [("1", "Ada")]
    assert [event["kind"] for event in log.approvals()] == ["opened"]


class Roles:
    """A stand-in for a server with roles, which keeps the users and roles that it is given."""

    def __init__(self, server):
        self.admin = self
        self.known = {"role": {}, "user": {}}
        self._server = server

    def command(self, name, what, **more):
        for kind, known in self.known.items():
            if name == f"{kind}sInfo":
                return {f"{kind}s": [known[what]] if what in known else []}
            if name == f"create{kind.capitalize()}":
                assert what not in known
                known[what] = more
            if name == f"update{kind.capitalize()}":
                known.setdefault(what, {}).update(more)
        return {"ok": 1}

    def __getitem__(self, name):
        return self._server[name]


def test_a_server_with_roles_gets_them(mongodb_url):
    server = Roles(pymongo.MongoClient(mongodb_url))
    for _ in range(2):
        assert set_up(server, ADMIN, PASSWORDS) == f"{len(ROLES)} users, each with a role"
    assert {name: user.get("roles") for name, user in server.known["user"].items()} == {
        ADMIN: None,
        **{name: [name] for name in ROLES},
    }
    risk = server.known["role"]["risk-o-meter"]
    assert risk["roles"] == []
    assert {
        "resource": {"db": DATABASE, "collection": "batches"},
        "actions": ["find", "insert", "listIndexes"],
    } in risk["privileges"]


def test_no_service_may_change_a_record_or_remove_a_batch_or_an_event():
    services = {"risk-o-meter", "scoring", "training", "reporting", "exporter"}
    assert set(ROLES) == {*services, "approver"}
    for role, rights in ROLES.items():
        for collection, actions in rights.items():
            assert set(actions) <= {"find", "insert", "remove"}, role
            kept = collection not in ("decisions", "outcomes", "previews", "reports")
            assert not (kept and "remove" in actions), role
            of_approvals = collection in ("approvals", "approvals_given")
            assert not (of_approvals and "insert" in actions) or role == "approver", role
        assert role != "scoring" or {"events", "outcomes", "previews"}.isdisjoint(rights)
        named = {p["resource"]["collection"] for p in privileges(rights)}
        assert named <= {*INDEXES, *GIVEN.values()}  # never "", which stands for all
