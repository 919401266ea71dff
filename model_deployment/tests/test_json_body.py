"""What a JSON body may cost is known before it is paid."""

import json
import tracemalloc

import pytest

from credit_risk.schema import attributes, validation, values
from credit_risk.schema.faults import MAX_FAULTS, InvalidValue, MalformedFile
from model_deployment.api.json_body import LIST, MAX_ROWS, SMALL, applications, parse
from model_deployment.http.problem import Problem
from tests.support.german_credit import Validator
from tests.support.problems import is_problem


def many(item, size=10_000_000):
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


@pytest.mark.parametrize(
    "item", [b"{}", b"[]", b"0", b'""', b'{"a":{}}', b"[[[]]]", b'{"a":1,"b":2}']
)
def test_millions_of_values_are_refused_before_one_of_them_is_made(item):
    body = many(item)
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as refused:
            applications(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert (refused.value.status, refused.value.kind) == (413, "too-large")
    assert "/api/v1/files" in refused.value.detail


def test_names_and_bytes_are_bounded():
    for body in (
        b"[{" + b",".join(b'"%d":0' % i for i in range(LIST.values)) + b"}]",
        b" " * (LIST.size + 1),
    ):
        with pytest.raises(Problem, match=r"at most .* are read"):
            applications(body)


def test_list_of_too_many_clients_is_referred_to_files(client):
    body = is_problem(client.post("/api/v1/score", json=[{}] * (MAX_ROWS + 1)), 413)
    assert "20,001 applications" in body["detail"]
    assert "/api/v1/files" in body["detail"]


def test_largest_allowed_list_is_read(client_rows):
    row = client_rows[0] | {f"note {i}": "a, b: [c] {d}" for i in range(5)}
    body = json.dumps([row] * MAX_ROWS).encode()
    assert len(applications(body)) == MAX_ROWS


def test_a_small_body_has_small_bounds():
    with pytest.raises(Problem, match="values"):
        parse(many(b"[]", 100_000), "object", SMALL)
    with pytest.raises(Problem, match="1 MB"):
        parse(b'"' + b"x" * SMALL.size + b'"', "object", SMALL)
    with pytest.raises(MalformedFile):
        parse(b"NaN", "object", SMALL)


def test_faults_beyond_the_thousandth_are_only_counted(monkeypatch):
    worded = []
    for module in (attributes, validation, values):
        monkeypatch.setattr(
            module, "InvalidValue", lambda *what: worded.append(what) or InvalidValue(*what)
        )
    found = Validator().rows([{"duration": i, "purpose": f"x{i}"} for i in range(1000, 6000)])
    assert len(found.faults) == MAX_FAULTS
    assert len(worded) == MAX_FAULTS
    assert (
        found.reasons["duration", "out_of_range"]
        == found.reasons["purpose", "unknown_category"]
        == 5000
    )


def test_long_spelling_of_a_number_is_not_cached():
    validator = Validator()
    validator.rows([{"duration": "6." + "0" * 100_000}])
    assert all(len(text) < 100 for texts in validator._values._caches.values() for text in texts)
