"""The cost of any input of 10 MB: at most 10 s of processor time and 500 MB, in the real server.

Each is decided, or gets a clear 4xx; meanwhile others are answered. With `COSTS=costs.txt` the
figures are written there.
"""

import http.client
import json
import os
import threading
import time
import urllib.request
from contextlib import closing, suppress

import psutil
import pytest

from tests.support.bad_input.cases import CLIENTS
from tests.support.costly_input import FILES, INPUTS, JSON, SCORE, honest_csv
from tests.support.processes import wait_for
from tests.support.riskometer import approve_version, register_version, serving

CPU_SECONDS = 10
MEMORY = 500_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory, mlflow_server, scorers):
    """A Risk-O-Meter of one process."""
    version = register_version(mlflow_server, "costs", scorers[0])
    settings = {
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MODEL_NAME": "costs",
        "MODEL_POLL_SECONDS": "1",
    }
    more = {"RISKOMETER_PROCESSES": "1", "MAX_UPLOAD_MB": "12"}
    with serving(tmp_path_factory.mktemp("costs"), settings | more) as server:
        approve_version(server, version)
        wait_for(server.ready, 120, "the model")
        send(server, SCORE, JSON, json.dumps(CLIENTS).encode())
        yield server


def send(server, path, type, body):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=200)) as connection:
        connection.request(
            "POST", path, body, {"Content-Type": type, "Content-Encoding": "identity"}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()


def form(file):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head + file + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


class Cost:
    """What a worker and its children take while it is measured; and how long others wait."""

    def __init__(self, server) -> None:
        (self._worker,) = (
            each for each in server.workers() if "resource_tracker" not in " ".join(each.cmdline())
        )
        self._url = f"{server.url}/healthz"

    def __enter__(self) -> "Cost":
        self._cpu, self._rest, self.peak, self.waited, self._over = (
            self._used(),
            self._held(),
            0,
            0.0,
            threading.Event(),
        )
        self._threads = [threading.Thread(target=each) for each in (self._watch, self._ask)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.cpu = self._used() - self._cpu

    def _used(self) -> float:
        return sum(self._worker.cpu_times()[:4])  # of the children that ended, too

    def _held(self) -> int:
        held = self._worker.memory_info().rss
        for child in self._worker.children(recursive=True):
            with suppress(psutil.Error):
                held += child.memory_info().rss
        return held

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.peak = max(self.peak, self._held() - self._rest)

    def _ask(self) -> None:
        while not self._over.wait(0.2):
            began = time.monotonic()
            with urllib.request.urlopen(self._url, timeout=30) as answer:
                assert answer.status == 200
            self.waited = max(self.waited, time.monotonic() - began)


@pytest.mark.slow
def test_many_large_uploads_cost_no_more_than_a_few(server):
    body, type = form(honest_csv())
    answers = []
    with Cost(server) as cost:
        threads = [
            threading.Thread(target=lambda: answers.append(send(server, FILES, type, body)[0]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 8
    assert cost.peak <= 4 * MEMORY, f"{cost.peak:,}"
    assert cost.waited < 5


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(one, id=one.name, marks=[] if one.quick else [pytest.mark.slow])
        for one in INPUTS
    ],
)
def test_costly_input_stays_within_the_limits(server, sent, record_property):
    body, type = sent.body(), sent.type
    if not type:
        body, type = form(body)
    with Cost(server) as cost:
        status, answer = send(server, sent.path, type, body)
    figures = (
        f"{len(body) / 1e6:.2f} MB, {status}, {cost.cpu:.2f} s, "
        f"{cost.peak / 1e6:.0f} MB, {cost.waited:.2f} s"
    )
    record_property("cost", figures)
    if path := os.environ.get("COSTS"):  # where the table is to be written
        with open(path, "a") as table:
            table.write(f"{sent.name}: {figures}\n")
    assert status in sent.statuses, answer[:300]
    if status != 200:
        assert json.loads(answer)["detail"]
    assert cost.cpu < CPU_SECONDS
    assert cost.peak < MEMORY
    assert cost.waited < 5
    assert send(server, SCORE, JSON, json.dumps(CLIENTS[:1]).encode())[0] == 200


def test_there_are_many_costly_inputs():
    assert len(INPUTS) >= 70
    assert len({one.name for one in INPUTS}) == len(INPUTS)
