"""Decisions by an earlier definition of the data, which had one attribute more and one less."""

import csv
import io
import json

import numpy as np
import pandas as pd
import plotly.utils
import pytest
from dash import html

from credit_risk.decision_log import codec
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.model import CreditScorer
from model_deployment.api.schemas import LoggedDecision
from model_deployment.ui.decision_detail import panel
from model_deployment.ui.grid_query import Rows
from model_deployment.ui.result import grid
from tests.support.german_credit import GERMAN_CREDIT, read_training

# Where the decisions of a batch are stored, with what makes a small batch be stored there.
FORMS = {"inline": {}, "documents": {"MAX_INLINE": 0}, "parquet": {"MAX_DOCUMENTS": 1}}
CHANNEL = {
    "name": "channel",
    "label": "Way in",
    "kind": "category",
    "values": [{"value": "branch"}, {"value": "online"}],
    "text": "The client came {value}",
}


def earlier() -> Dataset:
    """Return the data set of before `housing` was added and `channel` removed."""
    definition = GERMAN_CREDIT.model_dump(mode="json")
    attributes = [a for a in definition["attributes"] if a["name"] != "housing"]
    return Dataset.model_validate(
        definition | {"attributes": [*attributes, CHANNEL], "formats": []}
    )


@pytest.fixture(scope="module")
def scorer() -> CreditScorer:
    """A version of before, which learned that clients who came online turn bad."""
    clients = read_training("data/train.csv")
    label = clients.pop("class")
    channel = pd.Series(np.where(label == "bad", "online", "branch"), clients.index)
    clients = clients.drop(columns="housing").assign(channel=channel)
    scorer = CreditScorer(num_boost_round=60, definition=earlier().text)
    risk = scorer.fit(clients, label).predict_proba(clients)[:, 0]
    return scorer.fit(clients, label, risk)


@pytest.fixture
def rows(client_rows):
    """Clients of then, every other one of whom came online."""
    return [
        {n: v for n, v in row.items() if n != "housing"} | {"channel": ("branch", "online")[i % 2]}
        for i, row in enumerate(client_rows[:20])
    ]


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    for name, most in FORMS[request.param].items():
        monkeypatch.setattr(codec, name, most)
    return request.param


@pytest.fixture
def switch(registry, scorer, appoint, production):
    """A function after which the version of then (2), or that of today (1), serves."""
    registry.scorers = [registry.scorers[0], scorer]

    def serve(version):
        appoint(version)
        production.refresh()
        assert production.require().version == version

    return serve


@pytest.fixture
def decisions(client, switch, rows, log, form):
    """The decisions of then; today's version serves now."""
    switch("2")
    answer = client.post("/api/v1/score", json=rows)
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert (body["n_decided"], body["model_version"]) == (20, "2")
    assert log.batch(body["batch"]).stored == form
    switch("1")
    return body["decisions"]


@pytest.fixture
def record(log, decisions):
    return log.batch(decisions[0]["id"].partition("-")[0])


def text_of(component):
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


def test_decision_has_what_was_removed_and_null_for_what_was_added(client, decisions, rows):
    for decision, row in list(zip(decisions, rows, strict=True))[:2]:
        found = client.get(f"/api/v1/decisions/{decision['id']}").get_json()
        LoggedDecision.model_validate(found)
        assert {name: found[name] for name in row} == row
        assert (found["housing"], found["model_version"]) == (None, "2")
        assert (found["prediction"], found["risk"]) == (decision["prediction"], decision["risk"])


def test_reasons_are_those_of_the_definition_that_decided(client, decisions):
    found = client.get(f"/api/v1/decisions/{decisions[1]['id']}").get_json()
    assert found["prediction"] == "red"
    raising = {reason["attribute"]: reason["text"] for reason in found["reasons"]["raising"]}
    assert raising["channel"].startswith("The client came online")
    assert "housing" not in raising
    assert found["what_would_change_it"] is not None


def recorded(parts) -> dict[str, str]:
    """Return the inputs that a panel shows, by their titles."""
    (table,) = (
        part.children[1]
        for part in parts
        if isinstance(part, html.Details) and part.children[0].children == "What was recorded"
    )
    found = {}
    for title, value in (row.children for row in table.children.children):
        first, _behind = value.children
        found[title.children] = first
    return found


def test_panel_shows_what_was_recorded_and_the_reasons_of_then(log, production, decisions, rows):
    parts = panel(log, production, decisions[1]["id"])
    inputs = recorded(parts)
    assert (inputs["channel"], inputs["Housing"]) == ("online", "")
    assert inputs["Duration (months)"] == str(rows[1]["duration"])
    text = text_of(parts)
    assert "The client came online" in text
    assert "Way in: online" in text, "the figure has the labels of then"


