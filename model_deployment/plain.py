"""Plain requests: small, whole, with headers that mean one thing only, as most are that a system asks with.

Reading a request in Python, and writing its answer, takes gunicorn a third of the time of one client. Here llhttp, the
parser of Node.js, reads it. Whatever is not plain at first sight, or is no HTTP, is left to gunicorn, byte for byte: so
no request gets in here that would not get in there.
"""

import io
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from gunicorn import SERVER, util
from httptools import HttpParserError, HttpRequestParser

# Head and body together: some seven clients. No part can be longer than gunicorn lets it be.
MAX_BYTES = 4096

_TARGET = re.compile(rb"(?:/[\w.-]+)+(?:\?[\w=&.-]*)?")
_KEYS = {
    b"host": "HTTP_HOST",
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
    b"accept": "HTTP_ACCEPT",
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"authorization": "HTTP_AUTHORIZATION",
    b"connection": "HTTP_CONNECTION",
    b"idempotency-key": "HTTP_IDEMPOTENCY_KEY",
    b"traceparent": "HTTP_TRACEPARENT",
    b"user-agent": "HTTP_USER_AGENT",
    b"x-forwarded-for": "HTTP_X_FORWARDED_FOR",
    b"x-request-id": "HTTP_X_REQUEST_ID",
}

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class _Request:
    """What the parser finds; see httptools for the names."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: Environ = {}
        self.odd = False
        self.body = b""
        self.ended = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = _KEYS.get(name.lower())
        if key is None or key in self.headers:
            self.odd = True
        else:
            self.headers[key] = value.decode("latin-1").strip(" \t")

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.ended = True


def read(data: bytes, known: Mapping[str, Any]) -> Environ | None:
    """Return a POST as its WSGI environ, or None where it is not plain.

    Parameters
    ----------
    data : bytes
        What came, at most `MAX_BYTES`.
    known : mapping
        The part of the environ that the request does not say: server, client and scheme.
    """
    request = _Request()
    parser = HttpRequestParser(request)
    try:
        parser.feed_data(data)
    except HttpParserError:
        return None
    if (
        not request.ended
        or request.odd
        # Nothing came behind it: the next request would be lost.
        or len(data) != data.find(b"\r\n\r\n") + 4 + len(request.body)
        or not data.startswith(b"POST %b HTTP/1.1\r\n" % request.target)
        or "CONTENT_LENGTH" not in request.headers
        or request.headers.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive"
        or not _TARGET.fullmatch(request.target)
    ):
        return None
    target = request.target.decode()
    path, _, query = target.partition("?")
    return {
        **known,
        **request.headers,
        "REQUEST_METHOD": "POST",
        "RAW_URI": target,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(request.body),
    }


def answer(app: App, environ: Environ) -> bytes:
    """Return what an app answers to a plain request, as it goes over the wire."""
    said: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        said[:] = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    status, *headers = said
    if not any(header.lower().startswith("content-length:") for header in headers):
        headers.append(f"Content-Length: {len(body)}")
    lines = [status, f"Server: {SERVER}", f"Date: {_date(int(time.time()))}", "Connection: keep-alive", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return str(util.http_date(second))
