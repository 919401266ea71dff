"""The stack of docker-compose.yml, started for real and used by all its users.

`make test-compose` runs this, and `COMPOSE_UP` is the command that starts the stack. It is a
separate project on free ports, so it does not affect a stack that runs already. The tests follow
the order of a day's work and share the stack: an approval needs a second version, a report needs
decisions.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import requests

from credit_risk import keys
from credit_risk.prefect_api import PrefectAPI
from tests.support.clients import CLIENT
from tests.support.code_flow import CodeFlow
from tests.support.issuer import AUDIENCE, issuing_at
from tests.support.processes import free_port, wait_for
from tests.support.secure_door import DOMAIN, NAMES, SERVICES, Client
from tests.support.stacks import pause_schedules
from tools.access import handout
from tools.chaos import docker
from tools.state import archive

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "credit-risk-test"
PORTS = (
    "MLFLOW",
    "PREFECT",
    "RISKOMETER",
    "PROMETHEUS",
    "ALERTMANAGER",
    "EXPORTER",
    "GRAFANA",
    "SECURE",
)
JOBS = {
    "passwords",
    "postgres-roles",
    "mongo-roles",
    "bucket-owner",
    "bucket",
    "deployments",
    "first-model",
}
# The password with which earlier versions made their volumes.
EARLIER = "local-only"
# How many decisions are in the log, in MongoDB's shell.
DECIDED = "db.batches.find({}).toArray().reduce((n, b) => n + (b.n_decided || 0), 0)"
CLIENTS = 150
USER_HEADER = "X-Forwarded-User"
KEY = "k" * keys.MIN_LENGTH
# Sends a request from within a container, and prints status and body.
ASK = """
import json, sys, urllib.error, urllib.request
url, headers, body = json.loads(sys.argv[1])
data = json.dumps(body).encode() if body else None
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.load(answer)]))
"""

if not (UP := os.environ.get("COMPOSE_UP", "")):
    pytest.skip("the containers are tested by `make test-compose`", allow_module_level=True)

pytestmark = [pytest.mark.compose, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Stack:
    """The running project: its ports on the host, and the environment for Docker and make."""

    ports: dict[str, int]
    environment: dict[str, str]

    def url(self, service: str, path: str = "/") -> str:
        return f"http://localhost:{self.ports[service]}{path}"

    def run(self, *command: str, **more: str) -> str:
        """Run a command in the repository and return its output, which a failure shows too."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, (
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-5000:]}"
        )
        return done.stdout

    def compose(self, *command: str) -> str:
        return self.run("docker", "compose", *command)

    def ask(
        self, name: str, url: str, headers: dict[str, str], body: Any = None, index: int = 1
    ) -> Any:
        """Return status and body of what a container of ours is answered at an address."""
        said = json.dumps([url, headers | {"Content-Type": "application/json"}, body])
        command = ("exec", "-T", f"--index={index}", name, "python", "-c", ASK, said)
        return json.loads(self.compose(*command).splitlines()[-1])

    def series(self, query: str) -> dict[str, float]:
        """Return what Prometheus answers to a query, by instance."""
        asked = requests.get(
            self.url("PROMETHEUS", "/api/v1/query"), params={"query": query}, timeout=20
        )
        found = asked.json()["data"]["result"]
        return {one["metric"].get("instance", ""): float(one["value"][1]) for one in found}

    def containers(self) -> dict[str, dict[str, Any]]:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {
            c["Service"]: c
            for c in map(json.loads, filter(lambda line: line.startswith("{"), lines))
        }

    def prefect(self) -> PrefectAPI:
        return PrefectAPI(
            self.url("PREFECT", "/api"), f"admin:{self.secrets()['prefect-login']}", timeout=20
        )

    def blobs(self, prefix: str) -> list[str]:
        """Return the names in the bucket, as the storage server lists them."""
        url = f"http://fake-gcs-server:4443/storage/v1/b/credit-risk/o?prefix={prefix}"
        listed = json.loads(self.compose("exec", "-T", "fake-gcs-server", "wget", "-qO-", url))
        return [item["name"] for item in listed.get("items", [])]

    def secrets(self) -> dict[str, str]:
        """Return the secrets by name, as the job that makes them keeps them."""
        said = self.compose(
            "run", "--rm", "-T", "--no-deps", "passwords", "grep", "-r", "", "/secrets/kept"
        )
        lines = (
            line.removeprefix("/secrets/kept/").partition(":")
            for line in said.splitlines()
            if "/kept/" in line
        )
        return {name: secret for name, _, secret in lines}

    def secret(self, name: str) -> str:
        return self.secrets()[name]

    def mongo(self, script: str, user: str = "credit-risk", password: str = "") -> Any:
        """Evaluate a line in MongoDB's own shell, as the administrator or as the named user."""
        login = f"{user}:{password or self.secret('mongo-admin')}"
        url = f"mongodb://{login}@mongo:27017/credit_risk?authSource=admin"
        said = self.compose(
            "exec", "-T", "mongo", "mongosh", "--quiet", url, "--eval", f"EJSON.stringify({script})"
        )
        return json.loads(said.strip().splitlines()[-1])

    def postgres(self, user: str, password: str, query: str) -> str:
        """Ask PostgreSQL over TCP, as its clients do."""
        psql = ("psql", "-h", "postgres", "-U", user, "-d", user, "-qtAc", query)
        return self.compose("exec", "-T", "-e", f"PGPASSWORD={password}", "postgres", *psql)

    def reaches(self, name: str, host: str, port: int) -> bool:
        """Return whether a container of ours gets a connection."""
        call = f"import socket; socket.create_connection(({host!r}, {port}), 3)"
        command = ["docker", "compose", "exec", "-T", name, "python", "-c", call]
        return (
            subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True).returncode
            == 0
        )


