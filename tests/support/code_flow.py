"""The sign-in of the tests' issuer: OpenID Connect's code flow with PKCE, as oauth2-proxy uses it.

It holds a client to the protocol: a wrong secret, verifier, redirect address or a code used twice
is refused.
"""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.support.issuer import AUDIENCE, Asked, Issuer, Said


@dataclass
class CodeFlow:
    """The pages `/authorize` and `/token` of an issuer.

    Attributes
    ----------
    issuer : Issuer
    secret : str
        The client's.
    domain : str
        The names below it are those that a code may be sent to.
    person : dict or None
        Claims of the person who is signed in at the issuer; None: nobody is.
    seconds : int
        How long tokens are valid.
    renews : bool
        Whether clients get a refresh token.
    """

    issuer: Issuer
    secret: str
    domain: str
    person: dict[str, Any] | None = None
    seconds: int = 300
    renews: bool = True
    n_renewed: int = 0
    _codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = field(default_factory=dict)
    _refresh: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.issuer.pages |= {"/authorize": self.authorize, "/token": self.token}

    def authorize(self, asked: Asked) -> Said:
        """Send the person back with a code, or show a page where nobody is signed in."""
        query = asked.query
        back = urlsplit(query.get("redirect_uri", ""))
        is_known = (
            query.get("client_id") == AUDIENCE
            and query.get("response_type") == "code"
            and query.get("code_challenge_method") == "S256"
            and "nonce" in query
            and "openid" in query.get("scope", "").split()
            and back.scheme == "https"
            and back.hostname == f"sign-in.{self.domain}"
            and back.path == "/oauth2/callback"
        )
        if not is_known:
            return Said(400, {"error": "invalid_request", "asked": query})
        if self.person is None:
            page = b"<!doctype html><title>Bank sign-in</title><h1>Bank sign-in</h1>"
            return Said(200, page, {"Content-Type": "text/html"})

        code = secrets.token_urlsafe(16)
        self._codes[code] = query, self.person
        answer = urlencode({"code": code, "state": query["state"]})
        return Said(302, headers={"Location": f"{query['redirect_uri']}?{answer}"})

    def token(self, asked: Asked) -> Said:
        """Exchange a code or a refresh token."""
        if not self._is_client(asked):
            return Said(401, {"error": "invalid_client"})
        form = asked.form
        if form.get("grant_type") == "refresh_token":
            # It may come again: the requests of a page renew a session at the same time.
            person = self._refresh.get(form.get("refresh_token", ""))
            if person is None:
                return Said(400, {"error": "invalid_grant"})
            self.n_renewed += 1
            return self._tokens(person)

        query, person = self._codes.pop(form.get("code", ""), ({}, None))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = query.get("code_challenge") == challenge and query.get(
            "redirect_uri"
        ) == form.get("redirect_uri")
        if person is None or not is_right:
            return Said(400, {"error": "invalid_grant"})
        return self._tokens(person, nonce=query["nonce"])

    def _is_client(self, asked: Asked) -> bool:
        login = base64.b64encode(f"{AUDIENCE}:{self.secret}".encode()).decode()
        in_form = asked.form.get("client_id"), asked.form.get("client_secret")
        return asked.headers.get("authorization") == f"Basic {login}" or in_form == (
            AUDIENCE,
            self.secret,
        )

    def _tokens(self, person: dict[str, Any], **more: Any) -> Said:
        now = int(time.time())
        answer = {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": self.seconds,
            "id_token": self.issuer.token(**person, **more, iat=now, exp=now + self.seconds),
        }
        if self.renews:
            refresh = secrets.token_urlsafe(16)
            self._refresh[refresh] = person
            answer["refresh_token"] = refresh
        return Said(200, answer)