def test_table_of_the_page_has_all_columns_of_a_batch_of_then(log, record):
    shown = grid(record, Rows(log, "meaning").table(record), log.dataset)
    columns = {column["field"]: column["headerName"] for column in shown.columnDefs}
    assert columns["channel"] == "channel"
    assert columns["housing"] == "Housing"
    online = {"channel": {"filterType": "text", "type": "equals", "filter": "online"}}
    asked = {"startRow": 0, "endRow": 100, "sortModel": [], "filterModel": online}
    found, n = Rows(log, "meaning").page(record, asked)
    assert n == 10
    assert [row["row"] for row in found] == list(range(2, 21, 2))
    assert {(row["channel"], row["housing"]) for row in found} == {("online", None)}


def test_export_has_all_columns_of_a_batch_of_then(client, record, rows):
    answer = client.get(f"/api/v1/batches/{record.id}.csv")
    found = list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert [row["channel"] for row in found] == [row["channel"] for row in rows]
    assert [row["age"] for row in found] == [str(row["age"]) for row in rows]
    assert {row["housing"] for row in found} == {""}
    assert {row["model_version"] for row in found} == {"2"}
    reds = [row["reasons"] for row in found if row["prediction"] == "red"]
    assert any("The client came online" in reasons for reasons in reds)


def test_request_of_then_that_comes_again_gets_the_answer_of_then(client, switch, rows):
    switch("2")
    key = {"Idempotency-Key": "of-then"}
    first = client.post("/api/v1/score", json=rows, headers=key)
    switch("1")
    again = client.post("/api/v1/score", json=rows, headers=key)
    assert again.status_code == 200, again.text
    assert again.get_json() == first.get_json()
    refused = client.post("/api/v1/score", json=rows)
    assert refused.status_code == 422, "today's version needs the housing"


def test_file_of_then_that_comes_again_gets_the_answer_of_then(client, switch, rows, as_csv):
    switch("2")
    key = {"Idempotency-Key": "of-then"}
    data = as_csv(rows).encode()

    def send():
        file = {"file": (io.BytesIO(data), "clients.csv")}
        return client.post("/api/v1/files", data=file, headers=key)

    first = send()
    switch("1")
    assert send().get_json() == first.get_json()


# Attributes that were of another kind then, with the values that they had.
OTHER_KINDS = {
    "existing_credits": (
        {"kind": "category", "values": [{"value": "one"}, {"value": "many"}]},
        "one",
        "many",
    ),
    "housing": ({"kind": "number", "minimum": 0, "maximum": 9}, 7, 2),
    "residence_since": ({"kind": "number", "minimum": 0, "maximum": 9, "decimals": 1}, 1.0, 2.5),
}


@pytest.fixture(scope="module")
def other_kinds() -> CreditScorer:
    """A version to which some attributes were of another kind, and which goes by them."""
    definition = GERMAN_CREDIT.model_dump(mode="json")
    attributes = [
        {"name": a["name"], "label": a["label"]} | OTHER_KINDS[a["name"]][0]
        if a["name"] in OTHER_KINDS
        else a
        for a in definition["attributes"]
    ]
    dataset = Dataset.model_validate(
        definition | {"attributes": attributes, "formats": [], "levers": []}
    )
    clients = read_training("data/train.csv")
    label = clients.pop("class")
    values = {n: np.where(label == "bad", bad, good) for n, (_, good, bad) in OTHER_KINDS.items()}
    clients = clients.assign(**values)
    scorer = CreditScorer(num_boost_round=60, definition=dataset.text)
    risk = scorer.fit(clients, label).predict_proba(clients)[:, 0]
    return scorer.fit(clients, label, risk)


def test_reasons_are_of_values_that_are_of_another_kind_now(
    client, registry, other_kinds, appoint, production, log, client_rows, form
):
    registry.scorers = [registry.scorers[0], other_kinds]
    appoint("2")
    production.refresh()
    row = client_rows[0] | {name: bad for name, (_, _, bad) in OTHER_KINDS.items()}
    body = client.post("/api/v1/score?reasons=true", json=[row, row]).get_json()
    then, id = body["decisions"][0]["reasons"], body["decisions"][0]["id"]
    assert {reason["attribute"] for reason in then["raising"]} >= OTHER_KINDS.keys()
    assert log.batch(body["batch"]).stored == form
    appoint("1")
    production.refresh()

    assert client.get(f"/api/v1/decisions/{id}").get_json()["reasons"] == then
    shown = text_of(panel(log, production, id))
    answer = client.get(f"/api/v1/batches/{body['batch']}.csv")
    assert answer.status_code == 200, answer.text
    (exported, _) = csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig")))
    assert exported["reasons"] == "; ".join(reason["text"] for reason in then["raising"])
    for reason in then["raising"]:
        assert reason["text"] in shown
