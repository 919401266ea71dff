"""Who may ask: requests by the names that the service is known under, from its own page, with a key where one is set.

Any web page that a clerk has open can post a form to 127.0.0.1, and by a name of its own that resolves to it even read
the answer. Roles and rate limits belong to a proxy in front.
"""

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from flask import Flask, request

from model_deployment.openapi import PUBLIC
from model_deployment.problems import Problem

_API = "/api/"


def register(app: Flask, hosts: Collection[str], keys: Collection[str]) -> None:
    """Refuse requests by unknown names, from foreign pages and, where keys are set, without one of them.

    Parameters
    ----------
    hosts : collection of str
        The names that `Host` may say, without port.
    keys : collection of str
        What `Authorization: Bearer` may hold for the API; without any, everybody may use it.
    """
    known = {host.lower() for host in hosts}
    secrets = [key.encode() for key in keys]

    def look() -> None:
        name = (urlsplit(f"//{request.host}").hostname or "").lower()
        if name not in known:
            detail = f"This service is not known as {name!r}. ALLOWED_HOSTS lists the names that it answers to."
            raise Problem(400, "unknown-host", detail)
        origin = request.headers.get("Origin")
        ours = (f"http://{request.host}", f"https://{request.host}")
        if origin and origin not in ours and request.method not in ("GET", "HEAD", "OPTIONS"):
            raise Problem(403, "foreign-origin", "Requests from other web pages are refused.")
        closed = request.path.startswith(_API) and request.path not in PUBLIC
        if secrets and closed and not _has_key(secrets):
            detail = "This API wants a key: Authorization: Bearer KEY."
            raise Problem(401, "no-key", detail, {"WWW-Authenticate": "Bearer"})

    app.before_request(look)


def _has_key(secrets: list[bytes]) -> bool:
    given = request.authorization.token if request.authorization and request.authorization.type == "bearer" else None
    sent = (given or "").encode()
    return any(hmac.compare_digest(sent, secret) for secret in secrets)
