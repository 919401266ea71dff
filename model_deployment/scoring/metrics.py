"""Metrics of the Risk-O-Meter for Prometheus.

Each worker process counts for itself, in files below `PROMETHEUS_MULTIPROC_DIR`; a scrape of any
worker adds them all up. Without that variable, as in most tests, there is one process and one
registry of its own.
"""

import logging
import os

from flask import Flask, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from credit_risk.access.policy import REASONS

logger = logging.getLogger(__name__)

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))


class Metrics:
    """Durations of requests and of scoring, and refusals.

    Attributes
    ----------
    refusals : Counter
        By reason.
    request_seconds : Histogram
        By route (the rule, not the path), method and status; from the head to the answer.
    scoring_seconds : Histogram
        From the body in hand to the batch in the decision log.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.refusals = Counter(
            "riskometer_refusals",
            "Requests refused because of who asks",
            ["reason"],
            registry=self._registry,
        )
        for reason in REASONS:  # so that the first one is an increase
            self.refusals.labels(reason)

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

    def show(self, app: Flask) -> None:
        """Show the figures at an app's `/metrics`."""
        app.add_url_rule("/metrics", "metrics", self.page)

    def refuse(self, reason: str) -> None:
        """Count a refused request."""
        try:
            self.refusals.labels(reason).inc()
        except Exception as error:  # as below
            logger.warning("a refusal was not counted: %s", error)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; see `request_seconds`."""
        # A path or method that a client invents must not become a label: their number is unbounded.
        method = method if method in _METHODS else "other"
        try:
            self.request_seconds.labels(route, method, str(status)).observe(seconds)
        except Exception as error:
            # On a full disk the counters cannot grow, but the answer must not be lost.
            logger.warning("a request was not counted: %s", error)

    def page(self) -> Response:
        """Return the figures as Prometheus reads them."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
