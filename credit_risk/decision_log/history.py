"""Past decisions, found by file, client, date or id. Previews are no decisions and are never found."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog

PAGE = 50
# So many batches are looked through for a file's name before the reader is asked whether to go on.
LOOKED_THROUGH = 20_000


@dataclass(frozen=True)
class Found:
    """What a search found, the newest first; `before` is the number to go on from, None when all was looked at."""

    batches: list[BatchRecord]
    decisions: list[dict[str, Any]]
    before: int | None


def search(
    log: DecisionLog,
    text: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
) -> Found:
    """Find batches and decisions.

    Parameters
    ----------
    log : DecisionLog
    text : str
        A decision's id, a batch's id, a client's id, or part of a file's name; empty: all files.
    since, until : datetime, optional
        From when, and to before when, with time zone. An id is found whenever it was.
    before : int, optional
        Only batches before this number: the `before` of the page before.

    Raises
    ------
    LogUnavailable
    """
    text = text.strip()
    if before is None and (exact := _by_id(log, text)):
        return exact
    decisions = log.decisions_of(text, PAGE, since, until) if text and before is None else []
    batches: list[BatchRecord] = []
    last: BatchRecord | None = None
    records = log.latest_batches(before=before, since=since, until=until)
    for last in islice(records, LOOKED_THROUGH):
        if text.lower() in (last.source or "").lower():
            batches.append(last)
        if len(batches) == PAGE:
            break
    more = last is not None and next(log.latest_batches(limit=1, before=last.seq, since=since, until=until), None)
    return Found(batches, decisions, last.seq if last and more else None)


def _by_id(log: DecisionLog, text: str) -> Found | None:
    record = log.batch(text.rpartition("-")[0] or text) if text else None
    if record is None or record.kind != "decision":
        return None
    if record.id == text:
        return Found([record], [], None)
    decision = log.decision(text)
    return Found([], [decision], None) if decision else None
