"""One client by hand: previews while it is typed, one decision when it is taken."""

import json

import plotly.utils
import pytest
from dash import html

from credit_risk.access.caller import Caller
from model_deployment.scoring.metrics import Metrics
from model_deployment.scoring.service import Scoring
from model_deployment.ui import form
from tests.support.german_credit import GERMAN_CREDIT

ANN = Caller("ann", "user")


def text_of(parts):
    return json.dumps(parts, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


@pytest.fixture
def scoring(production, log, settings):
    return Scoring(production, log, Metrics(), settings.max_explained_rows)


@pytest.fixture
def typed(client_rows):
    """What a form sends: texts, empty where nothing is typed."""
    return {name: str(value) for name, value in client_rows[0].items()} | {
        "client_id": "",
        "age": "",
    }


def test_the_form_has_a_labelled_field_for_each_attribute():
    text = text_of(form.layout(GERMAN_CREDIT, "meaning"))
    for name in ("client_id", "duration", "purpose", "foreign_worker"):
        assert f'"htmlFor": "a-{name}"' in text
        assert f'"id": "a-{name}"' in text


@pytest.mark.parametrize(
    ("labels", "shown", "hint"),
    [
        ("meaning", "below 0 DM (0<=X<200)", "The lists say what a value means"),
        ("file", "0<=X<200 (below 0 DM)", "The lists hold the words of the data"),
    ],
)
def test_the_lists_have_meaning_and_label_in_the_order_that_is_set(labels, shown, hint):
    parts = list(html.Div(form.layout(GERMAN_CREDIT, labels))._traverse())
    lists = {part.id: part.children for part in parts if isinstance(part, html.Select)}
    options = {name: {o.value: o.children for o in listed} for name, listed in lists.items()}
    assert options["a-checking_status"]["0<=X<200"] == shown
    # Sentences call a class by its number.
    assert options["a-installment_commitment"]["2"] == "2 (25 to below 35 %)"
    assert any(isinstance(part, html.P) and part.children.startswith(hint) for part in parts)


def test_incomplete_form_names_missing_fields_and_decides_nothing(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, typed | {"duration": "", "housing": " "})
    assert "To be filled in: Duration, Housing." in text_of(parts)
    assert off
    assert list(log.latest_batches()) == []


def test_preview_of_typed_values_is_stored_nowhere(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, typed)
    assert "Preview: not recorded" in text_of(parts)
    assert "What raises the risk" in text_of(parts)
    assert not off
    assert list(log.latest_batches()) == []


def test_a_value_that_is_not_allowed_is_named(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, typed | {"duration": "500"})
    assert "duration '500' is outside 1 to 120." in text_of(parts)
    assert off


def test_ambiguous_number_is_refused_and_a_reading_noted(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, typed | {"credit_amount": "400.000"})
    assert "credit_amount '400.000' may be 400000 or 400; write it without a separator." in text_of(
        parts
    )
    assert off
    parts, off = form.preview(scoring, production, typed | {"client_id": "NA"})
    assert "client_id: 'NA' taken as no value." in text_of(parts)
    assert not off
    parts, off, _ = form.take(scoring, production, log, typed | {"client_id": "NA"}, "key-1", ANN)
    assert "client_id: 'NA' taken as no value." in text_of(parts)
    assert off


def test_repeated_clicks_take_one_decision(scoring, production, log, typed):
    for _ in range(2):
        parts, off, id = form.take(scoring, production, log, typed, "key-1", ANN)
        assert "Decision taken." in text_of(parts)
        assert off
    (record,) = log.latest_batches()
    assert (record.kind, record.caller, f"{record.id}-0") == ("decision", "user: ann", id)
    form.take(scoring, production, log, typed, "key-2", ANN)
    assert len(log.batches()) == 2


def test_form_without_a_model_says_so_and_can_be_retried(
    scoring, production, disapprove, log, typed
):
    disapprove()
    production.refresh()
    parts, off, id = form.take(scoring, production, log, typed, "key-1", ANN)
    assert "There is no Production model" in text_of(parts)
    assert not off
    assert id is None


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_that_is_too_long_decides_nothing(scoring, production, log, typed, key):
    parts, off, id = form.take(scoring, production, log, typed, key, ANN)
    assert "An Idempotency-Key has 1 to 200 characters." in text_of(parts)
    assert not off
    assert id is None
    assert log.batches() == []
