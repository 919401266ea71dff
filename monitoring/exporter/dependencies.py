"""The state of what the exporter depends on: the decision log, and the flows' runs.

It is looked up apart from the figures on drift: those stand still while the log is away, and these
metrics say why.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from credit_risk.prefect_api import PrefectAPI
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_documents
from credit_risk.storage.documents import Documents, LogUnavailable
from monitoring.exporter.prefect_runs import FLOWS, FlowRuns, FlowsUnknown, flow_runs

# Runs take minutes and are counted by the server: there is no need to ask it at every scrape.
INTERVAL_SECONDS = 15

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dependencies:
    """Their state; flows that the Prefect server does not know are left out."""

    log_up: bool
    flows: tuple[FlowRuns, ...] = ()


def look(documents: Documents, api: PrefectAPI) -> Dependencies:
    """Ask the decision log and the Prefect server."""
    try:
        documents.ping()
        up = True
    except LogUnavailable:
        up = False

    try:
        return Dependencies(up, tuple(flow_runs(api, flow) for flow in FLOWS))
    except FlowsUnknown as error:
        logger.debug("%s", error)
        return Dependencies(up)


def page(dependencies: Dependencies) -> bytes:
    """Return what was seen in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Metrics(dependencies))
    return generate_latest(registry)


def keep_looking(settings: Settings, take: Callable[[bytes], None]) -> None:
    """Look every few seconds, in a separate thread, and hand over each page."""
    documents = open_documents(settings.decision_log)
    api = PrefectAPI(settings.prefect_api_url, settings.prefect_api_auth_string.get_secret_value())

    def watch() -> None:
        while True:
            take(page(look(documents, api)))
            time.sleep(INTERVAL_SECONDS)

    threading.Thread(target=watch, name="dependencies", daemon=True).start()


class _Metrics(Collector):
    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        yield GaugeMetricFamily(
            "credit_risk_decision_log_up",
            "1 while the decision log answers",
            int(self._dependencies.log_up),
        )

        runs = GaugeMetricFamily(
            "credit_risk_flow_runs",
            "Runs that ended in the last 7 days by how they ended, and those that are late now",
            labels=["flow", "state"],
        )
        failed = GaugeMetricFamily(
            "credit_risk_flow_last_run_failed",
            "1 where the run that ended last failed or crashed",
            labels=["flow"],
        )
        last = InfoMetricFamily(
            "credit_risk_flow_last_run",
            "The run that ended last: its id in Prefect",
            labels=["flow"],
        )
        completed = GaugeMetricFamily(
            "credit_risk_flow_last_completed_timestamp_seconds",
            "When a run last completed; where none has, when the flow was deployed",
            labels=["flow"],
        )

        for flow in self._dependencies.flows:
            for state, n in flow.runs.items():
                runs.add_metric([flow.flow, state], n)
            failed.add_metric([flow.flow], flow.failed)
            if flow.last is not None:
                last.add_metric([flow.flow], {"run": flow.last, "state": str(flow.ending)})
            if flow.completed is not None:
                completed.add_metric([flow.flow], flow.completed.timestamp())

        yield from (runs, failed, last, completed)
