#!/usr/bin/env python3
# ruff: noqa: T201 - a command, which prints
"""Smoke test of a deployed Risk-O-Meter: it is ready, and it decides. No decision is committed.

Every request of the API that decides also commits, with one exception: the sample file that the
page offers, byte for byte, is only previewed, and a preview counts in no report and no history. So
the service's own sample file is fetched and sent back. The preview is stored for a day as previews
are, which shows that the log can be written. A data set need not have a sample: then nothing is
scored, and the service only has to say what an application is.

    smoke.py https://risk-o-meter.example.com

A token for whatever asks for one in front of the service comes in the variable SMOKE_TOKEN.

Exit codes: 0 all is well, 1 something is not, 2 the command is wrong, 3 a decision was committed.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TOKEN = "SMOKE_TOKEN"  # noqa: S105 - the name of the variable
SAMPLE = "/assets/sample.csv"
SCHEMA = "/api/v1/schema"
NOT_LET_IN = (401, 403)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BOUNDARY = "smoke-test-sample-file"
# Seconds that one answer may take.
PATIENCE = 60


class SmokeFailed(Exception):
    """The service does not do what it is there for."""


class DecisionCommitted(Exception):
    """The service took its sample file for applications, and committed decisions on them."""


class Answer(NamedTuple):
    """A status, and what came with it."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the parsed body.

        Raises
        ------
        SmokeFailed
            When it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise SmokeFailed(f"the answer is not JSON: {self}") from None

    def __str__(self) -> str:
        """Return the status with a problem's words, or with the beginning of the body."""
        try:
            words = json.loads(self.body)["detail"]
        except (ValueError, KeyError, TypeError):
            words = self.body[:200].decode(errors="replace").strip()
        return f"{self.status} {words}".strip()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: it would lead to a login, and take the token to another server."""

    def redirect_request(self, *_: Any) -> None:
        """Return no other request."""


class Service:
    """A Risk-O-Meter at an address.

    Parameters
    ----------
    url : str
    headers : mapping
        Of every request, such as one with a token.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, path: str, body: bytes | None = None, kind: str = "") -> Answer:
        """Return the answer to a GET, or to a POST of a body of this type.

        Raises
        ------
        OSError, http.client.HTTPException
            When nothing answers.
        """
        headers = self._headers | ({"Content-Type": kind} if kind else {})
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=PATIENCE) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())

    def expect(
        self, path: str, body: bytes | None = None, kind: str = "", or_status: int = 200
    ) -> Answer:
        """Return the answer of `ask`, which has to be a success, or to have another status.

        Raises
        ------
        SmokeFailed
        """
        try:
            answer = self.ask(path, body, kind)
        except (OSError, http.client.HTTPException) as error:
            raise SmokeFailed(f"{path} does not answer: {error}") from None
        if answer.status not in (200, or_status):
            raise SmokeFailed(f"{path} answers {answer}")
        return answer


def wait_until_ready(service: Service, seconds: float) -> dict[str, Any]:
    """Return what `/readyz` says, once it says that a model serves and the log can be written.

    Raises
    ------
    SmokeFailed
        When it does not within these seconds, or at once when it lets nobody in.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = service.ask("/readyz")
            said = str(answer)
            if answer.status == 200:
                return dict(answer.json())
            if answer.status in NOT_LET_IN or 300 <= answer.status < 400:
                raise SmokeFailed(f"/readyz answers {said}: is {TOKEN} set, and let in?")
        except (OSError, http.client.HTTPException) as error:
            said = f"nothing ({error})"
        if time.monotonic() >= deadline:
            raise SmokeFailed(f"not ready after {seconds:.0f} s: /readyz answers {said}")
        time.sleep(1)


def look(service: Service, seconds: float) -> str:
    """Return what the service makes of its sample file in words, or that it has none.

    Parameters
    ----------
    seconds : float
        How long it may answer the sample file with 503.

    Raises
    ------
    SmokeFailed, DecisionCommitted
    """
    sample = service.expect(SAMPLE, or_status=404)
    if sample.status == 200:
        return preview(service, sample.body, seconds)

    if not service.expect(SCHEMA).json()["properties"]:
        raise SmokeFailed(f"{SCHEMA} has no attributes")
    return "the data set has no sample, so nothing was scored"


def preview(service: Service, sample: bytes, seconds: float) -> str:
    """Have the service decide on its own sample file, and return the outcome in words.

    Raises
    ------
    SmokeFailed, DecisionCommitted
    """
    result = _previewed(service, sample, seconds).json()
    decisions = result["decisions"]
    if not decisions or result["n_rejected"]:
        raise SmokeFailed(f"the sample file is rejected: {result['rejected'][:3]}")
    for decision in decisions:
        _check(decision)

    kind = service.expect(f"/api/v1/decisions/{decisions[0]['id']}").json()["kind"]
    if kind != "preview":
        raise DecisionCommitted(f"batch {result['batch']} is in the log as a {kind}")
    green = sum(decision["prediction"] == "green" for decision in decisions)
    return f"version {result['model_version']} previews {len(decisions)} clients, {green} green"


def _previewed(service: Service, sample: bytes, seconds: float) -> Answer:
    # One process or replica was ready; another one may still be loading the version.
    deadline = time.monotonic() + seconds
    while True:
        answer = service.expect(*_upload(sample), or_status=503)
        if answer.status == 200:
            return answer
        if time.monotonic() >= deadline:
            raise SmokeFailed(f"the sample file is answered {answer}")
        time.sleep(1)


def _upload(sample: bytes) -> tuple[str, bytes, str]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="sample.csv"'
    body = b"%b\r\nContent-Type: text/csv\r\n\r\n%b\r\n--%b--\r\n"
    body %= head.encode(), sample, BOUNDARY.encode()
    return "/api/v1/files", body, f"multipart/form-data; boundary={BOUNDARY}"


def _check(decision: dict[str, Any]) -> None:
    colour, risk, confidence = (decision[k] for k in ("prediction", "risk", "confidence"))
    if colour not in ("green", "red") or not 0 <= risk <= 1 or not 0.5 <= confidence <= 1:
        raise SmokeFailed(f"this is no decision: {decision}")


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError("an address begins with https:// or http://")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise argparse.ArgumentTypeError("without TLS only this machine is asked: a token is sent")
    return text


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", type=_address, help="address of the Risk-O-Meter")
    parser.add_argument(
        "--wait", type=float, default=180, metavar="S", help="until it is ready, at most (180)"
    )
    parser.add_argument(
        "--token-header",
        default="Authorization",
        choices=("Authorization", "Proxy-Authorization", "X-Serverless-Authorization"),
        help=f"carries {TOKEN}; Google's IAP takes the second, and leaves the first to the service",
    )
    given = parser.parse_args()

    token = os.environ.get(TOKEN, "").strip()
    service = Service(given.url, {given.token_header: f"Bearer {token}"} if token else {})
    try:
        wait_until_ready(service, given.wait)
        print(f"smoke: ready; {look(service, given.wait)}")
    except SmokeFailed as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    except (KeyError, TypeError) as error:
        print(f"smoke: the answer has not the form that it should: {error!r}", file=sys.stderr)
        return 1
    except DecisionCommitted as error:
        print(f"smoke: A DECISION WAS COMMITTED: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
