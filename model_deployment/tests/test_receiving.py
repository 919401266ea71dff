"""Bodies come in a few at a time, and a client that stops sending is not waited for."""

import tempfile
import threading

import pytest
from werkzeug.datastructures import FileStorage

from model_deployment.app import create_app
from model_deployment.receiving import content


class Trickle:
    """A request body that stops until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def read(self, size=-1):
        self.begun.set()
        self.go.wait(30)
        return b""


class Stalled:
    """A request body whose connection timed out."""

    def read(self, size=-1):
        raise TimeoutError


def post(client, body):
    headers = {"CONTENT_LENGTH": "10", "CONTENT_TYPE": "application/json"}
    return client.post("/api/v1/score", environ_overrides={"wsgi.input": body, **headers})


@pytest.fixture
def app(settings, production, log):
    return create_app(settings.model_copy(update={"riskometer_uploads": 1}), production=production, log=log)


def test_one_body_too_many_is_asked_to_come_back_and_what_needs_no_body_is_answered(app, client, clients):
    slow = Trickle()
    thread = threading.Thread(target=lambda: post(app.test_client(), slow))
    thread.start()
    try:
        assert slow.begun.wait(10)
        busy = client.post("/api/v1/score", json=clients[:1])
        assert (busy.status_code, busy.content_type) == (503, "application/problem+json")
        assert busy.headers["Retry-After"]
        assert client.get("/healthz").status_code == 200
        assert client.get("/").status_code == 200
    finally:
        slow.go.set()
        thread.join()
    assert client.post("/api/v1/score", json=clients[:1]).status_code == 200


def test_a_client_that_stops_sending_gets_a_problem_and_gives_its_place_back(client, clients):
    for _ in range(2):
        answer = post(client, Stalled())
        assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
        assert "broke off" in answer.get_json(force=True)["detail"]
    assert client.post("/api/v1/score", json=clients[:1]).status_code == 200


@pytest.mark.parametrize("size", [0, 1, 512_001, 3_000_000])
def test_a_file_is_had_whole_from_memory_and_from_disk_and_outlives_its_upload(size):
    data = bytes(i % 251 for i in range(size))
    with tempfile.SpooledTemporaryFile(max_size=512_000) as spooled:
        spooled.write(data)
        spooled.seek(0)
        found = content(FileStorage(spooled, "clients.csv"))
    assert bytes(found) == data
