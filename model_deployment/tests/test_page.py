"""What the page says, without a browser."""

import json

import numpy as np
import plotly.utils
from dash_ag_grid import AgGrid

from credit_risk.data import read_training
from credit_risk.decisions import LogUnavailable
from credit_risk.model import CreditScorer
from model_deployment import page


def text_of(component):
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


def banner_after_a_look(production):
    production.look()
    return text_of(page.banner(production))


def upload_of(body, name="clients.csv"):
    answer = {k: v for k, v in body.items() if k != "decisions"}
    return {"name": name, "url": "blob:here", "answer": answer}


def grid_of(parts):
    (grid,) = (part for part in parts if isinstance(part, AgGrid))
    return grid


def test_the_banner_says_which_version_serves_and_who_approved_it(production, registry, log):
    log.append_event("approval", "2", by="Ann", reason="better", digest="digest-2", forced=False)
    registry.production = "2"
    text = banner_after_a_look(production)
    assert "Model version 2" in text
    assert "approved by Ann, " in text
    assert "UTC" in text


def test_the_banner_says_how_many_the_cost_threshold_accepts(production, registry):
    train = read_training("data/train.csv")
    risk = np.where(np.arange(len(train)) % 10 < 4, 0.1, 0.3)  # 4 of 10 below 1/6
    registry.scorers = [CreditScorer(num_boost_round=5).fit(train, train["class"], risk)] * 2
    registry.production = "2"
    text = banner_after_a_look(production)
    assert "It accepts about 4 of 10 clients like those it was trained on" in text
    assert "a bad client accepted costs 5, a good one refused 1" in text


def test_the_banner_says_why_scoring_is_off(production, registry):
    registry.production = None
    text = banner_after_a_look(production)
    assert "Scoring is off." in text
    assert "There is no Production model." in text


def test_the_banner_says_that_mlflow_is_away_while_the_model_serves_on(production, registry):
    registry.away = True
    text = banner_after_a_look(production)
    assert "MLflow cannot be reached. Version 1 serves on." in text


def test_the_result_is_read_from_the_log(send_file, clients, as_csv, log):
    body = send_file(as_csv([row | {"client_id": f"C-{i}"} for i, row in enumerate(clients)])).get_json()
    parts = page.result(log, upload_of(body))
    grid = grid_of(parts)
    fields = [c["field"] for c in grid.columnDefs]
    assert fields[:4] == ["client_id", "prediction", "risk", "confidence"]
    assert len(grid.rowData) == 200
    red = sum(d["prediction"] == "red" for d in body["decisions"])
    assert [row["prediction"] for row in grid.rowData].count("red") == red
    text = text_of(parts)
    for count, word in ((200, "clients"), (200 - red, "green"), (red, "red"), (0, "rejected")):
        assert f'"{count}"' in text
        assert word in text


def test_a_file_of_which_nothing_was_decided_shows_why(send_file, clients, as_csv, log):
    body = send_file(as_csv([clients[0] | {"purpose": "<b>yacht</b>"}])).get_json(force=True)
    parts = page.result(log, upload_of(body) | {"url": None})
    text = text_of(parts)
    assert "<b>yacht</b>" in text  # as text: Dash makes no HTML of it
    assert "AgGrid" not in text
    assert "Download" not in text


def test_a_log_that_is_away_is_said(log, monkeypatch):
    def away(_):
        raise LogUnavailable("gone")

    monkeypatch.setattr(log, "batch", away)
    body = {"batch": "x", "n_decided": 1, "n_rejected": 0, "model_version": "1", "rejected": [], "warnings": []}
    assert "cannot be read now" in text_of(page.result(log, upload_of(body)))


def test_a_batch_that_is_no_word_is_not_handed_to_the_database(log):
    body = {"batch": {"$gt": ""}, "n_decided": 1, "n_rejected": 0, "model_version": "1", "rejected": [], "warnings": []}
    assert "AgGrid" not in text_of(page.result(log, upload_of(body)))
