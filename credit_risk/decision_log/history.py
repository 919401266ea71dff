"""Search for past decisions, by file, client, date or id. Previews are never found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credit_risk.decision_log.batch import COMMITTED, BatchRecord
from credit_risk.decision_log.log import DecisionLog

PAGE = 50


@dataclass(frozen=True)
class HistoryPage:
    """The results of a search, the newest first.

    `decisions` have the columns `log.FOUND`, or all where one was found by its id. `before` is the
    id of the batch to continue from; None when there is nothing more.
    """

    batches: list[BatchRecord]
    decisions: list[dict[str, Any]]
    before: str | None


def search(
    log: DecisionLog,
    text: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: str | None = None,
) -> HistoryPage:
    """Find batches and decisions.

    Parameters
    ----------
    log : DecisionLog
    text : str
        A decision's id, a batch's id, a client's id, or part of a file's name; empty: all files.
    since, until : datetime, optional
        The period, with time zone: from `since` to before `until`. An id is found whatever its
        date.
    before : str, optional
        Only batches before the one with this id: the `before` of the previous page.

    Raises
    ------
    LogUnavailable
    """
    text = text.strip()
    if before is None and (exact := _by_id(log, text)):
        return exact

    decisions = log.decisions_of(text, PAGE, since, until) if text and before is None else []
    newer = log.batch(before) if before else None
    batches = list(
        log.latest_batches(
            PAGE + 1, before=newer, since=since, until=until, kinds=COMMITTED, source=text
        )
    )
    has_more = len(batches) > PAGE
    batches = batches[:PAGE]
    return HistoryPage(batches, decisions, batches[-1].id if has_more else None)


def _by_id(log: DecisionLog, text: str) -> HistoryPage | None:
    if not text:
        return None

    record = log.batch(text.rpartition("-")[0] or text)
    if record is None or record.kind == "preview":
        return None
    if record.id == text:
        return HistoryPage([record], [], None)
    decision = log.decision(text)
    return HistoryPage([], [decision], None) if decision else None
