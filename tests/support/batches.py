"""Batches of decisions, and several writers at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np

from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.sqlite import SqliteDocuments
from credit_risk.storage.sqlite_tables import KEPT
from tests.support.clients import CLIENT
from tests.support.german_credit import Validator

IN_AN_HOUR = timedelta(hours=-1)


def batch(n: int = 3, risk: float = 0.1, **more) -> Batch:
    rows = [CLIENT | {"client_id": f"c{i}", "class": "good"} for i in range(n)] + [
        {"duration": "x"}
    ]
    applications = Validator().rows(rows)
    risks = np.full(n, risk)
    return Batch(
        applications, Decisions(risks, risks >= 1 / 6, confidence(risks)), "7", "abc", 1 / 6, **more
    )


def at_once(n: int, write) -> None:
    """Call `write` in n threads that begin together."""
    start = threading.Barrier(n)

    def begin():
        start.wait()
        write()

    with ThreadPoolExecutor(n) as pool:
        for begun in [pool.submit(begin) for _ in range(n)]:
            begun.result()


def without_guard(log: DecisionLog, collection: str) -> DecisionLog:
    """Return the log after its file lost what keeps records as they are, as by an attacker."""
    if isinstance(log._documents, SqliteDocuments) and collection in KEPT:
        with log._documents._connection() as connection:
            for action in ("update", "delete", "insert"):
                connection.execute(f"DROP TRIGGER IF EXISTS {collection}_{action}")
    return log
