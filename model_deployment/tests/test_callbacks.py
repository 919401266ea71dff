"""Malformed calls of the page's callbacks are refused and do not fill the log."""

import json
import logging

import pytest

from model_deployment.api import problems
from model_deployment.ui.callbacks import PATH

BANNER = {
    "output": "banner.children",
    "outputs": {"id": "banner", "property": "children"},
    "inputs": [{"id": "clock", "property": "n_intervals", "value": 1}],
    "changedPropIds": ["clock.n_intervals"],
}
VALUE = {"id": "clock", "property": "n_intervals"}


def spec(name):
    id, _, property = name.rpartition(".")
    return {"id": id, "property": property}


def call(known):
    """Return a call of a callback, as the page's script sends it."""
    output = known["output"]
    several = output.startswith("..")
    names = output.strip(".").split("...") if several else [output]
    return {
        "output": output,
        "outputs": [spec(name) for name in names] if several else spec(output),
        "inputs": [one | {"value": None} for one in known["inputs"]],
        "state": [one | {"value": None} for one in known["state"]],
        "changedPropIds": [f"{one['id']}.{one['property']}" for one in known["inputs"]],
    }


def test_every_callback_of_the_page_can_be_called(client):
    callbacks = [
        c for c in client.get("/_dash-dependencies").get_json() if not c["clientside_function"]
    ]
    assert len(callbacks) > 10
    for known in callbacks:
        status = client.post(PATH, json=call(known)).status_code
        assert status in (200, 204, 500), (
            known
        )  # what a callback makes of no values is not asked here


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[", 400),
        ("[]", 400),
        ("1", 400),
        ("null", 400),
        ("{}", 400),
        (BANNER | {"output": "nothing.children"}, 404),
        (BANNER | {"output": ["banner.children"]}, 400),
        (BANNER | {"output": "..banner.children.."}, 404),
        (BANNER | {"outputs": None}, 400),
        (BANNER | {"outputs": [BANNER["outputs"]]}, 404),
        (BANNER | {"outputs": {"id": "banner", "property": "style"}}, 404),
        (BANNER | {"inputs": []}, 404),
        (BANNER | {"inputs": {}}, 400),
        (BANNER | {"inputs": [[VALUE]]}, 400),
        (BANNER | {"inputs": [VALUE, VALUE]}, 404),
        (BANNER | {"inputs": [{"id": {"a": 1}, "property": "n_intervals"}]}, 400),
        (BANNER | {"inputs": [{"id": "clock"}]}, 400),
        (BANNER | {"state": [VALUE]}, 404),
        (BANNER | {"changedPropIds": ["x.y"]}, 404),
        (BANNER | {"changedPropIds": [{}]}, 400),
        ("[" + "[]," * 300_000 + "[]]", 413),
        ("[" * 10_000 + "]" * 10_000, 400),
        ('{"output": NaN}', 400),
    ],
)
def test_malformed_call_is_refused_without_a_log_line(client, body, status, caplog):
    data = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(PATH, data=data, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert not caplog.records


def test_call_that_is_not_json_is_refused(client, caplog):
    assert (
        client.post(PATH, data="x=1", content_type="application/x-www-form-urlencoded").status_code
        == 415
    )
    assert not caplog.records


def test_the_same_error_is_logged_once_a_minute(caplog, monkeypatch):
    monkeypatch.setattr(problems, "_told", {})

    def fail(divisor):
        try:
            return 1 / divisor if divisor == 0 else [][divisor]
        except Exception as error:
            return problems.problem_of(error, "GET /x")

    with caplog.at_level(logging.ERROR):
        assert {fail(0).status for _ in range(100)} == {500}
        assert len(caplog.records) == 1
        fail(1)
        assert len(caplog.records) == 2
        monkeypatch.setattr(problems, "_SAME_SECONDS", 0)
        fail(0)
        assert len(caplog.records) == 3
