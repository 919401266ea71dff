"""What the page says, without a browser."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import plotly.utils
import pytest
from dash import html
from dash_ag_grid import AgGrid

from credit_risk.decision_log.overrides import override
from credit_risk.scoring.model import CreditScorer
from credit_risk.storage.documents import LogUnavailable
from model_deployment.app import create_app
from model_deployment.ui import history
from model_deployment.ui.banner import banner
from model_deployment.ui.decision_detail import panel
from model_deployment.ui.grid_query import Rows
from model_deployment.ui.result import logged, result
from tests.support.batches import batch
from tests.support.german_credit import read_training
from tests.support.problems import is_problem
from tests.support.riskometer import client_of


def text_of(component):
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


def banner_after_a_look(production):
    production.refresh()
    return text_of(banner(production))


def upload_of(body, name="clients.csv"):
    answer = {k: v for k, v in body.items() if k != "decisions"}
    return {"name": name, "answer": answer}


def grid_of(parts):
    (grid,) = (part for part in parts if isinstance(part, AgGrid))
    return grid


def test_the_banner_says_which_version_serves_and_who_approved_it(production, appoint, log):
    appoint("2")
    text = banner_after_a_look(production)
    assert "Model version 2" in text
    assert "approved by Ann, " in text
    assert "UTC" in text


def test_the_banner_says_how_many_the_cost_threshold_accepts(production, registry, appoint):
    train = read_training("data/train.csv")
    risk = np.where(np.arange(len(train)) % 10 < 4, 0.1, 0.3)  # 4 of 10 below 1/6
    registry.scorers = [CreditScorer(num_boost_round=5).fit(train, train["class"], risk)] * 2
    appoint("2")
    text = banner_after_a_look(production)
    assert "It accepts about 4 of 10 clients like those it was trained on" in text
    assert "a bad client accepted costs 5, a good one refused 1" in text


def test_the_banner_says_why_scoring_is_off(production, disapprove):
    disapprove()
    text = banner_after_a_look(production)
    assert "Scoring is off." in text
    assert "There is no Production model." in text


def test_the_banner_says_that_mlflow_is_away_while_the_model_serves_on(production, registry):
    registry.away = True
    text = banner_after_a_look(production)
    assert "MLflow cannot be reached. Version 1 serves on." in text


def test_the_banner_says_that_scoring_is_off_while_the_log_is_away(production, log, monkeypatch):
    def away(*_, **__):
        raise LogUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(log, "approvals", away)
        text = banner_after_a_look(production)
    assert "Scoring is off." in text
    assert "The decision log cannot be reached." in text
    assert "Scoring is off." not in banner_after_a_look(production)


def test_banner_announces_a_new_version_for_a_day(production, appoint, log):
    appoint("2")
    assert "New: version 2 took over from version 1." in banner_after_a_look(production)
    serving = production.serving
    yesterday = serving.approval.time - timedelta(days=1, seconds=1)
    production._serving = replace(serving, approval=replace(serving.approval, time=yesterday))
    assert "took over" not in text_of(banner(production))


def test_the_result_is_read_from_the_log(send_file, client_rows, as_csv, log):
    body = send_file(
        as_csv([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows)])
    ).get_json()
    parts = result(log, Rows(log, "meaning"), upload_of(body), "2")
    grid = grid_of(parts)
    fields = [c["field"] for c in grid.columnDefs]
    assert fields[:4] == ["client_id", "prediction", "risk", "confidence"]
    assert grid.dashGridOptions["context"] == {"batch": body["batch"]}
    text = text_of(parts)
    red = sum(d["prediction"] == "red" for d in body["decisions"])
    for count, word in ((200, "clients"), (200 - red, "green"), (red, "red"), (0, "rejected")):
        assert f'"{count}"' in text
        assert word in text
    assert "Version 1 decided; version 2 serves now." in text


def test_file_without_a_decision_shows_why(send_file, client_rows, as_csv, log):
    body = send_file(as_csv([client_rows[0] | {"purpose": "<b>yacht</b>"}])).get_json(force=True)
    text = text_of(result(log, Rows(log, "meaning"), upload_of(body)))
    assert "<b>yacht</b>" in text  # as text: Dash makes no HTML of it
    assert '"id": "decisions"' not in text
    assert "Download" not in text


def test_logged_batch_is_shown_with_counts_of_rejected_rows(send_file, client_rows, as_csv, log):
    body = send_file(
        as_csv([client_rows[0], client_rows[1] | {"purpose": "yacht"}]), "two.csv"
    ).get_json()
    upload = logged(log.batch(body["batch"]))
    assert upload["name"].startswith("two.csv, ")
    text = text_of(result(log, Rows(log, "meaning"), upload))
    assert "Rejected: 1 purpose: unknown category" in text
    assert "yacht" not in text


def test_unreachable_log_is_reported(log, monkeypatch):
    def away(_):
        raise LogUnavailable("gone")

    monkeypatch.setattr(log, "batch", away)
    body = {
        "batch": "x",
        "n_decided": 1,
        "n_rejected": 0,
        "model_version": "1",
        "rejected": [],
        "warnings": [],
    }
    assert "cannot be read now" in text_of(result(log, Rows(log, "meaning"), upload_of(body)))


def test_malformed_batch_id_is_not_passed_to_the_database(log):
    body = {
        "batch": {"$gt": ""},
        "n_decided": 1,
        "n_rejected": 0,
        "model_version": "1",
        "rejected": [],
        "warnings": [],
    }
    assert "AgGrid" not in text_of(result(log, Rows(log, "meaning"), upload_of(body)))


@pytest.mark.parametrize("day", ["25.11.2026", "x", "9999-12-31", "10000-01-01"])
def test_invalid_day_is_reported(log, day):
    assert "A day is written" in text_of(history.found(log, "", None, day, None))


def test_history_includes_the_last_day(send_file, client_rows, as_csv, log):
    send_file(as_csv(client_rows[:2]), "two.csv")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert "two.csv" in text_of(history.found(log, "two", today, today, None))
    assert "Nothing was found." in text_of(history.found(log, "three", today, today, None))


def test_the_history_shows_where_a_decision_came_from_and_its_override(
    send_file, client_rows, as_csv, log
):
    rows = [row | {"client_id": "C-7"} for row in client_rows[:2]]
    _, second = send_file(as_csv(rows), "twice.csv").get_json()["decisions"]
    other = "green" if second["prediction"] == "red" else "red"
    override(log, second["id"], other, "Ann", "knows the client")
    text = text_of(history.found(log, "C-7", None, None, None))
    assert "twice.csv, row 1" in text
    assert "twice.csv, row 2" in text
    assert text.count(" by Ann") == 1
    assert f'"badge {second["prediction"]}"' in text, "both are shown"
    assert f'"badge {other}"' in text


def test_the_history_labels_portfolios(log):
    log.commit(batch(2, source="clients.csv"))
    assert "portfolio" not in text_of(history.found(log, "", None, None, None))
    log.commit(batch(2, source="book.csv", kind="portfolio"))
    files = text_of(history.found(log, "", None, None, None))
    clients = text_of(history.found(log, "c1", None, None, None))
    for text, name in ((files, "book.csv"), (clients, "book.csv, row 2")):
        assert text.count('"portfolio"') == 1
        assert text.index(name) < text.index('"portfolio"') < text.index("clients.csv")


def test_a_score_in_a_portfolio_is_shown_without_the_form_of_an_override(log, production):
    decision, portfolio = (
        log.commit(replace(batch(2, kind=kind), model_version="1")).id
        for kind in ("decision", "portfolio")
    )
    decided = text_of(panel(log, production, f"{decision}-1"))
    scored = text_of(panel(log, production, f"{portfolio}-1"))
    assert "override-by" in decided
    assert "override-by" not in scored
    assert "A score in a portfolio" in scored
    assert "Page of this decision" in scored


def test_workbook_download_is_offered_up_to_its_row_limit(
    send_file, client_rows, as_csv, log, monkeypatch
):
    monkeypatch.setattr("model_deployment.ui.result.MAX_EXCEL_ROWS", 3)
    for n, offered in ((3, True), (4, False)):
        text = text_of(
            result(
                log, Rows(log, "meaning"), upload_of(send_file(as_csv(client_rows[:n])).get_json())
            )
        )
        assert "Download CSV" in text
        assert ("Download Excel" in text) is offered


def test_page_says_that_further_faults_may_exist(send_file, client_rows, as_csv, log):
    for n, more in ((999, False), (1000, True)):
        body = send_file(
            as_csv([client_rows[0], *[client_rows[1] | {"purpose": "yacht"}] * n])
        ).get_json()
        assert (
            "there may be more" in text_of(result(log, Rows(log, "meaning"), upload_of(body)))
        ) is more


def test_fault_kinds_come_before_the_faults(send_file, client_rows, as_csv, log):
    wrong = [client_rows[1] | {"purpose": "yacht"}] * 1200 + [client_rows[1] | {"duration": "six"}]
    shown = text_of(
        result(
            log,
            Rows(log, "meaning"),
            upload_of(send_file(as_csv([client_rows[0], *wrong])).get_json()),
        )
    )
    many, one = (
        "1,200 times (line 3, 4, 5, 6, 7, ...), the first: purpose",
        "line 1203: duration 'six'",
    )
    assert shown.index(many) < shown.index(one) < shown.index("there may be more")
    few = text_of(
        result(
            log,
            Rows(log, "meaning"),
            upload_of(send_file(as_csv([client_rows[0], *wrong[:3]])).get_json()),
        )
    )
    assert "3 times" not in few


@pytest.mark.parametrize("path", ["/", "/client", "/history", "/decision?id=x"])
def test_each_view_has_an_address(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert "<!DOCTYPE html>" in answer.get_data(as_text=True)


def test_page_is_kept_by_no_cache_but_its_assets_may_be(client):
    for path in ("/", "/_dash-layout", "/api/v1/model", "/nowhere"):
        assert client.get(path).headers.getlist("Cache-Control") == ["no-store"], path
    (said,) = client.get("/assets/riskometer.js").headers.getlist("Cache-Control")
    assert said == "no-cache"
    assets = re.findall(r'src="/(_dash-component-suites/[^"]+)"', client.get("/").text)
    (said,) = client.get(f"/{assets[0]}").headers.getlist("Cache-Control")
    assert "max-age" in said


def test_page_without_a_sign_in_shows_everything_and_names_nobody(client):
    layout = client.get("/_dash-layout").text
    for id in ("drop", "application-form", "view-history", "find-branch"):
        assert f'"id":"{id}"' in layout
    assert '"id":"who"' not in layout


FORGED = "Ann\n2026-01-01: approved\u202e\u2028x"


def test_texts_of_people_are_shown_on_one_line(
    client, send_file, client_rows, as_csv, log, production
):
    (decision,) = client.post(
        "/api/v1/score", json=[client_rows[0] | {"client_id": FORGED}]
    ).get_json()["decisions"]
    other = "green" if decision["prediction"] == "red" else "red"
    body = {"prediction": other, "by": FORGED, "reason": FORGED}
    answer = client.post(f"/api/v1/decisions/{decision['id']}/override", json=body).get_json()
    assert answer["by"] == answer["reason"] == "Ann 2026-01-01: approved x"
    # As an override of before is in the log.
    log.append_event(
        "override", decision["id"], prediction=decision["prediction"], by=FORGED, reason=FORGED
    )
    record = log.batch(decision["id"].rpartition("-")[0])
    shown = [
        text_of(panel(log, production, decision["id"])),
        text_of(history.found(log, FORGED, None, None, None)),
        json.dumps(
            Rows(log, "meaning").page(record, {"startRow": 0, "endRow": 9})[0],
            ensure_ascii=False,
            default=str,
        ),
    ]
    for text in shown:
        assert "Ann 2026-01-01: approved x" in text
        for hidden in ("\u202e", "\u2028", "\\n2026"):
            assert hidden not in text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"[" + b"[]," * 200_000 + b"[]]", 413),
        (b'"' + b"x" * 5_000_000 + b'"', 413),
        (b"[]", 400),
        (b"no JSON", 400),
        (b'{"output": "nothing.children", "inputs": []}', 400),
        (b'{"output": ["banner.children"], "inputs": []}', 400),
        (b'{"output": "banner.children", "inputs": []}', 400),
        (b'{"output": "banner.children", "inputs": [1]}', 400),
        (b'{"output": "banner.children", "inputs": [{"value": 1}]}', 400),
        (
            b'{"output": "banner.children", '
            b'"inputs": [{"id": "clock", "property": "n_intervals"}], "output": 1}',
            400,
        ),
    ],
)
def test_malformed_call_does_not_reach_the_callbacks(
    client, settings, production, log, sent, status
):
    client = client_of(
        create_app(
            settings.model_copy(update={"max_upload_mb": 10}), production=production, log=log
        )
    )
    is_problem(
        client.post("/_dash-update-component", data=sent, content_type="application/json"), status
    )


@pytest.mark.parametrize(
    ("labels", "first", "behind"),
    [("meaning", "below 0 DM", "0<=X<200"), ("file", "0<=X<200", "below 0 DM")],
)
def test_an_opened_decision_has_meaning_and_label_in_the_order_that_is_set(
    client, client_rows, production, log, labels, first, behind
):
    row = client_rows[0] | {"checking_status": "0<=X<200"}
    (decided,) = client.post("/api/v1/score", json=[row]).get_json()["decisions"]
    production.labels = labels
    parts = list(html.Div(panel(log, production, decided["id"]))._traverse())
    cells = {
        part.children[0].children: part.children[1].children
        for part in parts
        if isinstance(part, html.Tr)
    }
    shown, small = cells["Checking account"]
    assert (shown, small.children, small.className) == (first, f" ({behind})", "hint")
    assert cells["Duration (months)"] == [str(row["duration"]), None]
    assert f"Checking account: {first}" in text_of(parts), "the figure has what comes first"


@pytest.mark.parametrize("labels", ["meaning", "file"])
def test_what_would_change_a_decision_is_in_the_words_that_are_set(
    client, client_rows, production, log, labels
):
    answer = client.post("/api/v1/score?what_would_change_it=true", json=client_rows).get_json()
    changes = [decision["what_would_change_it"] or {} for decision in answer["decisions"]]
    decided = next(
        decision
        for decision, change in zip(answer["decisions"], changes, strict=True)
        if "savings_status" in change.get("attributes", ())
    )
    savings = log.dataset.by_name["savings_status"]
    old = client_rows[decided["row"]]["savings_status"]
    new = savings.categories[savings.categories.index(old) + 1]
    words = f"“{new}” ({savings.meaning(new)}) instead of “{old}”"
    if labels == "meaning":
        words = f"“{savings.meaning(new)}” ({new}) instead of “{savings.meaning(old)}”"
    production.labels = labels
    assert f"savings recorded as {words}" in text_of(panel(log, production, decided["id"]))