@pytest.fixture(scope="module")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    free: set[int] = set()
    while len(free) < len(PORTS):  # the kernel may give the same one twice
        free.add(free_port())
    ports = dict(zip(PORTS, free, strict=True))
    unset = {
        "BUCKET",
        "DATA",
        "DATASET",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "MODEL_NAME",
        "STORAGE_EMULATOR_HOST",
    }
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {f"{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {"COMPOSE_PROJECT_NAME": PROJECT, "STACK": "compose", "GIT_COMMIT": "under-test"}
    environment |= {"RISKOMETER_SUBNET": "10.196.97.0/27"}
    stack = Stack(ports, environment)
    shown = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert shown
    try:
        with shown.global_and_fixture_disabled():  # it takes minutes: show its progress
            subprocess.run(UP, shell=True, cwd=ROOT, env=environment, check=True)
        assert pause_schedules(stack.prefect())
        yield stack
    finally:
        if os.environ.get("COMPOSE_KEEP") != "1":
            # All profiles: what only theirs have, such as a network, would be left.
            everything = ("--profile", "*", "down", "--volumes", "--rmi", "local")
            stack.compose(*everything, "--timeout", "60")


def page(url: str) -> requests.Response:
    return requests.get(url, headers={"Accept": "text/html"}, timeout=20)


def test_every_container_is_healthy(stack: Stack) -> None:
    containers = stack.containers()
    missing = set(stack.compose("config", "--services").split()) - set(containers)
    assert missing <= {"grafana", "alertmanager"}, (
        "only their images have no stand-in where no registry can be reached"
    )
    for name, container in containers.items():
        if name in JOBS:
            assert (container["State"], container["ExitCode"]) == ("exited", 0), name
        else:
            assert (container["State"], container["Health"]) == ("running", "healthy"), name


def test_no_lasting_container_runs_as_root(stack: Stack) -> None:
    for name in set(stack.containers()) - JOBS:
        assert stack.compose("exec", "-T", name, "id", "-u").split()[-1] != "0", name


def test_no_container_shows_a_secret(stack: Stack) -> None:
    """Neither `docker inspect` nor the arguments of its processes contain one."""
    secrets = stack.secrets()
    assert set(secrets) == set(handout.MADE)
    assert len(set(secrets.values())) == len(secrets)
    shown = stack.run("docker", "inspect", *stack.compose("ps", "--all", "--quiet").split())
    # The stand-in for MongoDB, where its image is unavailable, takes its password as an argument.
    shown += "\n".join(
        line for line in stack.compose("top").splitlines() if " ferretdb " not in line
    )
    assert not [name for name, secret in secrets.items() if secret in shown]


def test_each_container_sees_its_own_secrets(stack: Stack) -> None:
    wanted = handout.folders(dict.fromkeys(handout.MADE, "x"), {})
    for name in set(stack.containers()) - JOBS:
        found = stack.compose(
            "exec", "-T", name, "sh", "-c", "ls /run/secrets 2>/dev/null || true"
        ).split()
        assert set(found) == set(wanted.get(name, ())), name


def test_a_container_reaches_only_the_servers_that_it_uses(stack: Stack) -> None:
    port = {
        "postgres": 5432,
        "mongo": 27017,
        "fake-gcs-server": 4443,
        "mlflow": 5051,
        "prefect-server": 4200,
    }
    asks = {
        "mlflow": {"postgres", "fake-gcs-server"},
        "prefect-server": {"postgres"},
        "training-worker": {"mongo", "fake-gcs-server", "mlflow", "prefect-server"},
        "reporting-worker": {"mongo", "fake-gcs-server", "mlflow", "prefect-server"},
        "risk-o-meter": {"mongo", "fake-gcs-server", "mlflow"},
        "evidently-exporter": {"mongo", "fake-gcs-server", "mlflow", "prefect-server"},
    }
    for name, asked in asks.items():
        reached = {
            server
            for server in port
            if server != name and stack.reaches(name, server, port[server])
        }
        assert reached == asked, name

    # By number too, as a name may just be unknown: a network without a gateway leads to no other.
    for name in ("postgres", "prefect-server"):
        shown = stack.run("docker", "inspect", stack.compose("ps", "--quiet", name).strip())
        for network in json.loads(shown)[0]["NetworkSettings"]["Networks"].values():
            ip = network["IPAddress"]
            assert not stack.reaches("risk-o-meter", ip, port[name]), (name, ip)


def test_mlflow_answers_its_own_pages_and_no_foreign_name(stack: Stack) -> None:
    assert "MLflow" in page(stack.url("MLFLOW")).text
    call = "/ajax-api/2.0/mlflow/experiments/search"
    here = {"Origin": stack.url("MLFLOW", "")}
    assert (
        requests.post(
            stack.url("MLFLOW", call), json={"max_results": 9}, headers=here, timeout=20
        ).status_code
        == 200
    )
    rebound = {"Host": f"rebound.example:{stack.ports['MLFLOW']}"}
    assert requests.get(stack.url("MLFLOW"), headers=rebound, timeout=20).status_code == 403


def test_prefects_page_uses_an_api_that_the_browser_reaches(stack: Stack) -> None:
    for path in ("/", "/dashboard", "/v2/dashboard"):
        assert page(stack.url("PREFECT", path)).status_code == 200
    api = requests.get(stack.url("PREFECT", "/ui-settings"), timeout=20).json()["api_url"]
    assert api == "/api"
    assert requests.get(stack.url("PREFECT", f"{api}/health"), timeout=20).json() is True


def test_prefect_requires_its_login_and_one_of_its_names(stack: Stack) -> None:
    asked = stack.url("PREFECT", "/api/csrf-token?client=test")
    login = ("admin", stack.secrets()["prefect-login"])
    assert requests.get(asked, timeout=20).status_code == 401
    assert requests.get(asked, auth=login, timeout=20).status_code == 200
    assert (
        requests.get(asked, auth=login, headers={"Host": "rebound.example"}, timeout=20).status_code
        == 400
    )
    assert (
        requests.post(
            stack.url("PREFECT", "/api/deployments/filter"), auth=login, timeout=20
        ).status_code
        == 403
    )


def test_all_deployments_are_there_with_their_schedules(stack: Stack) -> None:
    found = stack.prefect().ask("deployments/filter", {})
    schedules = {
        (d["work_pool_name"], d["name"]): [s["schedule"]["cron"] for s in d["schedules"]]
        for d in found
    }
    assert schedules == {
        ("training", "sunday-night"): ["0 23 * * 0"],
        ("reporting", "every-3-hours"): ["0 */3 * * *"],
        ("reporting", "nightly"): ["0 2 * * *"],
        ("scoring", "on-demand"): [],
    }


def test_the_risk_o_meter_shows_no_internal_address(stack: Stack) -> None:
    shown = page(stack.url("RISKOMETER"))
    assert shown.status_code == 200
    layout = requests.get(stack.url("RISKOMETER", "/_dash-layout"), timeout=20)
    assert layout.status_code == 200
    for inside in ("mlflow:", "mongo:", "prefect-server:", "0.0.0.0"):
        assert inside not in shown.text + layout.text


def test_prometheus_links_to_itself_on_the_host(stack: Stack) -> None:
    assert page(stack.url("PROMETHEUS", "/graph")).status_code == 200
    flags = requests.get(stack.url("PROMETHEUS", "/api/v1/status/flags"), timeout=20).json()["data"]
    assert flags["web.external-url"].rstrip("/") == stack.url("PROMETHEUS", "")


def test_grafana_has_the_dashboards(stack: Stack) -> None:
    if "grafana" not in stack.containers():
        pytest.skip("Grafana's image is unavailable here")
    assert page(stack.url("GRAFANA", "/login")).status_code == 200
    found = requests.get(
        stack.url("GRAFANA", "/api/search?type=dash-db"), auth=("admin", "admin"), timeout=20
    ).json()
    assert {dashboard["title"] for dashboard in found} == {"Drift", "Model", "Service"}


def ready(stack: Stack) -> bool:
    """Return whether all processes of the Risk-O-Meter are ready."""
    return all(requests.get(stack.url("RISKOMETER", "/readyz"), timeout=20).ok for _ in range(20))


def test_an_upload_is_decided_and_its_decisions_are_in_mongodb(stack: Stack) -> None:
    wait_for(lambda: ready(stack), 60, "the first model")
    csv = b"".join(
        (ROOT / "data" / "credit-g.csv").read_bytes().splitlines(keepends=True)[: CLIENTS + 1]
    )
    answer = requests.post(
        stack.url("RISKOMETER", "/api/v1/files"), files={"file": ("clients.csv", csv)}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    batch = answer.json()
    assert (batch["n_decided"], batch["n_rejected"], batch["model_version"]) == (CLIENTS, 0, "1")
    stored = stack.mongo(f"db.decisions.find({{batch: '{batch['batch']}'}}).toArray()")
    assert {d["_id"]: d["prediction"] for d in stored} == {
        d["id"]: d["prediction"] for d in batch["decisions"]
    }


def test_a_training_run_ends_with_its_model_in_the_bucket(stack: Stack) -> None:
    before = set(stack.blobs("mlflow/"))
    stack.run("make", "model-train-flow", N_ITER="2")
    new = set(stack.blobs("mlflow/")) - before
    assert any(name.endswith("/MLmodel") for name in new)
    assert any(name.endswith("reference.parquet") for name in new)
    version = challenger(stack)
    assert version["version"] == "2"
    assert {"key": "git_commit", "value": "under-test"} in version["tags"]


def challenger(stack: Stack) -> dict[str, Any]:
    call = "/api/2.0/mlflow/registered-models/alias?name=credit-risk&alias=challenger"
    found: dict[str, Any] = requests.get(stack.url("MLFLOW", call), timeout=20).json()[
        "model_version"
    ]
    return found


def test_an_approved_version_goes_into_service(stack: Stack) -> None:
    stack.run("make", "approve", VERSION="2", BY="Test Person", REASON="tried in containers")

    def serves() -> bool:
        return bool(
            requests.get(stack.url("RISKOMETER", "/api/v1/model"), timeout=20).json()["version"]
            == "2"
        )

    wait_for(serves, 120, "the approved version in service")
    assert "Test Person" in stack.run("make", "approvals")


def test_a_report_is_stored_in_the_bucket_and_in_mongodb(stack: Stack) -> None:
    stack.run("make", "evidently-report-flow")
    names = stack.blobs("reports/")
    assert sum(name.endswith(".html") for name in names) >= 2
    assert any(name.endswith("latest.html") for name in names)
    assert stack.mongo("db.reports.find({}).toArray()")
    page = requests.get(stack.url("EXPORTER", "/reports/latest"), timeout=60)
    assert page.headers["Content-Security-Policy"].startswith("sandbox allow-scripts;")
    assert "<html" in page.text.lower()


def test_the_log_is_verified_and_anchored(stack: Stack) -> None:
    assert "the decision log is whole" in stack.run("make", "log-verification-flow")
    assert len(stack.blobs("anchors/")) == 1
    assert "1 anchors" in stack.run("make", "verify-log")


def test_prometheus_has_drift_figures(stack: Stack) -> None:
    def drift() -> list[Any]:
        query = {"query": "credit_risk_drift_score"}
        answer = requests.get(stack.url("PROMETHEUS", "/api/v1/query"), params=query, timeout=20)
        return list(answer.json()["data"]["result"])

    features = {series["metric"]["feature"] for series in wait_for(drift, 120, "drift figures")}
    assert len(features) >= 17
    targets = requests.get(stack.url("PROMETHEUS", "/api/v1/targets"), timeout=20).json()["data"][
        "activeTargets"
    ]
    assert {target["health"] for target in targets} == {"up"}


def test_jobs_change_nothing_when_they_run_again(stack: Stack) -> None:
    for job in sorted(JOBS):
        stack.compose("run", "--rm", "-T", "--no-deps", job)
    assert challenger(stack)["version"] == "2"
    found = stack.prefect().ask("deployments/filter", {})
    assert len(found) == 4


@pytest.fixture(scope="module")
def replicas(stack: Stack) -> tuple[int, ...]:
    """The numbers of three Risk-O-Meters, which want a key or a user, until the next `down`."""
    (network,) = json.loads(stack.run("docker", "network", "inspect", f"{PROJECT}_proxy"))
    gateway = network["IPAM"]["Config"][0]["Gateway"]
    closed = {"API_KEYS": f"tests:{keys.digest(KEY)}", "USER_HEADER": USER_HEADER}
    replace(stack, "risk-o-meter", "proxy", TRUSTED_PROXIES=gateway, **closed)
    return 1, 2, 3


def replace(stack: Stack, *services: str, **settings: str) -> None:
    """Start services anew with other settings, and three Risk-O-Meters."""
    up = ("docker", "compose", "up", "-d", "--no-deps", "--no-build", "--wait")
    scale = ("--scale", "risk-o-meter=3") if "risk-o-meter" in services else ()
    stack.run(*up, *scale, *services, **settings)


def score(stack: Stack, **headers: str) -> requests.Response:
    """Decide on one client, through the proxy."""
    url = stack.url("RISKOMETER", "/api/v1/score")
    return requests.post(url, json=[CLIENT], headers=headers, timeout=60)


# What clients are answered while replicas start: the proxy reached none, or one that is healthy but
# has not loaded the version within the seconds that its start waits for it.
NOT_YET = ("urn:risk-o-meter:no-replica", "urn:risk-o-meter:no-production-model")


def score_once(stack: Stack, key: str, **headers: str) -> requests.Response:
    """Decide on one client under a key, and ask again where clients are told to."""
    for _ in range(5):
        answer = score(stack, **headers, **{"Idempotency-Key": key})
        if answer.status_code != 503:
            break
        assert answer.json()["type"] in NOT_YET, answer.text
        time.sleep(int(answer.headers["Retry-After"]))
    return answer


def test_three_replicas_are_one_service(stack: Stack, replicas: tuple[int, ...]) -> None:
    known = {"Authorization": f"Bearer {KEY}"}
    here = "http://127.0.0.1:9696"
    decided = stack.mongo(DECIDED)

    # One idempotency key, whichever replica gets it: one decision.
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: score_once(stack, "1", **known), range(18)))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    assert len({answer.text for answer in answers}) == 1
    assert stack.mongo(DECIDED) == decided + 1

    # An override that one of them took is shown by all.
    (decision,) = answers[0].json()["decisions"]
    path = f"/api/v1/decisions/{decision['id']}"
    other = {"green": "red", "red": "green"}[decision["prediction"]]
    said = {"prediction": other, "by": "Ann", "reason": "knows them"}
    status, _ = stack.ask("risk-o-meter", f"{here}{path}/override", known, said, index=1)
    assert status == 201
    for replica in replicas:
        _, shown = stack.ask("risk-o-meter", here + path, known, index=replica)
        assert [one["prediction"] for one in shown["overrides"]] == [other]

    # An approval reaches all of them.
    def all_serve(version: str) -> bool:
        models = [
            stack.ask("risk-o-meter", f"{here}/api/v1/model", known, index=replica)
            for replica in replicas
        ]
        return [model.get("version") for _, model in models] == [version] * len(replicas)

    for command, version in ((("rollback",), "1"), (("approve", "VERSION=2"), "2")):
        stack.run("make", *command, BY="Test Person", REASON="tried on three")
        wait_for(lambda version=version: all_serve(version), 60, f"version {version}")

    # Prometheus finds all of them, and what they count adds up.
    requested = (
        'sum by (instance) (riskometer_request_duration_seconds_count{route="/api/v1/score"})'
    )
    wait_for(
        lambda: sum(stack.series(requested).values()) == len(answers), 60, "the requests' count"
    )
    up = stack.series('up{job="risk-o-meter"}')
    assert list(up.values()) == [1.0] * len(replicas)
    assert set(stack.series(f"{requested} > 0")) == set(up)


