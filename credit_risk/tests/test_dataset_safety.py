"""Definitions, and data by them, that would harm somebody: each was found by an attack on paper."""

import math

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from credit_risk.decision_log.tables import table_of, with_schema
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.domain import Domain
from credit_risk.schema.spelling.words import named
from credit_risk.schema.validation import Validator
from credit_risk.scoring.counterfactual import MAX_POINTS, _Axis, _thin, counterfactual
from credit_risk.scoring.model import CreditScorer


def number(**fields):
    return {"name": "n", "label": "N", "kind": "number", "maximum": 10, **fields}


def category(*values, **fields):
    return {
        "name": "c",
        "label": "C",
        "kind": "category",
        "values": [{"value": value} for value in values],
        **fields,
    }


def defined(**changes) -> Dataset:
    given = {"name": "own", "title": "Own", "attributes": [number()]}
    return Dataset.model_validate(given | changes)


def test_a_spelling_of_two_columns_is_read_as_neither():
    """It was read as one of them, another one in each process: an outcome could be scored."""
    known = {"status": "status", "Status": "class", "age": "age"}
    assert named(["STATUS", "status", "Status"], known) == ["STATUS", "status", "class"]
    assert named(["STATUS", "AGE"], known) == ["STATUS", "age"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sample": "../secret.csv"}, "String should match pattern"),
        ({"sample": "/etc/passwd"}, "String should match pattern"),
        ({"file": "clients.csv", "sample": "clients.csv"}, "must not be published"),
        ({"target": {"bad": ["x"], "good": ["bad"]}}, "cannot mean both"),
        ({"target": {"bad": ["NA"], "good": ["ok"]}}, "is read as another value"),
        ({"attributes": [number(maximum=10**19)]}, "less than or equal to 1000000000000000"),
        ({"attributes": [number(maximum=10**9, meanings={"1": "one"})]}, "are not those of its"),
        ({"attributes": [category("=HYPERLINK(1)")]}, "would run '=HYPERLINK(1)' as a formula"),
        ({"attributes": [category("a;@x")]}, "as a formula"),
        ({"attributes": [number(text_more="above {value}")]}, "may have no other places"),
        ({"attributes": [number(name="seldom")]}, "is a name of ours"),
        ({"attributes": [number(name="branch")]}, "is a name of ours"),
    ],
)
def test_definitions_that_would_harm_somebody_are_refused(changes, says):
    with pytest.raises(ValidationError) as error:
        defined(**changes)
    assert says in str(error.value)


@pytest.mark.parametrize("value", ["-5", "<0", "+1.5", "a-b", "no;yes"])
def test_values_that_no_spreadsheet_runs_are_taken(value):
    assert defined(attributes=[category(value)]).attributes[0].categories == (value,)


def test_a_value_that_no_client_had_in_training_is_told_or_refused():
    dataset = defined(attributes=[number(missing=True), category("a", missing=True)])
    domain = Domain({}, {}, frozenset({"n", "c"}))
    validator = Validator(dataset, domain)
    found = validator.rows([{"n": 3}, {"c": "a"}, {}])
    assert found.rows.tolist() == [0, 2]
    assert found.row_warnings == {0: ["n 3: no client had a value in training"]}
    (fault,) = found.faults
    assert "was never seen in training; the model knows no value of it" in fault.message


def fitted(dataset: Dataset, codes: np.ndarray) -> CreditScorer:
    bad = codes[:, 0] > 5
    risk = np.where(bad, 0.9, 0.05)
    scorer = CreditScorer(num_boost_round=250, definition=dataset.text)
    return scorer.fit(codes, np.where(bad, "bad", "good"), risk)


def test_a_lever_of_which_no_client_had_a_value_changes_nothing():
    levers = [{"attribute": name, "way": "lower", "text": "{new} {old}"} for name in ("n", "m")]
    dataset = defined(attributes=[number(), number(name="m", missing=True)], levers=levers)
    random = np.random.default_rng(0)
    codes = np.column_stack([random.integers(0, 11, 300), np.full(300, math.nan)]).astype(float)
    change = counterfactual(fitted(dataset, codes), np.array([10.0, 4.0]))
    assert change is not None
    assert change.attributes == ("n",)


@pytest.mark.parametrize("present", [10.0, 0.0])
def test_of_lower_numbers_the_nearest_that_is_enough_is_suggested(present):
    """Where the present value was 0, any change counted as none, and the largest was taken."""
    lever = {"attribute": "n", "way": "lower", "text": "{new} instead of {old}"}
    dataset = defined(attributes=[number(minimum=-90, maximum=10)], levers=[lever])
    random = np.random.default_rng(0)
    codes = random.integers(-90, 11, (600, 1)).astype(float)
    bad = codes[:, 0] > -40
    scorer = CreditScorer(num_boost_round=250, definition=dataset.text)
    scorer.fit(codes, np.where(bad, "bad", "good"), np.where(bad, 0.9, 0.05))
    change = counterfactual(scorer, np.array([present]))
    assert change is not None
    assert -50 <= change.codes[0] <= -40


def test_a_grid_of_levers_stays_small():
    axes = [_Axis.__new__(_Axis) for _ in range(6)]
    for axis in axes:
        axis.values = list(map(float, range(40)))
        axis.present = 39.0
    _thin(axes)
    assert 1 < math.prod(len(axis.values) for axis in axes) <= MAX_POINTS
    assert all(axis.present in axis.values for axis in axes)


def test_one_value_beyond_a_column_s_kind_leaves_the_others():
    whole = pa.schema([("n", pa.int64())])
    assert table_of([{"n": 5}, {"n": 10**30}], whole)["n"].to_pylist() == [5, None]
    stored = pa.table({"n": [5.0, 1e30, 2.5]})
    assert with_schema(stored, whole)["n"].to_pylist() == [5, None, None]
    big = pa.table({"n": pa.array([5, 2**60 + 1])})
    decimals = pa.schema([("n", pa.float64())])
    assert with_schema(big, decimals)["n"].to_pylist() == [5.0, float(2**60)]
    text = pa.table({"n": ["1.234567890125e+11", "many"]})
    assert with_schema(text, decimals)["n"].to_pylist() == [123456789012.5, None]
