"""Who may ask: requests by the names that the service is known under, from its own page, with a key where one is set.

Any web page that a clerk has open can post a form to 127.0.0.1, and by a name of its own that resolves to it even read
the answer. Roles and rate limits belong to a proxy in front.
"""

import hmac
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app, request

from credit_risk.overrides import MAX_TEXT
from model_deployment.openapi import PUBLIC
from model_deployment.problems import Problem

_API = "/api/"


class Guard:
    """Refuses requests by unknown names, from foreign pages and, where keys are set, without one of them.

    Parameters
    ----------
    hosts : collection of str
        The names that `Host` may say, without port.
    keys : collection of str
        What `Authorization: Bearer` may hold for the API; without any, everybody may use it.
    """

    def __init__(self, hosts: Collection[str], keys: Collection[str]) -> None:
        self._hosts = {host.lower() for host in hosts}
        self._keys = [key.encode() for key in keys]

    def register(self, app: Flask) -> None:
        """Look at every request of an app."""
        app.before_request(self._look)

    def surely_passes(self, environ: Mapping[str, Any]) -> bool:
        """Say whether a call of the API needs no closer look: a name that is known, no page, a key where one is set."""
        name, _, port = environ.get("HTTP_HOST", "").partition(":")
        if name.lower() not in self._hosts or not (port or "0").isdecimal() or "HTTP_ORIGIN" in environ:
            return False
        kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        return not self._keys or (kind == "Bearer" and self._is_key(given))

    def _look(self) -> None:
        name = (urlsplit(f"//{request.host}").hostname or "").lower()
        if name not in self._hosts:
            detail = f"This service is not known as {name!r}. ALLOWED_HOSTS lists the names that it answers to."
            raise Problem(400, "unknown-host", detail)
        origin = request.headers.get("Origin")
        ours = (f"http://{request.host}", f"https://{request.host}")
        if origin and origin not in ours and request.method not in ("GET", "HEAD", "OPTIONS"):
            raise Problem(403, "foreign-origin", "Requests from other web pages are refused.")
        closed = request.path.startswith(_API) and request.path not in PUBLIC
        said = request.authorization
        token = said.token if said and said.type == "bearer" else None
        if self._keys and closed and not self._is_key(token or ""):
            detail = "This API wants a key: Authorization: Bearer KEY."
            raise Problem(401, "no-key", detail, {"WWW-Authenticate": "Bearer"})

    def _is_key(self, given: str) -> bool:
        sent = given.encode()
        return any(hmac.compare_digest(sent, key) for key in self._keys)


def user() -> str | None:
    """Return who a reverse proxy in front says is asking; None where no known one says it."""
    name, proxies = current_app.config["USER_HEADER"], current_app.config["TRUSTED_PROXIES"]
    # Anybody else could write the header too.
    said = request.headers.get(name, "") if name and request.remote_addr in proxies else ""
    return "".join(c for c in said if c.isprintable()).strip()[:MAX_TEXT] or None
