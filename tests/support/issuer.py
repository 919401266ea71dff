"""An issuer of tokens for tests: the parts of an OpenID Connect provider that those tests need.

It is a real HTTP server on 127.0.0.1 with the provider's configuration and its public keys. Its
keys can be changed while it runs, it can be stopped and come back, it counts what it was asked, and
it signs whatever it is told to: tokens as they should be, and every kind that must be refused.
Further pages, such as `/authorize` and `/token`, are functions in `pages`.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm, get_default_algorithms

from tests.support.processes import free_port

AUDIENCE = "risk-o-meter"
CONFIGURATION = "/.well-known/openid-configuration"
JWKS = "/jwks"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Claims = Mapping[str, Any]


class Asked(NamedTuple):
    """A request: `query` and `form` hold the parameters, headers have names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


class Said(NamedTuple):
    """An answer; a body that is no bytes is sent as JSON."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = {}


Page = Callable[[Asked], Said]


class Issuer:
    """An issuer that runs between `start` and `stop`.

    Attributes
    ----------
    url : str
        The issuer, as tokens name it.
    keys : dict of str to PrivateKey
        Those that it publishes, by id. `rotate` takes another one in their place.
    pages : dict of str to Page
        What it answers, by path.
    asked : list of str
        The paths that it was asked for.
    """

    def __init__(self, algorithm: str = "RS256") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.algorithm = algorithm
        self.keys: dict[str, PrivateKey] = {}
        self.asked: list[str] = []
        self.pages: dict[str, Page] = {
            CONFIGURATION: lambda _: Said(200, self.configuration()),
            JWKS: lambda _: Said(200, {"keys": self.public_keys()}),
        }
        self._server: ThreadingHTTPServer | None = None
        self.rotate()

    def configuration(self) -> dict[str, Any]:
        """Return the provider's configuration."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}{JWKS}",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
        }

    def public_keys(self) -> list[dict[str, Any]]:
        """Return the keys that it publishes, as JSON Web Keys."""
        return [jwk(key, id, self.algorithm) for id, key in self.keys.items()]

    def rotate(self, *, keep: bool = False) -> str:
        """Sign with a new key from now on, and return its id; withdraw the others, or not."""
        if not keep:
            self.keys.clear()
        self.kid = f"key-{time.monotonic_ns()}"
        self.keys[self.kid] = new_key(self.algorithm)
        return self.kid

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token for Ann; a claim that is changed to None is left out.

        Times count from now where they are changed to a number with a sign: `exp="-60"`.
        """
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "7f3a",
            "email": "ann@bank.example",
            "email_verified": True,
            "iat": now,
            "exp": now + 300,
        } | changes
        for name in ("iat", "exp", "nbf"):
            if isinstance(value := claims.get(name), str):
                claims[name] = now + int(value)
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changes: Any) -> str:
        """Return a token that is signed as it should be, with some claims changed."""
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        return signed(header, self.claims(**changes), self.keys[self.kid])

    def start(self) -> "Issuer":
        """Answer requests, also again after a stop."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.issuer = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Answer nobody any more."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def issuing(algorithm: str = "RS256") -> Iterator[Issuer]:
    """Run an issuer for as long as the block runs."""
    issuer = Issuer(algorithm).start()
    try:
        yield issuer
    finally:
        issuer.stop()


def new_key(algorithm: str = "RS256") -> PrivateKey:
    """Return a new private key for an algorithm."""
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: PrivateKey, id: str, algorithm: str) -> dict[str, Any]:
    """Return the public part of a key as a JSON Web Key."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {
        **kind.to_jwk(key.public_key(), as_dict=True),  # type: ignore[arg-type]
        "kid": id,
        "alg": algorithm,
        "use": "sig",
    }


def pem(key: PrivateKey) -> bytes:
    """Return the public part of a key as it is often written down."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signed(header: Claims, claims: Claims | str, key: PrivateKey | bytes | None) -> str:
    """Return a token with any header and claims, signed by its header's algorithm with a key.

    Bytes are a secret for HS256, None leaves the signature out. Nothing is checked: PyJWT itself
    would refuse to make some of these tokens.
    """
    text = claims if isinstance(claims, str) else json.dumps(claims)
    head = f"{_base64(json.dumps(header).encode())}.{_base64(text.encode())}"
    if key is None:
        signature = b""
    elif isinstance(key, bytes):
        signature = hmac.new(key, head.encode(), hashlib.sha256).digest()
    else:
        algorithm = get_default_algorithms()[str(header["alg"])]
        signature = algorithm.sign(head.encode(), key)
    return f"{head}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    issuer: Issuer
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        self.server.issuer.asked.append(target.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = Asked(
            self.command,
            target.path,
            dict(parse_qsl(target.query)),
            dict(parse_qsl(body)),
            {name.lower(): value for name, value in self.headers.items()},
        )
        page = self.server.issuer.pages.get(target.path)
        said = page(asked) if page else Said(404, {"error": "not_found"})

        data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        self.send_response(said.status)
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def issuing_at(address: str) -> Iterator[Issuer]:
    """Run an issuer at another address of this machine, by which containers reach it."""
    issuer = Issuer()
    issuer.url = f"http://{address}:{issuer.port}"
    server = _Server((address, issuer.port), _Handler)
    server.issuer = issuer
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
