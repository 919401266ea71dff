"""The approvals service: a real server over HTTP, a real MLflow, tokens of an issuer."""

import re
import socket
import subprocess
import sys

import pytest
import requests
from prefect.client.orchestration import get_client

from credit_risk.__main__ import main
from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import history, note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.registry import Registry
from credit_risk.storage.documents import LogUnavailable
from model_deployment.approvals.actions import ACTIONS
from model_deployment.approvals.app import PERMISSIONS, UNLOCKED, create_app
from model_deployment.approvals.training import DEPLOYMENT, FLOW, PrefectUnavailable, Trainings
from tests.support.approvals import approving
from tests.support.issuer import Issuer, issuing
from tests.support.processes import free_port, wait_for
from tests.support.riskometer import client_of, register_version
from tools.paths import ROOT

MODEL = "approved"


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def service(tmp_path_factory, issuer, mlflow_server):
    more = {"MLFLOW_TRACKING_URI": mlflow_server, "MODEL_NAME": MODEL}
    with approving(tmp_path_factory.mktemp("approvals"), issuer, more) as service:
        yield service


@pytest.fixture(scope="module")
def alone(tmp_path_factory, issuer):
    """A service that reaches neither MLflow nor the log."""
    more = {"DECISION_LOG": "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=300"}
    with approving(tmp_path_factory.mktemp("alone"), issuer, more) as service:
        yield service


@pytest.fixture
def train(service, mlflow_server, scorers):
    """A function that registers a version and notes it, as training does."""

    def trained(flow_run=None, **tags):
        number = register_version(mlflow_server, MODEL, scorers[0], **tags)
        version = Registry(mlflow_server, MODEL).version(number)
        note_registered(service.log(), version, flow_run)
        return number

    return trained


def is_problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f":{kind}"), answer.text
    return answer.json()["detail"]


# Who may use what

EVERYBODY = (
    "clerk",
    "reviewer",
    "data-scientist",
    "approver",
    "auditor",
    "operator",
    "service",
    "prometheus",
)
# What a request that is let in is answered with: those that would change something lack a reason.
TABLE = {
    ("GET", "/"): (200, "data-scientist approver auditor operator"),
    ("GET", "/api/v1/versions"): (200, "data-scientist approver auditor operator"),
    ("GET", "/metrics"): (200, "operator prometheus"),
    ("POST", "/api/v1/proposals"): (422, "data-scientist"),
    ("POST", "/api/v1/approvals"): (422, "approver"),
    ("POST", "/api/v1/rollbacks"): (422, "approver"),
    ("POST", "/api/v1/adoptions"): (422, "data-scientist"),
    ("POST", "/api/v1/trainings"): (422, "data-scientist"),
    ("POST", "/propose"): (422, "data-scientist"),
    ("POST", "/approve"): (422, "approver"),
    ("POST", "/rollback"): (422, "approver"),
    ("POST", "/adopt"): (422, "data-scientist"),
    ("POST", "/train"): (422, "data-scientist"),
    ("GET", "/authorize/mlflow"): (204, "data-scientist approver"),
    ("GET", "/authorize/prefect"): (204, "operator"),
    ("GET", "/authorize/prometheus"): (204, "operator"),
    ("GET", "/authorize/grafana"): (204, "data-scientist approver auditor operator"),
    ("GET", "/authorize/reports"): (204, "data-scientist approver auditor operator"),
}


@pytest.mark.parametrize(("method", "path"), TABLE)
def test_a_route_is_open_to_its_roles_and_to_nobody_else(service, method, path):
    status, roles = TABLE[method, path]
    content = {}
    if method == "POST":
        content = {"json": {}} if path.startswith("/api") else {"data": {}}
        content["headers"] = {"Origin": service.url}
        if "data" in content:
            content["headers"]["Content-Type"] = "application/x-www-form-urlencoded"
    found = {who: service.ask(who, method, path, **content) for who in EVERYBODY}
    # Prometheus' key is known at /metrics alone.
    closed = {"prometheus": 401 if path != "/metrics" else 200}
    assert {who: answer.status_code for who, answer in found.items()} == {
        who: status if who in roles.split() else closed.get(who, 403) for who in EVERYBODY
    }
    is_problem(service.ask(None, method, path, **content), 401, "no-token")


