"""MLflow's door: what its login lets whom do, asked of the real server, and what it does for nobody."""

import base64
import http.client
import itertools
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from mlflow.tracking import MlflowClient

from tests.support.processes import answers, free_port, running, wait_for
from tools import passwords
from tools.mlflow_server import EXPERIMENT, KEY, USERS, hosts_and_origins

ROOT = Path(__file__).parents[1]
MODEL = "credit-risk"
NETWORK = "192.0.2.7"  # no address of this machine's: what is published there has a login, wherever it listens
READERS = ("people", "serving")


@dataclass
class Server:
    """A running MLflow; `folder` has its database, its artifacts and the passwords."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def login(self, user: str) -> tuple[str, str]:
        return user, passwords.read(self.folder / "secrets", f"mlflow-{user}")

    def ask(self, user: str | None, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """Ask as a user, or without a login; a path that is not absolute is one of MLflow's own API."""
        url = self.url + (path if path.startswith("/") else f"/api/2.0/mlflow/{path}")
        auth = self.login(user) if user else None
        return requests.request(method, url, json=body, auth=auth, headers=headers, timeout=60)

    def raw(self, user: str, method: str, path: str, body: bytes) -> int:
        """Ask for a path just as it is written, and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        login = base64.b64encode(":".join(self.login(user)).encode()).decode()
        connection.request(method, path, body, {"Authorization": f"Basic {login}"})
        try:
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, host: str) -> Iterator[Server]:
    port = free_port()
    passwords.make(folder / "secrets", [KEY, *(f"mlflow-{user}" for user in USERS)])
    command = [sys.executable, "-m", "tools.mlflow_server", "--port", str(port), "--backend-store-uri"]
    command += [f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = {
        "SECRETS_DIR": str(folder / "secrets"),
        "HOST": host,
        "MLFLOW_PORT": str(port),
        "ALLOWED_HOSTS": "risk.bank.example",
        "MODEL_NAME": MODEL,
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    with running(command, folder / "log", environment):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 180, "MLflow")
        yield Server(port, folder)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow as it is where HOST opens it."""
    with serving(tmp_path_factory.mktemp("closed"), NETWORK) as server:
        yield server


@dataclass
class Trained:
    """What training has logged and registered: the experiment, a run, a logged model, and its file in the store."""

    experiment: str
    run: str
    model: str
    file: str
    stored: Path