@pytest.mark.usefixtures("replicas")
def test_replicas_are_scraped_at_the_addresses_that_they_come_back_with(stack: Stack) -> None:
    ids = stack.compose("ps", "--quiet", "risk-o-meter").split()[:2]
    network = f"{PROJECT}_metrics"

    def inspected() -> dict[str, Any]:
        return {id: json.loads(stack.run("docker", "inspect", id))[0] for id in ids}

    def addresses(found: dict[str, Any]) -> dict[str, IPv4Address]:
        networks = {id: one["NetworkSettings"]["Networks"] for id, one in found.items()}
        return {id: IPv4Address(one[network]["IPAddress"]) for id, one in networks.items()}

    # Docker gives the lowest free address. The replica with the higher one gets another if it comes
    # first, and so does the other replica, unless just one address below both is free: then both do
    # if the other comes first.
    before = inspected()
    had = addresses(before)
    for highest_first in (True, False):
        for id in ids:
            stack.run(*docker.disconnect(network, id))
        for id in sorted(ids, key=had.__getitem__, reverse=highest_first):
            stack.run(*docker.connect(network, id, docker.networks(before[id])[network]))
        kept = had.items() & addresses(inspected()).items()
        if not kept:
            break
    assert not kept

    scraped = f'timestamp(up{{job="risk-o-meter"}} == 1) > {time.time()}'
    wait_for(lambda: len(stack.series(scraped)) == 3, 60, "a scrape of each replica")