def test_the_table_has_every_route():
    assert {path for _, path in TABLE} == set(PERMISSIONS)
    assert set(UNLOCKED) == {"/healthz", "/static/approvals.css"}
    assert len(ACTIONS) == 5


def test_who_reached_a_tool_is_in_the_access_log(service):
    assert service.ask("operator", "GET", "/authorize/prefect").status_code == 204
    log = (ROOT / service.environment["ROLES_FILE"]).with_name("approvals.log")
    wait_for(lambda: '"what": "prefect"' in log.read_text(), 10, "its line")


def test_unknown_addresses_are_found_by_nobody(service):
    for path in ("/authorize/other", "/static/../app.py", "/api/v1/other", "/metrics/"):
        assert service.ask("operator", "GET", path).status_code == 404
    is_problem(service.ask("operator", "GET", "/static/other.css"), 403, "not-permitted")
    deleted = service.ask("approver", "DELETE", "/api/v1/approvals")
    is_problem(deleted, 405, "method-not-allowed")


def test_a_token_of_another_issuer_is_refused_and_counted(service):
    def refusals(reason):
        text = service.ask("prometheus", "GET", "/metrics").text
        pattern = rf'^credit_risk_approvals_refusals_total{{reason="{reason}"}} (\S+)$'
        return float(re.search(pattern, text, re.M)[1])

    before = refusals("unknown-signer")
    forged = {"Authorization": f"Bearer {Issuer().token(iss=service.issuer.url)}"}
    answer = service.ask(None, "GET", "/api/v1/versions", headers=forged)
    is_problem(answer, 401, "unknown-signer")
    assert refusals("unknown-signer") == before + 1
    log = (ROOT / service.environment["ROLES_FILE"]).with_name("approvals.log")
    line = '"what": "refused", "id": null, "status": 401, "reason": "unknown-signer"'
    wait_for(lambda: line in log.read_text(), 10, "its line")


def test_a_name_in_a_header_approves_nothing(settings, tmp_path):
    """Behind a proxy that names users: whoever is in its network could be anybody."""
    (tmp_path / "roles.toml").write_text('[approver]\nusers = ["ann"]\n')
    behind = {
        "user_header": "X-Forwarded-User",
        "trusted_proxies": "127.0.0.0/8",
        "roles_file": tmp_path / "roles.toml",
    }
    client = client_of(create_app(settings.model_copy(update=behind)))
    body = {"version": "1", "reason": "better"}
    headers = {"X-Forwarded-User": "ann"}
    answer = client.post("/api/v1/approvals", json=body, headers=headers)
    assert answer.status_code == 403
    assert "token" in answer.get_json(force=True)["detail"]


# What a request may be


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}])
def test_a_form_that_does_not_say_where_it_is_from_is_refused(service, headers):
    answer = service.ask("approver", "POST", "/rollback", data={"reason": "x"}, headers=headers)
    is_problem(answer, 403, "foreign-origin")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(service, headers):
    for path in ("/rollback", "/api/v1/rollbacks"):
        answer = service.ask("approver", "POST", path, data={"reason": "x"}, headers=headers)
        is_problem(answer, 403, "foreign-origin")


def test_the_api_takes_json_of_the_right_shape_alone(service):
    form = service.ask("approver", "POST", "/api/v1/approvals", data={"reason": "x"})
    is_problem(form, 415, "unsupported-type")
    good = {"version": "1", "reason": "better"}
    for change in (
        {"version": "0"},
        {"version": "1; DROP"},
        {"version": 10**20},
        {"reason": " "},
        {"reason": "x" * 501},
        {"role": "approver"},
        {"forced": "perhaps"},
    ):
        detail = is_problem(
            service.post("approver", "approvals", **(good | change)), 422, "invalid"
        )
        assert "DROP" not in detail
    for text in (b"{", b"[]", b"null", b"\xff"):
        answer = service.ask(
            "approver",
            "POST",
            "/api/v1/approvals",
            data=text,
            headers={"Content-Type": "application/json"},
        )
        is_problem(answer, 422, "invalid")


def test_a_body_is_limited_in_size(service):
    detail = is_problem(
        service.post("approver", "rollbacks", reason="x" * 20_000), 413, "too-large"
    )
    assert detail == "A request has at most 16 kB."


