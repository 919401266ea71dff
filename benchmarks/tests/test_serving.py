"""The benchmark of serving: what it is made of works, and all of it runs."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import psutil
import pyarrow.csv
import pytest

from benchmarks.load import Load, ask
from benchmarks.page import has_browser
from benchmarks.scoring import many_clients
from benchmarks.serving import Line, main, pandas_way, peak_memory, pyarrow_way
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import decode
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if self.path.startswith("/ok?") else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.connections.add(self.client_address)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.connections = set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("connections", [1, 5])
def test_load_uses_its_connections_and_accepts_only_success(echo, connections):
    url = f"http://127.0.0.1:{echo.server_port}"
    load = ask(f"{url}/ok?x=1", b"x" * 200_000, 0.1, connections, warm_up=2)
    assert 0 < load.p99 < 10
    assert len(load.seconds) >= connections
    assert load.per_second == pytest.approx(len(load.seconds) / load.passed)
    assert load.seconds.sum() <= load.passed * connections
    assert (
        len(echo.connections) == 2 * connections
    )  # those that warmed it up, and those that were measured
    with pytest.raises(RuntimeError, match="500"):
        ask(f"{url}/not", b"x", seconds=0.1)


def test_p99_is_that_of_the_slowest_hundredth():
    assert Load(np.arange(1, 102) / 1000, 1).p99 == pytest.approx(0.1)


def test_a_line_says_whether_the_bar_is_met():
    assert str(Line("s", "1/s", "20/s", 20.0, 15, least=True)).endswith(
        "| 20 x | at least 15 x | yes |"
    )
    assert str(Line("s", "9 s", "2 s", 0.22, 1 / 8, least=False)).endswith(
        "| at most 0.125 x | no |"
    )


def test_baselines_score_and_copy_a_file(tmp_path):
    clients = read_training("data/credit-g.csv")
    scorer = CreditScorer(num_boost_round=10).fit(clients, clients[LABEL])
    source, target, codes = tmp_path / "clients.csv", tmp_path / "result.csv", many_clients(500)
    pyarrow.csv.write_csv(decode(codes), source)
    pandas_way(scorer, source, target)
    assert pd.read_csv(target)["risk"].to_numpy() == pytest.approx(scorer.risk(codes))
    pyarrow_way(source, target)
    assert pyarrow.csv.read_csv(target).equals(pyarrow.csv.read_csv(source))


def test_peak_memory_includes_released_memory():
    with peak_memory(psutil.Process()) as peak:
        held = np.ones(20_000_000)
        threading.Event().wait(0.2)
        del held
    assert peak[0] > 160_000_000


@pytest.mark.slow
def test_serving_benchmark_prints_each_bar(capsys, all_code):
    assert main(["--rows", "20000", "--seconds", "0.5", "--rounds", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 16 + has_browser() + bool(shutil.which("ferretdb"))
    assert all(row.endswith(("| yes |", "| no |")) for row in rows)