@pytest.mark.usefixtures("replicas")
def test_requests_go_on_when_a_replica_is_killed(stack: Stack) -> None:
    stack.run("docker", "kill", stack.compose("ps", "--quiet", "risk-o-meter").split()[0])
    with ThreadPoolExecutor(4) as pool:
        known = {"Authorization": f"Bearer {KEY}"}
        answers = list(pool.map(lambda _: score(stack, **known), range(60)))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    assert len({answer.json()["batch"] for answer in answers}) == len(answers)
    wait_for(lambda: len(stack.series('up{job="risk-o-meter"} == 1')) == 2, 60, "two replicas")


@pytest.mark.usefixtures("replicas")
def test_a_client_names_no_user_by_a_header(stack: Stack) -> None:
    """Only the proxy that is trusted does, and whoever goes around ours neither."""
    assert score(stack, **{USER_HEADER: "Ann"}).status_code == 200  # as it was asked from there
    around = stack.ask(
        "evidently-exporter",
        "http://risk-o-meter:9696/api/v1/score",
        {USER_HEADER: "Ann"},
        [CLIENT],
    )
    assert (around[0], around[1]["type"]) == (403, "urn:risk-o-meter:untrusted-proxy")

    replace(stack, "proxy", USER_HEADER=USER_HEADER)
    forged = ({}, {"X-Forwarded-For": "10.196.97.2"}, {"Forwarded": "for=127.0.0.1;host=localhost"})
    for more in forged:
        answer = score(stack, **{USER_HEADER: "Ann"}, **more)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:risk-o-meter:no-user")
    for host in (
        {"Host": "evil.example"},
        {"Host": "evil.example", "X-Forwarded-Host": "localhost"},
    ):
        answer = score(stack, Authorization=f"Bearer {KEY}", **host)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:risk-o-meter:unknown-host")
    foreign = score(stack, Authorization=f"Bearer {KEY}", Origin="http://evil.example")
    assert foreign.status_code == 403
    assert score(stack, Authorization=f"Bearer {KEY}").status_code == 200


