"""The store of reports: old ones are removed, and names are those of the decision log."""

from datetime import UTC, datetime, timedelta

from credit_risk.decision_log.log import open_log
from monitoring import kinds
from monitoring.reports import report_store
from monitoring.reports.report_store import LATEST, page_name, remove_old, remove_old_refreshes

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_old_reports_are_removed_with_their_figures(stores, put_report):
    documents, blobs = stores
    old, new = put_report(NOW - timedelta(days=91)), put_report(NOW - timedelta(days=89))
    put_report(NOW - timedelta(days=100), html=None)
    for days in (91, 89):
        made = (NOW - timedelta(days=days)).isoformat(timespec="microseconds")
        documents.insert(
            report_store.COLLECTION,
            [{"_id": f"r{days}", "kind": kinds.REFRESH, "time": made, "body": {}}],
        )
    blobs.put("reports/mine.html", b"of somebody else")
    blobs.put(page_name(NOW - timedelta(days=95)), b"its run died before it wrote the figures")
    assert remove_old(documents, blobs, days=90, now=NOW) == 2
    assert remove_old_refreshes(documents, days=90, now=NOW) == 1
    assert {d["_id"] for d in documents.find(report_store.COLLECTION, {})} == {new, "r89"}
    assert blobs.names("reports/") == [
        page_name(NOW - timedelta(days=89)),
        LATEST,
        "reports/mine.html",
    ]
    assert old != new
    assert remove_old(documents, blobs, days=90, now=NOW + timedelta(days=2)) == 1
    assert remove_old_refreshes(documents, days=7, now=NOW) == 1
    assert blobs.names("reports/") == ["reports/mine.html"]
    assert not list(documents.find(report_store.COLLECTION, {}))


def test_a_report_has_the_id_that_the_decision_log_gave_it(settings):
    id = open_log(settings).put_report(kinds.REPORT, {"page": None})
    (report,) = report_store.ReportStore(settings).reports(1)
    assert report.id == id


def test_two_reports_of_one_second_have_a_page_each(stores, put_report):
    first, second = put_report(NOW), put_report(NOW + timedelta(microseconds=1))
    assert first != second
    assert len(stores[1].names("reports/")) == 3


def test_a_page_that_an_earlier_version_wrote_is_shown_and_removed(settings, stores):
    documents, blobs = stores
    name = "reports/2026-11-25T120000Z.html"
    blobs.put(name, b"<h1>a report</h1>")
    id = open_log(settings).put_report(kinds.REPORT, {"page": name})
    assert report_store.ReportStore(settings).page(id) == b"<h1>a report</h1>"
    assert remove_old(documents, blobs, days=90, now=NOW + timedelta(days=91)) == 1
    assert blobs.names("reports/") == []
