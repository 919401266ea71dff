"""The profile `secure` as processes: oauth2-proxy and Caddy, with the settings of the containers.

And a client that sends requests as they are: a browser or `requests` would tidy up their paths.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPResponse
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from tests.support.processes import answers, free_port, listens, need, running, wait_for
from tools.access import handout
from tools.paths import ROOT

DOMAIN = "credit-risk.localhost"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PAGE = {"Accept": "text/html"}
NAMES = (
    "riskometer",
    "approvals",
    "reports",
    "mlflow",
    "prefect",
    "prometheus",
    "alertmanager",
    "grafana",
)
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    text: str

    @property
    def location(self) -> str:
        return str(self.headers.get("Location", ""))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets, with their attributes, by name."""
        said = self.headers.get_all("Set-Cookie", [])
        return {line.partition("=")[0]: line.partition("=")[2] for line in said}


@dataclass
class Client:
    """Whoever sends requests to the door on `port`; it trusts the authority in the file `trusted`.

    Attributes
    ----------
    cookies : dict of str to str
        Those of its session, as a browser would keep them.
    """

    port: int
    trusted: Path
    domain: str = DOMAIN
    cookies: dict[str, str] = field(default_factory=dict)

    def url(self, name: str, path: str = "/") -> str:
        return f"https://{name}.{self.domain}:{self.port}{path}"

    def connect(self, name: str) -> ssl.SSLSocket:
        """Return a connection, for which the name's certificate was checked."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        return context.wrap_socket(plain, server_hostname=f"{name}.{self.domain}")

    def head(self, name: str, method: str, path: str, headers: Headers) -> bytes:
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        given = {key.lower() for key, _ in pairs}
        lines = [f"{method} {path} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {name}.{self.domain}:{self.port}")
        if self.cookies and "cookie" not in given:
            lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in self.cookies.items()))
        if "connection" not in given:
            lines.append("Connection: close")
        lines += [f"{key}: {value}" for key, value in pairs]
        return "\r\n".join([*lines, "", ""]).encode()

    def ask(
        self,
        name: str,
        path: str = "/",
        headers: Headers = (),
        method: str = "GET",
        body: bytes = b"",
    ) -> Answer:
        """Send a request and return the answer; its cookies are kept, no redirect is followed."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if body:
            pairs.append(("Content-Length", str(len(body))))
        with self.connect(name) as connection:
            connection.sendall(self.head(name, method, path, pairs) + body)
            response = HTTPResponse(connection, method=method)
            response.begin()
            text = response.read().decode(errors="replace")
        answer = Answer(response.status, response.headers, text)
        self._take(answer)
        return answer

    def _take(self, answer: Answer) -> None:
        """Keep the cookies that an answer sets, and drop those that it ends."""
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] and int(morsel["max-age"]) <= 0:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    def sign_in(self, name: str = "riskometer", path: str = "/", start: str = "") -> Answer:
        """Sign in as whoever is signed in at the issuer, and return the last answer."""
        if start:
            answer = self.ask("sign-in", start, PAGE)
        else:
            answer = self.ask(name, path, PAGE)
        assert answer.status == 302, answer
        at_issuer = requests.get(answer.location, allow_redirects=False, timeout=20)
        assert at_issuer.status_code == 302, at_issuer.text
        back = urlsplit(at_issuer.headers["Location"])
        assert back.netloc == f"sign-in.{self.domain}:{self.port}"
        return self.ask("sign-in", f"{back.path}?{back.query}", PAGE)


def environment_of(service: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what docker-compose.yml gives a service, with these variables filled in."""

    def fill(text: str) -> str:
        return re.sub(
            r"\$\{(\w+)(?::-([^{}]*))?\}", lambda m: variables.get(m[1]) or m[2] or "", text
        )

    given = SERVICES[service]["environment"]
    return {name: variables.get(name, "") if v is None else fill(v) for name, v in given.items()}


@contextmanager
def sign_in(folder: Path, variables: Mapping[str, str], secret: str, **more: str) -> Iterator[str]:
    """Run oauth2-proxy as the service `sign-in`, and yield its address.

    Parameters
    ----------
    secret : str
        The client's, at the issuer.
    **more : str
        Variables of its environment to change.
    """
    program = need("oauth2-proxy", "tools/install-parts.sh builds it")
    files = handout.folders(dict.fromkeys(handout.MADE, "m" * 43), {"OIDC_CLIENT_SECRET": secret})
    environment = environment_of("sign-in", variables)
    for name, value in environment.items():
        if value.startswith("/run/secrets/"):
            file = folder / value.removeprefix("/run/secrets/")
            file.write_text(files["sign-in"][file.name])
            environment[name] = str(file)

    port = free_port()
    environment["OAUTH2_PROXY_HTTP_ADDRESS"] = f"127.0.0.1:{port}"
    environment["OAUTH2_PROXY_TRUSTED_PROXY_IPS"] += ",127.0.0.0/8"
    with running([program], folder / "sign-in.log", environment | more):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/ping"), 60, "oauth2-proxy")
        yield f"127.0.0.1:{port}"


@contextmanager
def door(folder: Path, variables: Mapping[str, str], **more: str) -> Iterator[Client]:
    """Run Caddy as the service `secure-proxy`, and yield a client of it.

    Parameters
    ----------
    **more : str
        Its environment: where the services are.
    """
    need("caddy", "tools/install-parts.sh installs it")
    port = int(variables["SECURE_PORT"])
    environment: dict[str, Any] = environment_of("secure-proxy", variables) | {
        "LISTEN": str(port),
        "BIND": "127.0.0.1",
        "XDG_DATA_HOME": str(folder),
        "HOME": str(folder),
        "TLS_FILES": str(folder / "none"),
        **handout.folders(dict.fromkeys(handout.MADE, "secret"), {})["secure-proxy"],
        **more,
    }
    trusted = Path(environment["TLS_FILES"]) / "cert.pem"
    if not trusted.exists():
        trusted = folder / "caddy/pki/authorities/local/root.crt"
    command = ["sh", str(ROOT / "tools/proxy/secure.sh")]
    with running(command, folder / "secure-proxy.log", environment):
        wait_for(lambda: listens(port) and trusted.exists(), 60, "the door")
        client = Client(port, trusted)
        wait_for(lambda: client.ask("sign-in").status == 200, 60, "its certificates")
        yield client
