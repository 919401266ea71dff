"""gunicorn's worker as ours is: a connection that goes on, whoever reads what comes on it."""

import hashlib
import http.client
import json
import re
import socket
import sys
import time

import pytest

from conftest import answers, free_port, running, wait_for
from tools.local import ROOT

PROCESS = """
import os

def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if body == b"1/0":
        raise ZeroDivisionError
    start_response("200 OK", [("X-Process", str(os.getpid())), ("Content-Length", str(len(body)))])
    return [body]
"""


def request(body, *headers, path="/api/v1/score"):
    lines = ["Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return f"POST {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode() + body


def next_answer(coming):
    """Return the next answer on a connection that stays open: status, headers without the date, and body."""
    status = coming.readline()
    headers = http.client.parse_headers(coming)
    assert headers["Date"].endswith("GMT")
    del headers["Date"]
    return status, headers.items(), coming.read(int(headers["Content-Length"]))


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (None, "/api/v1/score", 200),
        (None, "/api/v1/score?reasons=true", 200),
        (b"[{}]", "/api/v1/score", 422),
        (b"[", "/api/v1/score", 400),
        (b"[]", "/api/v1/nothing", 404),
        (b"[]", "/api/v1/model", 405),
    ],
)
def test_who_asks_again_gets_the_same_answer_as_who_asks_first(server, clients, body, path, status):
    body = body or json.dumps(clients[:1]).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        # Only gunicorn reads the first request of a connection, and what has a header that it alone knows.
        asked = [(), (), ("X-Odd: 1",), (), ("X-Odd: 1",)]
        coming, answers = connection.makefile("rb"), []
        for headers in asked:
            connection.sendall(request(body, *headers, path=path))
            line, headers, text = next_answer(coming)
            answers.append((line, headers, re.sub(b"01[0-9A-Z]{24}", b"ID", text)))
    assert answers[0][0].startswith(b"HTTP/1.1 %d " % status)
    assert all(answer == answers[0] for answer in answers)


def test_requests_that_come_together_or_in_parts_are_each_answered(server, clients):
    bodies = [json.dumps(clients[i : i + 1]).encode() for i in range(6)]
    requests = b"".join(map(request, bodies))
    known = {record.id for record in server.decisions().latest_batches()}
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        coming = connection.makefile("rb")
        connection.sendall(requests)
        ids = [json.loads(next_answer(coming)[2])["batch"] for _ in bodies]
        for part in (requests[:100], requests[100:1000], requests[1000:]):
            connection.sendall(part)
            time.sleep(0.001)
        ids += [json.loads(next_answer(coming)[2])["batch"] for _ in bodies]
    records = [record for record in server.decisions().latest_batches() if record.id not in known]
    assert {record.id for record in records} == set(ids)
    assert len(ids) == len(set(ids)) == 2 * len(bodies)
    assert {record.sha256 for record in records} == {hashlib.sha256(body).hexdigest() for body in bodies}


@pytest.fixture
def any_app(tmp_path):
    """The port of an app of a single worker process that is replaced after 20 requests."""
    (tmp_path / "process.py").write_text(PROCESS)
    port = free_port()
    kind, bind = ("--worker-class", "model_deployment.worker.Worker"), ("--bind", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "gunicorn", *kind, *bind, "--max-requests", "20", "--keep-alive", "5"]
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with running([*command, "--no-control-socket", "process:app"], tmp_path / "log", env):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), 30, "gunicorn")
        yield port


def test_what_fails_is_said_and_ends_the_connection_only(any_app):
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", any_app), timeout=30) as connection:
            coming = connection.makefile("rb")
            for body in (b"1", b"2"):
                connection.sendall(request(body))
                assert next_answer(coming)[2] == body
            connection.sendall(request(b"1/0"))
            assert coming.read().startswith(b"HTTP/1.1 500 ")


def test_a_worker_of_so_many_requests_is_replaced_after_them(any_app):
    processes = []
    while len(processes) < 50:
        with socket.create_connection(("127.0.0.1", any_app), timeout=30) as connection:
            coming, goes_on = connection.makefile("rb"), True
            while goes_on and len(processes) < 50:
                connection.sendall(request(b"1"))
                _, headers, _ = next_answer(coming)
                headers = dict(headers)
                processes.append(headers["X-Process"])
                goes_on = headers["Connection"] == "keep-alive"
    assert len(set(processes)) >= 3
