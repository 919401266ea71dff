"""A real Prefect server: without its login it refuses everybody, and it refuses foreign pages."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import requests
from prefect.settings import Settings
from selenium.webdriver.common.keys import Keys
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from credit_risk.prefect_api import PrefectAPI
from tests.support.processes import wait_for
from tests.support.services import PREFECT_LOGIN
from tools.servers.prefect_server import settings

USER, _, PASSWORD = PREFECT_LOGIN.partition(":")
EVIL = "https://evil.example"


@pytest.fixture
def ask(prefect_api):
    """A function that sends a request to the server's API, without any headers of its own."""

    def send(method, path, **given):
        return requests.request(method, f"{prefect_api}/{path}", timeout=60, **given)

    return send


@pytest.fixture
def token(ask):
    """The headers of a client with a token, as the page sends them."""
    answer = ask("GET", "csrf-token?client=test", auth=(USER, PASSWORD))
    return {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": answer.json()["token"]}


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": EVIL}, {"Origin": "null"}, {"Origin": "http://localhost:4200"}]
)
@pytest.mark.parametrize("login", [None, (USER, "wrong"), (USER, ""), ("", PASSWORD)])
def test_requests_without_the_login_are_refused(ask, token, headers, login):
    for method, path in [
        ("POST", "deployments/filter"),
        ("POST", "flow_runs/filter"),
        ("POST", "work_pools/"),
        ("GET", "admin/settings"),
        ("GET", "csrf-token?client=x"),
        ("GET", "health/"),
        ("GET", "variables/name/health"),
        ("DELETE", "work_pools/training"),
    ]:
        assert ask(method, path, headers=headers | token, auth=login, json={}).status_code == 401, (
            path
        )
    # A token requires the login, so a page without a token gets no further than this.
    assert (
        ask("POST", "deployments/filter", headers=headers, auth=login, json={}).status_code == 403
    )


def test_health_needs_no_login(ask):
    assert ask("GET", "health").json() is True


@pytest.mark.parametrize("path", ["deployments/filter", "csrf-token?client=x", "health"])
def test_other_origins_are_refused(ask, path):
    for origin in (EVIL, "null", "http://localhost.evil.example", "http://127.0.0.1:1"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type, authorization"
        answer = ask("OPTIONS", path, headers=asked)
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
        assert (
            "access-control-allow-origin"
            not in ask("GET", path, headers={"Origin": origin}).headers
        )


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:4200", "", "a@localhost"]
)
def test_another_host_name_is_refused_even_with_the_login(ask, token, host):
    for path in ("deployments/filter", "health", "../", "../ui-settings"):
        method = "POST" if path == "deployments/filter" else "GET"
        answer = ask(method, path, headers=token | {"Host": host}, auth=(USER, PASSWORD), json={})
        assert answer.status_code == 400, path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_its_own_host_names_are_accepted(ask, token, host, prefect_api):
    host += ":" + re.search(r":(\d+)/", prefect_api)[1]
    assert ask(
        "POST", "deployments/filter", headers=token | {"Host": host}, auth=(USER, PASSWORD), json={}
    ).ok