@pytest.mark.slow
def test_a_head_that_does_not_end_is_given_up(service):
    port = int(service.environment["APPROVALS_PORT"])
    with socket.create_connection(("127.0.0.1", port), 60) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        received = slow.recv(100)
    assert received == b"" or b" 408 " in received


def test_a_name_that_the_service_is_not_known_by_is_refused(service):
    answer = service.ask("auditor", "GET", "/", headers={"Host": "evil.example"})
    is_problem(answer, 400, "unknown-host")


def test_every_answer_is_hardened(service):
    for path in ("/", "/healthz", "/nothing"):
        headers = service.ask("auditor", "GET", path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert "script-src" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"


# How a version becomes Production


def test_one_proposes_another_approves_by_the_api(service, train):
    number = train(gate="passed")
    found = service.version(number)
    assert (found["gate"], found["decides"]) == ("passed", False)
    assert found["missing"] == "the approvals of two people"
    said = service.post("data-scientist", "proposals", version=number, reason="AUC is higher")
    assert said.status_code == 201
    assert said.json()["kind"] == "proposal"
    assert said.json()["message"] == (
        f"version {number} is proposed; "
        "it needs an approval, by others than data-scientist@bank.example"
    )
    mine = service.post("both", "proposals", version=number, reason="I think so, too")
    assert mine.status_code == 201
    refused = service.post("both", "approvals", version=number, reason="fine")
    detail = is_problem(refused, 409, "not-approved")
    assert "Both@bank.example proposed it" in detail
    said = service.post("approver", "approvals", version=number, reason="looked at its card")
    assert (said.status_code, said.json()["kind"]) == (201, "approval")
    assert said.json()["by"] == "approver@bank.example"
    assert service.version(number)["decides"]
    assert service.ask("auditor", "GET", "/api/v1/versions").json()["deciding"] == number
    entry = service.log().approvals()[-1]
    assert (entry["by"], entry["caller"]) == (
        "approver@bank.example",
        "user: approver@bank.example",
    )
    assert entry["verified"] is True
    assert entry["time"] == said.json()["time"]
    assert entry["digest"] == said.json()["digest"]


def test_by_has_to_be_who_signed_in(service, train):
    number = train()
    wanted = {"version": number, "reason": "better"}
    said = service.post("data-scientist", "proposals", by="somebody else", **wanted)
    assert "you have signed in as data-scientist@bank.example" in is_problem(
        said, 409, "not-approved"
    ).replace("You", "you")
    said = service.post("data-scientist", "proposals", by="Data-Scientist@bank.example", **wanted)
    assert said.status_code == 201


def test_commands_ask_the_service_with_the_token_of_the_environment(
    service, train, monkeypatch, capsys
):
    number = train()
    capsys.readouterr()  # what MLflow has said so far
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)

    def run(who, *arguments):
        monkeypatch.setenv("APPROVALS_TOKEN", service.token(who) if who else "")
        code = main([*arguments, "--reason", "by command"])
        said = capsys.readouterr()
        return code, (said.out + said.err).strip()

    code, said = run(None, "approve", "--version", number)
    assert code == 1
    assert said.startswith("approve: APPROVALS_TOKEN is not set: it holds the ID token that says")
    assert len(said.splitlines()) == 1
    code, said = run("clerk", "approve", "--version", number)
    assert (code, "right “approve”" in said) == (1, True)
    code, said = run("approver", "approve", "--version", number)
    assert code == 0
    assert said == (
        f"noted; version {number} still needs a second approval, by others than "
        "approver@bank.example"
    )
    code, said = run("second", "approve", "--version", number, "--by", "somebody else")
    assert (code, "cannot be by anybody else" in said) == (1, True)
    code, said = run("second", "approve", "--version", number)
    assert (code, said) == (
        0,
        f"version {number} is Production, approved by second@bank.example",
    )
    assert run("data-scientist", "propose", "--version", "99999")[0] == 1
    monkeypatch.setenv("APPROVALS_URL", f"http://127.0.0.1:{free_port()}")
    code, said = run("approver", "rollback")
    assert (code, "no approvals service at http://127.0.0.1:" in said) == (1, True)