SCALE = ("dask-scheduler", "dask-worker", "scoring-worker")
# Prints the names of the workers' machines, and the addresses and ports that one listens on.
ON_DASK = """
import json, os, socket
from distributed import Client

def listening():
    lines = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    pairs = [line[1].split(":") for line in lines if line[3] == "0A"]
    return [(socket.inet_ntoa(bytes.fromhex(at)[::-1]), int(port, 16)) for at, port in pairs]

client = Client(os.environ["DASK_SCHEDULER"], timeout=20)
client.wait_for_workers(2, timeout=60)
print(json.dumps([list(client.run(os.getcwd).values()), *client.run(listening).values()]))
"""
# Puts a file into the bucket, and prints the manifest of the run that scored it.
PUT = """
import sys
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
open_blobs(Settings().bucket).put("portfolio/clients.csv", sys.argv[1].encode())
"""
MANIFEST = """
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
print(open_blobs(Settings().bucket).get("scored/manifest.json").decode().replace("\\n", ""))
"""


def test_dask_scores_a_portfolio_and_nobody_else_reaches_it(stack: Stack) -> None:
    up = ("docker", "compose", "--profile", "scale", "up", "-d", "--no-deps", "--wait")
    try:
        stack.run(*up, "--build", "--scale", "dask-worker=2", *SCALE)
        call = ("exec", "-T", "scoring-worker", "python", "-c", ON_DASK)
        folders, *sockets = json.loads(stack.compose("--profile", "scale", *call).splitlines()[-1])
        assert folders == ["/app", "/app"]  # where our packages are

        assert not stack.reaches("training-worker", "dask-scheduler", 8786)
        for worker in sockets:
            outside = {(at, port) for at, port in worker if not at.startswith("127.")}
            assert len({at for at, _ in outside}) == 1  # of all its networks, Dask's alone
            for at, port in outside:
                assert not stack.reaches("training-worker", at, port)
                assert stack.reaches("scoring-worker", at, port)

        python = ("--profile", "scale", "exec", "-T", "scoring-worker", "python", "-c")
        clients = [",".join(CLIENT), *[",".join(map(str, CLIENT.values()))] * CLIENTS]
        stack.compose(*python, PUT, "\n".join(clients))
        bucket = "gs://credit-risk"
        stack.run(
            "make",
            "batch-score",
            INPUT=f"{bucket}/portfolio",
            OUTPUT=f"{bucket}/scored",
            PART_ROWS="50",
        )
        manifest = json.loads(stack.compose(*python, MANIFEST).splitlines()[-1])
        assert (manifest["n_decided"], manifest["n_rejected"]) == (CLIENTS, 0)
        scored = stack.mongo("db.batches.find({kind: 'portfolio'}).toArray()")
        assert sum(batch["n_decided"] for batch in scored) == CLIENTS
        assert len(scored) == len(manifest["parts"])
    finally:
        stack.compose("--profile", "scale", "rm", "--stop", "--force", *SCALE)


