"""Attacks on the Risk-O-Meter's access control: a real server behind a proxy, with keys.

The proxy is whoever asks from 127.0.0.2; 127.0.0.1, where everybody else on the machine is, is not
trusted.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from credit_risk.decision_log.overrides import overrides
from credit_risk.keys import digest
from tests.support.cases import slow
from tests.support.door import PROXY, STRANGER, Answer, Door, Headers, bearer, named
from tests.support.processes import wait_for
from tests.support.riskometer import approve_version, register_version, serving
from tools.paths import ROOT

pytestmark = pytest.mark.timeout(300)
ALPHA, BETA, SCRAPE = "alpha-" + "a" * 40, "beta-" + "b" * 40, "s" * 48
SECRET = "Erika-Mustermann-4711"  # a client's name, which no log may have


@pytest.fixture(scope="module")
def door(tmp_path_factory, mlflow_server, scorers) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "scrape-key").write_text(SCRAPE)
    settings = {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MODEL_NAME": "closed",
        "MODEL_POLL_SECONDS": "1",
        "RISKOMETER_PROCESSES": "1",
        "USER_HEADER": "X-Forwarded-User",
        "TRUSTED_PROXIES": "127.0.0.2/32",
        "API_KEYS": f"alpha:{digest(ALPHA)}:2099-12-31,beta:{digest(BETA)}:2099-12-31",
        "SCRAPE_KEY_FILE": str(folder / "scrape-key"),
    }
    version = register_version(mlflow_server, "closed", scorers[0])
    with serving(folder, settings) as server:
        approve_version(server, version)
        wait_for(lambda: server.get("/readyz")[0] == 200, 120, "the Production model")
        yield Door(server, named("ann"))


@pytest.fixture
def decided(door, client_rows) -> dict[str, Any]:
    """A decision that the holder of one key had made."""
    return dict(door.score(client_rows[0] | {"client_id": SECRET}, bearer(ALPHA))["decisions"][0])


@pytest.fixture
def override_by(door, decided) -> Callable[..., Answer]:
    """A function that overrides that decision: `override_by("CEO", headers, peer)`."""

    def send(by: str, headers: Headers, peer: str = "") -> Answer:
        other = "green" if decided["prediction"] == "red" else "red"
        body = {"prediction": other, "by": by, "reason": "because"}
        return door.ask(
            "POST", f"/api/v1/decisions/{decided['id']}/override", body, headers=headers, peer=peer
        )

    return send


def attacks(decided: dict[str, Any], row: dict[str, Any]) -> dict[str, tuple[str, list[Any]]]:
    """Return the callbacks of finding 6: what reads, overrides and decides."""
    other = "green" if decided["prediction"] == "red" else "red"
    batch = decided["id"].rpartition("-")[0]
    return {
        "history": ("found.children", [1, "history", 0, "", None, None, None]),
        "rows": (
            "decisions.getRowsResponse",
            [{"startRow": 0, "endRow": 3, "context": {"batch": batch}}],
        ),
        "batch": ("shown.data", [f"?batch={batch}"]),
        "decision": ("panel.children", [decided["id"]]),
        "override": ("overridden.data", [1, other, "Chief Risk Officer", "no key", decided["id"]]),
        "take": ("judged.children", [{"application": row, "take": True, "key": "k"}]),
        "preview": ("judged.children", [{"application": row, "take": False, "key": "k"}]),
    }


@pytest.mark.parametrize(
    ("headers", "peer", "status"),
    [
        ([], STRANGER, 403),
        ([], PROXY, 403),
        (bearer("x" * 43), STRANGER, 401),
        (bearer(SCRAPE), STRANGER, 401),
        (named("CEO"), STRANGER, 403),
        (named("CEO", "ann"), PROXY, 403),
    ],
)
def test_callbacks_without_user_or_key_do_nothing(
    door, decided, client_rows, headers, peer, status
):
    log = door.server.decisions()
    before = len(log.batches())
    for part, values in attacks(decided, client_rows[1]).values():
        answer = door.call(part, values, headers, peer)
        assert answer.status == status
        assert answer.body["type"].startswith("urn:risk-o-meter:")
        assert SECRET not in answer.text
    assert len(log.batches()) == before
    assert overrides(log, decided["id"]) == []


def test_callbacks_of_a_user_do_what_was_asked(door, decided, client_rows):
    log = door.server.decisions()
    for what, (part, values) in attacks(decided, client_rows[1]).items():
        answer = door.call(part, values, named("ann"))
        assert answer.status == 200, what
        assert SECRET in answer.text or what in ("batch", "history", "take", "preview"), what
    (event,) = overrides(log, decided["id"])
    assert (event["by"], event["caller"]) == ("ann", "user: ann")
    (record,) = log.latest_batches(limit=1)
    assert record.caller == "user: ann"


@pytest.mark.parametrize(
    ("sent", "peer", "status"),
    [
        (named("CEO"), "127.0.0.1", 403),  # not from the proxy
        ([], "127.0.0.1", 403),
        ([], PROXY, 403),
        (named("CEO", "alice"), PROXY, 403),
        (named("CEO,alice"), PROXY, 403),
        ([("X_Forwarded_User", "CEO")], PROXY, 403),
        ([("x-forwarded-user", "")], PROXY, 403),
        ([*named("CEO"), *bearer(ALPHA)], "127.0.0.1", 403),
    ],
)
def test_override_in_the_name_of_another_is_refused(door, decided, override_by, sent, peer, status):
    answer = override_by("CFO", sent, peer)
    assert answer.status == status
    assert overrides(door.server.decisions(), decided["id"]) == []


def test_override_of_a_user_bears_their_own_name(override_by):
    answer = override_by("CEO", named("ann@bank"))
    assert answer.status == 201
    assert (answer.body["by"], answer.body["caller"]) == ("ann@bank", "user: ann@bank")


def test_override_with_a_key_bears_the_given_name_and_the_key(door, decided, override_by):
    answer = override_by("Bo", bearer(ALPHA))
    assert (answer.status, answer.body["by"], answer.body["caller"]) == (201, "Bo", "key: alpha")
    seen = door.ask("GET", f"/api/v1/decisions/{decided['id']}", headers=named("ann")).body
    assert seen["caller"] == "key: alpha"
    assert [one["caller"] for one in seen["overrides"]] == ["key: alpha"]


def test_decisions_of_one_key_are_hidden_from_another(door, decided, client_rows, override_by):
    batch = decided["id"].rpartition("-")[0]
    theirs = door.score(client_rows[2], bearer(BETA))
    assert door.ask("GET", f"/api/v1/decisions/{decided['id']}", headers=bearer(BETA)).status == 404
    for form in ("csv", "xlsx"):
        assert (
            door.ask("GET", f"/api/v1/batches/{batch}.{form}", headers=bearer(BETA)).status == 404
        )
        assert (
            door.ask("GET", f"/api/v1/batches/{batch}.{form}", headers=bearer(ALPHA)).status == 200
        )
        assert (
            door.ask(
                "GET", f"/api/v1/batches/{theirs['batch']}.{form}", headers=named("ann")
            ).status
            == 200
        )
    assert override_by("Bo", bearer(BETA)).status == 404
    for column, value in (("client_id", SECRET), ("decision_id", decided["id"])):
        csv = f"{column},outcome,date\n{value},repaid,{datetime.now(UTC):%Y-%m-%d}\n"
        told = door.ask("POST", "/api/v1/outcomes", csv, headers=bearer(BETA))
        assert told.status == 422
        assert told.body["detail"].startswith(
            ("Line 2: there is no decision", "There is no decision")
        ), told.text
    for what, (part, values) in attacks(decided, client_rows[1]).items():
        answer = door.call(part, values, bearer(BETA))
        assert answer.status in (200, 204), what
        assert SECRET not in answer.text, what
        assert batch not in answer.text, what
    assert overrides(door.server.decisions(), decided["id"]) == []


def test_an_idempotency_key_is_its_callers_own(door, client_rows):
    key = [("Idempotency-Key", "invoice-1")]
    first = door.score(client_rows[0], [*bearer(ALPHA), *key])
    other = door.score(client_rows[1], [*bearer(BETA), *key])
    assert first["batch"] != other["batch"]
    again = door.ask("POST", "/api/v1/score", [client_rows[1]], headers=[*bearer(ALPHA), *key])
    assert again.status == 422
    assert first["batch"] in again.text
    assert door.score(client_rows[0], [*bearer(ALPHA), *key]) == first
    assert door.score(client_rows[1], [*bearer(BETA), *key]) == other
    took = door.call(
        "judged.children",
        [{"application": client_rows[0], "take": True, "key": "k" * 5000}],
        named("ann"),
    )
    assert "An Idempotency-Key has 1 to 200 characters" in took.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/client",
        "/api/v1/model",
        "//api/v1/model",
        "/%61pi/v1/model",
        "/api%2fv1/model",
        "/x/../api/v1/model",
        "/api/v1/../v1/model",
        "/api/v1/model/",
        "/API/v1/model",
        "/api/v1/docs/",
        "/healthz/../api/v1/model",
        "/healthz;/api/v1/model",
        "/_dash-layout",
        "/_dash-dependencies",
        "/assets/riskometer.js",
        "/metrics",
        "/metrics/",
        "/nowhere",
    ],
)
def test_no_spelling_of_a_path_bypasses_the_access_check(door, path):
    for headers, status in (([], 403), (bearer("k" * 43), 401)):
        answer = door.ask("GET", path, headers=headers)
        assert answer.status == status
        assert "version" not in answer.body


def test_open_routes_name_no_version(door):
    assert door.ask("GET", "/healthz").body == {"status": "ok"}
    assert door.ask("GET", "/readyz").body == {"status": "ready"}
    for path in (
        "/api/v1/docs",
        "/api/v1/openapi.json",
        "/assets/riskometer.css",
        "/assets/logo.svg",
    ):
        assert door.ask("GET", path).status == 200


def test_scrape_key_opens_the_metrics_only(door):
    figures = door.ask("GET", "/metrics", headers=bearer(SCRAPE))
    assert figures.status == 200
    before = float(
        re.search(r'riskometer_refusals_total\{reason="wrong-key"\} (\S+)', figures.text)[1]
    )
    assert door.ask("GET", "/api/v1/model", headers=bearer(SCRAPE)).status == 401
    figures = door.ask("GET", "/metrics", headers=bearer(SCRAPE)).text
    assert f'riskometer_refusals_total{{reason="wrong-key"}} {before + 1}' in figures
    assert door.ask("GET", "/metrics", headers=named("ann")).status == 200
    assert door.ask("GET", "/metrics", headers=bearer(BETA)).status == 403, "least rights"


def test_access_log_names_callers_but_no_client(door, decided, client_rows, override_by):
    batch, row = decided["id"].rpartition("-")[0], client_rows[1] | {"client_id": SECRET}
    override_by("Bo", bearer(ALPHA))
    door.ask("GET", f"/api/v1/decisions/{decided['id']}?x={SECRET}", headers=named("ann"))
    door.ask("GET", f"/api/v1/decisions/{SECRET}", headers=named("ann"))
    door.ask("GET", f"/api/v1/batches/{batch}.csv", headers=bearer(BETA))
    door.ask("POST", f"/api/v1/{SECRET}", headers=bearer("w" * 43))
    for part, values in attacks(decided, row).values():
        door.call(part, values, named("ann"))
    expected = {
        ("score", "alpha", "key", batch, 200),
        ("override", "alpha", "key", decided["id"], 201),
        ("decision", "ann", "user", decided["id"], 200),
        ("decision", "ann", "user", None, 404),
        ("export", "beta", "key", batch, 404),
        ("refused", None, None, None, 401),
        ("history", "ann", "user", None, 200),
        ("rows", "ann", "user", batch, 200),
        ("batch", "ann", "user", batch, 200),
        ("override", "ann", "user", decided["id"], 422),  # it is that colour by now
    }

    def told() -> set[tuple[Any, ...]]:
        return {
            tuple(line[name] for name in ("what", "who", "kind", "id", "status"))
            for line in door.lines()
        }

    def all_there() -> bool:
        lines = door.lines()
        taken = any(
            line["what"] == "take" and line["id"] and line["status"] == 201 for line in lines
        )
        reasons = {line.get("reason") for line in lines if line["what"] == "refused"}
        return expected <= told() and taken and "wrong-key" in reasons

    wait_for(all_there, 10, "all lines")
    assert {line["address"] for line in door.lines()} == {PROXY, STRANGER}
    assert not [line for line in door.lines() if line["what"] == "preview"]
    logged = door.server.log_file.read_text()
    for word in (
        SECRET,
        ALPHA,
        BETA,
        SCRAPE,
        "w" * 43,
        "because",
        "no key",
        "credit_amount",
        client_rows[1]["purpose"],
    ):
        assert word not in logged


def test_keys_are_stored_nowhere_in_plain_text(door):
    settings = door.server.settings.api_keys.get_secret_value()
    for key in (ALPHA, BETA):
        assert key not in settings
        assert digest(key) in settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"USER_HEADER": "X-Forwarded-User"},
            "TRUSTED_PROXIES=: Value error, USER_HEADER is believed from these alone",
        ),
        (
            {"API_KEYS": "my-plain-key"},
            "API_KEYS: Value error, entry 1 is not NAME:SHA256:LAST-DAY (keys are stored hashed)",
        ),
        (
            {
                "OIDC_ISSUER": "http://127.0.0.1:1",
                "OIDC_AUDIENCE": "risk-o-meter",
                "ROLES_FILE": "/nowhere/roles.toml",
            },
            "ROLES_FILE /nowhere/roles.toml cannot be read: No such file or directory",
        ),
    ],
)
@pytest.mark.parametrize("service", ["model_deployment.server", *slow("monitoring.exporter")])
def test_service_with_insecure_settings_does_not_start(tmp_path, settings, said, service):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    command = [sys.executable, "-m", service]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert "my-plain-key" not in done.stderr
