"""A request as the server passes it on, and its answer."""

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from credit_risk.access.access_log import Entry
from credit_risk.access.caller import Caller
from model_deployment.http.problem import CONTENT_TYPE, Problem
from model_deployment.http.receiving import Receive

# The route of requests that no rule matches: a path that a client invents is not a label.
UNMATCHED = "unmatched"
# Headers that may come once: of two, different readers could take different ones.
_ONCE = ("content-length", "content-type", "expect", "host", "idempotency-key", "transfer-encoding")
_CLOSE = {"Connection": "close"}
# The longest header and target that are read, as with most servers and proxies.
_MOST_BYTES = 8190
# Seconds for which the unwanted rest of a body is received, for a client that only reads once it
# has sent everything.
_DRAIN_SECONDS = 5

Headers = list[tuple[str, str]]


class Request:
    """A request.

    Attributes
    ----------
    headers : list of (str, str)
        In lower case and in their order. Names with other characters than letters, digits and
        dashes are left out, because WSGI could confuse two of them.
    route : str
        The rule that it is counted under; not a path.
    caller : Caller or None
        Set once the caller is known.
    entry : Entry
        What the access log says of it.
    size : int
        How many bytes of its body have been received.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = scope["query_string"].decode("latin-1")
        self.peer: str | None = scope["client"][0] if scope.get("client") else None

        named = ((name.decode("latin-1"), value) for name, value in scope["headers"])
        self.headers = [
            (name, value.decode("latin-1"))
            for name, value in named
            if name.replace("-", "").isalnum()
        ]
        self._first = dict(reversed(self.headers))

        self.route = UNMATCHED
        self.caller: Caller | None = None
        self.entry = Entry()
        self.size = 0
        self._receive = receive
        self._open = "content-length" in self._first or "transfer-encoding" in self._first

    def get(self, name: str) -> str | None:
        """Return a header; the first, where there are several."""
        return self._first.get(name)

    @property
    def length(self) -> int | None:
        """How many bytes the body is said to have."""
        said = self.get("content-length")
        return int(said) if said is not None else None  # the server refuses other texts

    def check(self) -> None:
        """Refuse requests that no proper client sends.

        Raises
        ------
        Problem
        """
        if len(self.scope["raw_path"]) + len(self.query) > _MOST_BYTES:
            raise Problem(414, "too-long", f"The address has more than {_MOST_BYTES:,} characters.")
        if not self.query.isascii():
            detail = "The address has characters that belong percent-encoded."
            raise Problem(400, "bad-request", detail)

        names = [name for name, _ in self.headers]
        if twice := next((name for name in _ONCE if names.count(name) > 1), None):
            raise Problem(400, "doubled-header", f"The header {twice} came more than once.", _CLOSE)

        coding = self._first.get("transfer-encoding", "chunked").lower()
        both = "transfer-encoding" in self._first and "content-length" in self._first
        if coding != "chunked" or both:
            detail = (
                "A body comes with its Content-Length, or with Transfer-Encoding: chunked, and not "
                "with both."
            )
            raise Problem(400, "bad-framing", detail, _CLOSE)

        if any(len(name) + len(value) > _MOST_BYTES for name, value in self.headers):
            detail = f"A header has more than {_MOST_BYTES:,} characters."
            raise Problem(431, "too-large-headers", detail)
        if self._first.get("expect", "100-continue").lower() != "100-continue":
            detail = "Of all expectations, only 100-continue is met."
            raise Problem(417, "expectation-failed", detail)

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message of the body; see ASGI."""
        message = await self._receive()
        self._open = message["type"] == "http.request" and message.get("more_body", False)
        self.size += len(message.get("body", b""))
        return message

    async def finish(self) -> None:
        """Receive the rest of the body, if that does not take long."""
        if not self._open or "expect" in self._first:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._open:
                    await self.receive()


class Answer(NamedTuple):
    """An answer; its body may be a file, which is closed once it is sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | IO[bytes] = b""


def refusal(problem: Problem) -> Answer:
    """Return a problem as an answer."""
    body = problem.body().encode()
    headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **problem.headers}
    return Answer(problem.status, encoded(headers), body)


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers in the form that ASGI takes."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
