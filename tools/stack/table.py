"""The table of services, and the lines that `make run` and `make status` print below it."""

from collections.abc import Mapping

from tools.access import passwords
from tools.access.exposure import is_open
from tools.stack.console import Console
from tools.stack.health import health
from tools.stack.local_stack import Stack
from tools.stack.services import SERVICES

MISSING = {
    "prometheus": (
        "not on PATH: `apt-get install prometheus`, `brew install prometheus` "
        "or prometheus.io/download"
    ),
    "alertmanager": (
        "not on PATH: `apt-get install prometheus-alertmanager` or prometheus.io/download"
    ),
}


def table(stack: Stack, environment: Mapping[str, str]) -> str:
    """Return each service with its address and its state."""
    known = stack.processes()
    rows = [("service", "address", "state")]
    for service in SERVICES:
        if not service.wanted(environment):
            continue
        if not service.possible:
            rows.append((service.name, "", MISSING[service.name]))
            continue
        address = service.address(environment) + service.page
        state = health(service, environment, known.get(service.name)).text
        rows.append((service.name, address, state))

    first, second = (max(len(row[column]) for row in rows) for column in range(2))
    return "\n".join(
        f"{name:{first}}  {address:{second}}  {state}" for name, address, state in rows
    )


def what_is_open(environment: Mapping[str, str]) -> str:
    """Return which services other machines reach, one line each."""
    lines = [
        f"open to the network: {service.name}, by its login"
        for service in SERVICES
        if service.possible
        and service.wanted(environment)
        and service.port
        and is_open(service.name, environment)
    ]
    rest = "everything else answers" if lines else "every service answers"
    return "\n".join([*lines, f"{rest} on this machine only"])


def logins(stack: Stack, environment: Mapping[str, str], console: Console) -> str:
    """Return what to type where a page asks for a login; outside a terminal, how to see it."""
    if not console.live:
        return "logins, once:  see `make passwords`"
    return f"logins, once:\n{passwords.typed(stack.secrets, mlflow=is_open('mlflow', environment))}"
