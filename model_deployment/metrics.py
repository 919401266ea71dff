"""What Prometheus sees of the Risk-O-Meter.

Under gunicorn each worker process counts for itself, in files below `PROMETHEUS_MULTIPROC_DIR`; a scrape of any worker
adds them all up. Without that variable, as in most tests, there is one process and one registry of its own.
"""

import logging
import os
import time

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger(__name__)

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))


class Metrics:
    """Durations of requests and of scoring.

    Attributes
    ----------
    request_seconds : Histogram
        By route (the rule, not the path), method and status; from the first byte of the body to the answer.
    scoring_seconds : Histogram
        From the body in hand to the batch in the decision log.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "riskometer_request_duration_seconds",
            "Duration of HTTP requests",
            ["route", "method", "status"],
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self.scoring_seconds = Histogram(
            "riskometer_scoring_duration_seconds",
            "Duration of validating, deciding and logging one request or file",
            registry=self._registry,
            buckets=_BUCKETS,
        )

    def watch(self, app: Flask) -> None:
        """Time every request of an app, and show the figures at `/metrics`."""
        app.before_request(self._start)
        app.after_request(self._stop)
        app.add_url_rule("/metrics", "metrics", self.page)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; see `request_seconds`."""
        try:
            self.request_seconds.labels(route, method, str(status)).observe(seconds)
        except Exception as error:  # on a full disk the counters cannot grow; that is no reason to lose the answer
            logger.warning("a request was not counted: %s", error)

    def page(self) -> Response:
        """Return the figures as Prometheus reads them."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    def _start(self) -> None:
        g.started = time.perf_counter()

    def _stop(self, response: Response) -> Response:
        # What a client makes up, a path or a method, must not become a label: there would be no end of them.
        route = request.url_rule.rule if request.url_rule else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        self.observe(route, method, response.status_code, time.perf_counter() - g.started)
        return response