def test_changes_without_a_token_are_refused(ask, token):
    alone = token.copy()
    del alone["Prefect-Csrf-Client"]
    anothers, guessed = (
        token | {"Prefect-Csrf-Client": "y"},
        token | {"Prefect-Csrf-Token": "0" * 64},
    )
    for headers in ({}, alone, anothers, guessed):
        for method, path in [
            ("POST", "deployments/filter"),
            ("PATCH", "work_pools/x"),
            ("DELETE", "work_pools/x"),
        ]:
            assert (
                ask(method, path, headers=headers, auth=(USER, PASSWORD), json={}).status_code
                == 403
            )
    assert (
        ask("POST", "deployments/filter", headers=token, auth=(USER, PASSWORD), json={}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "path",
    [
        "events/in",
        "events/out",
        "logs/out",
        "task_runs/subscriptions/scheduled",
        "work_pools/training/workers/connect",
    ],
)
def test_sockets_without_the_login_are_refused(prefect_api, path):
    address = f"{prefect_api.replace('http', 'ws', 1)}/{path}"
    first = {"type": "auth"}

    def hear(subprotocols, said):
        with connect(address, subprotocols=subprotocols, origin=EVIL) as there:
            there.send(json.dumps(said))
            return there.recv(timeout=60)

    for subprotocols, said in [
        (None, first),
        (["prefect"], first),
        (["prefect"], first | {"token": "admin:wrong"}),
    ]:
        with pytest.raises((ConnectionClosed, InvalidHandshake)):
            hear(subprotocols, said)


def test_pages_forbid_frames_and_foreign_requests(ask):
    for path in ("../", "../v2/runs", "health"):
        policy = ask("GET", path).headers["content-security-policy"]
        assert policy == "connect-src 'self'; frame-ancestors 'none'"


def test_our_client_sends_login_and_token(prefect_api):
    assert PrefectAPI(prefect_api, PREFECT_LOGIN).ask("work_pools/filter", {"limit": 0}) == []
    for login in ("", "admin:wrong"):
        with pytest.raises(OSError, match="401"):
            PrefectAPI(prefect_api, login).ask("work_pools/filter", {})


def test_our_client_renews_an_old_token(prefect_api):
    api = PrefectAPI(prefect_api, PREFECT_LOGIN)
    api.ask("work_pools/filter", {"limit": 0})
    api._headers["Prefect-Csrf-Token"] = "old"
    assert api.ask("work_pools/filter", {"limit": 0}) == []
    assert api._headers["Prefect-Csrf-Token"] != "old"


@pytest.mark.parametrize("login", [None, ""])
def test_the_server_does_not_start_without_a_login(login, tmp_path):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "PREFECT_SERVER_API_AUTH_STRING"
    }
    if login is not None:
        environment["PREFECT_SERVER_API_AUTH_STRING"] = login
    done = subprocess.run(
        [sys.executable, "-m", "tools.servers.prefect_server"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "prefect-server: it needs a login: PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD\n"
    )


def test_old_runs_and_events_are_deleted(monkeypatch):
    for name, value in settings(4200, keep_days=30).items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert {
        "events",
        "flow_runs",
        "orphans",
    } == server.services.db_vacuum.enabled_vacuum_types  # orphans: logs
    assert server.services.db_vacuum.retention_period == timedelta(days=30)
    assert server.events.retention_period == timedelta(days=7)


def test_a_setting_that_is_not_a_number_is_named():
    given = os.environ | {
        "PREFECT_SERVER_API_AUTH_STRING": PREFECT_LOGIN,
        "RUN_KEEP_DAYS": "ninety",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tools.servers.prefect_server"],
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "prefect-server: RUN_KEEP_DAYS=ninety is not a number of days\n"


def body(browser):
    return browser.execute_script("return document.body.innerText")


def field(browser):
    return wait_for(
        lambda: browser.find_elements("css selector", "input[type=password]"), 60, "the login"
    )[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_page_asks_for_the_login_once(prefect_api, chromium, name):
    """On one page only, under each name, and it says so if the login is wrong."""
    address = prefect_api.replace("127.0.0.1", name).removesuffix("/api")
    browser = chromium()
    browser.get(address)
    field(browser).send_keys("admin:wrong", Keys.ENTER)
    wait_for(lambda: "Invalid credentials" in body(browser), 60, "what is wrong")
    field(browser).send_keys(Keys.CONTROL, "a")
    field(browser).send_keys(PREFECT_LOGIN, Keys.ENTER)
    wait_for(lambda: "/v2/dashboard" in browser.current_url, 60, "the dashboard")
    browser.get_log("browser")  # discards earlier lines
    for page, shown in {
        "v2/deployments": "Deployments",
        "v2/runs": "Runs",
        "v2/work-pools": "Work pools",
    }.items():
        browser.get(f"{address}/{page}")
        wait_for(lambda shown=shown: f"Logout\n{shown}\n" in body(browser), 60, shown)
        time.sleep(1)  # later requests of the page
        said = [
            entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
        ]
        # Their makers' analytics are stopped by our policy, and an icon was never there.
        assert [line for line in said if "amplitude" not in line and "favicon" not in line] == []
