"""The drift exporter: serves /metrics, /healthz, and for people /reports and /runbook.

`python -m monitoring.exporter` runs it. This process only answers, and /metrics from memory. One
child process reads and computes, and hands over a page of metrics at a time; when it dies or hangs
another is started, and the last page stands meanwhile.
"""

import argparse
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest

from credit_risk.access.access_log import AccessLog, Entry
from credit_risk.access.notice import notices
from credit_risk.access.policy import METRICS, REASONS, AccessDenied, AccessPolicy
from credit_risk.access.roles import Permission
from credit_risk.settings import Settings, read_settings
from monitoring.exporter import dependencies, worker_process
from monitoring.exporter.web import LIST, PATHS, REPORTS, RUNBOOK_PATH, Answer, Site

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROBLEM = "application/problem+json"
# Far longer than any refresh: a child that sends nothing for this long, apart from its interval,
# hangs.
PATIENCE_SECONDS = 600
RESTART_SECONDS = 5
# Connections at a time: those who scrape and read are few.
CONNECTIONS = 128
HEALTHZ = "/healthz"
REPORT = f"{REPORTS}<id>"
# What each route takes; nobody gets in by one that is not listed.
PERMISSIONS: dict[str, Permission] = {
    METRICS: "metrics",
    LIST: "reports",
    REPORT: "reports",
    RUNBOOK_PATH: "reports",
}
UNMATCHED = "unmatched"
GRACE_SECONDS = 5
STOPS = (signal.SIGTERM, signal.SIGINT)
# Otherwise there is one more series for each metric, which nobody needs.
disable_created_metrics()  # type: ignore[no-untyped-call]

