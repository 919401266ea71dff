"""What the local stack consists of: each service, what it waits for, and how to tell that it is well."""

import base64
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from credit_risk.prefect_api import PrefectAPI
from tools.exposure import bind_address, reachable

# A proxy from the environment would be asked for 127.0.0.1 too.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Service:
    """One program of supervisord.conf.

    Attributes
    ----------
    after : tuple of str
        The services that have to be ready before this one is started.
    port : str
        The setting that holds its port; empty when it has none.
    page : str
        The path of what a person opens.
    health : str
        The path that answers 200 when it is well; with `body`, by POST.
    pool : str
        For a worker: the work pool that it takes runs from.
    job : bool
        It ends by itself, and then it is ready.
    server : bool
        Others need it to stop in good order, so it is stopped last.
    programs : tuple of str
        Not ours to bring: it runs where one of these is on PATH.
    """

    name: str
    after: tuple[str, ...] = ()
    port: str = ""
    page: str = ""
    health: str = ""
    body: bytes | None = None
    pool: str = ""
    job: bool = False
    server: bool = False
    programs: tuple[str, ...] = ()

    @property
    def program(self) -> str | None:
        """The path of what it needs to be on this machine; None where that is not there."""
        return next(filter(None, map(shutil.which, self.programs)), None)

    @property
    def possible(self) -> bool:
        """Whether it can run on this machine."""
        return not self.programs or self.program is not None

    def address(self, environment: Mapping[str, str]) -> str:
        """Return where it answers on this machine; empty when it has no port."""
        host = reachable(bind_address(self.name, environment))
        return f"http://{host}:{environment[self.port]}" if self.port else ""


# The order of the table.
SERVICES = (
    Service("risk-o-meter", ("mlflow",), port="RISKOMETER_PORT", health="/readyz"),
    # MLflow's /health says 200 to hosts that get 403 elsewhere: ask what clients ask.
    Service(
        "mlflow",
        port="MLFLOW_PORT",
        health="/api/2.0/mlflow/experiments/search",
        body=b'{"max_results": 1}',
        server=True,
    ),
    Service("prefect-server", port="PREFECT_PORT", health="/api/health", server=True),
    Service("training-worker", ("deployments",), pool="training"),
    Service("reporting-worker", ("deployments",), pool="reporting"),
    Service("evidently-exporter", ("mlflow",), port="EXPORTER_PORT", page="/metrics", health="/healthz"),
    Service("prometheus", port="PROMETHEUS_PORT", health="/-/healthy", programs=("prometheus",)),
    Service(
        "alertmanager",
        port="ALERTMANAGER_PORT",
        health="/-/healthy",
        programs=("alertmanager", "prometheus-alertmanager"),  # the second is Debian's name
    ),
    Service("deployments", ("prefect-server",), job=True),
    Service("first-model", ("mlflow", "deployments"), job=True),
)

_WORKERS = ("training-worker", "reporting-worker")
_FLOWS_ASKED = ("deployments", "first-model", *_WORKERS, "evidently-exporter")
_LOG_USED = ("risk-o-meter", "evidently-exporter", "first-model", *_WORKERS)

# Who has which credential; a service that is not named starts without it. docker-compose.yml hands out the same.
CREDENTIALS = {
    "ALERT_WEBHOOK_URL": ("alertmanager",),
    "SMTP_USER": ("alertmanager",),
    "SMTP_PASSWORD": ("alertmanager",),
    "API_KEYS": ("risk-o-meter", "evidently-exporter"),
    "DECISION_LOG": _LOG_USED,
    "PREFECT_SERVER_API_AUTH_STRING": ("prefect-server",),
    "PREFECT_API_AUTH_STRING": _FLOWS_ASKED,
    "MLFLOW_TRACKING_USERNAME": (),
    "MLFLOW_TRACKING_PASSWORD": (),
}

# Who asks MLflow as which of its users (see mlflow_server.py).
MLFLOW_USERS = {
    "first-model": "approver",
    "training-worker": "training",
    "reporting-worker": "serving",
    "risk-o-meter": "serving",
    "evidently-exporter": "serving",
}

