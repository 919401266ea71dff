"""A request as the server hands it on, and what is answered to it."""

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from credit_risk.access.access_log import Entry
from credit_risk.access.caller import Caller
from model_deployment.http.problem import CONTENT_TYPE, Problem
from model_deployment.http.receiving import Receive

# No label of a metric is made of what a client makes up.
UNMATCHED = "unmatched"
# Headers that mean one thing: where they come twice, two readers may read two things.
_ONCE = ("content-length", "content-type", "expect", "host", "idempotency-key", "transfer-encoding")
_CLOSE = {"Connection": "close"}
# The longest header and target that are read, as with most servers and proxies.
_MOST_BYTES = 8190
# So long the rest of a body is taken in that nobody wants, for a client that does not read before it has sent.
_DRAIN_SECONDS = 5

Headers = list[tuple[str, str]]


class Request:
    """A request.

    Attributes
    ----------
    headers : list of (str, str)
        In lower case, as they came; those with names of other characters than letters, digits and dashes are left out,
        for in WSGI two of them could be taken for one.
    route : str
        What it is counted under: a rule, not a path.
    caller : Caller or None
        Who asks, once that is known.
    entry : Entry
        What the access log says of it.
    size : int
        How many bytes of its body have come.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = scope["query_string"].decode("latin-1")
        self.peer: str | None = scope["client"][0] if scope.get("client") else None
        named = ((name.decode("latin-1"), value) for name, value in scope["headers"])
        self.headers = [(name, value.decode("latin-1")) for name, value in named if name.replace("-", "").isalnum()]
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
        return int(said) if said is not None else None  # the server refuses what is no number

    def check(self) -> None:
        """Refuse what no client of ours asks.

        Raises
        ------
        Problem
        """
        if len(self.scope["raw_path"]) + len(self.query) > _MOST_BYTES:
            raise Problem(414, "too-long", f"The address has more than {_MOST_BYTES:,} characters.")
        if not self.query.isascii():
            raise Problem(400, "bad-request", "The address has characters that belong percent-encoded.")
        names = [name for name, _ in self.headers]
        if twice := next((name for name in _ONCE if names.count(name) > 1), None):
            raise Problem(400, "doubled-header", f"The header {twice} came more than once.", _CLOSE)
        coding = self._first.get("transfer-encoding", "chunked").lower()
        if coding != "chunked" or ("transfer-encoding" in self._first and "content-length" in self._first):
            detail = "A body comes with its Content-Length, or with Transfer-Encoding: chunked, and not with both."
            raise Problem(400, "bad-framing", detail, _CLOSE)
        if any(len(name) + len(value) > _MOST_BYTES for name, value in self.headers):
            raise Problem(431, "too-large-headers", f"A header has more than {_MOST_BYTES:,} characters.")
        if self._first.get("expect", "100-continue").lower() != "100-continue":
            raise Problem(417, "expectation-failed", "Of all expectations, only 100-continue is met.")

    async def receive(self) -> MutableMapping[str, Any]:
        """Return what comes next of the body; see ASGI."""
        message = await self._receive()
        self._open = message["type"] == "http.request" and message.get("more_body", False)
        self.size += len(message.get("body", b""))
        return message

    async def finish(self) -> None:
        """Take in what is left of the body, if that is soon done."""
        if not self._open or "expect" in self._first:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._open:
                    await self.receive()


class Answer(NamedTuple):
    """What is answered; a body may be a file, which is closed once it is sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | IO[bytes] = b""


def refusal(problem: Problem) -> Answer:
    """Return a problem as an answer."""
    body = problem.body().encode()
    headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **problem.headers}
    return Answer(problem.status, encoded(headers), body)


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