DOOR = ("sign-in", "secure-proxy")


def test_the_door_signs_people_in_and_leads_to_the_risk_o_meter(
    stack: Stack, tmp_path: Path
) -> None:
    """With an issuer for containers: our services, which want TLS of one, ask nobody meanwhile."""
    image = SERVICES["sign-in"]["image"]
    commands = (["docker", "image", "inspect", image], ["docker", "pull", "--quiet", image])
    if all(subprocess.run(command, capture_output=True).returncode for command in commands):
        pytest.skip("the image of oauth2-proxy is unavailable here")

    compose = ("docker", "compose", "--profile", "secure")
    secret = "the client's"
    given = {"OIDC_AUDIENCE": AUDIENCE, "OIDC_CLIENT_SECRET": secret}
    try:
        stack.run(*compose, "create", "--no-build", "sign-in")  # and its network
        (network,) = json.loads(stack.run("docker", "network", "inspect", f"{PROJECT}_sign-in"))
        with issuing_at(network["IPAM"]["Config"][0]["Gateway"]) as issuer:
            flow = CodeFlow(issuer, secret, DOMAIN)
            flow.person = {"email": "ann@bank.example", "groups": ["clerks"]}
            given["OIDC_ISSUER"] = issuer.url
            stack.run("docker", "compose", "run", "--rm", "-T", "--no-deps", "passwords", **given)
            up = (*compose, "up", "-d", "--no-deps", "--no-build", "--wait", *DOOR)
            stack.run(*compose, "build", "--quiet", "secure-proxy", **given)
            stack.run(*up, **given)

            trusted = tmp_path / "root.crt"
            made = "secure-proxy:/data/caddy/pki/authorities/local/root.crt"
            stack.run(*compose, "cp", made, str(trusted), **given)
            client = Client(stack.ports["SECURE"], trusted)
            for name in NAMES:
                assert client.ask(name).status == 401, name
            assert client.sign_in().location == client.url("riskometer")
            assert client.ask("riskometer", "/healthz").status == 200
            assert client.ask("mlflow").status == 503  # without the approvals nobody may
            for name in DOOR:
                user = stack.run(*compose, "exec", "-T", name, "id", "-u", **given)
                assert user.split()[-1] != "0", name

            ids = stack.run(*compose, "ps", "--quiet", *DOOR, **given).split()
            shown = stack.run("docker", "inspect", *ids)
            assert secret not in shown
            assert not [name for name, value in stack.secrets().items() if value in shown]
    finally:
        stack.run(*compose, "rm", "--stop", "--force", *DOOR)


