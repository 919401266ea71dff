"""The health of a service, from its process and from its own answers."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from credit_risk.prefect_api import PrefectAPI, open_directly
from tools.stack.services import Service

Process = Mapping[str, Any]
"""What supervisord knows of a process."""


@dataclass(frozen=True)
class Health:
    """The state of a service: `ready` when it does its work, `alive` when it at least answers."""

    text: str
    ready: bool = False
    alive: bool = False


def health(service: Service, environment: Mapping[str, str], process: Process | None) -> Health:
    """Return the health of a service, from its process and from what it answers."""
    state = process["statename"] if process else "STOPPED"
    if not process or state == "STOPPED":
        return Health("not started")
    if state == "STOPPING":
        return Health("stopping")

    if service.job and state == "EXITED":
        if process["exitstatus"] == 0:
            return Health("done", ready=True)
        return Health(f"failed, {ending(process)}")
    if state in ("BACKOFF", "FATAL", "EXITED", "UNKNOWN"):
        return Health("ends as soon as it is started")

    if service.job:
        return Health("at work")
    if service.pool:
        return _worker(service, environment, process["start"])

    login = ""
    if service.name == "mlflow":
        user, password = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
        login = f"{environment[user]}:{environment[password]}"
    return _answer(service.address(environment) + service.health, service.body, login)


def ending(process: Process) -> str:
    """Return how a process ended."""
    status = process["exitstatus"]
    return "by a signal" if status == -1 else f"exit status {status}"


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
    text = f"ready, model version {version}" if version else "ready"
    return Health(text, ready=True, alive=True)


def _worker(service: Service, environment: Mapping[str, str], started: float) -> Health:
    """Return whether a worker has asked its pool for runs since it was started."""
    api = _prefect(environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"])
    try:
        workers = api.ask(f"work_pools/{service.pool}/workers/filter", {})
    except OSError:
        return Health("its server does not answer")

    heard = [
        worker["last_heartbeat_time"]
        for worker in workers
        if worker["name"] == service.name and worker["last_heartbeat_time"]
    ]
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
    with open_directly(request, timeout=3) as response:
        return bytes(response.read())


def _member(answer: bytes, name: str) -> str | None:
    """Return a member of a JSON object; None without it, or when the answer is not an object."""
    try:
        value = json.loads(answer)[name]
    except (ValueError, KeyError, TypeError):
        return None
    return None if value is None else str(value)
