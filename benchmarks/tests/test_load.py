"""The load uses its connections, accepts only success, and knows its slowest requests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.serving.load import Load, ask


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.connections.add(self.client_address)  # who has its answer may look at once
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if self.path.startswith("/ok?") else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.connections = set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("connections", [1, 5])
def test_load_uses_its_connections_and_accepts_only_success(echo, connections):
    url = f"http://127.0.0.1:{echo.server_port}"
    load = ask(f"{url}/ok?x=1", b"x" * 200_000, 0.1, connections, warm_up=2)
    assert 0 < load.p99 < 10
    assert len(load.seconds) >= connections
    assert load.per_second == pytest.approx(len(load.seconds) / load.passed)
    assert load.seconds.sum() <= load.passed * connections
    assert (
        len(echo.connections) == 2 * connections
    )  # those that warmed it up, and those that were measured
    with pytest.raises(RuntimeError, match="500"):
        ask(f"{url}/not", b"x", seconds=0.1)


def test_p99_is_that_of_the_slowest_hundredth():
    assert Load(np.arange(1, 102) / 1000, 1).p99 == pytest.approx(0.1)