def test_a_volume_of_an_earlier_version_keeps_its_state_and_gets_its_own_passwords(
    stack: Stack,
) -> None:
    """Then every service was MongoDB's administrator, and all passwords were the same."""
    secrets = stack.secrets()
    root = secrets["postgres-admin"]
    experiments = "SELECT count(*) FROM experiments"
    before = stack.postgres("mlflow", secrets["postgres-mlflow"], experiments)
    decided = stack.mongo(DECIDED)
    for role in ("mlflow", "prefect", "postgres"):
        stack.postgres("postgres", root, f"ALTER ROLE {role} PASSWORD '{EARLIER}'")
    for user in handout.LOG_USERS:
        stack.mongo(f"db.getSiblingDB('admin').dropUser('{user}')")
    stack.mongo(f"db.getSiblingDB('admin').updateUser('credit-risk', {{pwd: '{EARLIER}'}})")
    began = time.monotonic()
    stack.compose("down", "--timeout", "60")
    assert time.monotonic() - began < 120
    stack.run("docker", "volume", "rm", f"{PROJECT}_secrets")

    stack.run("bash", "-c", UP)

    new = stack.secrets()
    assert not set(new.values()) & set(secrets.values())
    assert stack.postgres("mlflow", new["postgres-mlflow"], experiments) == before
    assert stack.mongo(DECIDED) == decided
    for role in ("postgres", "mlflow", "prefect"):
        with pytest.raises(AssertionError, match="password authentication failed"):
            stack.postgres(role, EARLIER, "SELECT 1")
    for user in ("credit-risk", *handout.LOG_USERS):
        with pytest.raises(AssertionError, match="Authentication failed"):
            stack.mongo("1", user, EARLIER)

    wait_for(lambda: ready(stack), 60, "the model")
    model = requests.get(stack.url("RISKOMETER", "/api/v1/model"), timeout=20).json()
    assert model["version"] == "2"


