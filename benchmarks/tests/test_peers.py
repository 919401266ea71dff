"""Peers and floors do what they are said to do."""

import threading

import numpy as np
import pandas as pd
import psutil
import pyarrow.csv
import pytest
import requests

from benchmarks.clients import DATA, many_clients, one_client, write_clients
from benchmarks.files.upload import pandas_way, peak_memory
from benchmarks.peers.copying import WAYS
from benchmarks.peers.pipeline import fitted
from benchmarks.servers import echo_serving, pipeline_serving
from benchmarks.serving.load import ask
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.model import CreditScorer
from tests.support.german_credit import read_training


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_pandas_scores_a_file_as_ours(tmp_path, kind):
    clients = read_training(DATA)
    scorer = CreditScorer(num_boost_round=10).fit(clients, clients[LABEL])
    source, target = tmp_path / f"clients.{kind}", tmp_path / "result.csv"
    write_clients(500, source)
    pandas_way(scorer, source, target)
    assert pd.read_csv(target)["risk"].to_numpy() == pytest.approx(scorer.risk(many_clients(500)))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("way", WAYS)
def test_a_floor_writes_what_it_read(tmp_path, way, kind):
    source, target = tmp_path / f"clients.{kind}", tmp_path / "copy.csv"
    plain = tmp_path / "plain.csv"
    for file in (source, plain):
        write_clients(500, file)
    WAYS[way](source, target)
    assert pyarrow.csv.read_csv(target).equals(pyarrow.csv.read_csv(plain))


@pytest.mark.slow
def test_the_pipeline_behind_fastapi_scores_and_validates(tmp_path):
    client = one_client()
    expected = fitted().predict_proba(pd.DataFrame(client))[:, 1]
    with pipeline_serving(tmp_path) as served:
        answer = requests.post(served.url, json=client, timeout=30)
        assert answer.json()[0]["risk"] == pytest.approx(expected[0])
        wrong = [client[0] | {"purpose": "yacht"}]
        assert requests.post(served.url, json=wrong, timeout=30).status_code == 422


def test_the_floor_of_serving_returns_what_was_sent(tmp_path):
    with echo_serving(tmp_path) as served:
        body = b"[1, 2]" * 50_000
        assert requests.post(served.url, body, timeout=30).content == body
        assert ask(served.url, b"[]", 0.1, connections=2).per_second > 0


def test_peak_memory_includes_released_memory():
    with peak_memory(psutil.Process()) as peak:
        held = np.ones(20_000_000)
        threading.Event().wait(0.2)
        del held
    assert peak[0] > 160_000_000
