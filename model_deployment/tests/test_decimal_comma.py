"""Numbers of a data set whose files write a decimal comma, through each door that they come in by.

Written as a text, 5.125 may mean 5125 there. A number that comes as a number means itself.
"""

import csv
import io
import json

import numpy as np
import openpyxl
import pandas as pd
import plotly.utils
import pyarrow as pa
import pytest

from credit_risk.access.caller import Caller
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.scoring.model import CreditScorer
from model_deployment.scoring.metrics import Metrics
from model_deployment.scoring.service import Scoring
from model_deployment.ui import form
from tests.support.bad_input.workbooks import saved
from tests.support.files import parquet

COMMA = """
name = "loans"
title = "Loans"
[[attributes]]
name = "rate"
label = "Rate"
kind = "number"
maximum = 9000
decimals = 3
decimal_mark = ","
[[attributes]]
name = "rooms"
label = "Rooms"
kind = "number"
maximum = 90
"""
RATES = [5.125, 12.5, 7.0, 0.001, 2.0625]
ANN = Caller("ann", "user")


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    path = tmp_path_factory.mktemp("loans") / "dataset.toml"
    path.write_text(COMMA)
    return str(path)


@pytest.fixture
def settings(settings, definition):
    return settings.model_copy(update={"dataset": definition})


@pytest.fixture(scope="module")
def scorers(definition):
    """A version that refuses high rates."""
    clients = pd.DataFrame({"rate": np.arange(400) / 8, "rooms": np.arange(400) % 5})
    labels = np.where(clients["rate"] > 40, "bad", "good")
    scorer = CreditScorer(num_boost_round=20, definition=load_dataset(definition).text)
    risk = scorer.fit(clients, labels).predict_proba(clients)[:, 0]
    return [scorer.fit(clients, labels, risk)] * 2


@pytest.fixture
def recorded(client):
    """A function that returns the rates that the log has of an answer's decisions."""

    def look(answer):
        assert answer.status_code == 200, answer.text
        body = answer.get_json()
        assert body["n_rejected"] == 0, body["rejected"]
        ids = [decision["id"] for decision in body["decisions"]]
        return [client.get(f"/api/v1/decisions/{id}").get_json()["rate"] for id in ids]

    return look


def table(kind) -> pa.Table:
    return pa.table({"rate": pa.array(RATES).cast(kind), "rooms": [2] * len(RATES)})


def workbook() -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["rate", "rooms"])
    for rate in RATES:
        book.active.append([rate, 2])
    return saved(book)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: parquet(table(pa.float64())), id="Parquet"),
        pytest.param(lambda: parquet(table(pa.decimal128(12, 6))), id="Parquet with decimals"),
        pytest.param(workbook, id="Excel"),
        pytest.param(lambda: b"rate;rooms\n5,125;2\n12,5;2\n7;2\n0,001;2\n2,0625;2\n", id="CSV"),
    ],
)
def test_a_number_of_a_file_means_itself(send_file, recorded, content):
    assert recorded(send_file(content(), "clients")) == RATES


def test_a_number_of_json_means_itself(client, recorded):
    clients = [{"rate": rate, "rooms": 2} for rate in RATES]
    assert recorded(client.post("/api/v1/score", json=clients)) == RATES


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: parquet(table(pa.string())), id="Parquet"),
        pytest.param(lambda: parquet(table(pa.large_string())), id="Parquet with long texts"),
        pytest.param(lambda: b"rate,rooms\n5.125,2\n12.5,2\n7,2\n0.0010,2\n2.0625,2\n", id="CSV"),
    ],
)
def test_a_text_that_may_be_another_number_is_refused(send_file, content):
    body = send_file(content(), "clients").get_json()
    assert "rate '5.125' may be 5125 or 5.125" in json.dumps(body["rejected"])


def test_exports_can_be_uploaded_again_and_have_numbers(client, send_file, recorded):
    sent = send_file(parquet(table(pa.float64())), "clients.parquet")
    at_once = client.post(
        "/api/v1/files",
        data={"file": (io.BytesIO(parquet(table(pa.float64()))), "clients.parquet")},
        headers={"Accept": "text/csv"},
    )
    batch = sent.get_json()["batch"]
    later, book = (client.get(f"/api/v1/batches/{batch}.{form}") for form in ("csv", "xlsx"))
    for answer in (at_once, later, book):
        assert recorded(send_file(answer.get_data(), "export")) == RATES
    for answer in (at_once, later):
        rows = csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig")))
        assert [row["rate"] for row in rows] == ["5.1250", "12.5", "7", "0.0010", "2.0625"]
    cells = openpyxl.load_workbook(io.BytesIO(book.get_data())).active.iter_rows(values_only=True)
    header, *rows = cells
    assert [row[header.index("rate")] for row in rows] == RATES


@pytest.fixture
def scoring(production, log, settings):
    return Scoring(production, log, Metrics(), settings.max_explained_rows)


def text_of(parts):
    return json.dumps(parts, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


def test_a_number_of_the_form_means_itself(scoring, production, log):
    typed = {"client_id": "", "rate": "5.125", "rooms": "2"}
    parts, off = form.preview(scoring, production, typed)
    assert "Preview: not recorded" in text_of(parts)
    assert not off
    _, _, id = form.take(scoring, production, log, typed, "key-1", ANN)
    assert id is not None
    assert log.decision(id)["rate"] == 5.125


def test_a_number_of_the_form_that_may_be_another_is_refused(scoring, production):
    parts, off = form.preview(scoring, production, {"rate": "5.000", "rooms": "2"})
    assert "may be 5000 or 5; write it without a separator" in text_of(parts)
    assert off
