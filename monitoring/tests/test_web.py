"""The hosted reports: a list, each report in its sandbox, and nothing for a hostile caller."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import quote

import numpy as np
import pytest
from pydantic import SecretStr

from credit_risk.access.access_log import AccessLog
from credit_risk.access.roles import PERMISSIONS
from credit_risk.decision_log.log import open_log
from credit_risk.keys import digest
from credit_risk.storage.backends import open_blobs, open_documents
from monitoring import kinds
from monitoring.exporter import server as server_module
from monitoring.exporter import web
from monitoring.exporter.server import Handler, Server, serving
from monitoring.exporter.web import PER_PAGE, Site
from monitoring.reports import report_store
from monitoring.reports.report_store import LATEST, page_name, remove_old
from tests.support.processes import free_port, wait_for

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOSTILE = [
    "../../decisions.db",
    "..%2f..%2fdecisions.db",
    "%2e%2e/x",
    "latest.html",
    "x" * 26,
    "",
    "\x00",
    "{}",
]


@contextmanager
def exporting(settings) -> Iterator[Server]:
    server = Server("127.0.0.1", free_port(), settings)
    server.page = b"a 1\n" * 500
    # As `serving` does, but that it looks more often whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def exporter(settings) -> Iterator[Server]:
    with exporting(settings) as server:
        yield server


@pytest.fixture
def idle(settings) -> Iterator[Server]:
    """Another one."""
    with exporting(settings) as server:
        yield server


def get(
    server: Server, path: str, host: str = "localhost", method: str = "GET"
) -> tuple[HTTPResponse, str]:
    with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=30)) as connection:
        connection.request(method, path, headers={"Host": f"{host}:{server.server_port}"})
        answer = connection.getresponse()
        return answer, answer.read().decode()


def test_the_list_has_each_report_with_its_verdict_and_a_link(exporter, put_report):
    first = put_report()
    second = put_report(NOW + timedelta(hours=3), drift={"dataset_drift": False, "drifted": []})
    put_report(
        NOW + timedelta(hours=6),
        html=None,
        message="no report: 3 <b>decisions</b>, and it takes 100",
    )
    answer, text = get(exporter, "/reports")
    assert answer.status == 200
    rows = text.split("<tr>")[2:]
    assert "no report: 3 &lt;b&gt;decisions&lt;/b&gt;, and it takes 100" in rows[0]
    assert f'<td>no</td><td>-</td><td><a href="/reports/{second}">' in rows[1]
    assert "2026-11-25 15:00:00" in rows[1]
    assert f'yes</td><td>credit_amount, risk</td><td><a href="/reports/{first}">' in rows[2]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_report_is_shown_in_a_sandbox(exporter, put_report):
    html = "<script>1</script>é"
    answer, text = get(exporter, f"/reports/{put_report(html=html)}")
    assert (answer.status, text) == (200, html)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "allow-same-origin" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_latest_is_the_newest_that_has_a_page(exporter, put_report):
    assert get(exporter, "/reports/latest")[0].status == 404
    id = put_report()
    put_report(NOW + timedelta(hours=3), html=None)
    answer, _ = get(exporter, "/reports/latest")
    assert (answer.status, answer.headers["Location"]) == (303, f"/reports/{id}")


@pytest.mark.parametrize("id", HOSTILE)
def test_ids_lead_to_nothing_but_reports(exporter, put_report, stores, id):
    put_report()
    stores[0].insert(
        report_store.COLLECTION,
        [{"_id": "7" * 26, "kind": "refresh", "time": "2026", "body": {"page": LATEST}}],
    )
    for asked in (
        f"/reports/{quote(id)}",
        f"/reports/{quote(id, safe='')}",
        f"/reports/{'7' * 26}",
    ):
        answer, text = get(exporter, asked)
        assert answer.status == 404, asked
        assert "a report" not in text


def test_a_document_that_names_a_file_elsewhere_gives_nothing(exporter, put_report, settings):
    (settings.var_dir / "secret").write_text("secret")
    answer, text = get(exporter, f"/reports/{put_report(html=None, page='../secret')}")
    assert answer.status == 404
    assert "secret" not in text


def test_a_page_that_was_removed_is_not_found(exporter, put_report, stores):
    id = put_report()
    stores[1].delete(page_name(NOW))
    assert get(exporter, f"/reports/{id}")[0].status == 404


def test_values_in_the_list_are_escaped(exporter, put_report):
    put_report(model_version="<script>", drift={"dataset_drift": True, "drifted": ["<img src=x>"]})
    _, text = get(exporter, "/reports")
    assert "<script>" not in text
    assert "<img" not in text


def test_a_long_list_of_reports_is_paged(exporter, put_report):
    for hours in range(PER_PAGE + 5):
        put_report(NOW + timedelta(hours=hours))
    _, first = get(exporter, "/reports")
    assert first.count("<td><a href") == PER_PAGE
    older = first.split('<a href="')[-1].split('"')[0]
    _, second = get(exporter, older)
    assert second.count("<td><a href") == 5
    for nonsense in ("x", "9999-99-99", "0001-01-01T00:00:00%2b23:59", "2026-11-25"):
        assert get(exporter, f"/reports?before={nonsense}")[0].status == 200


@pytest.mark.parametrize("host", ["rebound.example", "", "[", "localhost.evil.example"])
def test_a_foreign_host_name_is_refused(exporter, put_report, host):
    for path in ("/reports", f"/reports/{put_report()}", "/runbook"):
        answer, text = get(exporter, path, host)
        assert answer.status == 400
        assert "report" not in text
    for path in ("/metrics", "/healthz"):
        assert get(exporter, path, host)[0].status == 400
        assert get(exporter, path, "evidently-exporter")[0].status == 200  # as Prometheus asks


def test_the_list_says_that_there_are_no_reports(exporter):
    assert "None here." in get(exporter, "/reports")[1]


def test_metrics_go_on_while_the_log_is_away(settings):
    away = settings.model_copy(
        update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"}
    )
    server = Server("127.0.0.1", free_port(), away)
    with serving(server):
        answer, text = get(server, "/reports")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
        assert "MongoDB does not answer" in text
        assert get(server, "/metrics")[0].status == 200


def test_a_head_request_gets_no_body(exporter, put_report):
    answer, text = get(exporter, f"/reports/{put_report()}", method="HEAD")
    assert (answer.status, text) == (200, "")
    assert int(answer.headers["Content-Length"]) == len("<h1>a report</h1>")


def test_concurrent_readers_are_bounded_and_scrapes_go_on(exporter, idle, put_report):
    """Eight readers of 4 MB reports, all the time: the scrape hardly notices."""
    id = put_report(html="<p>0123456789</p>" * 250_000)
    done, answers = threading.Event(), set()

    def read(_: int) -> None:
        while not done.is_set():
            answers.add(get(exporter, f"/reports/{id}")[0].status)

    servers = {"busy": exporter, "idle": idle}
    connections = {
        name: HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        for name, server in servers.items()
    }
    took = {name: [] for name in servers}
    with ThreadPoolExecutor(8) as readers:
        work = readers.map(read, range(8))
        try:
            for _ in range(200):
                for name, connection in connections.items():
                    began = time.perf_counter()
                    connection.request("GET", "/metrics")
                    connection.getresponse().read()
                    took[name].append(time.perf_counter() - began)
                time.sleep(0.005)
        finally:
            done.set()
        list(work)
    assert answers <= {200, 503}
    assert 200 in answers
    # Readers and exporters share this process here, and its lock, and a machine that may be busy:
    # the one that nobody reads from meets as much of that.
    p90 = {name: np.percentile(times, 90) for name, times in took.items()}
    assert p90["busy"] < max(0.25, 1.5 * p90["idle"]), p90


def test_a_reader_counts_until_the_report_is_sent(exporter, put_report, monkeypatch):
    monkeypatch.setattr(exporter.site, "_readers", threading.BoundedSemaphore(4))
    page = 32_000_000  # more than sockets hold, however far the kernel lets the sender's grow
    id = put_report(html="x" * page)
    slow = [_slow_reader(exporter) for _ in range(4)]
    for reader in slow:
        reader.request("GET", f"/reports/{id}", headers={"Host": "localhost"})
        reader.sock.recv(1, socket.MSG_PEEK)  # it is being answered, so it has its place
    assert get(exporter, f"/reports/{id}")[0].status == 503
    for path in ("/reports", "/runbook", "/metrics", "/healthz"):
        assert get(exporter, path)[0].status == 200
    assert all(len(reader.getresponse().read()) == page for reader in slow)
    wait_for(lambda: get(exporter, f"/reports/{id}")[0].status == 200, 10, "a free place")


def test_a_reader_that_does_not_read_is_disconnected(exporter, put_report, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.5)
    monkeypatch.setattr(exporter.site, "_readers", threading.BoundedSemaphore(1))
    id = put_report(html="x" * 32_000_000)
    slow = _slow_reader(exporter)
    slow.request("GET", f"/reports/{id}", headers={"Host": "localhost"})
    slow.sock.recv(1, socket.MSG_PEEK)

    def is_free() -> bool:
        slow.sock.recv(1000)  # a little at a time is too slow
        return get(exporter, f"/reports/{id}", method="HEAD")[0].status == 200

    wait_for(is_free, 20, "a free place")


@pytest.fixture
def closed(settings, tmp_path) -> Iterator[Server]:
    """An exporter with keys, and a user's name from who asks."""
    (tmp_path / "scrape-key").write_text("s" * 32)
    (tmp_path / "roles.toml").write_text(
        "".join(f'[{role}]\ngroups = ["{role}"]\n' for role in ROLES)
    )
    ends = (f"ops:{digest('k' * 32)}:2099-12-31", f"old:{digest('o' * 32)}:2026-01-31")
    more = {
        "api_keys": SecretStr(",".join(ends)),
        "user_header": "X-Forwarded-User",
        "groups_header": "X-Forwarded-Groups",
        "trusted_proxies": "127.0.0.2",
        "scrape_key_file": tmp_path / "scrape-key",
        "roles_file": tmp_path / "roles.toml",
    }
    server = Server("127.0.0.1", free_port(), settings.model_copy(update=more))
    server.page = b"a 1\n"
    with serving(server):
        yield server