def test_break_glass_writes_the_log_and_says_so(service, train, monkeypatch, capsys):
    number = train()
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("credit_risk.registry.registry.try_scorer", lambda data: None)
    command = ["approve", "--version", number, "--reason", "at night", "--break-glass"]
    with pytest.raises(SystemExit):
        main(command)
    capsys.readouterr()
    assert main([*command, "--by", "Ann"]) == 0
    assert "(break-glass): at night" in capsys.readouterr().out
    entry = service.log().approvals()[-1]
    assert (entry["break_glass"], entry["verified"]) == (True, False)
    assert entry["caller"].startswith("command line: ")
    found = service.version(number)
    assert (found["decides"], found["missing"]) == (True, "the approvals of two people")
    # Two people make it good.
    for who, kind in (("approver", "first-approval"), ("second", "approval")):
        said = service.post(who, "approvals", version=number, reason="looked at it afterwards")
        assert said.json()["kind"] == kind


@pytest.mark.slow
def test_a_version_that_training_did_not_register_is_adopted_first(service, mlflow_server, scorers):
    number = register_version(mlflow_server, MODEL, scorers[1])
    assert "adopted" in service.version(number)["missing"]
    refused = service.post("approver", "approvals", version=number, reason="fine")
    is_problem(refused, 409, "not-approved")
    said = service.post("data-scientist", "adoptions", version=number, reason="made elsewhere")
    assert (said.status_code, said.json()["kind"]) == (201, "adopted")
    assert service.version(number)["missing"] == (
        "an approval, by others than data-scientist@bank.example"
    )


def test_one_person_rolls_back(service, train, mlflow_server, no_trial):
    registry = Registry(mlflow_server, MODEL)
    numbers = [train(), train()]
    for number in numbers:
        approve(registry, service.log(), number, "Ann", "as it was before there were tokens")
    said = service.post("second", "rollbacks", reason="complaints")
    assert (said.status_code, said.json()["kind"]) == (201, "rollback")
    assert said.json()["message"] == (
        f"version {numbers[0]} is Production again, by second@bank.example"
    )
    assert service.version(numbers[0])["decides"]
    assert service.version(numbers[1])["missing"] == "the approvals of two people"


def test_a_version_that_does_not_exist_is_not_found(service):
    said = service.post("approver", "approvals", version="99999", reason="fine")
    is_problem(said, 404, "no-such-version")


# Trainings


def test_without_prefect_no_training_is_started(service):
    is_problem(service.post("data-scientist", "trainings", reason="new data"), 503, "no-prefect")


@pytest.fixture
def trainings(settings, prefect_api):
    """Trainings on a Prefect server that has the deployment, and nobody who takes its runs."""
    settings = settings.model_copy(update={"prefect_api_url": prefect_api})
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name(FLOW)
        client.create_deployment(
            flow,
            name=DEPLOYMENT,
            parameter_openapi_schema={"type": "object", "properties": {"fresh": {}}},
            enforce_parameter_schema=False,
        )
    return Trainings(settings, open_log(settings))


ANN = Caller("ann", "user", is_proven=True)


def test_a_training_is_started_and_noted(trainings):
    run = trainings.start(ANN, "new data", fresh=True)
    (opened, entry) = trainings._log.approvals()
    assert opened["kind"] == "opened"
    assert (entry["kind"], entry["key"], entry["by"]) == ("training", run, "ann")
    assert history(trainings._log) == []
    with get_client(sync_client=True) as client:
        started = client.read_flow_run(run)
    assert started.state.is_scheduled()
    assert (started.parameters, started.tags) == ({"fresh": True}, ["approvals"])


def test_a_training_that_cannot_be_noted_is_cancelled(trainings, monkeypatch):
    def fails(*_arguments, **_fields):
        raise LogUnavailable("it is gone")

    monkeypatch.setattr("model_deployment.approvals.training.note_training", fails)
    with pytest.raises(LogUnavailable):
        trainings.start(ANN, "new data", fresh=False)
    with get_client(sync_client=True) as client:
        states = [run.state.type.value for run in client.read_flow_runs()]
    assert states.count("CANCELLED") == 1


def test_a_training_without_its_deployment_is_not_started(settings, prefect_api, monkeypatch):
    monkeypatch.setattr("model_deployment.approvals.training.DEPLOYMENT", "another")
    settings = settings.model_copy(update={"prefect_api_url": prefect_api})
    with pytest.raises(PrefectUnavailable, match="Prefect has no deployment"):
        Trainings(settings, open_log(settings)).start(ANN, "new data", fresh=False)


# What is away


