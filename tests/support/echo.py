"""A server that answers with the request it got, to show what a proxy in front lets through."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.processes import free_port

_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Echo:
    """A server; `got` holds the requests since it was last cleared."""

    port: int = field(default_factory=free_port)
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    echo: Echo
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode(),
        }
        self.server.echo.got.append(request)
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._tunnel()
            return

        data = json.dumps(request).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "stolen=1; Path=/")
        self.send_header("WWW-Authenticate", 'Basic realm="inner"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def _tunnel(self) -> None:
        """Accept a WebSocket, and send back the first bytes that come."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accepted = base64.b64encode(hashlib.sha1(key + _WEBSOCKET).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.end_headers()
        self.wfile.write(self.connection.recv(1024))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def echoing() -> Iterator[Echo]:
    """Run such a server for as long as the block runs."""
    echo = Echo()
    server = _Server(("127.0.0.1", echo.port), _Handler)
    server.echo = echo
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield echo
    finally:
        server.shutdown()
        server.server_close()