ROLES = ("clerk", "reviewer", "data-scientist", "approver", "auditor", "operator", "service")
KEY, OLD, SCRAPE, WRONG = ({"Authorization": f"Bearer {key * 32}"} for key in "kosx")


def user(*roles: str) -> dict[str, str]:
    return {"X-Forwarded-User": "ann", "X-Forwarded-Groups": ",".join(roles)}


PROXIED = user("operator")


def ask_as(
    server: Server, path: str, headers: dict[str, str], peer: str = "127.0.0.2"
) -> tuple[HTTPResponse, str]:
    """Return the answer to a request from an address, which is the proxy's unless given."""
    connection = HTTPConnection("127.0.0.1", server.server_port, source_address=(peer, 0))
    with closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()


@pytest.mark.parametrize(
    ("headers", "peer", "figures", "pages"),
    [
        ({}, "127.0.0.1", 403, 403),
        (PROXIED, "127.0.0.1", 403, 403),
        (user(), "127.0.0.2", 403, 403),
        (user("clerk"), "127.0.0.2", 403, 403),
        (user("reviewer"), "127.0.0.2", 403, 403),
        (user("data-scientist"), "127.0.0.2", 403, 200),
        (user("approver"), "127.0.0.2", 403, 200),
        (user("auditor"), "127.0.0.2", 403, 200),
        (user("operator"), "127.0.0.2", 200, 200),
        (user("service"), "127.0.0.2", 403, 403),
        (user("clerk", "auditor"), "127.0.0.2", 403, 200),
        (user("scraper"), "127.0.0.2", 403, 403),
        (KEY, "127.0.0.1", 403, 403),
        (OLD, "127.0.0.1", 401, 401),
        (SCRAPE, "127.0.0.1", 200, 401),
        (WRONG, "127.0.0.1", 401, 401),
    ],
)
def test_each_role_may_read_on_the_exporter_what_is_its_own(
    closed, put_report, headers, peer, figures, pages
):
    def status(path: str) -> int:
        return ask_as(closed, path, headers, peer)[0].status

    report = f"/reports/{put_report()}"
    assert status("/healthz") == 200
    assert status("/metrics") == figures
    for path in ("/runbook", "/reports", report, "/reports/latest"):
        assert status(path) in (pages, 303 if pages == 200 else pages), path
    # Another spelling of an address opens nothing more.
    for path in ("//runbook", "/REPORTS", "/runbook/"):
        assert status(path) in (pages, 401, 404), path
    for path in ("//metrics", "/metrics/", "/reports/../metrics"):
        assert status(path) in (figures, 401, 404), path


