"""The Risk-O-Meter without MLflow, in this process, and its real server."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import psutil
import pytest
from werkzeug.test import Client

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.errors import DigestMismatch, RegistryUnavailable
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import Registry
from credit_risk.registry.version import Version
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from model_deployment.app import App
from tests.support.german_credit import read_training
from tests.support.processes import free_port, running, wait_for
from tests.support.services import put_in_service
from tools.paths import ROOT


@dataclass
class StubRegistry:
    """A registry in memory: versions "1" and "2", and an alias that stands at the first one."""

    scorers: list[CreditScorer]
    production: str | None = "1"
    away: bool = False
    tampered: set[str] = field(default_factory=set)
    undigested: set[str] = field(default_factory=set)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def alias(self, alias: str) -> str | None:
        self._answer()
        return self.production

    def version(self, number: str) -> Version:
        self._answer()
        digest = "" if number in self.undigested else f"digest-{number}"
        return Version(
            number, "run", digest, datetime(2026, 11, 1, tzinfo=UTC), self.tags.get(number, {})
        )

    def why_refused(self, number: str, digest: str) -> str:
        self._answer()
        if not digest:
            return f"version {number} was registered without a digest"
        return f"version {number} is another file now" if number in self.tampered else ""

    def load(self, number: str, digest: str | None = None, *, keep: bool = False) -> CreditScorer:
        self._answer()
        if number in self.tampered:
            raise DigestMismatch(f"version {number} is another file now")
        return self.scorers[int(number) - 1]

    def _answer(self) -> None:
        if self.away:
            raise RegistryUnavailable("no route to MLflow")


def decide_for(log: DecisionLog, version: str, by: str = "Ann", **more: Any) -> dict[str, Any]:
    """Write the approval of a stub's version into the log."""
    fields = {"by": by, "reason": "better", "digest": f"digest-{version}", "forced": False, **more}
    return log.append_approval("approval", version, **fields)


def client_of(app: App) -> Client:
    """Return a client that asks an app through ASGI, as the server does, but in this process."""

    def ask(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        said: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            said.append(message)

        body = environ["wsgi.input"].read()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        asyncio.run(app(_scope(environ), receive, send))
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in said[0]["headers"]
        ]
        start_response(f"{said[0]['status']} said", headers)
        return [part.get("body", b"") for part in said[1:]]

    return Client(ask)


def _scope(environ: dict[str, Any]) -> dict[str, Any]:
    names = {name: name[5:] for name in environ if name.startswith("HTTP_")}
    names |= {name: name for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)}
    path = environ["PATH_INFO"].encode("latin-1")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": "http",
        "path": path.decode(errors="replace"),
        "raw_path": quote(path).encode(),
        "query_string": environ["QUERY_STRING"].encode("latin-1"),
        "headers": [
            (header.lower().replace("_", "-").encode(), environ[name].encode("latin-1"))
            for name, header in names.items()
        ],
        "server": (environ["SERVER_NAME"], environ["SERVER_PORT"]),
        "client": ("127.0.0.1", "12345"),
    }


@dataclass
class Server:
    """A Risk-O-Meter that runs."""

    url: str
    port: int
    settings: Settings
    log_file: Path
    process: subprocess.Popen[bytes]

    def decisions(self) -> DecisionLog:
        """Return its decision log."""
        return open_log(self.settings)

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        return psutil.Process(self.process.pid).children()

    def ready(self, version: str = "") -> bool:
        """Return whether each worker has logged that it serves this version, or any.

        `/readyz` reaches only one of them.
        """
        workers = {worker.pid for worker in self.workers()}
        lines = [
            line for line in self.log_file.read_text().splitlines() if ": serving version " in line
        ]
        return bool(workers) and workers <= {
            int(line.split()[2]) for line in lines if line.endswith(version)
        }

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and body (parsed if it is JSON) of a GET on a new connection."""
        return self._ask(urllib.request.Request(self.url + path))

    def score(self, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        """Return status and body of a POST of applications."""
        headers = {"Content-Type": "application/json"}
        return self._ask(
            urllib.request.Request(f"{self.url}/api/v1/score", json.dumps(rows).encode(), headers)
        )

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, kind, body = (
                    response.status,
                    response.headers.get_content_type(),
                    response.read(),
                )
        except urllib.error.HTTPError as error:
            status, kind, body = error.code, error.headers.get_content_type(), error.read()
        return status, json.loads(body) if kind.endswith("json") else body.decode()


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, str], through: Sequence[str] = ()
) -> Iterator[Server]:
    """Run a Risk-O-Meter on its own port, with all state below a folder.

    `through` is a command that starts it.
    """
    port = free_port()
    env = {
        "VAR_DIR": str(folder / "var"),
        "DECISION_LOG": f"sqlite:///{folder}/var/decisions.db",
        "BUCKET": str(folder / "var/bucket"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "var/metrics"),
        "RISKOMETER_PORT": str(port),
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    command = [sys.executable, "-m", "model_deployment.server"]
    (folder / "var").mkdir(parents=True, exist_ok=True)
    log_file = folder / "server.log"
    with running([*through, *command], log_file, env) as process:
        server = Server(f"http://127.0.0.1:{port}", port, _settings(env), log_file, process)
        wait_for(lambda: server.get("/healthz")[0] == 200, seconds=120, what="the Risk-O-Meter")
        yield server


def _settings(env: Mapping[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return Settings(_env_file=None)


def register_version(tracking_uri: str, name: str, scorer: CreditScorer, **tags: str) -> str:
    """Log and register a model as the training flow does, and return its version."""
    train = read_training(ROOT / "data/train.csv")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(name)
    with mlflow.start_run() as run, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow's hint on integer columns
        uri = log_scorer(scorer, train.drop(columns="class").head(3))
    return Registry(tracking_uri, name).register(run.info.run_id, uri, tags).number


def approve_version(server: Server, version: str, by: str = "Ann Example") -> None:
    """Approve a version as `make approve` does."""
    registry = Registry(server.settings.mlflow_tracking_uri, server.settings.model_name)
    put_in_service(registry, open_log(server.settings), version, by)
