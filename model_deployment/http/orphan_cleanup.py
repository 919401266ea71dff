"""Removes what killed workers left in the decision log.

These are decisions without a commit mark, which no reader sees.
"""

import logging
import threading
import time

from credit_risk.decision_log.log import DecisionLog
from credit_risk.storage.documents import LogUnavailable

logger = logging.getLogger(__name__)

EVERY_SECONDS = 3600


def start(log: DecisionLog) -> None:
    """Sweep a log every hour, in a thread of this process; several at once do no harm."""
    threading.Thread(target=_run, args=(log,), name="sweep", daemon=True).start()


def _run(log: DecisionLog) -> None:
    while True:
        try:
            if n := log.sweep():
                logger.info("removed %d batches that were never committed", n)
        except LogUnavailable as error:
            logger.warning("the decision log was not swept: %s", error)
        except Exception:  # whatever it is, the next sweep may succeed
            logger.exception("sweeping the decision log failed")
        time.sleep(EVERY_SECONDS)