def test_permissions_of_the_pages_are_those_that_this_file_expects():
    expected = {"/metrics": "metrics", "/reports": "reports", "/reports/<id>": "reports"}
    assert expected | {"/runbook": "reports"} == server_module.PERMISSIONS
    for role in ROLES:
        reads = role in ("data-scientist", "approver", "auditor", "operator")
        assert ("reports" in PERMISSIONS[role], "metrics" in PERMISSIONS[role]) == (
            reads,
            role == "operator",
        )


def test_route_that_is_in_no_table_is_closed_to_everybody(closed, monkeypatch):
    monkeypatch.setattr(server_module, "PERMISSIONS", {})
    for path in ("/metrics", "/reports", "/reports/x", "/runbook"):
        answer, text = ask_as(closed, path, user(*ROLES))
        assert (answer.status, json.loads(text)["type"]) == (403, "urn:risk-o-meter:not-permitted")


@pytest.mark.parametrize(
    ("path", "headers", "status", "reason"),
    [
        ("/reports", user("clerk"), 403, "not-permitted"),
        ("/metrics", user("auditor"), 403, "not-permitted"),
        ("/runbook", user(), 403, "no-role"),
        ("/reports", OLD, 401, "expired-key"),
        ("/reports", {}, 403, "no-user"),
    ],
)
def test_refusal_is_a_problem_and_is_counted_and_logged(closed, path, headers, status, reason):
    lines = io.StringIO()
    closed.access_log.close()
    closed.access_log = AccessLog(lines)
    answer, text = ask_as(closed, path, headers)
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = json.loads(text)
    assert (answer.status, body["status"]) == (status, status)
    assert body["type"] == f"urn:risk-o-meter:{reason}"
    assert (answer.headers["WWW-Authenticate"] == "Bearer") is (status == 401)
    assert f'exporter_refusals_total{{reason="{reason}"}} 1.0'.encode() in closed.metrics()
    wait_for(lambda: lines.getvalue().count("\n") == 1, what="the line")
    said = json.loads(lines.getvalue())
    assert (said["what"], said["reason"], said["status"]) == ("refused", reason, status)
    assert said["who"] == ("ann" if "X-Forwarded-User" in headers else None)


