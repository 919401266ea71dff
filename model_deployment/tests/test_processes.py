"""The service as it runs: two processes, real sockets."""

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_deployment.http.serving import STOP_SECONDS
from tests.support.cases import slow
from tests.support.processes import free_port, wait_for

PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
LENGTH = 900_000


HEAD = (
    b"POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n"
)


def slow_upload(server, start):
    """Begin an upload and stop in the middle of it; return the open connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(HEAD + f"Content-Length: {LENGTH}\r\n\r\n".encode() + PART + start.encode())
    return connection


def finish(connection, sent):
    """Send the rest of a slow upload, and return the answer's first line."""
    end = b"\r\n--b--\r\n"
    connection.sendall(b"\n" * (LENGTH - sent - len(end)) + end)
    return connection.recv(1000).split(b"\r\n")[0]


def to_its_end(connection):
    """Return all that comes until the server closes; it may reset, for it does not read on."""
    answer = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def seconds(call):
    began = time.perf_counter()
    status, _ = call()
    assert status == 200
    return time.perf_counter() - began


def counted(server, name, **labels):
    """Return the sum of a metric's samples that carry these labels."""
    families = text_string_to_metric_families(server.get("/metrics")[1])
    found = [s for family in families for s in family.samples if s.name == name]
    return sum(s.value for s in found if labels.items() <= s.labels.items())


def workers(server):
    """Return the process ids that have counted a request."""
    return {
        int(file.stem.rpartition("_")[2])
        for file in (server.settings.var_dir / "metrics").glob("*.db")
    }


@pytest.mark.alone
@pytest.mark.parametrize("uploads", [8, *slow(24)])
def test_slow_uploads_leave_probe_and_score_within_a_second(server, client_rows, as_csv, uploads):
    start = as_csv(client_rows[:2])
    with ExitStack() as stack:
        held = [stack.enter_context(slow_upload(server, start)) for _ in range(uploads)]
        time.sleep(0.5)
        for _ in range(10):
            for connection in held:
                connection.sendall(b"\n")
            assert seconds(lambda: server.get("/healthz")) < 1
            assert seconds(lambda: server.score(client_rows[:1])) < 1
        for connection in held:  # none was dropped: each is answered when it ends
            assert finish(connection, sent=len(PART) + len(start) + 10) == b"HTTP/1.1 200 OK"


def test_counters_are_summed_over_the_processes(server, client_rows):
    labels = {"route": "/api/v1/score", "method": "POST", "status": "200"}
    name = "riskometer_request_duration_seconds_count"
    before = counted(server, name, **labels)
    before_scored = counted(server, "riskometer_scoring_duration_seconds_count")
    sent = 0
    while sent < 20 or len(workers(server)) < 2:
        assert server.score(client_rows[:1])[0] == 200
        sent += 1
        assert sent < 500
    for _ in range(10):  # whichever process is asked
        assert counted(server, name, **labels) == before + sent
        assert counted(server, "riskometer_scoring_duration_seconds_count") == before_scored + sent


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_what_it_counted_stays(server, client_rows):
    labels = {"route": "/api/v1/score", "status": "200"}
    server.score(client_rows[:1])
    before = counted(server, "riskometer_request_duration_seconds_count", **labels)
    known = workers(server)
    victim = next(pid for pid in known if _alive(pid))
    os.kill(victim, signal.SIGKILL)

    def replaced():
        server.get("/healthz")
        return workers(server) - known and server.get("/readyz")[0] == 200

    wait_for(replaced, seconds=120, what="a new worker")
    wait_for(server.ready, seconds=60, what="its model")
    assert counted(server, "riskometer_request_duration_seconds_count", **labels) == before
    assert server.score(client_rows[:1])[0] == 200


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b'G"T / HTTP/1.1\r\nHost: localhost\r\n\r\n', 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nBig: " + b"x" * 1_000_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    ],
)
def test_bytes_that_are_not_http_end_the_connection(server, request_bytes, status):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        with suppress(ConnectionError):
            connection.sendall(request_bytes)
        assert to_its_end(connection).startswith(b"HTTP/1.1 %d" % status)


def test_an_upload_over_the_limit_is_answered_before_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n--b")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_body_of_unknown_length_is_limited_too(server, client_rows):
    def post(body):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        chunks = (body[i : i + 50_000] for i in range(0, len(body), 50_000))
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/score", chunks, headers, encode_chunked=True)
        return connection.getresponse().status

    assert post(json.dumps(client_rows[:200]).encode()) == 200
    assert post(b" " * 1_500_000 + b"[]") == 413