# What a worker starts its runs with; nobody else has a say in that (see JOB_TEMPLATE in deploy.py).
RUNS = {
    # A run says every 30 s that it lives; the crash rule of deploy.py listens. Prefect takes no less than 30.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Log lines are sent every half second, so that whoever follows a run sees it move.
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
    # A run has time, and MLflow may be restarting.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def environment_of(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a service is started with, of what the whole stack was given."""
    kept = {variable: value for variable, value in given.items() if name in CREDENTIALS.get(variable, (name,))}
    if user := MLFLOW_USERS.get(name):
        kept |= mlflow_login(user)
    return kept | RUNS if name in _WORKERS else kept


def mlflow_login(user: str) -> dict[str, str]:
    """Return what MLflow's clients log in with; an MLflow without a login does not mind."""
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": f"{{secret:mlflow-{user}}}"}


@dataclass(frozen=True)
class Health:
    """What is to be said of a service; `ready` when it does its work, `alive` when it at least answers."""

    text: str
    ready: bool = False
    alive: bool = False


def health(service: Service, environment: Mapping[str, str], process: Mapping[str, Any] | None) -> Health:
    """Say how a service is, from what supervisord knows of its process and from what it answers itself."""
    state = process["statename"] if process else "STOPPED"
    if not process or state in ("STOPPED", "STOPPING"):
        return Health("stopping" if state == "STOPPING" else "not started")
    if service.job and state == "EXITED":
        return Health("done", ready=True) if process["exitstatus"] == 0 else Health(f"failed, {ending(process)}")
    if state in ("BACKOFF", "FATAL", "EXITED", "UNKNOWN"):
        return Health("ends as soon as it is started")
    if service.job:
        return Health("at work")
    if service.pool:
        return _worker(service, environment, process["start"])
    login = f"{environment['MLFLOW_TRACKING_USERNAME']}:{environment['MLFLOW_TRACKING_PASSWORD']}"
    return _answer(
        service.address(environment) + service.health, service.body, login if service.name == "mlflow" else ""
    )


def ending(process: Mapping[str, Any]) -> str:
    """Say how a process ended."""
    return "by a signal" if process["exitstatus"] == -1 else f"exit status {process['exitstatus']}"


def _answer(url: str, body: bytes | None, login: str) -> Health:
    try:
        answer = _fetch(url, body, login)
    except urllib.error.HTTPError as error:
        with error:
            detail = _member(error.read(), "detail") or f"answers {error.code}"
        return Health(f"up, but {detail[:1].lower()}{detail[1:]}", alive=True)
    except OSError:
        return Health("does not answer yet")
    version = _member(answer, "model_version")
    return Health(f"ready, model version {version}" if version else "ready", ready=True, alive=True)


def _worker(service: Service, environment: Mapping[str, str], started: float) -> Health:
    """Say whether a worker has asked its pool for runs since it was started."""
    api = _prefect(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    try:
        workers = api.ask(f"work_pools/{service.pool}/workers/filter", {})
    except OSError:
        return Health("its server does not answer")
    heard = [w["last_heartbeat_time"] for w in workers if w["name"] == service.name and w["last_heartbeat_time"]]
    if any(datetime.fromisoformat(time).timestamp() >= started for time in heard):
        return Health("ready", ready=True, alive=True)
    return Health("has not asked for runs yet")


@cache
def _prefect(address: str, login: str) -> PrefectAPI:
    return PrefectAPI(address, login, timeout=3)


def _fetch(url: str, body: bytes | None, login: str) -> bytes:
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own address
    with _open(request, timeout=3) as response:
        return bytes(response.read())


def _member(answer: bytes, name: str) -> str | None:
    """Return a member of a JSON object; None when it is not there, or the answer is something else."""
    try:
        value = json.loads(answer)[name]
    except (ValueError, KeyError, TypeError):
        return None
    return None if value is None else str(value)
