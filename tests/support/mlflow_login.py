"""A real MLflow server with its login, what training has stored in it, and attacks on that."""

import base64
import http.client
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import requests

from tests.support.processes import answers, free_port, running, wait_for
from tools.access import passwords
from tools.servers.mlflow_server import KEY, USERS

ROOT = Path(__file__).parents[2]
MODEL = "credit-risk"
# Not an address of this machine: a server published there has a login, wherever it listens.
NETWORK = "192.0.2.7"


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

    def ask(
        self, user: str | None, method: str, path: str, body: object = None, **headers: str
    ) -> requests.Response:
        """Ask as a user or without a login; a relative path is one of MLflow's own API."""
        url = self.url + (path if path.startswith("/") else f"/api/2.0/mlflow/{path}")
        auth = self.login(user) if user else None
        return requests.request(method, url, json=body, auth=auth, headers=headers, timeout=60)

    def raw(self, user: str, method: str, path: str, body: bytes) -> int:
        """Ask for a path exactly as it is written, and return the status."""
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
    command = [
        sys.executable,
        "-m",
        "tools.servers.mlflow_server",
        "--port",
        str(port),
        "--backend-store-uri",
    ]
    command += [
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
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


@dataclass
class Trained:
    """The experiment, run and model that training has logged, and the model's stored file."""

    experiment: str
    run: str
    model: str
    file: str
    stored: Path


def state(server: Server, trained: Trained) -> object:
    """Return all that must not change: versions, aliases, tags, run, experiment, files, rights."""
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
        (
            user["username"],
            user["is_admin"],
            p["resource_type"],
            p["resource_pattern"],
            p["permission"],
        )
        for user in server.ask("admin", "GET", "users/list").json()["users"]
        for p in [permission for role in user["roles"] for permission in role["permissions"]]
        or [defaultdict(str)]
        if p["resource_pattern"] in (*theirs, "")
    ]
    folder = server.folder / "artifacts" / trained.experiment
    return found, users, {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def attacks(trained: Trained, user: str) -> list[tuple[str, str, object]]:
    """Return requests that only training, the approver and the administrator may make."""
    run, experiment, model = (
        {"run_id": trained.run},
        {"experiment_id": trained.experiment},
        trained.model,
    )
    version, alias = {"name": MODEL, "version": "1"}, {"name": MODEL, "alias": "production"}
    tag, permission = (
        {"key": "digest", "value": "x"},
        {"resource_type": "registered_model", "permission": "MANAGE"},
    )
    return [
        ("POST", "registered-models/alias", alias | {"version": "1"}),
        ("DELETE", "registered-models/alias", alias),
        ("POST", "registered-models/set-tag", {"name": MODEL} | tag),
        ("DELETE", "registered-models/delete-tag", {"name": MODEL, "key": "digest"}),
        ("PATCH", "registered-models/update", {"name": MODEL, "description": "x"}),
        ("POST", "registered-models/rename", {"name": MODEL, "new_name": "mine"}),
        ("DELETE", "registered-models/delete", {"name": MODEL}),
        (
            "POST",
            "model-versions/create",
            {"name": MODEL, "source": f"models:/{model}", "run_id": trained.run},
        ),
        ("POST", "model-versions/set-tag", version | tag),
        ("DELETE", "model-versions/delete-tag", version | {"key": "digest"}),
        ("PATCH", "model-versions/update", version | {"description": "x"}),
        (
            "POST",
            "model-versions/transition-stage",
            version | {"stage": "Archived", "archive_existing_versions": True},
        ),
        ("DELETE", "model-versions/delete", version),
        ("POST", "runs/create", experiment),
        (
            "POST",
            "runs/log-batch",
            run | {"metrics": [{"key": "auc", "value": 1, "timestamp": 0, "step": 0}]},
        ),
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
        (
            "POST",
            "/api/3.0/mlflow/scorers/register",
            experiment | {"name": "x", "serialized_scorer": "{}"},
        ),
        ("POST", "users/create", {"username": "mallory", "password": "long enough to be one"}),
        (
            "PATCH",
            "users/update-password",
            {"username": "training", "password": "long enough to be one"},
        ),
        ("PATCH", "users/update-admin", {"username": user, "is_admin": True}),
        ("DELETE", "users/delete", {"username": "training"}),
        ("POST", "/api/3.0/mlflow/roles/create", {"name": "x", "workspace": "default"}),
        ("POST", "/api/3.0/mlflow/roles/assign", {"username": user, "role_id": 1}),
        (
            "POST",
            "/api/3.0/mlflow/roles/permissions/add",
            permission | {"role_id": 1, "resource_pattern": "*"},
        ),
        (
            "POST",
            "/api/3.0/mlflow/users/permissions/grant",
            permission | {"username": user, "resource_id": MODEL},
        ),
        (
            "POST",
            "/api/3.0/mlflow/users/permissions/revoke",
            {"username": "training", "resource_type": "registered_model", "resource_id": MODEL},
        ),
        ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{trained.file}", "evil"),
        ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{trained.file}", None),
        ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{trained.experiment}", None),
        (
            "POST",
            f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={trained.run}&path=model_card.md",
            "evil",
        ),
        ("POST", "/ajax-api/3.0/mlflow/demo/delete", {}),
    ]


def own(server: Server, name: str) -> Trained:
    """Return an experiment, a run, a logged model and a registered one that belong to a person."""
    experiment = server.ask("people", "POST", "experiments/create", {"name": name}).json()[
        "experiment_id"
    ]
    run = server.ask("people", "POST", "runs/create", {"experiment_id": experiment}).json()["run"][
        "info"
    ]["run_id"]
    logged = server.ask(
        "people", "POST", "logged-models", {"experiment_id": experiment, "name": "model"}
    ).json()
    server.ask("people", "POST", "registered-models/create", {"name": name})
    model = logged["model"]["info"]["model_id"]
    file = f"{experiment}/models/{model}/artifacts/model.skops"
    return Trained(experiment, run, model, file, server.folder / "artifacts" / file)


def camel(body: dict[str, object]) -> dict[str, object]:
    """Return a body with its members named as protobuf also accepts them: runId for run_id."""
    return {
        re.sub("_([a-z])", lambda letter: letter[1].upper(), name): value
        for name, value in body.items()
    }


def disguises(
    path: str, theirs: dict[str, object], mine: dict[str, object]
) -> Iterator[tuple[str, bytes, str]]:
    """Yield requests on `theirs` that look like one on `mine`: address, body and its type."""
    query = "?" + urlencode({name: value for name, value in mine.items() if isinstance(value, str)})
    for kind in ("application/json", "text/plain", "", "application/x-www-form-urlencoded"):
        yield path + query, json.dumps(theirs).encode(), kind
    yield path + query, json.dumps(json.dumps(theirs)).encode(), "application/json"
    yield path + "?" + urlencode(theirs), json.dumps(mine).encode(), "application/json"
    for body in (
        mine | camel(theirs),
        camel(theirs) | mine,
        camel(mine) | theirs,
        theirs | camel(mine),
    ):
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