def test_truncated_upload_is_not_decided(server, client_rows, as_csv):
    known = {record.id for record in server.decisions().latest_batches()}
    with slow_upload(server, as_csv(client_rows[:50])) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = to_its_end(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"broke off" in answer
    assert {record.id for record in server.decisions().latest_batches()} == known


def test_body_is_complete_however_much_comes_with_the_head(server, client_rows, as_csv):
    files = [
        as_csv(client_rows[:2]).encode(),
        as_csv(client_rows * 35).encode(),
        as_csv(client_rows[:3]).encode(),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for data in files:
            body = PART + data + b"\r\n--b--\r\n"
            connection.sendall(
                b"POST /api/v1/files?decisions=none HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert json.load(answer)["n_decided"] == data.count(b"\n") - 1
    logged = {record.sha256 for record in server.decisions().latest_batches()}
    assert logged >= {hashlib.sha256(data).hexdigest() for data in files}


def test_server_starts_without_mlflow_and_stops_at_once(serve):
    server = serve(MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    wait_for(
        lambda: "MLflow cannot be reached" in server.get("/readyz")[1]["detail"], 30, "a first look"
    )
    assert server.get("/")[0] == 200
    idle = http.client.HTTPConnection("127.0.0.1", server.port)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    with socket.create_connection(("127.0.0.1", server.port)):  # a browser opens some in advance
        time.sleep(0.5)
        server.process.terminate()
        # Workers that waited for these connections would be killed after `STOP_SECONDS`.
        assert server.process.wait(STOP_SECONDS - 5) == 0
    idle.close()


def test_access_log_is_complete_when_the_server_stops(serve, client_rows):
    server = serve(MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    answers = [server.score(client_rows[:1])[0] for _ in range(20)]
    server.process.terminate()
    assert server.process.wait(30) == 0
    assert answers == [503] * 20
    assert server.log_file.read_text().count('"what": "score"') == 20


@pytest.mark.slow
def test_stop_during_the_start_waits_for_nobody(tmp_path):
    """Workers that look for the model, at an MLflow that never answers, have no requests yet."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = os.environ | {
            "VAR_DIR": str(tmp_path),
            "DECISION_LOG": f"sqlite:///{tmp_path}/decisions.db",
            "BUCKET": str(tmp_path / "bucket"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "RISKOMETER_PORT": str(free_port()),
            "RISKOMETER_PROCESSES": "2",
        }
        with (tmp_path / "log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "model_deployment.server"], env=environment, stderr=log
            )
        silent.settimeout(60)
        asking, _ = silent.accept()  # a worker is in its first look
        server.terminate()
        assert server.wait(15) == 0
        asking.close()


@pytest.mark.slow
def test_new_versions_and_an_absent_mlflow_need_no_restart(
    serve, register, approve_on, relay, mlflow_server, scorers, client_rows
):
    server = serve(MLFLOW_TRACKING_URI=relay.url(mlflow_server), MODEL_NAME="life")

    def settled(check):
        """Return whether the check holds for whichever process answers."""
        return all(check() for _ in range(10))

    status, body = wait_for(lambda: server.get("/api/v1/model"), what="an answer")
    wait_for(
        lambda: settled(lambda: "no Production model" in server.get("/api/v1/model")[1]["detail"]),
        60,
        "a first look",
    )
    assert server.score(client_rows[:1])[0] == 503

    for number, scorer in enumerate(scorers, start=1):
        version = register(mlflow_server, "life", scorer)
        approve_on(server, version, by=f"person {number}")
        wait_for(lambda v=version: server.ready(v), 30, "it")
        assert settled(lambda v=version: server.get("/api/v1/model")[1]["version"] == v)
        status, body = server.score(client_rows[:1])
        assert (status, body.get("model_version")) == (200, version), body
        assert server.get("/api/v1/model")[1]["approved_by"] == f"person {number}"

    before = len(server.log_file.read_text())
    relay.stop()

    def all_have_looked():
        lines = server.log_file.read_text()[before:].splitlines()
        away = {int(line.split()[2]) for line in lines if "MLflow cannot be reached" in line}
        return away >= {worker.pid for worker in server.workers()}

    wait_for(all_have_looked, 60, "a look of each process")
    assert settled(lambda: server.score(client_rows[:1])[0] == 200)
    batches = {record.model_version for record in server.decisions().latest_batches()}
    assert batches == {"1", "2"}


def request(body, path="/api/v1/score"):
    lines = [
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return f"POST {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode() + body


def next_answer(coming):
    """Return the next answer on a connection that stays open: status and body."""
    status = int(coming.readline().split()[1])
    headers = http.client.parse_headers(coming)
    return status, coming.read(int(headers["Content-Length"]))


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
def test_repeated_request_on_a_connection_gets_the_same_answer(
    server, client_rows, body, path, status
):
    body = body or json.dumps(client_rows[:1]).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        coming = connection.makefile("rb")
        answers = []
        for _ in range(4):
            connection.sendall(request(body, path))
            answers.append(next_answer(coming))
    assert {(code, re.sub(b"01[0-9A-Z]{24}", b"ID", text)) for code, text in answers} == {
        (status, re.sub(b"01[0-9A-Z]{24}", b"ID", answers[0][1]))
    }


def test_pipelined_or_split_requests_are_each_answered(server, client_rows):
    bodies = [json.dumps(client_rows[i : i + 1]).encode() for i in range(6)]
    requests = b"".join(map(request, bodies))
    known = {record.id for record in server.decisions().latest_batches()}
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        coming = connection.makefile("rb")
        connection.sendall(requests)
        ids = [json.loads(next_answer(coming)[1])["batch"] for _ in bodies]
        for part in (requests[:100], requests[100:1000], requests[1000:]):
            connection.sendall(part)
            time.sleep(0.001)
        ids += [json.loads(next_answer(coming)[1])["batch"] for _ in bodies]
    records = [record for record in server.decisions().latest_batches() if record.id not in known]
    assert {record.id for record in records} == set(ids)
    assert len(ids) == len(set(ids)) == 2 * len(bodies)
    assert {record.sha256 for record in records} == {
        hashlib.sha256(body).hexdigest() for body in bodies
    }