@pytest.mark.slow
def test_without_mlflow_and_log_it_starts_and_says_so(alone):
    assert alone.ask(None, "GET", "/healthz").json() == {"status": "ok"}
    for method, path in (("GET", "/"), ("GET", "/api/v1/versions")):
        answer = alone.ask("auditor", method, path)
        assert answer.headers["Retry-After"]
        is_problem(answer, 503, "no-decision-log")
    said = alone.post("data-scientist", "trainings", reason="new data")
    is_problem(said, 503, "no-decision-log")
    said = alone.post("approver", "approvals", version="1", reason="better")
    is_problem(said, 503, "no-registry")
    assert alone.ask("operator", "GET", "/authorize/prefect").status_code == 204


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ROLES_FILE": "/nowhere/roles.toml"}, "ROLES_FILE /nowhere/roles.toml cannot be read: "),
        ({"APPROVALS_PORT": "taken"}, "APPROVALS_PORT "),
        ({"FOLLOW_ALIAS": "true"}, "FOLLOW_ALIAS would have one person approve"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(service, change, said):
    if change.get("APPROVALS_PORT") == "taken":
        change = {"APPROVALS_PORT": service.environment["APPROVALS_PORT"]}
    done = subprocess.run(
        [sys.executable, "-m", "model_deployment.approvals"],
        env=service.environment | change,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


# The page


def signed_in(chromium, service, who, **size):
    browser = chromium(**size)
    headers = {"Authorization": f"Bearer {service.token(who)}"}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": headers})
    browser.get(service.url)
    return browser


def buttons(browser, number):
    row = browser.find_element("id", f"version-{number}")
    return [button.text for button in row.find_elements("tag name", "button")]


def press(browser, number, label, reason):
    row = browser.find_element("id", f"version-{number}")
    for form in row.find_elements("tag name", "form"):
        button = form.find_element("tag name", "button")
        if button.text == label:
            form.find_element("name", "reason").send_keys(reason)
            button.click()
            return
    raise AssertionError(f"there is no button {label}")


def says(browser, text):
    """Wait until the page that answers a form says something."""
    wait_for(lambda: text in browser.find_element("class name", "said").text, 60, text)


def test_people_propose_and_approve_on_the_page(service, train, chromium, tmp_path):
    number = train(gate="passed")
    browser = signed_in(chromium, service, "data-scientist")
    assert buttons(browser, number) == ["Propose"]
    press(browser, number, "Propose", "<b>better</b> & cheaper")
    says(browser, "The version is proposed.")
    row = browser.find_element("id", f"version-{number}").text
    assert "proposed by data-scientist@bank.example: <b>better</b> & cheaper" in row
    assert buttons(browser, number) == []

    browser = signed_in(chromium, service, "approver")
    assert buttons(browser, number) == ["Approve"]
    press(browser, number, "Approve", "looked at its card")
    says(browser, "The version is Production.")
    assert "decides" in browser.find_element("id", f"version-{number}").text
    assert not browser.get_log("browser")
    browser.save_screenshot(str(tmp_path / "approvals.png"))

    browser = signed_in(chromium, service, "auditor", width=500)
    assert not browser.find_elements("tag name", "form")
    width = "return document.documentElement.scrollWidth - window.innerWidth"
    assert browser.execute_script(width) <= 0
    # Words are not broken into letters; what does not fit is scrolled to.
    heading = browser.find_element("xpath", "//th[text()='Version']")
    assert heading.size["height"] < 60


def test_a_form_that_fails_says_why_on_the_page(service, train):
    number = train(gate="failed", gate_reasons="AUC is <i>lower</i>")
    answer = service.send("approver", "approve", version=number, reason="fine")
    assert answer.status_code == 409
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "AUC is &lt;i&gt;lower&lt;/i&gt;" in answer.text
    assert "<i>lower" not in answer.text
    answer = service.send("approver", "approve", version=number, reason="fine", forced="true")
    assert (answer.status_code, answer.headers["Location"]) == (303, "./?done=first-approval")


def test_a_link_cannot_have_the_page_say_something(service):
    text = service.ask("auditor", "GET", "/?done=Call+this+number").text
    assert "Call" not in text


def test_sign_in_by_a_cookie_alone_identifies_nobody(service):
    answer = requests.get(service.url, cookies={"session": service.token("approver")}, timeout=30)
    assert answer.status_code == 401
