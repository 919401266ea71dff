"""One client by hand: previews while it is typed, one decision when it is taken."""

import json

import plotly.utils
import pytest

from model_deployment import form
from model_deployment.metrics import Metrics
from model_deployment.scoring import Scoring


def text_of(parts):
    return json.dumps(parts, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


@pytest.fixture
def scoring(production, log, settings):
    return Scoring(production, log, Metrics(), settings.max_explained_rows)


@pytest.fixture
def typed(clients):
    """What a form sends: texts, empty where nothing is typed."""
    return {name: str(value) for name, value in clients[0].items()} | {"client_id": "", "age": ""}


def test_the_form_has_a_labelled_field_for_each_attribute():
    text = text_of(form.layout())
    for name in ("client_id", "duration", "purpose", "foreign_worker"):
        assert f'"htmlFor": "a-{name}"' in text
        assert f'"id": "a-{name}"' in text


def test_what_is_not_filled_in_yet_is_said_and_nothing_is_decided(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, log, typed | {"duration": "", "housing": " "})
    assert "To be filled in: Duration, Housing." in text_of(parts)
    assert off
    assert list(log.latest_batches(kind=None)) == []


def test_what_is_typed_is_judged_as_a_preview(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, log, typed)
    assert "Preview: nothing rests on it" in text_of(parts)
    assert "What raises the risk" in text_of(parts)
    assert not off
    (record,) = log.latest_batches(kind=None)
    assert (record.kind, record.source) == ("preview", form.SOURCE)


def test_a_value_that_is_not_allowed_is_named(scoring, production, log, typed):
    parts, off = form.preview(scoring, production, log, typed | {"duration": "500"})
    assert "duration '500' is outside 1 to 120." in text_of(parts)
    assert off


def test_a_decision_is_taken_once_however_often_it_is_pressed(scoring, production, log, typed):
    for _ in range(2):
        parts, off = form.take(scoring, production, log, typed, "key-1")
        assert "Decision taken." in text_of(parts)
        assert off
    (record,) = log.latest_batches(kind=None)
    assert record.kind == "decision"
    form.take(scoring, production, log, typed, "key-2")
    assert len(log.batches()) == 2


def test_without_a_model_it_says_so_and_may_be_tried_again(scoring, production, registry, log, typed):
    registry.production = None
    production.look()
    parts, off = form.take(scoring, production, log, typed, "key-1")
    assert "There is no Production model" in text_of(parts)
    assert not off
