"""What HOST opens to the network: services with a login, and nothing else.

A service without one answers on this machine only, whatever HOST says. Only the standard library is
imported: MLflow's image has little else of this project.
"""

import ipaddress
import socket
from collections.abc import Mapping
from itertools import chain

LOOPBACK = "127.0.0.1"
LOGINS = ("mlflow", "prefect-server")
"""These ask for a login whenever they are open."""
TOKENS = ("OIDC_ISSUER", "IAP_AUDIENCE")
GUARDED = {
    "risk-o-meter": ("API_KEYS", "USER_HEADER", *TOKENS),
    "evidently-exporter": ("API_KEYS", "USER_HEADER", *TOKENS),
    "approvals": TOKENS,
}
"""These identify their callers if one of the variables is set."""


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only.

    A name other than `localhost` is taken to be open.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bind_address(service: str, environment: Mapping[str, str]) -> str:
    """Return the address that a service listens on."""
    host = environment["HOST"]
    return host if is_loopback(host) or _has_login(service, environment) else LOOPBACK


def is_open(service: str, environment: Mapping[str, str]) -> bool:
    """Return whether a service is reached from other machines."""
    return not is_loopback(bind_address(service, environment))


def _has_login(service: str, environment: Mapping[str, str]) -> bool:
    if service in GUARDED:
        return any(environment.get(name, "").strip(", ") for name in GUARDED[service])
    return service in LOGINS


def reachable(address: str) -> str:
    """Return where a service that listens on `address` is reached from this machine."""
    return LOOPBACK if address == "0.0.0.0" else address  # noqa: S104 - compared, not bound


def names(host: str) -> list[str]:
    """Return the names by which other machines reach what listens on `host`, if they can."""
    if is_loopback(host):
        return []
    if host != "0.0.0.0":  # noqa: S104 - compared, not bound
        return [host]

    import psutil  # of no use in a container, which does not know the machine's addresses

    interfaces = chain.from_iterable(psutil.net_if_addrs().values())
    found = [interface.address for interface in interfaces if interface.family == socket.AF_INET]
    return [socket.gethostname(), *(address for address in found if not is_loopback(address))]
