"""The drift exporter: `python -m monitoring.exporter` serves /metrics, /healthz, and for people /reports and /runbook.

This process only answers, and /metrics from memory. Reading and computing are done by one child process, which hands
over a page of metrics at a time; when it dies or falls silent another is started, and the last page stands meanwhile.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from credit_risk.settings import Settings
from monitoring import child, neighbours
from monitoring.site import Answer, Site

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Far longer than any refresh: a child that sends nothing for so long, beside the pause that it is told, hangs.
PATIENCE_SECONDS = 600
RESTART_SECONDS = 5
GRACE_SECONDS = 5

logger = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves the pages of metrics that it was last given, its child's and the neighbours', and a site for people.

    Raises
    ------
    OSError
        When the port is taken.
    """

    def __init__(self, host: str, port: int, site: Site) -> None:
        self.page = b""
        self.neighbours = b""
        self.site = site
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # for a connection that says nothing
    wbufsize = -1  # head and body in one packet: apart, the second may wait 40 ms for the first one's receipt
    disable_nagle_algorithm = True  # and a page that is longer than the buffer does not wait either
    server: Server

    def do_GET(self) -> None:
        """Answer with the metrics, that the process lives, or a page for people."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(Answer(200, self.server.page + self.server.neighbours, CONTENT_TYPE))
        elif path == "/healthz":
            self._answer(Answer(200, b"ok\n"))
        elif self.server.site.has(path):
            with self.server.site.answering(self.path, self.headers.get("Host", "")) as answer:
                self._answer(answer)
        else:
            self._answer(Answer(404, b"there are /metrics, /healthz, /reports and /runbook\n"))

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is no news."""


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
    """Yield the pages of one child until it dies or hangs; it is gone when this ends, in whatever way."""
    patience = PATIENCE_SECONDS + settings.exporter_interval_seconds
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child.run, args=(settings, sender), name="refresh", daemon=True)
    process.start()
    sender.close()  # the child's copy is the only one left, so its death ends the pipe
    try:
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


def main(arguments: list[str] | None = None) -> None:
    """Run the exporter until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.exporter",
        description="Serve drift figures at /metrics. Configured by environment variables (see README.md).",
    )
    parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings()
    try:
        server = Server(settings.host, settings.exporter_port, Site(settings))
    except OSError as error:
        sys.exit(f"EXPORTER_PORT {settings.exporter_port} on {settings.host} cannot be had: {error.strerror}")
    # An exit that is asked for while a finalizer runs is lost: then the alarm ends the process, and the pipe its child.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, _stop)
    neighbours.keep_looking(settings, partial(setattr, server, "neighbours"))
    with serving(server):
        logger.info("serving on http://%s:%d/metrics", settings.host, settings.exporter_port)
        keep_child(server, settings)


def _stop(*_: object) -> None:
    signal.alarm(GRACE_SECONDS)
    sys.exit(0)


if __name__ == "__main__":
    main()
