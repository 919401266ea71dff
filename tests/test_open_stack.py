"""The stack as other machines see it once HOST opens it, by the addresses that they use."""

import re
import socket
import sys

import pytest
import requests

from credit_risk import keys
from tools.access.exposure import names
from tools.paths import ROOT
from tools.stack.services import SERVICES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

# Without a network, an address of this machine on which only servers on 0.0.0.0 answer.
OUTSIDE = next(iter(names("0.0.0.0")[1:]), "127.0.0.2")
SETTINGS = {
    "HOST": "0.0.0.0",
    "ALLOWED_HOSTS": f"localhost,127.0.0.1,{OUTSIDE}",
    "N_ITER": "2",
    "RISKOMETER_PROCESSES": "1",
}


def answering(stack) -> set[str]:
    """Return the services that another machine reaches."""
    found = set()
    for service in SERVICES:
        if service.port and service.possible:
            with socket.socket() as probe:
                probe.settimeout(10)
                if probe.connect_ex((OUTSIDE, int(stack.environment[service.port]))) == 0:
                    found.add(service.name)
    return found


def outside(stack, service: str, path: str = "/") -> str:
    return f"http://{OUTSIDE}:{stack.environment[f'{service}_PORT']}{path}"


def test_other_machines_reach_only_services_with_a_login(new_stack) -> None:
    stack = new_stack(**SETTINGS)
    stack.start()
    said = stack.wait_until_ready(1000)
    assert "open to the network: mlflow, by its login" in said
    assert "open to the network: prefect-server, by its login" in said
    assert "everything else answers on this machine only" in said
    assert answering(stack) == {"mlflow", "prefect-server"}

    search = outside(stack, "MLFLOW", "/api/2.0/mlflow/experiments/search?max_results=1")
    assert requests.get(search, timeout=30).status_code == 401
    assert requests.get(outside(stack, "PREFECT", "/api/version"), timeout=30).status_code == 401
    password = (stack.var / "secrets" / "mlflow-people").read_text()
    assert password in stack.make("passwords")
    assert requests.get(search, auth=("people", password), timeout=30).status_code == 200

    # Training, the first approval, serving and an operator's commands have logged in.
    assert stack.get("RISKOMETER", "/api/v1/model").json()["version"] == "1"
    assert "1" in stack.make("approvals")
    assert "ready, model version 1" in stack.stack("status").stdout
    notebook = re.search(
        r"```python\n(import mlflow\n.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.S
    )
    assert notebook
    address = f"http://{OUTSIDE}:{stack.environment['MLFLOW_PORT']}"
    login = {"MLFLOW_TRACKING_USERNAME": "people", "MLFLOW_TRACKING_PASSWORD": password}
    done = stack.call([sys.executable, "-c", notebook[1]], MLFLOW_TRACKING_URI=address, **login)
    assert done.returncode == 0, done.stdout
    stack.stop()

    key = keys.make()
    stack.environment["API_KEYS"] = f"branch-12:{keys.digest(key)}"
    stack.start()
    said = stack.wait_until_ready(1000)
    assert "open to the network: risk-o-meter, by its login" in said
    assert answering(stack) == {"mlflow", "prefect-server", "risk-o-meter", "evidently-exporter"}
    model = outside(stack, "RISKOMETER", "/api/v1/model")
    assert requests.get(model, timeout=30).status_code == 401
    assert (
        requests.get(model, headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code
        == 200
    )
    for path in ("/reports", "/metrics"):
        assert requests.get(outside(stack, "EXPORTER", path), timeout=30).status_code == 401