def test_a_backup_is_restored_after_the_loss_of_every_volume(stack: Stack, tmp_path: Path) -> None:
    kept, approvals = str(tmp_path / "kept"), stack.run("make", "approvals")
    decided = stack.mongo(DECIDED)
    blobs, login = stack.blobs(""), stack.secret("prefect-login")
    stack.run("make", "backup", TO=kept)
    with pytest.raises(AssertionError, match="CONFIRM=1"):
        stack.run("make", "restore", FROM=kept)
    stack.compose("down", "--volumes", "--timeout", "60")
    assert f"the decision log is whole: {decided:,} decisions" in stack.run(
        "make", "restore", FROM=kept
    )
    said = stack.run("make", "upgrade", TO=str(tmp_path / "before-upgrade"))
    assert f"the decision log is whole: {decided:,} decisions" in said
    wait_for(lambda: ready(stack), 60, "the model")
    assert (
        requests.get(stack.url("RISKOMETER", "/api/v1/model"), timeout=20).json()["version"] == "2"
    )
    assert stack.run("make", "approvals") == approvals
    # A backup leaves out the anchors of the last hours.
    kept_blobs = {blob for blob in blobs if not blob.startswith("anchors/")}
    assert kept_blobs <= set(stack.blobs(""))
    assert stack.secret("prefect-login") == login
    csv = b"".join((ROOT / "data" / "credit-g.csv").read_bytes().splitlines(keepends=True)[:4])
    answer = requests.post(
        stack.url("RISKOMETER", "/api/v1/files"), files={"file": ("clients.csv", csv)}, timeout=60
    )
    assert answer.json()["n_decided"] == 3


def test_a_restore_that_fails_leaves_the_state(stack: Stack, tmp_path: Path) -> None:
    kept, decided = tmp_path / "kept", stack.mongo(DECIDED)
    stack.run("make", "backup", TO=str(kept))
    spoilt = tmp_path / "spoilt"
    with archive.new(spoilt, "compose") as part:  # its digests are right, but it is not a backup
        for file in kept.iterdir():
            shutil.copy(file, part)
        (part / "decisions.tar").write_bytes((kept / "decisions.tar").read_bytes()[:-20_000])
    with pytest.raises(AssertionError, match="everything is as it was"):
        stack.run("make", "restore", FROM=str(spoilt), CONFIRM="1")
    stack.run("bash", "-c", UP)
    assert stack.mongo(DECIDED) == decided
    wait_for(lambda: ready(stack), 60, "the model")
