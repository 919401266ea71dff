"""The profile `secure`: oauth2-proxy, Caddy with our Caddyfile, a Risk-O-Meter and the approvals.

All of them are real, with the settings that docker-compose.yml gives them, and so is the browser.
The issuer signs people in as a bank's provider does. MLflow, Prefect, Prometheus, Alertmanager,
Grafana and the reports are servers that note what reaches them: what is tested is what the door
lets through.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credit_risk import keys
from credit_risk.access.roles import PERMISSIONS, Role
from tests.support.code_flow import CodeFlow
from tests.support.echo import Echo, echoing
from tests.support.issuer import AUDIENCE, issuing
from tests.support.processes import answers, free_port, running, wait_for
from tests.support.riskometer import serving
from tests.support.secure_door import DOMAIN, NAMES, PAGE, Client, door, environment_of, sign_in
from tests.support.services import PREFECT_LOGIN, prefect_server
from tools.access import passwords
from tools.paths import ROOT

pytestmark = pytest.mark.slow

TOOLS = {
    "mlflow": "mlflow",
    "prefect": "prefect",
    "prometheus": "prometheus",
    "alertmanager": "prometheus",
    "grafana": "grafana",
}
ROLES: tuple[Role, ...] = tuple(role for role in get_args(Role) if role != "scraper")
KEY = "k" * keys.MIN_LENGTH
SECRET = "the client's"
LOGIN = {
    "mlflow": "Basic " + base64.b64encode(b"people:secret").decode(),
    "prefect": "Basic " + base64.b64encode(b"admin:secret").decode(),
}


@dataclass
class Stack:
    """What runs: the door as a client sees it, the issuer, and what stands for the services."""

    visitor: Client
    flow: CodeFlow
    echoes: dict[str, Echo]
    variables: dict[str, str]
    services: dict[str, str]

    def client(self) -> Client:
        """Return a client without a session."""
        return Client(self.visitor.port, self.visitor.trusted)

    def signed_in(self, role: str | None, **claims: Any) -> Client:
        """Return a client with the session of somebody who has a role, or none."""
        client = self.client()
        self.flow.person = person(role) | claims
        client.sign_in()
        return client


def person(role: str | None) -> dict[str, Any]:
    return {"email": f"{role}@bank.example", "groups": [f"bank-{role}"], "branch": "north"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("secure")
    roles = folder / "roles.toml"
    roles.write_text("".join(f'[{role}]\ngroups = ["bank-{role}"]\n' for role in ROLES))
    with ExitStack() as running_now:
        issuer = running_now.enter_context(issuing())
        flow = CodeFlow(issuer, SECRET, DOMAIN)
        variables = {
            "OIDC_ISSUER": issuer.url,
            "OIDC_AUDIENCE": AUDIENCE,
            "ROLES_FILE": str(roles),
            "SECURE_PORT": str(free_port()),
            "DOMAIN": DOMAIN,
        }
        identity = {
            name: variables[name] for name in ("OIDC_ISSUER", "OIDC_AUDIENCE", "ROLES_FILE")
        }
        hosts = ",".join(f"{name}.{DOMAIN}" for name in ("riskometer", "api", "approvals"))
        identity["ALLOWED_HOSTS"] = f"localhost,127.0.0.1,{hosts}"
        identity["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
        identity["API_KEYS"] = f"branch-12:{keys.digest(KEY)}"

        # Short, so that renewing is seen within a test.
        at_sign_in = running_now.enter_context(
            sign_in(folder, variables, SECRET, OAUTH2_PROXY_COOKIE_REFRESH="1s")
        )
        (folder / "riskometer").mkdir()
        riskometer = running_now.enter_context(
            serving(folder / "riskometer", identity | {"RISKOMETER_PROCESSES": "1"})
        )
        approvals = running_now.enter_context(approving(folder / "approvals", identity))
        names = ("reports", *TOOLS)
        echoes = {name: running_now.enter_context(echoing()) for name in names}
        services = {name.upper(): echo.address for name, echo in echoes.items()} | {
            "SIGN_IN": at_sign_in,
            "RISKOMETER": riskometer.url.removeprefix("http://"),
            "APPROVALS": approvals,
        }
        visitor = running_now.enter_context(door(folder, variables, **services))
        yield Stack(visitor, flow, echoes, variables, services)


@contextmanager
def approving(folder: Path, identity: dict[str, str]) -> Iterator[str]:
    """Run the approvals service with its state below a folder, and yield its address."""
    folder.mkdir()
    port = free_port()
    environment = identity | {
        "PYTHONPATH": str(ROOT),
        "VAR_DIR": str(folder),
        "DECISION_LOG": f"sqlite:///{folder}/decisions.db",
        "BUCKET": str(folder / "bucket"),
        "APPROVALS_PORT": str(port),
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
    }
    command = [sys.executable, "-m", "model_deployment.approvals"]
    with running(command, folder / "log", environment):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), 120, "the approvals")
        yield f"127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def forgetful(stack: Stack) -> None:
    """Each test begins with nothing noted, and an issuer as it should be."""
    for echo in stack.echoes.values():
        echo.got.clear()
    stack.flow.seconds, stack.flow.renews, stack.flow.person = 300, True, None


@pytest.fixture
def browser(chromium: Callable[..., Any]) -> Any:
    """A browser that nobody has signed in with."""
    browser = chromium()
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    # It keeps its own list of authorities; `Client` checks the certificates.
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    return browser


def reached(stack: Stack) -> list[str]:
    """Return the services that any request has reached."""
    return [name for name, echo in stack.echoes.items() if echo.got]


def got(echo: Echo) -> dict[str, list[str]]:
    """Return the headers of the last request that reached a service: all values by name."""
    found: dict[str, list[str]] = {}
    for name, value in echo.got[-1]["headers"]:
        found.setdefault(name, []).append(value)
    return found


# Who gets in


@pytest.mark.parametrize("name", NAMES)
def test_without_a_session_a_page_is_sent_to_sign_in_and_a_request_is_refused(stack, name):
    client = stack.client()
    sent = client.ask(name, "/some/page?a=1&b=2", PAGE)
    assert sent.status == 302
    assert sent.location.startswith(f"{stack.flow.issuer.url}/authorize?")
    for part in ("code_challenge_method=S256", "nonce=", f"client_id={AUDIENCE}"):
        assert part in sent.location

    for method, headers in (("GET", {}), ("POST", PAGE), ("DELETE", {}), ("OPTIONS", {})):
        refused = client.ask(name, "/some/page", headers, method)
        assert refused.status == 401, method
        assert json.loads(refused.text)["type"] == "urn:secure-proxy:no-session"
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "WWW-Authenticate" not in refused.headers
    assert reached(stack) == []


def test_after_signing_in_the_page_that_was_asked_for_is_shown(stack):
    client = stack.client()
    stack.flow.person = person("clerk")
    end = client.sign_in("riskometer", "/api/v1/schema?limit=1&client=a%20b")
    assert end.status == 302
    assert end.location == client.url("riskometer", "/api/v1/schema?limit=1&client=a%20b")
    assert client.ask("riskometer", "/").status == 200


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("role", ROLES)
def test_a_tool_is_reached_by_the_roles_that_may_use_it_and_by_nobody_else(stack, role, name):
    client = stack.signed_in(role)
    answer = client.ask(name, "/api/anything", method="POST", body=b"{}")
    if TOOLS[name] in PERMISSIONS[role]:
        assert answer.status == 200
        assert stack.echoes[name].got[-1]["body"] == "{}"
    else:
        assert answer.status == 403
        assert json.loads(answer.text)["type"] == "urn:risk-o-meter:not-permitted"
        assert reached(stack) == []


def test_a_clerk_reaches_no_tool_by_any_method_or_page(stack):
    client = stack.signed_in("clerk")
    for name in TOOLS:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert client.ask(name, "/", PAGE, method).status == 403, (name, method)
    assert reached(stack) == []


def test_somebody_without_a_role_gets_nowhere(stack):
    client = stack.signed_in(None)
    for name in set(NAMES) - {"reports"}:  # which verify the token themselves, in a container
        assert client.ask(name).status == 403, name
    assert set(reached(stack)) <= {"reports"}


def test_the_door_is_closed_where_nobody_says_who_may(stack, tmp_path):
    client = stack.signed_in("operator")
    variables = stack.variables | {"SECURE_PORT": str(free_port())}
    with door(tmp_path, variables, **(stack.services | {"APPROVALS": "127.0.0.1:1"})) as other:
        other.cookies = client.cookies
        for name in TOOLS:
            assert other.ask(name).status == 503
        assert other.ask("riskometer").status == 200
    variables["SECURE_PORT"] = str(free_port())
    with door(tmp_path, variables, **(stack.services | {"SIGN_IN": "127.0.0.1:1"})) as other:
        other.cookies = client.cookies
        for name in NAMES:
            assert other.ask(name, headers=PAGE).status == 503
    assert reached(stack) == []


# What reaches the services


@pytest.mark.parametrize(("role", "name"), [("data-scientist", "mlflow"), ("operator", "prefect")])
def test_a_tool_gets_its_own_login_and_nothing_of_the_persons(stack, role, name):
    client = stack.signed_in(role)
    stolen = {"Authorization": "Bearer forged", "Cookie2": "x"}
    answer = client.ask(name, "/api/2.0/runs?q=%2F", stolen)
    assert answer.status == 200
    headers = got(stack.echoes[name])
    assert headers["authorization"] == [LOGIN[name]]
    assert headers["host"] == [f"{name}.{DOMAIN}:{client.port}"]
    assert stack.echoes[name].got[-1]["path"] == "/api/2.0/runs?q=%2F"
    said = json.dumps(stack.echoes[name].got)
    assert "cookie" not in headers
    assert "bank.example" not in said
    assert all(value[:40] not in said for value in client.cookies.values())
    # Nor does the person get anything of the service's login.
    assert "Set-Cookie" not in answer.headers
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_a_tool_without_a_login_gets_no_authorization(stack, name):
    client = stack.signed_in("operator")
    assert client.ask(name, headers={"Authorization": "Basic YWRtaW46YWRtaW4="}).status == 200
    assert "authorization" not in got(stack.echoes[name])
    assert "cookie" not in got(stack.echoes[name])


def test_reports_get_the_id_token_to_verify_it_themselves(stack):
    client = stack.signed_in("auditor")
    assert client.ask("reports", "/reports", {"Authorization": "Bearer forged"}).status == 200
    (authorization,) = got(stack.echoes["reports"])["authorization"]
    claims = json.loads(base64.urlsafe_b64decode(authorization.split(".")[1] + "=="))
    assert (claims["email"], claims["aud"]) == ("auditor@bank.example", AUDIENCE)
    assert "cookie" not in got(stack.echoes["reports"])


def test_the_risk_o_meter_and_the_approvals_believe_the_token_alone(stack):
    clerk, auditor = stack.signed_in("clerk"), stack.signed_in("auditor")
    forged = {"X-Forwarded-User": "auditor@bank.example", "Authorization": f"Bearer {KEY}"}
    assert clerk.ask("riskometer", "/api/v1/schema", forged).status == 200
    assert clerk.ask("approvals", "/api/v1/versions", forged).status == 403
    assert auditor.ask("approvals", "/api/v1/versions").status in (200, 503)  # no MLflow here
    assert clerk.ask("approvals", "/authorize/mlflow").status == 403


NAMING = {
    "X-Forwarded-User": "operator@bank.example",
    "X-Forwarded-Email": "operator@bank.example",
    "X-Forwarded-Groups": "bank-operator",
    "X-Forwarded-Preferred-Username": "operator",
    "X-Forwarded-Access-Token": "x",
    "X_Forwarded_User": "operator@bank.example",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "mlflow.credit-risk.localhost",
    "X-Forwarded-Uri": "/ping",
    "X-Forwarded-Method": "OPTIONS",
    "Forwarded": "for=127.0.0.1;host=localhost;proto=http",
    "X-Real-IP": "127.0.0.1",
    "X-Auth-Request-Email": "operator@bank.example",
    "X-Auth-Request-Groups": "bank-operator",
    "X-Auth-Request-Redirect": "https://evil.example/",
    "X-Goog-IAP-JWT-Assertion": "a.b.c",
    "X-Goog-Authenticated-User-Email": "operator@bank.example",
    "X-WEBAUTH-USER": "admin",
    "Remote-User": "admin",
    "X-Remote-User": "admin",
    "X-Original-URL": "/oauth2/auth",
    "X-Rewrite-URL": "/oauth2/auth",
    "X-HTTP-Method-Override": "DELETE",
    "Proxy-Authorization": "Basic YWRtaW46YWRtaW4=",
}


def test_headers_that_name_somebody_change_nothing(stack):
    visitor, clerk = stack.client(), stack.signed_in("clerk")
    for name, value in NAMING.items():
        for tool in ("mlflow", "prefect"):
            assert visitor.ask(tool, headers={name: value}).status == 401, name
            assert clerk.ask(tool, headers={name: value}).status == 403, name
    everything = list(NAMING.items())
    assert visitor.ask("riskometer", headers=everything).status == 401
    assert clerk.ask("mlflow", headers=everything).status == 403
    assert reached(stack) == []

    sent = visitor.ask("riskometer", "/", everything + list(PAGE.items()))
    assert sent.status == 302
    assert "evil.example" not in sent.location


def test_headers_that_name_somebody_reach_no_service(stack):
    client = stack.signed_in("operator")
    for name in ("reports", "prefect", "grafana"):
        assert client.ask(name, headers=list(NAMING.items())).status == 200
        headers = got(stack.echoes[name])
        own = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
        left = {header.lower() for header in NAMING} & set(headers) - own
        assert left == set()
        assert headers["x-forwarded-for"] == ["127.0.0.1"]  # where this test is
        assert headers["x-forwarded-host"] == [f"{name}.{DOMAIN}:{client.port}"]
        assert headers["x-forwarded-proto"] == ["https"]


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic YWRtaW46c2VjcmV0",
        LOGIN["mlflow"],
        LOGIN["prefect"],
        f"Bearer {KEY}",
        "Bearer a.b.c",
    ],
)
def test_an_authorization_of_somebodys_opens_nothing_without_a_session(stack, authorization):
    for name in NAMES:
        assert stack.client().ask(name, headers={"Authorization": authorization}).status == 401
    good = stack.flow.issuer.token(**person("operator"))
    for name in NAMES:
        assert stack.client().ask(name, headers={"Authorization": f"Bearer {good}"}).status == 401
    assert reached(stack) == []


def test_the_host_header_decides_and_not_the_name_of_the_certificate(stack):
    clerk = stack.signed_in("clerk")
    for host in (f"mlflow.{DOMAIN}:{clerk.port}", f"MLFLOW.{DOMAIN}", f"prefect.{DOMAIN}:1"):
        assert clerk.ask("riskometer", headers={"Host": host}).status == 403, host
    for host in ("mlflow", "127.0.0.1", "evil.example", f"{DOMAIN}", f"x.mlflow.{DOMAIN}"):
        assert clerk.ask("riskometer", headers={"Host": host}).status == 421, host
    twice = [("Host", f"riskometer.{DOMAIN}"), ("Host", f"mlflow.{DOMAIN}")]
    assert clerk.ask("riskometer", headers=twice).status == 400
    full = f"https://mlflow.{DOMAIN}:{clerk.port}/"
    assert clerk.ask("riskometer", full).status in (400, 403)
    assert reached(stack) == []


TRICKS = (
    "/",
    "/../",
    "//",
    "//mlflow/",
    "/./",
    "/a/../../",
    "/%2e%2e/",
    "/%2F%2F",
    "/..%2f..%2fapi",
    "/..;/",
    "/\\..\\",
    "/health",
    "/api/health",
    "/oauth2/auth",
    "/oauth2/callback",
    "/authorize/mlflow",
    "/authorize/reports/../mlflow",
    "/?/oauth2/auth",
    "/;/static/x",
    "/%00",
    "/ping",
    "/ready",
    "/robots.txt",
    "/login",
)


@pytest.mark.parametrize("path", TRICKS)
def test_no_path_leads_around_the_sign_in_or_the_role(stack, path):
    visitor, clerk = stack.client(), stack.signed_in("clerk")
    for name in TOOLS:
        assert visitor.ask(name, path).status in (400, 401), name
        assert clerk.ask(name, path).status in (400, 403), name
    assert reached(stack) == []


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2/auth",
        "/oauth2/auth?allowed_groups=",
        "/oauth2/userinfo",
        "/OAUTH2/AUTH",
        "/OAUTH2/START",
        "/OAuth2/Static/x",
        "/oauth2/Callback",
        "/OAUTH2/SIGN_OUT",
        "/oauth2/static%2fx",
        "//oauth2/auth",
        "/oauth2//auth",
        "/./oauth2/auth",
        "/oauth2/%61uth",
        "/oauth2%2Fauth",
        "/oauth2/static/../auth",
        "/oauth2/static/%2e%2e/auth",
        "/oauth2/static/..%2fauth",
        "/oauth2/static/%2e%2e%2fauth",
        "/oauth2/callback/../auth",
        "/oauth2/auth/",
        "/oauth2/auth;x",
        "/x/../oauth2/auth",
        "/ping",
        "/metrics",
    ],
)
def test_nobody_gets_the_id_token_from_outside(stack, path):
    client = stack.signed_in("operator")
    answer = client.ask("sign-in", path)
    assert answer.status in (301, 308, 400, 404), answer
    assert "Authorization" not in answer.headers
    assert "bank.example" not in answer.text
    for name in NAMES:
        assert "Authorization" not in client.ask(name, path).headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_page_of_another_service_or_site_sends_nothing(stack, method):
    client = stack.signed_in("operator")
    foreign = (client.url("api", ""), "https://evil.example", "null", f"https://{DOMAIN}")
    for origin in foreign:
        for name in NAMES:
            refused = client.ask(name, "/api/x", {"Origin": origin}, method)
            assert refused.status == 403, (name, origin)
            assert json.loads(refused.text)["type"] == "urn:secure-proxy:foreign-origin"
    twice = [("Origin", client.url("prefect", "")), ("Origin", "https://evil.example")]
    assert client.ask("prefect", "/api/x", twice, method).status == 403
    assert reached(stack) == []
    own = client.ask("prefect", "/api/x", {"Origin": client.url("prefect", "")}, method)
    assert own.status == 200


def test_grafanas_own_login_is_not_reached(stack):
    client = stack.signed_in("operator")
    for path in ("/login", "/LOGIN", "//login", "/login/generic_oauth", "/x/../login", "/%6cogin"):
        for method in ("GET", "POST"):
            assert client.ask("grafana", path, method=method).status == 403, path
    assert reached(stack) == []
    assert client.ask("grafana", "/d/drift").status == 200


@pytest.mark.parametrize("name", ["prefect", "grafana"])
def test_a_websocket_passes_with_a_session_and_a_role_only(stack, name):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert stack.client().ask(name, "/ws", upgrade).status == 401
    assert stack.signed_in("clerk").ask(name, "/ws", upgrade).status == 403
    client = stack.signed_in("operator")
    foreign = upgrade | {"Origin": "https://evil.example"}
    assert client.ask(name, "/ws", foreign).status == 403
    assert reached(stack) == []

    own = upgrade | {"Origin": client.url(name, "")}
    with client.connect(name) as connection:
        connection.sendall(client.head(name, "GET", "/ws", own))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 101")
        connection.sendall(b"ping!")
        assert connection.recv(5) == b"ping!"


def test_a_large_body_passes_whole_and_only_once_it_is_known_who_sends_it(stack):
    body = b"0123456789" * 300_000
    # Others are answered before they have sent any of it.
    announced = {"Content-Length": str(len(body))}
    assert stack.client().ask("mlflow", "/x", announced, "PUT").status == 401
    assert stack.signed_in("clerk").ask("mlflow", "/x", announced, "PUT").status == 403
    assert reached(stack) == []
    client = stack.signed_in("data-scientist")
    headers = {"Expect": "100-continue"}
    assert client.ask("mlflow", "/x", headers, "PUT", body).status == 200
    assert stack.echoes["mlflow"].got[-1]["body"] == body.decode()


# Programs


def test_a_program_uses_a_key_or_a_token_of_its_own_by_another_name(stack):
    program = stack.client()
    known = {"Authorization": f"Bearer {KEY}"}
    assert program.ask("api", "/api/v1/schema", known).status == 200
    clerk = {"Authorization": f"Bearer {stack.flow.issuer.token(**person('clerk'))}"}
    assert program.ask("api", "/api/v1/schema", clerk).status == 200
    for wrong in ({}, {"Authorization": "Bearer " + "x" * 43}, NAMING):
        answer = program.ask("api", "/api/v1/schema", wrong)
        assert answer.status == 401, wrong
    path = "/approvals/api/v1/versions"
    assert program.ask("api", path, known).status == 403
    assert program.ask("api", path).status == 401
    approver = {"Authorization": f"Bearer {stack.flow.issuer.token(**person('approver'))}"}
    answer = program.ask("api", path, approver)
    assert answer.status in (200, 503), answer.text  # no MLflow here


def test_a_session_opens_nothing_for_programs(stack):
    client = stack.signed_in("auditor")
    assert client.ask("riskometer", "/api/v1/schema").status == 200
    assert client.ask("api", "/api/v1/schema").status == 401


# The session


def test_cookies_are_for_this_domain_over_tls_and_out_of_reach_of_scripts(stack):
    client = stack.client()
    stack.flow.person = person("clerk")
    started = client.ask("riskometer", "/", PAGE)
    ended = client.sign_in()
    cookies = started.cookies | ended.cookies
    assert any(name.startswith("__Secure-credit-risk") for name in ended.cookies)
    assert any("csrf" in name for name in started.cookies)
    for name, said in cookies.items():
        attributes = {part.strip().lower() for part in said.split(";")[1:]}
        assert name.startswith("__Secure-")
        assert {"secure", "httponly", "samesite=lax", "path=/", f"domain={DOMAIN}"} <= attributes


def test_a_session_ends_with_the_sign_out(stack):
    client = stack.signed_in("clerk")
    assert client.ask("riskometer").status == 200
    ended = client.ask("sign-in", "/oauth2/sign_out", PAGE)
    assert (ended.status, ended.location) == (302, "/")
    assert client.cookies == {}
    assert client.ask("riskometer").status == 401
    assert "Sign out" in client.ask("sign-in").text


def with_another_start(text: str) -> str:
    """The text with its first character changed, whichever it is."""
    return ("2" if text[0] == "1" else "1") + text[1:]


def test_a_changed_or_foreign_cookie_is_no_session(stack):
    client = stack.signed_in("operator")
    (name,) = client.cookies
    value = client.cookies[name]
    session, signed_at, signature = value.split("|")
    for wrong in (
        "|".join([with_another_start(session), signed_at, signature]),
        "|".join([session, with_another_start(signed_at), signature]),
        "|".join([session, signed_at, with_another_start(signature)]),
        session,
        "x",
    ):
        client.cookies = {name: wrong}
        assert client.ask("prefect").status == 401
    client.cookies = {"_oauth2_proxy": value}
    assert client.ask("prefect").status == 401
    assert reached(stack) == []


def test_an_expired_token_is_renewed_and_the_session_goes_on(stack):
    stack.flow.seconds = 3
    client = stack.signed_in("data-scientist")
    before, renewed = dict(client.cookies), stack.flow.n_renewed
    time.sleep(3.5)
    stack.flow.seconds = 300
    answer = client.ask("mlflow")
    assert answer.status == 200
    assert stack.flow.n_renewed == renewed + 1
    assert client.cookies != before
    assert client.ask("riskometer").status == 200


def test_a_renewed_token_has_the_rights_that_the_person_has_by_then(stack):
    client = stack.signed_in("operator")
    assert client.ask("prefect").status == 200
    for token in stack.flow._refresh.values():
        token["groups"] = ["bank-clerk"]
    time.sleep(2.5)
    assert client.ask("prefect").status == 403


def test_an_expired_token_that_is_not_renewed_ends_the_session(stack):
    stack.flow.seconds, stack.flow.renews = 6, False
    client = stack.signed_in("operator")
    statuses = [client.ask("prefect").status]

    def ended():
        statuses.append(client.ask("prefect").status)
        return statuses[-1] != 200

    wait_for(ended, 30, "the session's end")
    assert statuses == [200] * (len(statuses) - 1) + [401]
    again = client.ask("prefect", headers=PAGE)
    assert again.status == 302
    assert again.location.startswith(stack.flow.issuer.url)
    assert len(stack.echoes["prefect"].got) == statuses.count(200)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "https:evil.example",
        f"https://{DOMAIN}.evil.example/",
        f"https://evil{DOMAIN}/",
        f"https://riskometer.{DOMAIN}@evil.example/",
        f"https://riskometer.{DOMAIN}:1/",
        "javascript:alert(1)",
        "https://evil.example/%0d%0aSet-Cookie:x=1",
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in_or_out(stack, target):
    stack.flow.person = person("clerk")
    client = stack.client()
    end = client.sign_in(start=f"/oauth2/start?rd={quote(target, safe='')}")
    assert (end.status, end.location) == (302, "/")
    out = client.ask("sign-in", f"/oauth2/sign_out?rd={quote(target, safe='')}")
    assert (out.status, out.location) == (302, "/")


def test_an_answer_of_the_issuer_that_nobody_here_asked_for_starts_no_session(stack):
    stack.flow.person = person("operator")
    attacker, victim = stack.client(), stack.client()
    sent = attacker.ask("riskometer", "/", PAGE)
    back = requests.get(sent.location, allow_redirects=False, timeout=20).headers["Location"]
    path = back.partition(f":{attacker.port}")[2]
    answer = victim.ask("sign-in", path, PAGE)
    assert answer.status == 403
    assert not any(name == "__Secure-credit-risk" for name in answer.cookies)


# The door itself


def test_http_is_sent_to_https_and_browsers_are_told_to_stay_there(stack):
    client = stack.client()
    plain = requests.get(
        f"http://127.0.0.1:{client.port}/x",
        headers={"Host": f"riskometer.{DOMAIN}:{client.port}"},
        allow_redirects=False,
        timeout=20,
    )
    assert plain.status_code == 308
    assert plain.headers["Location"] == client.url("riskometer", "/x")
    for name in (*NAMES, "sign-in", "api"):
        answer = client.ask(name)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", name
        assert "Server" not in answer.headers


def certificate(folder: Path) -> None:
    """Write a certificate of the bank's own, for all names of the domain, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bank")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{DOMAIN}")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def test_a_certificate_of_ones_own_is_shown(stack, tmp_path):
    certificate(tmp_path / "tls")
    variables = stack.variables | {"SECURE_PORT": str(free_port())}
    files = {"TLS_FILES": str(tmp_path / "tls")}
    with door(tmp_path, variables, **stack.services, **files) as client:
        assert client.ask("riskometer", headers=PAGE).status == 302


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"OIDC_ISSUER": ""}, "it needs OIDC_ISSUER"),
        ({"HOST": "0.0.0.0"}, "HOST opens MLflow and Prefect beside the sign-in"),
        ({"MLFLOW_LOGIN": ""}, "MLFLOW_LOGIN"),
    ],
)
def test_the_door_does_not_open_without_what_keeps_it(given, said):
    good = {"OIDC_ISSUER": "https://id.example", "MLFLOW_LOGIN": "x", "PREFECT_LOGIN": "y"}
    done = subprocess.run(
        ["sh", str(ROOT / "tools/proxy/secure.sh")],
        env={"PATH": "/usr/bin:/bin", **good, **given},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode != 0
    assert said in done.stderr


# The real MLflow and Prefect


@pytest.mark.timeout(300)
def test_mlflow_takes_a_data_scientist_as_its_reader(stack, tmp_path):
    """By its login, though the page is another name's at another port than it knows."""
    login = passwords.make(tmp_path / "secrets")["mlflow-people"]
    given = environment_of("mlflow", stack.variables) | {
        "HOST": "0.0.0.0",  # what docker compose fills in where there is an issuer
        "SECRETS_DIR": str(tmp_path / "secrets"),
        "PYTHONPATH": str(ROOT),
    }
    port = free_port()
    command = [sys.executable, "-m", "tools.servers.mlflow_server", f"--port={port}"]
    command += [f"--backend-store-uri=sqlite:///{tmp_path}/mlflow.db"]
    command += [f"--artifacts-destination={tmp_path}/artifacts"]
    variables = stack.variables | {"SECURE_PORT": str(free_port())}
    client = stack.signed_in("data-scientist")
    with running(command, tmp_path / "mlflow.log", given):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 200, "MLflow")
        basic = base64.b64encode(f"people:{login}".encode()).decode()
        inside = {"MLFLOW": f"127.0.0.1:{port}", "MLFLOW_LOGIN": basic}
        with door(tmp_path, variables, **(stack.services | inside)) as other:
            other.cookies = client.cookies
            assert "MLflow" in other.ask("mlflow", "/", PAGE).text
            sent = {"Origin": other.url("mlflow", ""), "Content-Type": "application/json"}
            call = "/ajax-api/2.0/mlflow/experiments"
            found = other.ask("mlflow", f"{call}/search", sent, "POST", b'{"max_results": 9}')
            assert found.status == 200, found
            (experiment,) = (
                one["experiment_id"]
                for one in json.loads(found.text)["experiments"]
                if one["name"] == "credit-risk"
            )
            body = json.dumps({"experiment_id": experiment}).encode()
            assert other.ask("mlflow", f"{call}/delete", sent, "POST", body).status == 403

        wrong = {"MLFLOW_LOGIN": base64.b64encode(b"people:wrong").decode()}
        variables["SECURE_PORT"] = str(free_port())
        with door(tmp_path, variables, **(stack.services | inside | wrong)) as other:
            other.cookies = client.cookies
            sent["Origin"] = other.url("mlflow", "")
            assert other.ask("mlflow", f"{call}/search", sent, "POST", b"{}").status == 401


