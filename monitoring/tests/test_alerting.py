"""An alert's way: a real Prometheus with our rules, a real Alertmanager, and its receivers."""

import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from credit_risk.keys import digest
from monitoring.exporter.server import Server, serving
from tests.support.cases import slow
from tests.support.processes import answers, free_port, running, wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "prometheus" / "alertmanager.sh"


@contextmanager
def listening(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def webhook() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """The address of a receiver, and what it received."""
    received: Queue[dict[str, Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with listening(HTTPServer(("127.0.0.1", 0), Receiver)) as port:
        yield f"http://127.0.0.1:{port}/hook", received


@pytest.fixture
def mailbox() -> Iterator[tuple[str, Queue[str]]]:
    """The address of a mail server that takes everything, and the mails."""
    mails: Queue[str] = Queue()

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode():
                command = line.strip().upper()
                if command == "DATA":
                    self.say("354 go on")
                    mails.put("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
                self.say("221 bye" if command == "QUIT" else "250 ok")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with listening(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as port:
        yield f"127.0.0.1:{port}", mails


@pytest.fixture
def alertmanager(alertmanager_binary, tmp_path) -> Iterator[Callable[..., int]]:
    """A function that starts an Alertmanager as the stack does, without delays; its port."""
    port = free_port()
    script = tmp_path / "alertmanager.sh"
    text = SCRIPT.read_text().replace("group_wait: 10s", "group_wait: 1s")
    script.write_text(text.replace("group_interval: 5m", "group_interval: 1s"))
    command = ["sh", str(script), str(tmp_path / "alertmanager.yml"), alertmanager_binary]
    command += [f"--storage.path={tmp_path}/alerts", "--cluster.listen-address="]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with pytest.MonkeyPatch.context() as patch:

        @contextmanager
        def start(**variables: str) -> Iterator[int]:
            for name, value in variables.items():
                patch.setenv(name, value)
            with running(command, tmp_path / "alertmanager.log"):
                wait_for(
                    lambda: answers(f"http://127.0.0.1:{port}/-/ready"), 30, "the Alertmanager"
                )
                yield port

        yield start


@pytest.mark.slow
def test_an_alert_reaches_a_webhook_and_a_mailbox(alertmanager, webhook, mailbox, watch, settings):
    server = Server("127.0.0.1", free_port(), settings)
    whom = {
        "ALERT_WEBHOOK_URL": webhook[0],
        "ALERT_MAIL_TO": "ops@bank.example",
        "SMTP_HOST": mailbox[0],
    }
    with (
        serving(server),
        alertmanager(**whom, SMTP_TLS="false") as port,
        watch(
            {"evidently-exporter": server.server_port, "risk-o-meter": free_port()},
            port,
            at_once=True,
        ),
    ):
        received: list[dict[str, Any]] = []
        while not received:  # other alerts may be sent before
            alerts = webhook[1].get(timeout=60)["alerts"]
            received = [a for a in alerts if a["labels"]["alertname"] == "RiskOMeterDown"]
        (alert,) = received
        assert alert["status"] == "firing"
        assert alert["labels"] == {
            "alertname": "RiskOMeterDown",
            "severity": "critical",
            "job": "risk-o-meter",
        }
        assert (
            alert["annotations"]["summary"]
            == "The Risk-O-Meter does not answer, so nobody gets a decision."
        )
        page = requests.get(alert["annotations"]["runbook_url"], timeout=10)
        assert page.ok
        assert f'id="{alert["annotations"]["runbook_url"].partition("#")[2]}"' in page.text
        mail = ""
        while "RiskOMeterDown" not in mail:
            mail = mailbox[1].get(timeout=60)
        assert "To: ops@bank.example" in mail


@pytest.mark.parametrize(
    "receivers",
    [{}, {"ALERT_MAIL_TO": "a@b.example", "SMTP_HOST": "c.example:25", "SMTP_USER": "d"}],
)
def test_without_receivers_alerts_wait_on_its_page(alertmanager, receivers):
    with alertmanager(**receivers) as port:
        assert requests.get(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=10).json() == []


def test_secrets_are_taken_from_files_and_shown_to_nobody_else(tmp_path):
    for name, text in (("url", "https://x.example/it's: #1"), ("password", "p'w\n")):
        (tmp_path / name).write_text(text)
    receivers = {"ALERT_MAIL_TO": "a@b.example", "SMTP_HOST": "c.example:25", "SMTP_USER": "d"}
    files = {
        "ALERT_WEBHOOK_URL_FILE": f"{tmp_path}/url",
        "SMTP_PASSWORD_FILE": f"{tmp_path}/password",
    }
    config = tmp_path / "config.yml"
    subprocess.run(["sh", SCRIPT, config, "true"], env=os.environ | receivers | files, check=True)
    assert config.stat().st_mode & 0o077 == 0
    text = config.read_text()
    assert "url: 'https://x.example/it''s: #1'" in text
    assert "auth_password: 'p''w'" in text


def test_mail_without_a_mail_server_is_one_line(tmp_path):
    receivers = os.environ | {"ALERT_MAIL_TO": "a@b.example"}
    done = subprocess.run(
        ["sh", SCRIPT, tmp_path / "c.yml", "true"], env=receivers, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith(
        "ALERT_MAIL_TO needs SMTP_HOST, such as smtp.example.com:587"
    )


@pytest.mark.parametrize(("key", "up"), [("s" * 32, "1"), *slow(("x" * 32, "0"))])
def test_prometheus_reads_closed_figures_with_its_key(watch, settings, tmp_path, key, up):
    (tmp_path / "its-key").write_text("s" * 32)
    keys = SecretStr(f"ops:{digest('k' * 32)}")
    closed = settings.model_copy(update={"api_keys": keys, "scrape_key_file": tmp_path / "its-key"})
    server = Server("127.0.0.1", free_port(), closed)
    with (
        serving(server),
        watch({"evidently-exporter": server.server_port}, scrape_key=key) as prometheus,
    ):
        (seen,) = wait_for(lambda: prometheus.ask('up{job="evidently-exporter"}'), 30, "a scrape")
        assert seen["value"][1] == up