def test_readers_of_reports_are_logged(closed, put_report):
    id, lines = put_report(), io.StringIO()
    closed.access_log.close()
    closed.access_log = AccessLog(lines)
    assert ask_as(closed, f"/reports/{id}?x=1", PROXIED)[0].status == 200
    wait_for(lambda: lines.getvalue().count("\n") == 1, what="the first line")
    get(closed, f"/reports/{id}")
    wait_for(lambda: lines.getvalue().count("\n") == 2, what="both lines")
    read, refused = map(json.loads, lines.getvalue().splitlines())
    assert (read["who"], read["what"], read["id"], read["route"]) == (
        "ann",
        "report",
        id,
        "/reports/<id>",
    )
    assert (refused["what"], refused["reason"], refused["status"]) == ("refused", "no-user", 403)
    assert b'credit_risk_exporter_refusals_total{reason="no-user"} 1.0' in closed.metrics()


def _slow_reader(exporter: Server) -> HTTPConnection:
    """Return a connection whose kernel takes little on behalf of who does not read."""
    reader = HTTPConnection("127.0.0.1", exporter.server_port, timeout=30)
    reader.sock = socket.socket()
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    reader.sock.settimeout(30)
    reader.sock.connect(("127.0.0.1", exporter.server_port))
    return reader


def test_reports_are_hosted_from_mongodb_and_a_bucket(settings, mongodb_url, gcs_url):
    other = settings.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url})
    log, blobs = open_log(other), open_blobs(gcs_url)
    name = page_name(datetime.now(UTC))
    blobs.put(name, b"<h1>a report</h1>")
    id = log.put_report(
        kinds.REPORT, {"page": name, "model_version": "1", "window": {"n": 1}, "drift": None}
    )
    hosted = Site(other)
    assert hosted.answer(f"/reports/{id}").body == b"<h1>a report</h1>"
    assert hosted.answer("/reports/latest").headers["Location"] == f"/reports/{id}"
    assert hosted.answer(f"/reports?before={quote('2020-01-01')}").body.count(b"None here")
    assert (
        remove_old(
            open_documents(mongodb_url), blobs, days=1, now=datetime.now(UTC) + timedelta(days=2)
        )
        == 1
    )
    assert hosted.answer(f"/reports/{id}").status == 404


def test_the_runbook_is_a_page():
    assert web.RUNBOOK.read_text().startswith("# Runbook\n")