logger = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves the newest pages of metrics, its child's and the dependencies', and a site for people.

    A thread waits for each connection. There are at most `CONNECTIONS`: when one more comes, the
    one that has gone without an answer for longest is closed, so that idle or slow clients keep
    nobody out.

    Raises
    ------
    OSError
        When the port is taken.
    """

    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, settings: Settings) -> None:
        self.page = b""
        self.dependencies = b""
        self.site = Site(settings)
        self.access = AccessPolicy(settings, (HEALTHZ,), hosts=("evidently-exporter",))
        self.access_log = AccessLog()
        self._registry = CollectorRegistry()
        self.refusals = Counter(
            "credit_risk_exporter_refusals",
            "Requests refused because of who asks",
            ["reason"],
            registry=self._registry,
        )

        for reason in REASONS:  # so that the first one is an increase
            self.refusals.labels(reason)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, float] = {}  # when each was last answered
        super().__init__((host, port), Handler)

    def metrics(self) -> bytes:
        """Return the page of metrics."""
        return self.page + self.dependencies + generate_latest(self._registry)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own; see `socketserver`."""
        with self._lock:
            if len(self._connections) >= CONNECTIONS:
                oldest = min(
                    self._connections, key=lambda connection: self._connections[connection]
                )
                del self._connections[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # which ends its thread
            self._connections[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection; see `socketserver`."""
        with self._lock:
            self._connections.pop(request, None)
            super().shutdown_request(request)

    def answered(self, request: socket.socket) -> None:
        """Remember that a connection got an answer."""
        with self._lock:
            if request in self._connections:
                self._connections[request] = time.monotonic()

    def server_close(self) -> None:
        """Close all; see `socketserver`."""
        super().server_close()
        self.access_log.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what failed while a connection was answered, unless the connection is gone."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("an answer failed")


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    # Seconds for a connection that says nothing, and for a reader to take each part of an answer.
    timeout = 30
    wbufsize = 0  # so that the timeout is for the whole of a part, however slowly it is read
    disable_nagle_algorithm = True  # the body does not wait for the head's receipt
    server: Server

    def do_GET(self) -> None:
        """Answer with the metrics, a sign of life, or a page for people."""
        path = self.path.partition("?")[0]
        route = _route(path)
        entry, caller = Entry(), None
        headers = [(name.lower(), value) for name, value in self.headers.items()]

        access = self.server.access
        try:
            caller = access.caller(self.command, path, headers, self.client_address[0])
            if route not in (HEALTHZ, UNMATCHED):
                access.require(caller, PERMISSIONS.get(route))
        except AccessDenied as denied:
            caller = denied.caller
            entry.refuse(denied.reason)
            self.server.refusals.labels(denied.reason).inc()
            status = self._answer(_refusal(denied))
        else:
            status = self._page(path, entry)

        self.server.access_log.write(
            entry, caller, self.client_address[0], self.command, route, status
        )

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _page(self, path: str, entry: Entry) -> int:
        if path == METRICS:
            return self._answer(Answer(200, self.server.metrics(), CONTENT_TYPE))
        if path == HEALTHZ:
            return self._answer(Answer(200, b"ok\n"))
        if not self.server.site.has(path):
            return self._answer(
                Answer(404, b"there are /metrics, /healthz, /reports and /runbook\n")
            )

        if path.startswith(REPORTS):
            entry.what, entry.id = "report", path.removeprefix(REPORTS)
        with self.server.site.answering(self.path) as answer:
            return self._answer(answer)

    def _answer(self, answer: Answer) -> int:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.server.answered(self.connection)
        return answer.status

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is not news."""


def _route(path: str) -> str:
    """Return the rule of a path."""
    if path.startswith(REPORTS):
        return REPORT
    return path if path in (METRICS, HEALTHZ, *PATHS) else UNMATCHED


def _refusal(denied: AccessDenied) -> Answer:
    """Return a refusal as a problem document (RFC 9457), as the Risk-O-Meter answers it."""
    body = {
        "type": f"urn:risk-o-meter:{denied.reason}",
        "title": HTTPStatus(denied.status).phrase,
        "status": denied.status,
        "detail": str(denied),
    }
    headers = {"WWW-Authenticate": "Bearer"} if denied.status == 401 else {}
    return Answer(denied.status, json.dumps(body).encode(), PROBLEM, headers)


@contextmanager
def serving(server: Server) -> Iterator[None]:
    """Serve in a thread for as long as the block runs."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def keep_child(server: Server, settings: Settings) -> None:
    """Run the child, take its pages, and replace it when it dies or hangs; never returns."""
    while True:
        for page in pages(settings):
            server.page = page
        time.sleep(RESTART_SECONDS)


def pages(settings: Settings) -> Iterator[bytes]:
    """Yield the pages of one child until it dies or hangs; it is gone when this ends, however."""
    patience = PATIENCE_SECONDS + settings.exporter_interval_seconds
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=worker_process.run, args=(settings, sender), name="refresh", daemon=True
    )

    try:
        with _undisturbed():
            process.start()
        sender.close()  # the child's copy is the only one left, so its death ends the pipe
        while receiver.poll(patience):
            yield receiver.recv_bytes()
        logger.error("the child sent nothing for %d s", patience)
    except EOFError:
        process.join()
        logger.error("the child died (exit code %s)", process.exitcode)
    finally:
        process.kill()
        process.join()
        receiver.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off a stop signal that comes meanwhile.

    A child that was only half started would print a traceback.
    """
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: asked.append(number)) for number in STOPS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])


def main(arguments: list[str] | None = None) -> None:
    """Run the exporter until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.exporter",
        description="Serve drift figures at /metrics. "
        "Configured by environment variables (see docs/settings.md).",
    )
    parser.parse_args(arguments)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = read_settings()
    about_access = notices(settings, settings.exporter_port)
    try:
        server = Server(settings.bind_address, settings.exporter_port, settings)
    except OSError as error:
        sys.exit(
            f"EXPORTER_PORT {settings.exporter_port} on {settings.bind_address} is not available: "
            f"{error.strerror}"
        )

    for level, text in about_access:
        logger.log(level, text)

    # A SystemExit that is raised while a finalizer runs is lost: then the alarm ends the process,
    # and the closed pipe ends its child.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    for asked in STOPS:
        signal.signal(asked, _stop)

    dependencies.keep_looking(settings, partial(setattr, server, "dependencies"))
    with serving(server):
        logger.info(
            "serving on http://%s:%d/metrics", settings.bind_address, settings.exporter_port
        )
        keep_child(server, settings)


def _stop(*_: object) -> None:
    signal.alarm(GRACE_SECONDS)
    sys.exit(0)
