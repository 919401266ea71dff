"""The exporter's pages for people: the list of reports, each report, and the runbook."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, quote

from markdown_it import MarkdownIt

from credit_risk.settings import Settings
from monitoring.reports.report_store import NoSuchReport, Report, ReportStore, ReportsUnavailable

RUNBOOK = Path(__file__).parents[1] / "runbook.md"
LIST = "/reports"
REPORTS = "/reports/"
RUNBOOK_PATH = "/runbook"
PATHS = (LIST, RUNBOOK_PATH)
PER_PAGE = 50
# Readers of reports at a time: each report is 4 MB in memory until its reader has it. Others are
# asked to come back.
AT_A_TIME = 16

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
# Our own pages need nothing but their style.
PLAIN = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report is script that holds what clients sent: it runs without an origin, and cannot connect to
# anything.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_STYLE = """
<style>
  body { font: 15px/1.5 system-ui, Helvetica, Arial, sans-serif; margin: 2rem auto;
         max-width: 70rem; padding: 0 1rem; color: #212121; background: #fff; }
  table { border-collapse: collapse; width: 100%; }
  th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #ddd;
           vertical-align: top; }
  .drift { font-weight: bold; color: #b00020; }
  pre, code { background: #f2f2f2; }
  pre { padding: .5rem; overflow: auto; }
  :target { background: #fff3c4; }
</style>
"""


@dataclass(frozen=True)
class Answer:
    """The response to a browser."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class Site:
    """Answers for its paths; the report store is opened when the first reader comes."""

    def __init__(self, settings: Settings) -> None:
        self._store = ReportStore(settings)
        self._readers = threading.BoundedSemaphore(AT_A_TIME)

    def has(self, path: str) -> bool:
        """Return whether a path is one of its own."""
        return path in PATHS or path.startswith(REPORTS)

    @contextmanager
    def answering(self, target: str) -> Iterator[Answer]:
        """Give the answer to a request, for as long as it takes to send it.

        Until then the reader of a report counts as one of `AT_A_TIME`.

        Parameters
        ----------
        target : str
            The path, perhaps with a query.
        """
        if not target.startswith(REPORTS):
            yield self.answer(target)
            return

        if not self._readers.acquire(blocking=False):
            yield Answer(503, b"too many readers at once\n", headers={"Retry-After": "5"})
            return

        try:
            yield self.answer(target)
        finally:
            self._readers.release()

    def answer(self, target: str) -> Answer:
        """Return the answer to a request."""
        path, _, query = target.partition("?")
        if path == RUNBOOK_PATH:
            return _page("Runbook", _runbook())

        try:
            return self._reports(path, query)
        except NoSuchReport:
            return Answer(404, b"there is no such report; /reports lists those that are kept\n")
        except ReportsUnavailable as error:
            return Answer(503, f"{error}\n".encode(), headers={"Retry-After": "30"})

    def _reports(self, path: str, query: str) -> Answer:
        if path == LIST:
            before = _before(query)
            return _page("Evidently reports", _list(self._store.reports(PER_PAGE, before)))

        id = path.removeprefix(REPORTS)
        if id == "latest":
            return Answer(303, b"", headers={"Location": f"/reports/{self._store.latest().id}"})

        headers = {
            "Content-Security-Policy": SANDBOX,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return Answer(200, self._store.page(id), HTML, headers)


def _before(query: str) -> datetime | None:
    """Return the time before which the list ends; None where the query gives no valid one."""
    try:
        time = datetime.fromisoformat(parse_qs(query).get("before", [""])[0])
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _page(title: str, body: str) -> Answer:
    head = f'<head><meta charset="utf-8"><title>{title}</title>{_STYLE}</head>'
    whole = f'<!doctype html><html lang="en">{head}<body>{body}</body></html>'
    headers = {"Content-Security-Policy": PLAIN, "X-Content-Type-Options": "nosniff"}
    return Answer(200, whole.encode(), HTML, headers)


def _list(reports: list[Report]) -> str:
    if not reports:
        return "<h1>Evidently reports</h1><p>None here. The report flow runs every 3 hours.</p>"

    older = ""
    if len(reports) == PER_PAGE:
        older = (
            f'<p><a href="/reports?before={quote(reports[-1].time.isoformat())}">Older ones</a></p>'
        )
    return f"""
<h1>Evidently reports</h1>
<p>Of the report flow's runs, the newest first. <a href="/reports/latest">The latest report</a>,
<a href="/runbook">the runbook</a>.</p>
<table>
<tr><th>Time (UTC)</th><th>Version</th><th>Decisions</th><th>Dataset drift</th>
<th>Drifted features</th><th></th></tr>
{"".join(map(_row, reports))}
</table>
{older}
"""


def _row(report: Report) -> str:
    time = f"<td>{report.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}</td>"
    drift = report.figures.get("drift")
    if not report.page or not drift:
        message = escape(str(report.figures.get("message", "no report")))
        return f'<tr>{time}<td colspan="5">{message}</td></tr>'

    version = escape(str(report.figures["model_version"]))
    drifted = escape(", ".join(drift["drifted"])) or "-"
    verdict = '<td class="drift">yes</td>' if drift["dataset_drift"] else "<td>no</td>"
    return (
        f"<tr>{time}<td>{version}</td><td>{int(report.figures['window']['n'])}</td>"
        f"{verdict}<td>{drifted}</td>"
        f'<td><a href="/reports/{escape(report.id)}">report</a></td></tr>'
    )


@cache  # takes 5 ms, for which no scrape should have to wait
def _runbook() -> str:
    """Return the runbook as HTML; a heading's anchor is its text in lower case, as on GitHub."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(RUNBOOK.read_text())
    for heading, text in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", text.content.lower().replace(" ", "-"))
    return str(markdown.renderer.render(tokens, markdown.options, {}))
