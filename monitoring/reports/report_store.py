"""The store of reports: lists them, returns each one's page, and removes old ones.

It reads documents and bucket directly and not through `credit_risk.decision_log.log`: importing
that takes seconds and 200 MB, and the exporter's process has to answer at once.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs, open_documents
from credit_risk.storage.blobs import BlobMissing, Blobs
from credit_risk.storage.documents import Documents, LogUnavailable
from monitoring.kinds import REFRESH, REPORT

COLLECTION = "reports"
FOLDER = "reports/"
LATEST = f"{FOLDER}latest.html"
_NAME = f"{FOLDER}%Y-%m-%dT%H%M%S.%fZ.html"
_NAME_BEFORE = f"{FOLDER}%Y-%m-%dT%H%M%SZ.html"  # of pages that an earlier version wrote
_ID = re.compile("[0-9A-HJKMNP-TV-Z]{26}")  # a ULID, as the decision log numbers its documents


class NoSuchReport(LookupError):
    """There is no report by that id, or its page was removed."""


class ReportsUnavailable(ConnectionError):
    """The decision log or the bucket does not answer."""


@dataclass(frozen=True)
class Report:
    """The result of a run of the report flow; `page` is its page's name in the bucket, if any."""

    id: str
    time: datetime
    page: str | None
    figures: dict[str, Any]


class ReportStore:
    """The reports that are kept; nothing is opened before the first call.

    Every method may raise `ReportsUnavailable`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: tuple[Documents, Blobs] | None = None

    def reports(self, limit: int, before: datetime | None = None) -> list[Report]:
        """Return the newest reports, or those before a time, the newest first."""
        where: dict[str, Any] = {"kind": REPORT}
        if before is not None:
            where["time"] = {"$lt": written(before)}
        return list(self._find(where, limit))

    def latest(self) -> Report:
        """Return the newest report that has a page.

        Raises
        ------
        NoSuchReport
            When none has.
        """
        for report in self._find({"kind": REPORT}):
            if report.page:
                return report
        raise NoSuchReport("latest")

    def page(self, id: str) -> bytes:
        """Return the page of a report.

        Raises
        ------
        NoSuchReport
            When there is no such report, or no page of it.
        """
        if not _ID.fullmatch(id):  # nor may it name a file
            raise NoSuchReport(id)

        report = next(self._find({"_id": id, "kind": REPORT}, 1), None)
        if report is None or not report.page or _made(report.page) is None:
            raise NoSuchReport(id)

        try:
            return self._stores()[1].get(report.page)
        except BlobMissing:
            raise NoSuchReport(id) from None
        except (OSError, GoogleAPIError, GoogleAuthError) as error:
            raise ReportsUnavailable(f"the bucket does not answer: {error}") from error

    def _find(self, where: dict[str, Any], limit: int = 0) -> Iterator[Report]:
        try:
            documents, _ = self._stores()
            for d in documents.find(COLLECTION, where, "time", newest_first=True, limit=limit):
                time, body = datetime.fromisoformat(d["time"]), d["body"]
                yield Report(d["_id"], time, body.get("page"), body)
        except LogUnavailable as error:
            raise ReportsUnavailable(str(error)) from error

    def _stores(self) -> tuple[Documents, Blobs]:
        if self._opened is None:
            try:
                documents = open_documents(self._settings.decision_log)
                self._opened = documents, open_blobs(self._settings.bucket)
            except (OSError, GoogleAuthError) as error:
                raise ReportsUnavailable(f"the bucket cannot be opened: {error}") from error
        return self._opened


def page_name(time: datetime) -> str:
    """Return the name in the bucket of a report's page that is made at a time.

    It has the microseconds, so that two runs in one second do not share a page.
    """
    return time.strftime(_NAME)


def remove_old(documents: Documents, blobs: Blobs, days: float, now: datetime | None = None) -> int:
    """Remove pages that are older than some days, then the figures that name them.

    In that order, so that a page whose removal failed is found again. `latest.html` goes with the
    last page.

    Returns
    -------
    int
        How many pages were removed.
    """
    limit = (now or datetime.now(UTC)) - timedelta(days=days)
    pages = {name: made for name in blobs.names(FOLDER) if (made := _made(name))}
    old = [name for name, made in pages.items() if made < limit]

    for name in old:
        blobs.delete(name)
    if old and len(old) == len(pages):
        blobs.delete(LATEST)

    documents.delete(COLLECTION, {"kind": REPORT, "time": {"$lt": written(limit)}})
    return len(old)


def remove_old_refreshes(documents: Documents, days: float, now: datetime | None = None) -> int:
    """Remove the figures of the exporter's refreshes that are older than some days.

    There may be thousands a day; their results are in Prometheus too.

    Returns
    -------
    int
        How many were removed.
    """
    limit = (now or datetime.now(UTC)) - timedelta(days=days)
    return documents.delete(COLLECTION, {"kind": REFRESH, "time": {"$lt": written(limit)}})


def written(time: datetime) -> str:
    """Return a time as the decision log writes it, so that strings sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _made(name: str) -> datetime | None:
    for form in (_NAME, _NAME_BEFORE):
        with suppress(ValueError):
            return datetime.strptime(name, form).replace(tzinfo=UTC)
    return None
