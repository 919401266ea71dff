"""The exporter's child process: refreshes regularly and hands each page of metrics to its parent.

It is a separate process because Evidently holds the interpreter for tens of milliseconds at a time,
and a scrape served by the same process would wait for that. What it needs is imported here, not in
the parent.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

from credit_risk.settings import Settings


def run(settings: Settings, pages: Connection) -> None:
    """Refresh and send, until the parent ends."""
    # Ctrl-C reaches the parent too, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(5)  # a scrape comes first
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    from credit_risk.decision_log.log import open_log
    from credit_risk.registry.registry import open_registry
    from monitoring.exporter.collector import Collector, evidently
    from monitoring.exporter.gauges import page

    registry = open_registry(settings)
    collector = Collector(open_log(settings), registry, settings, evidently)
    while True:
        pages.send_bytes(page(collector.refresh()))
        time.sleep(settings.exporter_interval_seconds)


def _end_with_parent() -> None:
    """End this process when its parent ends, however that happens."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