@pytest.fixture(scope="module")
def trained(closed: Server) -> Trained:
    """A version that serves and challenges, registered with training's own login."""

    def ask(method: str, path: str, body: object) -> dict[str, Any]:
        answer = closed.ask("training", method, path, body)
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}

    found = closed.ask("training", "GET", f"experiments/get-by-name?experiment_name={EXPERIMENT}")
    experiment = found.json()["experiment"]["experiment_id"]
    run = ask("POST", "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    ask("POST", "runs/log-metric", {"run_id": run, "key": "auc", "value": 0.8, "timestamp": 0})
    logged = {"experiment_id": experiment, "name": "model", "source_run_id": run}
    model = ask("POST", "logged-models", logged)["model"]["info"]["model_id"]
    file = f"{experiment}/models/{model}/artifacts/model.skops"
    assert closed.raw("training", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{file}", b"good") == 200
    ask("PATCH", f"logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"})
    version = {"name": MODEL, "source": f"models:/{model}", "run_id": run, "model_id": model}
    ask("POST", "model-versions/create", version)
    for alias in ("production", "challenger"):
        ask("POST", "registered-models/alias", {"name": MODEL, "alias": alias, "version": "1"})
    return Trained(experiment, run, model, file, closed.folder / "artifacts" / file)


def state(server: Server, trained: Trained) -> object:
    """Return all that must stay: versions, aliases, tags, the run, the experiment, files, and who may change them."""
    paths = (
        f"registered-models/get?name={MODEL}",
        f"model-versions/get?name={MODEL}&version=1",
        f"runs/get?run_id={trained.run}",
        f"experiments/get?experiment_id={trained.experiment}",
        f"logged-models/{trained.model}",
    )
    found = [server.ask("admin", "GET", path).json() for path in paths]
    theirs = (trained.experiment, MODEL, "*")
    users = [
        (user["username"], user["is_admin"], p["resource_type"], p["resource_pattern"], p["permission"])
        for user in server.ask("admin", "GET", "users/list").json()["users"]
        for p in [permission for role in user["roles"] for permission in role["permissions"]] or [defaultdict(str)]
        if p["resource_pattern"] in (*theirs, "")
    ]
    folder = server.folder / "artifacts" / trained.experiment
    return found, users, {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def attacks(trained: Trained, user: str) -> list[tuple[str, str, object]]:
    """Return what only training, the approver and the administrator may do."""
    run, experiment, model = {"run_id": trained.run}, {"experiment_id": trained.experiment}, trained.model
    version, alias = {"name": MODEL, "version": "1"}, {"name": MODEL, "alias": "production"}
    tag, permission = {"key": "digest", "value": "x"}, {"resource_type": "registered_model", "permission": "MANAGE"}
    return [
        ("POST", "registered-models/alias", alias | {"version": "1"}),
        ("DELETE", "registered-models/alias", alias),
        ("POST", "registered-models/set-tag", {"name": MODEL} | tag),
        ("DELETE", "registered-models/delete-tag", {"name": MODEL, "key": "digest"}),
        ("PATCH", "registered-models/update", {"name": MODEL, "description": "x"}),
        ("POST", "registered-models/rename", {"name": MODEL, "new_name": "mine"}),
        ("DELETE", "registered-models/delete", {"name": MODEL}),
        ("POST", "model-versions/create", {"name": MODEL, "source": f"models:/{model}", "run_id": trained.run}),
        ("POST", "model-versions/set-tag", version | tag),
        ("DELETE", "model-versions/delete-tag", version | {"key": "digest"}),
        ("PATCH", "model-versions/update", version | {"description": "x"}),
        ("POST", "model-versions/transition-stage", version | {"stage": "Archived", "archive_existing_versions": True}),
        ("DELETE", "model-versions/delete", version),
        ("POST", "runs/create", experiment),
        ("POST", "runs/log-batch", run | {"metrics": [{"key": "auc", "value": 1, "timestamp": 0, "step": 0}]}),
        ("POST", "runs/log-metric", run | {"key": "auc", "value": 1, "timestamp": 0}),
        ("POST", "runs/log-parameter", run | {"key": "a", "value": "1"}),
        ("POST", "runs/log-inputs", run | {"datasets": []}),
        ("POST", "runs/outputs", run | {"models": []}),
        ("POST", "runs/log-model", run | {"model_json": "{}"}),
        ("POST", "runs/set-tag", run | {"key": "mlflow.note.content", "value": "x"}),
        ("POST", "runs/delete-tag", run | {"key": "mlflow.user"}),
        ("POST", "runs/update", run | {"status": "FAILED"}),
        ("POST", "runs/delete", run),
        ("POST", "runs/restore", run),
        ("POST", "experiments/update", experiment | {"new_name": "mine"}),
        ("POST", "experiments/set-experiment-tag", experiment | tag),
        ("POST", "experiments/delete-experiment-tag", experiment | {"key": "digest"}),
        ("POST", "experiments/delete", experiment),
        ("POST", "experiments/restore", experiment),
        ("POST", "logged-models", experiment | {"name": "x"}),
        ("PATCH", f"logged-models/{model}", {"status": "LOGGED_MODEL_UPLOAD_FAILED"}),
        ("PATCH", f"logged-models/{model}/tags", {"tags": [tag]}),
        ("DELETE", f"logged-models/{model}/tags/digest", None),
        ("POST", f"logged-models/{model}/params", {"params": []}),
        ("DELETE", f"logged-models/{model}", None),
        ("POST", "traces", experiment | {"timestamp_ms": 0}),
        ("POST", "webhooks", {"name": "x", "url": "https://evil.example", "events": []}),
        ("POST", "/api/3.0/mlflow/scorers/register", experiment | {"name": "x", "serialized_scorer": "{}"}),
        ("POST", "users/create", {"username": "mallory", "password": "long enough to be one"}),
        ("PATCH", "users/update-password", {"username": "training", "password": "long enough to be one"}),
        ("PATCH", "users/update-admin", {"username": user, "is_admin": True}),
        ("DELETE", "users/delete", {"username": "training"}),
        ("POST", "/api/3.0/mlflow/roles/create", {"name": "x", "workspace": "default"}),
        ("POST", "/api/3.0/mlflow/roles/assign", {"username": user, "role_id": 1}),
        ("POST", "/api/3.0/mlflow/roles/permissions/add", permission | {"role_id": 1, "resource_pattern": "*"}),
        ("POST", "/api/3.0/mlflow/users/permissions/grant", permission | {"username": user, "resource_id": MODEL}),
        (
            "POST",
            "/api/3.0/mlflow/users/permissions/revoke",
            {"username": "training", "resource_type": "registered_model", "resource_id": MODEL},
        ),
        ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{trained.file}", "evil"),
        ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{trained.file}", None),
        ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{trained.experiment}", None),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={trained.run}&path=model_card.md", "evil"),
        ("POST", "/ajax-api/3.0/mlflow/demo/delete", {}),
    ]


@pytest.mark.parametrize("user", READERS)
def test_who_reads_changes_nothing_of_trainings(user: str, closed: Server, trained: Trained) -> None:
    before = state(closed, trained)
    for method, path, body in attacks(trained, user):
        for spelled in {path, path.replace("/api/", "/ajax-api/")}:
            answer = closed.ask(user, method, spelled, body)
            assert answer.status_code == 403, f"{method} {spelled}: {answer.status_code} {answer.text}"
    answer = closed.ask(user, "POST", "/v1/traces", **{"x-mlflow-experiment-id": trained.experiment})
    assert answer.status_code == 403
    assert state(closed, trained) == before


def test_without_a_login_nothing_is_done_or_told(closed: Server, trained: Trained) -> None:
    before = state(closed, trained)
    told = [
        ("GET", f"/get-artifact?run_uuid={trained.run}&path=reference.parquet", None),
        ("GET", f"/api/2.0/mlflow-artifacts/artifacts/{trained.file}", None),
        ("POST", "experiments/search", {"max_results": 1}),
        ("POST", "/graphql", {"query": "{__typename}"}),
        ("GET", "/", None),
    ]
    for method, path, body in [*attacks(trained, "people"), *told]:
        assert closed.ask(None, method, path, body).status_code == 401, path
    wrong = requests.get(f"{closed.url}/", auth=("people", "not the password"), timeout=60)
    assert wrong.status_code == 401
    assert state(closed, trained) == before


def test_an_artifact_is_not_reached_by_another_spelling_of_its_place(closed: Server, trained: Trained) -> None:
    made = closed.ask("people", "POST", "experiments/create", {"name": "spelling"}).json()["experiment_id"]
    assert closed.raw("people", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{made}/x/mine", b"mine") == 200
    before = state(closed, trained)
    steps: tuple[str, ...] = (
        "{own}/../{file}",
        "{own}/%2e%2e/{file}",
        "{own}%2f..%2f{file}",
        "{own}/%252e%252e/{file}",
        "/{file}",
    )
    steps += ("./{file}", "%2f{file}", "{own}%00/{file}", "{own}\\..\\{file}", "workspaces/default/{file}")
    for prefix in ("/api/2.0", "/ajax-api/2.0", "//api/2.0", "/static/../api/2.0", "/api/2.0/../2.0"):
        for step in steps:
            path = f"{prefix}/mlflow-artifacts/artifacts/" + step.format(own=made, file=trained.file)
            for method in ("PUT", "DELETE"):
                assert closed.raw("people", method, path, b"evil") in (308, 400, 403, 404), path
    assert trained.stored.read_bytes() == b"good"
    assert state(closed, trained) == before


def own(server: Server, name: str) -> Trained:
    """Return an experiment, a run, a logged model and a registered one that belong to a person."""
    experiment = server.ask("people", "POST", "experiments/create", {"name": name}).json()["experiment_id"]
    run = server.ask("people", "POST", "runs/create", {"experiment_id": experiment}).json()["run"]["info"]["run_id"]
    logged = server.ask("people", "POST", "logged-models", {"experiment_id": experiment, "name": "model"}).json()
    server.ask("people", "POST", "registered-models/create", {"name": name})
    model = logged["model"]["info"]["model_id"]
    file = f"{experiment}/models/{model}/artifacts/model.skops"
    return Trained(experiment, run, model, file, server.folder / "artifacts" / file)


def camel(body: dict[str, object]) -> dict[str, object]:
    """Return a body with its members named as protobuf also takes them: runId for run_id."""
    return {re.sub("_([a-z])", lambda letter: letter[1].upper(), name): value for name, value in body.items()}


def disguises(path: str, theirs: dict[str, object], mine: dict[str, object]) -> Iterator[tuple[str, bytes, str]]:
    """Give requests on `theirs` that look like one on `mine`: address, body and its type."""
    query = "?" + urlencode({name: value for name, value in mine.items() if isinstance(value, str)})
    for kind in ("application/json", "text/plain", "", "application/x-www-form-urlencoded"):
        yield path + query, json.dumps(theirs).encode(), kind
    yield path + query, json.dumps(json.dumps(theirs)).encode(), "application/json"
    yield path + "?" + urlencode(theirs), json.dumps(mine).encode(), "application/json"
    for body in (mine | camel(theirs), camel(theirs) | mine, camel(mine) | theirs, theirs | camel(mine)):
        yield path, json.dumps(body).encode(), "application/json"
    if "run_id" in theirs:
        rest = {name: value for name, value in theirs.items() if name != "run_id"}
        for names in itertools.permutations(("run_id", "run_uuid", "runId", "runUuid"), 2):
            both = dict(zip(names, (mine["run_id"], theirs["run_id"]), strict=True))
            yield path, json.dumps(both | rest).encode(), "application/json"
            yield (
                f"{path}?{urlencode({names[0]: mine['run_id']})}",
                json.dumps(rest | {names[1]: theirs["run_id"]}).encode(),
                "",
            )
    twice = json.dumps(mine)[:-1] + ", " + json.dumps(theirs)[1:]
    yield path, twice.encode(), "application/json"


@pytest.mark.parametrize("ends", [False, True], ids=["changes", "removals"])
def test_no_disguise_of_a_request_passes(closed: Server, trained: Trained, *, ends: bool) -> None:
    """Whoever may change something of their own changes nothing else by a request that can be read in two ways."""
    name = f"disguised {ends}"
    mine = own(closed, name)
    before = state(closed, trained)
    user, password = closed.login("people")
    for method, path, body in attacks(trained, user):
        removes = method == "DELETE" or path.endswith(("delete", "restore", "rename"))
        if not isinstance(body, dict) or removes is not ends:
            continue
        ours = json.loads(
            json.dumps(body)
            .replace(trained.run, mine.run)
            .replace(trained.model, mine.model)
            .replace(f'"{trained.experiment}"', f'"{mine.experiment}"')
            .replace(MODEL, name)
        )
        where = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        for address, sent, kind in disguises(where, body, ours):
            headers = {"Content-Type": kind} if kind else {}
            requests.request(
                method, closed.url + address, data=sent, headers=headers, auth=(user, password), timeout=60
            )
        assert state(closed, trained) == before, f"{method} {path}"


def test_an_upload_names_one_run(closed: Server, trained: Trained) -> None:
    mine = own(closed, "uploads")
    before = state(closed, trained)
    for names in itertools.permutations(("run_id", "run_uuid", "runId", "runUuid"), 2):
        for kind, body in (("text/plain", b"evil"), ("application/json", json.dumps({"run_id": mine.run}).encode())):
            query = urlencode(dict(zip(names, (mine.run, trained.run), strict=True)) | {"path": "model_card.md"})
            requests.post(
                f"{closed.url}/ajax-api/2.0/mlflow/upload-artifact?{query}",
                data=body,
                headers={"Content-Type": kind},
                auth=closed.login("people"),
                timeout=60,
            )
    assert state(closed, trained) == before


def test_a_file_goes_up_by_this_server_alone(closed: Server, trained: Trained) -> None:
    for kind in ("mpu/create", "mpu/complete", "mpu/abort", "presigned"):
        for prefix in ("/api/2.0", "/ajax-api/2.0"):
            path = f"{prefix}/mlflow-artifacts/{kind}/{trained.file}"
            assert closed.ask("training", "POST", path, {"path": trained.file}).status_code == 404


def test_the_approver_moves_the_alias_and_signs_the_card(closed: Server, trained: Trained) -> None:
    alias = {"name": MODEL, "alias": "production", "version": "1"}
    assert closed.ask("approver", "POST", "registered-models/alias", alias).status_code == 200
    path = f"/api/2.0/mlflow-artifacts/artifacts/{trained.experiment}/{trained.run}/artifacts/model_card.md"
    assert closed.raw("approver", "PUT", path, b"approved") == 200


def test_no_service_may_delete_or_administer(closed: Server, trained: Trained) -> None:
    before = state(closed, trained)
    for user in ("training", "approver"):
        for method, path, body in attacks(trained, user):
            if (
                (method == "DELETE" and "tag" not in path and "alias" not in path)
                or "/users/" in path
                or "/roles/" in path
            ):
                assert closed.ask(user, method, path, body).status_code == 403, f"{user} {method} {path}"
    assert state(closed, trained) == before


@pytest.mark.parametrize("name", [EXPERIMENT, MODEL])
def test_nobody_is_first_to_take_trainings_names(name: str, closed: Server) -> None:
    for path in ("experiments/create", "registered-models/create"):
        answer = closed.ask("people", "POST", path, {"name": name})
        assert answer.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"


def test_the_administrator_adds_a_person_by_the_page_for_that(closed: Server, trained: Trained) -> None:
    with requests.Session() as browser:
        browser.auth = closed.login("admin")
        page = browser.get(f"{closed.url}/signup", timeout=60)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token
        form = {"username": "grace", "password": "a password of her own"}
        form_of = f"{closed.url}/api/2.0/mlflow/users/create-ui"
        assert browser.post(form_of, data=form, timeout=60).status_code == 400  # from another page: no token
        browser.post(form_of, data=form | {"csrf_token": token[1]}, timeout=60).raise_for_status()
    grace = ("grace", "a password of her own")
    run = f"{closed.url}/api/2.0/mlflow/runs"
    assert requests.get(f"{run}/get?run_id={trained.run}", auth=grace, timeout=60).status_code == 200
    deletion = requests.post(f"{run}/delete", json={"run_id": trained.run}, auth=grace, timeout=60)
    assert deletion.status_code == 403


def test_a_data_scientist_works_as_the_readme_says(
    closed: Server, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, password = closed.login("people")
    script = """
import mlflow
mlflow.set_experiment("ada: fewer leaves")
with mlflow.start_run() as run:
    mlflow.log_param("num_leaves", 4)
    mlflow.log_metric("auc", 0.79)
    mlflow.log_text("what I tried", "notes.md")
mlflow.set_experiment("ada: fewer leaves")  # a second notebook
print(len(mlflow.search_runs(experiment_names=["credit-risk"])))
print(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes.md"))
version = mlflow.MlflowClient().get_model_version_by_alias("credit-risk", "production")
print(version.version)
print(open(mlflow.artifacts.download_artifacts(f"models:/{version.name}@production")+ "/model.skops").read())
"""
    environment = {
        "MLFLOW_TRACKING_URI": closed.url,
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "http" not in line] == ["1", "what I tried", "1", "good"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow as it is on this machine alone."""
    with serving(tmp_path_factory.mktemp("open"), "127.0.0.1") as server:
        yield server


@pytest.mark.parametrize("door", ["opened", "closed"])
def test_it_runs_no_commands_and_asks_nobody(door: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    model = {"model": "x", "selected": True, "base_url": server.url, "permissions": {"full_access": True}}
    assistant = "/ajax-api/3.0/mlflow/assistant"
    for method, path, body in (
        ("PUT", f"{assistant}/config", {"providers": {"ollama": model}}),
        ("POST", f"{assistant}/message", {"message": "x"}),
        ("POST", f"{assistant}/skills/install", {"type": "global"}),
        ("GET", f"{assistant}/config", None),
    ):
        assert server.ask(user, method, path, body).status_code in (403, 404), path
    secret = {"secret_name": "x", "secret_value": {"api_key": "x"}, "provider": "openai"}
    assert server.ask(user, "POST", "/api/3.0/mlflow/gateway/secrets/create", secret).status_code == 501
    assert server.ask(user, "GET", "/gateway/mlflow/v1/models").status_code == 501
    assert not server.ask(user, "POST", "/ajax-api/3.0/jobs/", {"job_name": "invoke_scorer", "params": {}}).ok
    assert not (server.folder / ".mlflow" / "assistant").exists()


@pytest.mark.parametrize("door", ["opened", "closed"])
@pytest.mark.parametrize("spelling", ["artifact_location", "artifactLocation"])
def test_it_writes_nowhere_but_where_artifacts_are(
    door: str, spelling: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    for place in (tmp_path.as_uri(), str(tmp_path), "mlflow-artifacts:/0"):
        for path in ("/api/2.0/mlflow/experiments/create", "/ajax-api/2.0/mlflow/experiments/create"):
            answer = server.ask(user, "POST", path, {"name": f"{place} {path}", spelling: place})
            assert answer.status_code == 400
            assert "artifact_location" in answer.json()["message"]


@pytest.mark.parametrize("door", ["opened", "closed"])
def test_foreign_names_and_pages_are_refused(door: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    body = {"max_results": 1}
    for host in ("evil.example", "10.evil.example", "192.168.evil.example", f"localhost.evil.example:{server.port}"):
        assert server.ask(user, "POST", "experiments/search", body, Host=host).status_code == 403, host
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{server.port}"):
        assert server.ask(user, "POST", "experiments/search", body, Origin=origin).status_code == 403, origin
    for host in (f"127.0.0.1:{server.port}", "risk.bank.example", f"mlflow:{server.port}"):
        origin = f"http://{host}" if "mlflow" not in host else f"http://127.0.0.1:{server.port}"
        assert server.ask(user, "POST", "experiments/search", body, Host=host, Origin=origin).status_code == 200, host


def test_it_answers_to_the_names_by_which_host_opens_it() -> None:
    found = hosts_and_origins([NETWORK, "2001:db8::1"], 5051)
    hosts, origins = (set(value.split(",")) for value in found.values())
    assert {NETWORK, f"{NETWORK}:*", "mlflow:*", "[2001:db8::1]", "[[]2001:db8::1]:*"} <= hosts
    assert {f"http://{NETWORK}:5051", f"https://{NETWORK}", "http://[2001:db8::1]:5051"} <= origins


@pytest.mark.slow
def test_what_an_open_mlflow_held_is_kept_when_it_gets_its_login(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1") as server:
        client = MlflowClient(server.url)
        run = client.create_run(client.create_experiment(EXPERIMENT)).info.run_id
        client.create_registered_model(MODEL)
    metric, tag = {"run_id": run, "key": "auc", "value": 1, "timestamp": 0}, {"name": MODEL, "key": "a", "value": "b"}
    with serving(tmp_path, NETWORK) as server:
        for user, status in (("people", 403), ("training", 200)):
            assert server.ask(user, "POST", "runs/log-metric", metric).status_code == status
            assert server.ask(user, "POST", "registered-models/set-tag", tag).status_code == status
        old = server.login("people")
    (tmp_path / "secrets" / "mlflow-people").write_text("another-password-of-ones-own")
    with serving(tmp_path, NETWORK) as server:  # a password counts from the next start on
        assert requests.get(server.url, auth=old, timeout=60).status_code == 401
        assert server.ask("people", "GET", f"runs/get?run_id={run}").json()["run"]["data"]["metrics"]