@pytest.mark.timeout(600)
def test_prefects_page_asks_an_operator_for_nothing(stack, tmp_path, monkeypatch, browser):
    allowed = environment_of("prefect-server", stack.variables)["ALLOWED_HOSTS"]
    monkeypatch.setenv("ALLOWED_HOSTS", f"{allowed},127.0.0.1")
    variables = stack.variables | {"SECURE_PORT": str(free_port())}
    (tmp_path / "prefect").mkdir()
    with prefect_server(tmp_path / "prefect") as api:
        address = api.removesuffix("/api")
        inside = {
            "PREFECT": address.removeprefix("http://"),
            "PREFECT_LOGIN": base64.b64encode(PREFECT_LOGIN.encode()).decode(),
        }
        with door(tmp_path, variables, **(stack.services | inside)) as client:
            # oauth2-proxy sends people back only to the port that it knows, which is another.
            client.cookies = stack.signed_in("operator").cookies
            shown = json.loads(client.ask("prefect", "/ui-settings").text)
            asked = requests.get(f"{address}/ui-settings", timeout=20).json()
            wrong = requests.get(f"{address}/ui-settings", auth=("admin", "x"), timeout=20).json()
            assert asked["auth"] == wrong["auth"] == "BASIC"
            assert shown == asked | {"auth": None}

            browser.get(client.url("sign-in"))
            for name, value in client.cookies.items():
                cookie = {"name": name, "value": value, "domain": f".{DOMAIN}", "secure": True}
                browser.execute_cdp_cmd("Network.setCookie", cookie)
            browser.get(client.url("prefect"))
            wait_for(lambda: "/v2/dashboard" in browser.current_url, 60, "the dashboard")
            browser.get(client.url("prefect", "/v2/work-pools"))
            wait_for(lambda: "Work pools" in browser.page_source, 60, "the work pools")
            assert browser.find_elements("css selector", "input[type=password]") == []
            severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
            # The manifest of its icons is asked for without cookies.
            assert [line for line in severe if "/api/" in line["message"]] == []


# In a browser


@pytest.mark.timeout(300)
def test_a_clerk_signs_in_by_a_browser_and_out_again(stack, browser):
    stack.flow.person = person("clerk")
    visitor = stack.client()
    browser.get(visitor.url("riskometer"))
    wait_for(lambda: "clerk@bank.example" in browser.page_source, 60, "the name on the page")
    assert browser.current_url == visitor.url("riskometer")
    assert browser.execute_script("return document.cookie") == ""
    browser.get(visitor.url("mlflow"))
    assert "not-permitted" in browser.page_source
    assert reached(stack) == []

    stack.flow.person = None
    browser.get(visitor.url("sign-in"))
    browser.find_element("link text", "Sign out").click()
    wait_for(lambda: browser.current_url == visitor.url("sign-in"), 20, "the page of all services")
    browser.get(visitor.url("riskometer"))
    assert "Bank sign-in" in browser.page_source
