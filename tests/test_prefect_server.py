"""Who reaches a real Prefect server: nobody without its login, and no web page."""

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
from tools.prefect_server import settings

USER, _, PASSWORD = PREFECT_LOGIN.partition(":")
EVIL = "https://evil.example"


@pytest.fixture
def ask(prefect_api):
    """A function that sends a request to the server's API, with nothing that is not given."""

    def send(method, path, **given):
        return requests.request(method, f"{prefect_api}/{path}", timeout=60, **given)

    return send


@pytest.fixture
def token(ask):
    """The headers of somebody with the login and a token, as the page sends them."""
    answer = ask("GET", "csrf-token?client=test", auth=(USER, PASSWORD))
    return {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": answer.json()["token"]}


@pytest.mark.parametrize("headers", [{}, {"Origin": EVIL}, {"Origin": "null"}, {"Origin": "http://localhost:4200"}])
@pytest.mark.parametrize("login", [None, (USER, "wrong"), (USER, ""), ("", PASSWORD)])
def test_without_the_login_nothing_is_read_or_done(ask, token, headers, login):
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
        assert ask(method, path, headers=headers | token, auth=login, json={}).status_code == 401, path
    # And a token is not had without it, so this is as far as a page that guesses none gets.
    assert ask("POST", "deployments/filter", headers=headers, auth=login, json={}).status_code == 403


def test_that_it_is_up_is_no_secret(ask):
    assert ask("GET", "health").json() is True


@pytest.mark.parametrize("path", ["deployments/filter", "csrf-token?client=x", "health"])
def test_a_browser_is_told_that_no_other_origin_may_ask(ask, path):
    for origin in (EVIL, "null", "http://localhost.evil.example", "http://127.0.0.1:1"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type, authorization"
        answer = ask("OPTIONS", path, headers=asked)
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in ask("GET", path, headers={"Origin": origin}).headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:4200", "", "a@localhost"])
def test_another_name_is_refused_whoever_asks(ask, token, host):
    for path in ("deployments/filter", "health", "../", "../ui-settings"):
        method = "POST" if path == "deployments/filter" else "GET"
        answer = ask(method, path, headers=token | {"Host": host}, auth=(USER, PASSWORD), json={})
        assert answer.status_code == 400, path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_its_own_names_are_not(ask, token, host, prefect_api):
    host += ":" + re.search(r":(\d+)/", prefect_api)[1]
    assert ask("POST", "deployments/filter", headers=token | {"Host": host}, auth=(USER, PASSWORD), json={}).ok


def test_with_the_login_but_without_a_token_nothing_is_changed(ask, token):
    alone = token.copy()
    del alone["Prefect-Csrf-Client"]
    anothers, guessed = token | {"Prefect-Csrf-Client": "y"}, token | {"Prefect-Csrf-Token": "0" * 64}
    for headers in ({}, alone, anothers, guessed):
        for method, path in [("POST", "deployments/filter"), ("PATCH", "work_pools/x"), ("DELETE", "work_pools/x")]:
            assert ask(method, path, headers=headers, auth=(USER, PASSWORD), json={}).status_code == 403
    assert ask("POST", "deployments/filter", headers=token, auth=(USER, PASSWORD), json={}).status_code == 200


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
def test_no_socket_is_open_without_the_login(prefect_api, path):
    address = f"{prefect_api.replace('http', 'ws', 1)}/{path}"
    first = {"type": "auth"}

    def hear(subprotocols, said):
        with connect(address, subprotocols=subprotocols, origin=EVIL) as there:
            there.send(json.dumps(said))
            return there.recv(timeout=60)

    for subprotocols, said in [(None, first), (["prefect"], first), (["prefect"], first | {"token": "admin:wrong"})]:
        with pytest.raises((ConnectionClosed, InvalidHandshake)):
            hear(subprotocols, said)


def test_pages_are_shown_in_no_frame_and_ask_nobody_else(ask):
    for path in ("../", "../v2/runs", "health"):
        policy = ask("GET", path).headers["content-security-policy"]
        assert policy == "connect-src 'self'; frame-ancestors 'none'"


def test_our_own_questions_have_login_and_token(prefect_api):
    assert PrefectAPI(prefect_api, PREFECT_LOGIN).ask("work_pools/filter", {"limit": 0}) == []
    for login in ("", "admin:wrong"):
        with pytest.raises(OSError, match="401"):
            PrefectAPI(prefect_api, login).ask("work_pools/filter", {})


def test_our_own_questions_get_a_new_token_when_theirs_is_old(prefect_api):
    api = PrefectAPI(prefect_api, PREFECT_LOGIN)
    api.ask("work_pools/filter", {"limit": 0})
    api._headers["Prefect-Csrf-Token"] = "old"
    assert api.ask("work_pools/filter", {"limit": 0}) == []
    assert api._headers["Prefect-Csrf-Token"] != "old"


@pytest.mark.parametrize("login", [None, ""])
def test_it_does_not_start_without_a_login(login, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_SERVER_API_AUTH_STRING"}
    if login is not None:
        environment["PREFECT_SERVER_API_AUTH_STRING"] = login
    done = subprocess.run(
        [sys.executable, "-m", "tools.prefect_server"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "prefect-server: it needs a login: PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD\n"


def test_what_is_old_is_vacuumed(monkeypatch):
    for name, value in settings(4200, keep_days=30).items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert {"events", "flow_runs", "orphans"} == server.services.db_vacuum.enabled_vacuum_types  # orphans: logs
    assert server.services.db_vacuum.retention_period == timedelta(days=30)
    assert server.events.retention_period == timedelta(days=7)


def test_it_says_which_setting_is_no_number():
    given = os.environ | {"PREFECT_SERVER_API_AUTH_STRING": PREFECT_LOGIN, "RUN_KEEP_DAYS": "ninety"}
    done = subprocess.run(
        [sys.executable, "-m", "tools.prefect_server"], env=given, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "prefect-server: RUN_KEEP_DAYS=ninety is no number of days\n"


def body(browser):
    return browser.execute_script("return document.body.innerText")


def field(browser):
    return wait_for(lambda: browser.find_elements("css selector", "input[type=password]"), 60, "the login")[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_person_types_the_login_once(prefect_api, chromium, name):
    """Not again on another page or in another tab, and by whichever name; a wrong one is said to be wrong."""
    address = prefect_api.replace("127.0.0.1", name).removesuffix("/api")
    browser = chromium()
    browser.get(address)
    field(browser).send_keys("admin:wrong", Keys.ENTER)
    wait_for(lambda: "Invalid credentials" in body(browser), 60, "what is wrong")
    field(browser).send_keys(Keys.CONTROL, "a")
    field(browser).send_keys(PREFECT_LOGIN, Keys.ENTER)
    wait_for(lambda: "/v2/dashboard" in browser.current_url, 60, "the dashboard")
    browser.get_log("browser")  # what was said until now
    for page, shown in {"v2/deployments": "Deployments", "v2/runs": "Runs", "v2/work-pools": "Work pools"}.items():
        browser.get(f"{address}/{page}")
        wait_for(lambda shown=shown: f"Logout\n{shown}\n" in body(browser), 60, shown)
        time.sleep(1)  # what is asked for after that
        said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        # Their makers' analytics are stopped by our policy, and an icon was never there.
        assert [line for line in said if "amplitude" not in line and "favicon" not in line] == []
