"""The real MLflow server: what its login permits to whom, and what it never does."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from mlflow.tracking import MlflowClient

from tests.support.cases import slow
from tests.support.mlflow_login import (
    MODEL,
    NETWORK,
    Server,
    Trained,
    attacks,
    disguises,
    own,
    serving,
    state,
)
from tools.servers.mlflow_server import EXPERIMENT, hosts_and_origins

READERS = ["people", *slow("serving")]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow as it runs where HOST opens it."""
    with serving(tmp_path_factory.mktemp("closed"), NETWORK) as server:
        yield server


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
    assert (
        closed.raw("training", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{file}", b"good") == 200
    )
    ask("PATCH", f"logged-models/{model}", {"model_id": model, "status": "LOGGED_MODEL_READY"})
    version = {"name": MODEL, "source": f"models:/{model}", "run_id": run, "model_id": model}
    ask("POST", "model-versions/create", version)
    for alias in ("production", "challenger"):
        ask("POST", "registered-models/alias", {"name": MODEL, "alias": alias, "version": "1"})
    return Trained(experiment, run, model, file, closed.folder / "artifacts" / file)


@pytest.mark.parametrize("user", READERS)
def test_readers_cannot_change_what_training_has_stored(
    user: str, closed: Server, trained: Trained
) -> None:
    before = state(closed, trained)
    for method, path, body in attacks(trained, user):
        for spelled in {path, path.replace("/api/", "/ajax-api/")}:
            answer = closed.ask(user, method, spelled, body)
            assert answer.status_code == 403, (
                f"{method} {spelled}: {answer.status_code} {answer.text}"
            )
    answer = closed.ask(
        user, "POST", "/v1/traces", **{"x-mlflow-experiment-id": trained.experiment}
    )
    assert answer.status_code == 403
    assert state(closed, trained) == before


def test_requests_without_a_login_are_refused(closed: Server, trained: Trained) -> None:
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


def test_another_spelling_of_a_path_does_not_reach_an_artifact(
    closed: Server, trained: Trained
) -> None:
    made = closed.ask("people", "POST", "experiments/create", {"name": "spelling"}).json()[
        "experiment_id"
    ]
    assert (
        closed.raw("people", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{made}/x/mine", b"mine")
        == 200
    )
    before = state(closed, trained)
    steps: tuple[str, ...] = (
        "{own}/../{file}",
        "{own}/%2e%2e/{file}",
        "{own}%2f..%2f{file}",
        "{own}/%252e%252e/{file}",
        "/{file}",
    )
    steps += (
        "./{file}",
        "%2f{file}",
        "{own}%00/{file}",
        "{own}\\..\\{file}",
        "workspaces/default/{file}",
    )
    for prefix in (
        "/api/2.0",
        "/ajax-api/2.0",
        "//api/2.0",
        "/static/../api/2.0",
        "/api/2.0/../2.0",
    ):
        for step in steps:
            path = f"{prefix}/mlflow-artifacts/artifacts/" + step.format(
                own=made, file=trained.file
            )
            for method in ("PUT", "DELETE"):
                assert closed.raw("people", method, path, b"evil") in (308, 400, 403, 404), path
    assert trained.stored.read_bytes() == b"good"
    assert state(closed, trained) == before


@pytest.mark.parametrize("ends", [False, *slow(True)], ids=["changes", "removals"])
def test_ambiguous_requests_do_not_pass_the_login(
    closed: Server, trained: Trained, *, ends: bool
) -> None:
    """A user may change their own things, and nothing else by a request with two readings."""
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
                method,
                closed.url + address,
                data=sent,
                headers=headers,
                auth=(user, password),
                timeout=60,
            )
        assert state(closed, trained) == before, f"{method} {path}"


def test_an_upload_that_names_two_runs_is_refused(closed: Server, trained: Trained) -> None:
    mine = own(closed, "uploads")
    before = state(closed, trained)
    for names in itertools.permutations(("run_id", "run_uuid", "runId", "runUuid"), 2):
        for kind, body in (
            ("text/plain", b"evil"),
            ("application/json", json.dumps({"run_id": mine.run}).encode()),
        ):
            query = urlencode(
                dict(zip(names, (mine.run, trained.run), strict=True)) | {"path": "model_card.md"}
            )
            requests.post(
                f"{closed.url}/ajax-api/2.0/mlflow/upload-artifact?{query}",
                data=body,
                headers={"Content-Type": kind},
                auth=closed.login("people"),
                timeout=60,
            )
    assert state(closed, trained) == before


def test_uploads_that_bypass_the_server_are_refused(closed: Server, trained: Trained) -> None:
    for kind in ("mpu/create", "mpu/complete", "mpu/abort", "presigned"):
        for prefix in ("/api/2.0", "/ajax-api/2.0"):
            path = f"{prefix}/mlflow-artifacts/{kind}/{trained.file}"
            assert closed.ask("training", "POST", path, {"path": trained.file}).status_code == 404


def test_the_approver_moves_the_alias_and_signs_the_card(closed: Server, trained: Trained) -> None:
    alias = {"name": MODEL, "alias": "production", "version": "1"}
    assert closed.ask("approver", "POST", "registered-models/alias", alias).status_code == 200
    card = f"{trained.experiment}/{trained.run}/artifacts/model_card.md"
    path = f"/api/2.0/mlflow-artifacts/artifacts/{card}"
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
                assert closed.ask(user, method, path, body).status_code == 403, (
                    f"{user} {method} {path}"
                )
    assert state(closed, trained) == before


@pytest.mark.parametrize("name", [EXPERIMENT, MODEL])
def test_trainings_names_are_taken_from_the_start(name: str, closed: Server) -> None:
    for path in ("experiments/create", "registered-models/create"):
        answer = closed.ask("people", "POST", path, {"name": name})
        assert answer.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"


def test_the_administrator_adds_a_person_on_the_signup_page(
    closed: Server, trained: Trained
) -> None:
    with requests.Session() as browser:
        browser.auth = closed.login("admin")
        page = browser.get(f"{closed.url}/signup", timeout=60)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token
        form = {"username": "grace", "password": "a password of her own"}
        form_of = f"{closed.url}/api/2.0/mlflow/users/create-ui"
        assert (
            browser.post(form_of, data=form, timeout=60).status_code == 400
        )  # from another page: no token
        browser.post(form_of, data=form | {"csrf_token": token[1]}, timeout=60).raise_for_status()
    grace = ("grace", "a password of her own")
    run = f"{closed.url}/api/2.0/mlflow/runs"
    assert (
        requests.get(f"{run}/get?run_id={trained.run}", auth=grace, timeout=60).status_code == 200
    )
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
folder = mlflow.artifacts.download_artifacts(f"models:/{version.name}@production")
print(open(folder + "/model.skops").read())
"""
    environment = {
        "MLFLOW_TRACKING_URI": closed.url,
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "http" not in line] == [
        "1",
        "what I tried",
        "1",
        "good",
    ]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow as it runs on this machine only."""
    with serving(tmp_path_factory.mktemp("open"), "127.0.0.1") as server:
        yield server


@pytest.mark.parametrize("door", [*slow("opened"), "closed"])
def test_the_server_runs_no_commands_and_calls_no_language_models(
    door: str, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    model = {
        "model": "x",
        "selected": True,
        "base_url": server.url,
        "permissions": {"full_access": True},
    }
    assistant = "/ajax-api/3.0/mlflow/assistant"
    for method, path, body in (
        ("PUT", f"{assistant}/config", {"providers": {"ollama": model}}),
        ("POST", f"{assistant}/message", {"message": "x"}),
        ("POST", f"{assistant}/skills/install", {"type": "global"}),
        ("GET", f"{assistant}/config", None),
    ):
        assert server.ask(user, method, path, body).status_code in (403, 404), path
    secret = {"secret_name": "x", "secret_value": {"api_key": "x"}, "provider": "openai"}
    assert (
        server.ask(user, "POST", "/api/3.0/mlflow/gateway/secrets/create", secret).status_code
        == 501
    )
    assert server.ask(user, "GET", "/gateway/mlflow/v1/models").status_code == 501
    assert not server.ask(
        user, "POST", "/ajax-api/3.0/jobs/", {"job_name": "invoke_scorer", "params": {}}
    ).ok
    assert not (server.folder / ".mlflow" / "assistant").exists()


@pytest.mark.parametrize("door", ["opened", "closed"])
@pytest.mark.parametrize("spelling", ["artifact_location", "artifactLocation"])
def test_the_server_writes_only_where_artifacts_are(
    door: str, spelling: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    for place in (tmp_path.as_uri(), str(tmp_path), "mlflow-artifacts:/0"):
        for path in (
            "/api/2.0/mlflow/experiments/create",
            "/ajax-api/2.0/mlflow/experiments/create",
        ):
            answer = server.ask(user, "POST", path, {"name": f"{place} {path}", spelling: place})
            assert answer.status_code == 400
            assert "artifact_location" in answer.json()["message"]


@pytest.mark.parametrize("door", ["opened", "closed"])
def test_foreign_host_names_and_origins_are_refused(
    door: str, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(door)
    user = "people" if door == "closed" else None
    body = {"max_results": 1}
    for host in (
        "evil.example",
        "10.evil.example",
        "192.168.evil.example",
        f"localhost.evil.example:{server.port}",
    ):
        assert server.ask(user, "POST", "experiments/search", body, Host=host).status_code == 403, (
            host
        )
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{server.port}"):
        assert (
            server.ask(user, "POST", "experiments/search", body, Origin=origin).status_code == 403
        ), origin
    for host in (f"127.0.0.1:{server.port}", "risk.bank.example", f"mlflow:{server.port}"):
        origin = f"http://{host}" if "mlflow" not in host else f"http://127.0.0.1:{server.port}"
        assert (
            server.ask(
                user, "POST", "experiments/search", body, Host=host, Origin=origin
            ).status_code
            == 200
        ), host


def test_the_server_answers_to_the_names_of_the_opened_host() -> None:
    found = hosts_and_origins([NETWORK, "2001:db8::1"], 5051)
    hosts, origins = (set(value.split(",")) for value in found.values())
    assert {NETWORK, f"{NETWORK}:*", "mlflow:*", "[2001:db8::1]", "[[]2001:db8::1]:*"} <= hosts
    assert {f"http://{NETWORK}:5051", f"https://{NETWORK}", "http://[2001:db8::1]:5051"} <= origins


@pytest.mark.slow
def test_an_open_mlflow_keeps_its_data_when_it_gets_a_login(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1") as server:
        client = MlflowClient(server.url)
        run = client.create_run(client.create_experiment(EXPERIMENT)).info.run_id
        client.create_registered_model(MODEL)
    metric, tag = (
        {"run_id": run, "key": "auc", "value": 1, "timestamp": 0},
        {"name": MODEL, "key": "a", "value": "b"},
    )
    with serving(tmp_path, NETWORK) as server:
        for user, status in (("people", 403), ("training", 200)):
            assert server.ask(user, "POST", "runs/log-metric", metric).status_code == status
            assert server.ask(user, "POST", "registered-models/set-tag", tag).status_code == status
        old = server.login("people")
    (tmp_path / "secrets" / "mlflow-people").write_text("another-password-of-ones-own")
    with serving(tmp_path, NETWORK) as server:  # a password counts from the next start on
        assert requests.get(server.url, auth=old, timeout=60).status_code == 401
        assert server.ask("people", "GET", f"runs/get?run_id={run}").json()["run"]["data"][
            "metrics"
        ]
