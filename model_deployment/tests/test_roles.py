"""Each role at each door of the Risk-O-Meter: routes, callbacks, branches, and what the page shows.

A real server believes the tokens of a local issuer.
"""

import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from werkzeug.routing import Rule

from credit_risk.access import roles
from credit_risk.access.policy import METRICS, REASONS
from credit_risk.decision_log.overrides import overrides
from credit_risk.keys import digest
from model_deployment.app import PERMISSIONS, UNLOCKED
from model_deployment.ui.callbacks import PATH
from tests.support.cases import slow
from tests.support.door import Answer, Door, Headers, bearer
from tests.support.issuer import AUDIENCE, Issuer, issuing
from tests.support.processes import wait_for
from tests.support.riskometer import approve_version, register_version, serving

pytestmark = pytest.mark.timeout(300)
KEY, OLD, SCRAPE = "key-" + "k" * 40, "old-" + "o" * 40, "s" * 48
SECRET = "Erika-Mustermann-4711"
ROLES = ("clerk", "reviewer", "data-scientist", "approver", "auditor", "operator", "service")
STRANGERS = ("nobody", "no role", "expired key", "forged token")

# Who gets in where, written out once more: neither a change of a route's permission nor one of a
# role's may pass unseen.
READ = {"clerk", "reviewer", "auditor", "service", "key"}
SCORE = {"clerk", "service", "key"}
OVERRIDE = {"clerk", "reviewer", "service", "key"}
OUTCOMES = {"reviewer", "service", "key"}
KNOWN = {*ROLES, "key"}
ROUTES = {
    "/": KNOWN,
    "/client": SCORE,
    "/history": READ,
    "/decision": READ,
    "/assets/<path:filename>": KNOWN,
    "/assets/template.csv": KNOWN,
    "/assets/sample.csv": KNOWN,
    "/_dash-layout": KNOWN,
    "/_dash-dependencies": KNOWN,
    "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>": KNOWN,
    "/_dash-update-component": KNOWN,
    "/_reload-hash": set(),
    "/_favicon.ico": set(),
    "/metrics": {"operator", "scrape key"},
    "/api/v1/score": SCORE,
    "/api/v1/files": SCORE,
    "/api/v1/batches/<id>.<form>": READ,
    "/api/v1/decisions/<id>": READ,
    "/api/v1/decisions/<id>/override": OVERRIDE,
    "/api/v1/outcomes": OUTCOMES,
    "/api/v1/model": KNOWN,
    "/api/v1/schema": KNOWN,
}
OPEN = {"/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/docs"}
CALLBACKS = {
    "shown.data": READ,
    "result.children": READ,
    "decisions.getRowsResponse": READ,
    "open.data": READ,
    "panel.children": READ,
    "..panel.children...overridden.data..": OVERRIDE,
    "..judged.children...take.disabled..": SCORE,
    "found.children": READ,
    "banner.children": KNOWN,
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def door(tmp_path_factory, mlflow_server, scorers, issuer) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("roles")
    (folder / "scrape-key").write_text(SCRAPE)
    (folder / "roles.toml").write_text(
        "".join(f'[{role}]\ngroups = ["{role}s"]\n' for role in ROLES)
    )
    settings = {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MODEL_NAME": "roles",
        "MODEL_POLL_SECONDS": "1",
        "RISKOMETER_PROCESSES": "1",
        "OIDC_ISSUER": issuer.url,
        "OIDC_AUDIENCE": AUDIENCE,
        "ROLES_FILE": str(folder / "roles.toml"),
        "API_KEYS": f"key:{digest(KEY)}:2099-12-31,old:{digest(OLD)}:2026-01-31,"
        f"endless:{digest('e' * 43)}",
        "SCRAPE_KEY_FILE": str(folder / "scrape-key"),
    }
    version = register_version(mlflow_server, "roles", scorers[0])
    with serving(folder, settings) as server:
        approve_version(server, version)
        wait_for(lambda: server.get("/readyz")[0] == 200, 120, "the Production model")
        yield Door(server, bearer(issuer.token(groups=["clerks"])))


@pytest.fixture
def headers_of(issuer) -> Callable[..., Headers]:
    """A function that returns what somebody of a role, or somebody else, sends."""

    def send(who: str, name: str = "ann", branch: str | None = None) -> Headers:
        keys = {"key": KEY, "expired key": OLD, "scrape key": SCRAPE}
        if who == "nobody":
            return []
        if who in keys:
            return bearer(keys[who])
        if who == "forged token":
            head, body, _ = issuer.token(groups=["approvers"]).split(".")
            return bearer(f"{head}.{body}.{'A' * 342}")
        groups = [f"{who}s"] if who != "no role" else ["everybody"]
        email = f"{name}@bank.example"
        return bearer(issuer.token(email=email, groups=groups, branch=branch))

    return send


def reason_of(answer: Answer) -> str | None:
    """Return why access was denied; None where it was not."""
    if answer.status not in (400, 401, 403, 503) or not answer.text.startswith("{"):
        return None
    kind = answer.body["type"].removeprefix("urn:risk-o-meter:")
    return kind if kind in REASONS else None


def requests_of(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield methods and paths that lead to a rule."""
    path = rule.rule.replace("<form>", "csv").replace("<path:filename>", "riskometer.js")
    path = re.sub(r"<[^>]+>", "x", path)
    for method in sorted(rule.methods or ()):
        yield method, path


def declared(rule: str, who: str) -> bool:
    """Return whether the tables of the code let somebody in."""
    role = {"key": "service", "scrape key": "scraper"}.get(who, who)
    if who == "scrape key" and rule != METRICS:
        return False  # it is known nowhere else
    permission = PERMISSIONS.get(rule)
    return permission in roles.PERMISSIONS.get(role, ()) if permission else False


def test_every_route_is_in_the_table_of_this_test(app):
    rules = {rule.rule for rule in app.flask.url_map.iter_rules()} | {"/api/v1/score", "/healthz"}
    assert rules == set(ROUTES) | OPEN
    assert set(PERMISSIONS) <= rules, "no permission is of a route that is gone"
    assert set(UNLOCKED) >= OPEN


@pytest.mark.parametrize("who", [*ROLES, "key", "scrape key", *STRANGERS])
def test_each_caller_gets_in_where_the_tables_say_and_nowhere_else(app, door, headers_of, who):
    rules = {rule.rule: rule for rule in app.flask.url_map.iter_rules()}
    rules["/api/v1/score"] = Rule("/api/v1/score", methods=["POST"])
    headers = headers_of(who)
    for name, expected in ROUTES.items():
        gets_in = who in expected
        assert declared(name, who) is gets_in, (who, name)
        for method, path in requests_of(rules[name]):
            answer = door.ask(method, path, headers=headers)
            if method == "HEAD":  # which has no body to say why
                assert (answer.status in (401, 403)) is not gets_in, (who, path)
                continue
            assert (reason_of(answer) is None) is gets_in, (who, method, path, answer)
            if not gets_in and who in KNOWN:
                assert (answer.status, reason_of(answer)) == (403, "not-permitted")
    for path in OPEN:
        assert door.ask("GET", path, headers=headers).status == 200, path


def test_each_caller_runs_the_callbacks_of_their_role_and_no_other(door, headers_of):
    known = [c for c in door.callbacks if not c["clientside_function"]]
    assert {re.sub(r"@[0-9a-f]+", "", c["output"]) for c in known} == set(CALLBACKS)
    for who in (*ROLES, "key", "scrape key", *STRANGERS):
        headers = headers_of(who)
        for callback in known:
            output = re.sub(r"@[0-9a-f]+", "", callback["output"])
            n = len(callback["inputs"]) + len(callback["state"])
            answer = door.run(callback, [None] * n, headers)
            expected = who in CALLBACKS[output]
            assert (reason_of(answer) is None) is expected, (who, output, answer)


def test_callback_without_a_permission_is_closed_to_everybody(door, headers_of):
    """Those that run in the browser are known to the server, and have none."""
    for callback in (c for c in door.callbacks if c["clientside_function"]):
        n = len(callback["inputs"]) + len(callback["state"])
        for who in (*ROLES, "key"):
            answer = door.run(callback, [None] * n, headers_of(who))
            assert reason_of(answer) == "not-permitted", callback["output"]


@pytest.mark.parametrize(
    ("who", "reason", "status"),
    [
        ("nobody", "no-token", 401),
        ("no role", "no-role", 403),
        ("expired key", "expired-key", 401),
        ("forged token", "bad-token", 401),
        ("scrape key", "wrong-key", 401),
        ("auditor", "not-permitted", 403),
    ],
)
def test_denial_is_a_problem_and_is_counted_and_logged(door, headers_of, who, reason, status):
    metrics = headers_of("operator")

    def counted() -> float:
        text = door.ask("GET", METRICS, headers=metrics).text
        return float(re.search(rf'refusals_total\{{reason="{reason}"\}} (\S+)', text)[1])

    before = counted()
    name = f"user-{uuid.uuid4().hex}"
    route = door.ask("POST", "/api/v1/score", [{}], headers=headers_of(who, name))
    values = [{"application": {}, "take": False, "key": "k"}]
    callback = door.call("judged.children", values, headers_of(who, name))
    for answer in (route, callback):
        assert (answer.status, reason_of(answer)) == (status, reason)
        assert answer.body["detail"].endswith(".")
    assert counted() == before + 2
    if who in ("no role", "auditor"):

        def lines() -> list[dict[str, Any]]:
            return [line for line in door.lines() if line["who"] == f"{name}@bank.example"]

        wait_for(lambda: len(lines()) == 2, 10, "both lines")
        assert {line["route"] for line in lines()} == {"/api/v1/score", PATH}
        for line in lines():
            assert (line["what"], line["reason"], line["status"]) == ("refused", reason, status)


def test_body_of_a_request_that_is_denied_is_not_read(door, headers_of):
    (_, token), *_ = headers_of("auditor")
    head = (
        f"POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 900000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", door.server.port), timeout=4) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 403"


def test_token_of_more_than_8_kb_is_answered_and_refused(door, issuer):
    long = issuer.token(groups=["clerks"], padding="x" * 9_000)
    assert door.ask("GET", "/api/v1/model", headers=bearer(long)).status == 431
    twice = [*bearer(issuer.token(groups=["clerks"]))] * 2
    answer = door.ask("GET", "/api/v1/model", headers=twice)
    assert (answer.status, reason_of(answer)) == (401, "doubled-header")


@pytest.mark.parametrize(
    "forged",
    [
        ("X-Forwarded-User", "ann@bank.example"),
        ("X-Forwarded-Groups", "approvers"),
        ("X-Goog-Authenticated-User-Email", "accounts.google.com:ann@bank.example"),
        ("X-Auth-Request-Email", "ann@bank.example"),
    ],
)
def test_header_that_is_sent_around_the_proxy_changes_nothing(door, headers_of, forged):
    alone = door.ask("GET", "/api/v1/model", headers=[forged], peer="127.0.0.1")
    assert (alone.status, reason_of(alone)) == (401, "no-token")
    beside = [*headers_of("clerk"), forged]
    assert door.ask("GET", METRICS, headers=beside, peer="127.0.0.1").status == 403


def test_service_says_at_its_start_who_is_let_in(door, issuer):
    said = door.server.log_file.read_text()
    assert said.count(f"access: by tokens of {issuer.url} and API keys (3); ROLES_FILE sets 7") == 1
    assert said.count("access: keys that never expire: endless;") == 1


def test_open_service_says_at_its_start_that_it_is_open(server):
    line = f"access: open to everybody who reaches 127.0.0.1:{server.port}; docs/access.md says"
    assert server.log_file.read_text().count(line) == 1


# Branches


@pytest.fixture
def north(door, client_rows, headers_of) -> dict[str, str]:
    """Decisions of a clerk of the branch north, by how they were made: `score`, `file`, `form`."""
    clerk = headers_of("clerk", "nora", "north")
    row = client_rows[0] | {"client_id": SECRET}
    scored = door.score(row, clerk)["decisions"][0]["id"]
    names, values = ",".join(row), ",".join(map(str, row.values()))
    multipart = [*clerk, ("Content-Type", "multipart/form-data; boundary=x")]
    body = (
        '--x\r\nContent-Disposition: form-data; name="file"; filename="north.csv"\r\n\r\n'
        f"{names}\n{values}\n\r\n--x--\r\n"
    )
    sent = door.ask("POST", "/api/v1/files", body, headers=multipart)
    assert sent.status == 200, sent.text
    key = uuid.uuid4().hex
    taken = door.call(
        "judged.children", [{"application": row, "take": True, "key": key}], clerk
    ).text
    id = re.search(r"decision\?id=([0-9A-Z]{26}-0)", taken)
    assert id, taken
    return {"score": scored, "file": sent.body["decisions"][0]["id"], "form": id[1]}


@pytest.mark.parametrize("made", ["score", "file", "form"])
def test_batch_is_stored_with_the_branch_of_its_user(door, north, headers_of, made):
    record = door.server.decisions().batch(north[made].rpartition("-")[0])
    assert (record.branch, record.caller) == ("north", "user: nora@bank.example")
    seen = door.ask("GET", f"/api/v1/decisions/{north[made]}", headers=headers_of("auditor"))
    assert seen.body["branch"] == "north"


def doors(door: Door, id: str, headers: Headers, row: dict[str, Any]) -> dict[str, Answer]:
    """Return the answers of all doors behind which a decision can be seen or changed."""
    batch = id.rpartition("-")[0]
    other = {"prediction": "green", "by": "CEO", "reason": "because"}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    by_id = f"decision_id,outcome,date\n{id},repaid,{today}\n"
    by_client = f"client_id,outcome,date\n{SECRET},repaid,{today}\n"
    names, values = ",".join(row), ",".join(map(str, row.values()))
    multipart = [*headers, ("Content-Type", "multipart/form-data; boundary=x")]
    file = (
        '--x\r\nContent-Disposition: form-data; name="file"; filename="north.csv"\r\n\r\n'
        f"{names}\n{values}\n\r\n--x--\r\n"
    )
    history = [1, "history", 0, SECRET, None, None, "north"]
    rows = {"startRow": 0, "endRow": 3, "context": {"batch": batch}}
    upload = {"name": "x", "answer": {"batch": batch, "rejected": [], "warnings": []}}
    return {
        "decision": door.ask("GET", f"/api/v1/decisions/{id}", headers=headers),
        "csv": door.ask("GET", f"/api/v1/batches/{batch}.csv", headers=headers),
        "csv of a branch": door.ask(
            "GET", f"/api/v1/batches/{batch}.csv?branch=north", headers=headers
        ),
        "xlsx": door.ask("GET", f"/api/v1/batches/{batch}.xlsx", headers=headers),
        "file again": door.ask("POST", f"/api/v1/batches/{batch}.csv", file, headers=multipart),
        "override": door.ask("POST", f"/api/v1/decisions/{id}/override", other, headers=headers),
        "outcome": door.ask("POST", "/api/v1/outcomes", by_id, headers=headers),
        "client's outcome": door.ask("POST", "/api/v1/outcomes", by_client, headers=headers),
        "page: history": door.call("found.children", history, headers),
        "page: found by id": door.call(
            "found.children", [1, "history", 0, id, None, None, None], headers
        ),
        "page: rows": door.call("decisions.getRowsResponse", [rows], headers),
        "page: batch": door.call("shown.data", [f"?batch={batch}"], headers),
        "page: result": door.call("result.children", [upload], headers),
        "page: decision": door.call("panel.children", [id], headers),
        "page: override": door.call("overridden.data", [1, "green", "CEO", "because", id], headers),
    }


@pytest.mark.parametrize("made", ["score", "file", "form"])
@pytest.mark.parametrize(
    ("who", "branch"),
    [
        ("clerk", "south"),
        ("clerk", "North"),
        ("clerk", None),
        ("key", None),
        ("data-scientist", "north"),
        ("approver", "north"),
        ("operator", "north"),
        ("no role", "north"),
        ("nobody", None),
    ],
)
def test_decisions_of_one_branch_are_hidden_from_everybody_else(
    door, north, client_rows, headers_of, made, who, branch
):
    id = north[made]
    row = client_rows[0] | {"client_id": SECRET}
    for what, answer in doors(door, id, headers_of(who, "sid", branch), row).items():
        if not what.startswith("page"):
            assert answer.status in (401, 403, 404, 422), (what, answer)
        # What was sent is repeated: there the client's name tells nothing.
        told = answer.text.replace(f'"value": "{SECRET}"', "")
        assert SECRET not in told, (what, answer)
        assert "north.csv" not in answer.text, (what, answer)
        assert '"prediction"' not in answer.text, (what, answer)
    assert overrides(door.server.decisions(), id) == []


@pytest.mark.parametrize(
    ("who", "branch"), [("clerk", "north"), ("reviewer", None), ("auditor", "south")]
)
def test_decisions_of_a_branch_are_shown_to_its_clerks_and_to_who_sees_all(
    door, north, client_rows, headers_of, who, branch
):
    id, row = north["file"], client_rows[0] | {"client_id": SECRET}
    found = doors(door, id, headers_of(who, "nina", branch), row)
    for what in ("decision", "csv", "xlsx", "csv of a branch", "file again"):
        assert found[what].status == 200, (what, found[what])
    for what in ("decision", "page: rows", "page: decision", "page: history", "page: found by id"):
        assert SECRET in found[what].text, what
    assert "north.csv" in found["page: batch"].text


def test_clerk_without_a_branch_sees_only_their_own(door, client_rows, headers_of):
    mine = door.score(client_rows[0], headers_of("clerk", "lone"))["batch"]
    theirs = door.score(client_rows[0], headers_of("clerk", "other"))["batch"]
    for batch, status in ((mine, 200), (theirs, 404)):
        answer = door.ask(
            "GET", f"/api/v1/batches/{batch}.csv", headers=headers_of("clerk", "lone")
        )
        assert answer.status == status


def test_who_sees_all_may_choose_a_branch(door, north, client_rows, headers_of):
    south = door.score(client_rows[1] | {"client_id": "S-1"}, headers_of("clerk", "sid", "south"))[
        "batch"
    ]
    auditor = headers_of("auditor")

    def found(branch: Any) -> str:
        values = [1, "history", 0, "", None, None, branch]
        return door.call("found.children", values, auditor).text

    ours = north["file"].rpartition("-")[0]
    for branch, shown, hidden in (("north", ours, south), (" south ", south, ours)):
        assert shown in found(branch), branch
        assert hidden not in found(branch), branch
    for everything in (None, "", "  ", {"$gt": ""}, ["north"], 7):
        assert ours in found(everything), everything
        assert south in found(everything), everything
    assert "Nothing was found." in found("nor")
    for batch, branch, status in (
        (ours, "north", 200),
        (ours, "south", 404),
        (south, "south", 200),
        (south, "", 200),
    ):
        path = f"/api/v1/batches/{batch}.csv?branch={branch}"
        assert door.ask("GET", path, headers=auditor).status == status, path


def test_branch_that_is_asked_for_does_not_widen_what_a_clerk_sees(door, north, headers_of):
    batch = north["file"].rpartition("-")[0]
    clerk = headers_of("clerk", "sid", "south")
    assert door.ask("GET", f"/api/v1/batches/{batch}.csv?branch=north", headers=clerk).status == 404
    shown = door.call("found.children", [1, "history", 0, "", None, None, "north"], clerk).text
    assert batch not in shown


# The page


@pytest.mark.parametrize(
    ("who", "shown", "hidden"),
    [
        ("clerk", "drop application-form view-history to-client", ""),
        ("reviewer", "view-history view-files", "drop application-form to-client"),
        ("auditor", "view-history view-files", "drop application-form to-client"),
        ("approver", "banner clock", "drop application-form view-history view-files shown where"),
        ("operator", "banner clock", "drop application-form view-history view-files open where"),
    ],
)
def test_page_shows_what_its_user_may_do_and_who_that_is(door, headers_of, who, shown, hidden):
    page = door.ask("GET", "/_dash-layout", headers=headers_of(who)).text
    for id in shown.split():
        assert f'"id":"{id}"' in page, id
    for id in hidden.split():
        assert f'"id":"{id}"' not in page, id
    assert f"ann@bank.example ({who})" in page


@pytest.mark.parametrize(("who", "is_there"), [("clerk", False), ("auditor", True)])
def test_field_for_a_branch_is_shown_to_who_sees_several(door, headers_of, who, is_there):
    layout = door.ask("GET", "/_dash-layout", headers=headers_of(who, branch="north")).body
    (field,) = (
        node
        for node in nodes(layout)
        if node.get("className") == "field" and "find-branch" in json.dumps(node)
    )
    assert field["hidden"] is not is_there


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yield the properties of all components of a layout."""
    if isinstance(part, list):
        for one in part:
            yield from nodes(one)
    elif isinstance(part, dict) and "props" in part:
        yield part["props"]
        yield from nodes(part["props"].get("children"))


@pytest.mark.parametrize(("who", "is_there"), [("reviewer", True), ("auditor", False)])
def test_form_of_an_override_is_shown_to_who_may_override(door, north, headers_of, who, is_there):
    shown = door.call("panel.children", [north["form"]], headers_of(who)).text
    assert SECRET in shown
    assert ("override-set" in shown) is is_there


def test_override_of_a_signed_in_user_bears_their_name(door, north, headers_of):
    log = door.server.decisions()
    decision = log.decision(north["score"])
    other = "green" if decision["prediction"] == "red" else "red"
    body = {"prediction": other, "by": "CEO", "reason": "because"}
    path = f"/api/v1/decisions/{north['score']}/override"
    answer = door.ask("POST", path, body, headers=headers_of("reviewer", "rita"))
    assert answer.status == 201, answer.text
    (event,) = overrides(log, north["score"])
    assert (event["by"], event["caller"]) == ("rita@bank.example", "user: rita@bank.example")


@pytest.mark.parametrize(
    "who",
    ["clerk", *slow("auditor", "approver")],
)
def test_page_in_a_browser_asks_for_nothing_that_is_refused(door, north, headers_of, chromium, who):
    name = f"{who}-{uuid.uuid4().hex}"
    browser = chromium()
    browser.execute_cdp_cmd("Network.enable", {})
    sent = {"headers": dict(headers_of(who, name, "north"))}
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", sent)

    def text(id: str) -> str:
        return browser.find_element("id", id).text

    browser.get(door.server.url)
    wait_for(lambda: "Model version" in text("banner"), 60, "the page")
    assert text("who") == f"{name}@bank.example ({who})"
    if who != "approver":
        browser.find_element("id", "to-history").click()
        wait_for(lambda: "north.csv" in text("found"), 30, "the history")
        browser.get(f"{door.server.url}/decision?id={north['form']}")
        wait_for(lambda: SECRET in text("panel"), 30, "the decision")
        assert bool(browser.find_elements("id", "override-set")) is (who == "clerk")
    time.sleep(6)  # the banner asks again after five seconds
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []
    lines = [line for line in door.lines() if line["who"] == f"{name}@bank.example"]
    assert [line for line in lines if line["what"] == "refused"] == []
    assert bool(lines) is (who != "approver")
