"""Answers are JSON, whatever they quote."""

import datetime
import json

import pytest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"risk": 0.1, "a": [None, True]}, '{"risk":0.1,"a":[null,true]}'),
        ({"name": "Łódź"}, '{"name":"Łódź"}'),
        (
            {"much": 2**70, "name": "Łódź"},
            '{"much":1180591620717411303424,"name":"\\u0141\\u00f3d\\u017a"}',
        ),
        ({"half": "\ud800"}, '{"half":"\\ud800"}'),
        (
            {"when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)},
            '{"when":"Fri, 02 Jan 2026 00:00:00 GMT"}',
        ),
    ],
)
def test_answer_is_compact_json_that_reads_back_unchanged(app, value, text):
    assert app.flask.json.dumps(value) == text
    if "when" not in value:
        assert json.loads(text) == value


def test_value_that_json_cannot_hold_is_an_error(app):
    with pytest.raises(TypeError):
        app.flask.json.dumps({"a": object()})
