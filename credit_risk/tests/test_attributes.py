"""Decimals, flags, spellings and missing values are read as what they can only mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk.schema.attributes import Attribute

DOT = Attribute(name="rate", label="Rate", kind="number", minimum=-5, maximum=1e6, decimals=3)
COMMA = DOT.model_copy(update={"decimal_mark": ","})
FLAG = Attribute(name="owner", label="Owner", kind="flag")
SPELLED = Attribute.model_validate(
    {
        "name": "home",
        "label": "Home",
        "kind": "category",
        "values": [
            {"value": "own", "spellings": ["OWNED", "any"]},
            {"value": "rent", "spellings": ["RENTED", "any", "own"]},
            {"value": "0", "spellings": ["1"]},
        ],
    }
)


def missing(attribute):
    return attribute.model_copy(update={"missing": True})


@pytest.mark.parametrize(
    ("value", "with_dot", "with_comma"),
    [
        ("5", 5, 5),
        ("5.5", 5.5, 5.5),
        ("5,5", 5.5, 5.5),
        ("-0.25", -0.25, -0.25),
        ("5.", 5, 5),
        ("5.125", 5.125, "ambiguous"),
        ("5,125", "ambiguous", 5.125),
        ("5.1250", 5.125, 5.125),
        ("5.000", "ambiguous", "ambiguous"),
        ("5,000", "ambiguous", "ambiguous"),
        ("5.00", 5, 5),
        ("1,234.5", "not_a_number", "not_a_number"),
        ("1e3", 1000, 1000),
        ("2.5E-1", 0.25, 0.25),
        ("5.1e3", 5100, 5100),
        ("5,125e3", 5125, 5125),
        ("5.000e2", 500, 500),
        ("1e999", "not_a_number", "not_a_number"),
        ("1e99", "out_of_range", "out_of_range"),
        ("five", "not_a_number", "not_a_number"),
        ("1000000.5", "out_of_range", "out_of_range"),
        ("9" * 400, "not_a_number", "not_a_number"),
        ("٣", "not_a_number", "not_a_number"),
        (" '5.5' ", 5.5, 5.5),
        (5, 5, 5),
        (5.125, 5.125, 5.125),
        (5.0, 5, 5),
        (True, "not_a_number", "not_a_number"),
        (math.inf, "not_a_number", "not_a_number"),
        (10**400, "not_a_number", "not_a_number"),
        ([5], "not_a_number", "not_a_number"),
        (-6, "out_of_range", "out_of_range"),
    ],
)
def test_decimals_with_either_mark(value, with_dot, with_comma):
    for attribute, expected in ((DOT, with_dot), (COMMA, with_comma)):
        code, reason = attribute.look(value)
        if isinstance(expected, str):
            assert (math.isnan(code), reason) == (True, expected)
        else:
            assert (code, reason) == (expected, "")


@pytest.mark.parametrize("value", [0.12345, "0.12345"])
def test_more_decimals_than_the_form_steps_by_stay(value):
    assert DOT.look(value) == (0.12345, "")


@given(st.integers(-5_000, 10**9).map(lambda n: n / 1000), st.sampled_from([DOT, COMMA]))
def test_what_a_decimal_is_written_as_is_read_back(number, attribute):
    text = f"{number:.4f}".replace(".", attribute.decimal_mark)
    assert attribute.look(text) == (number, "")
    assert attribute.look(number) == (number, "")
    assert attribute.look(attribute.value(number)) == (number, "")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        (DOT, "5,125", "rate '5,125' may be 5125 or 5.125; write 5125 or 5.1250"),
        (DOT, "five", "rate 'five' is not a number"),
        (SPELLED, "any", "home 'any' may be 'own' or 'rent'; write which"),
        (SPELLED, '"any"', "home 'any' may be 'own' or 'rent'; write which"),
        (SPELLED, "hut", "home 'hut' is not one of own, rent, 0"),
        (SPELLED, None, "home has no value"),
        (SPELLED, "NA", "home has no value ('NA')"),
    ],
)
def test_invalid_value_is_named_with_what_is_allowed(attribute, value, message):
    reason = attribute.look(value)[1]
    assert str(attribute.invalid(value, reason)) == message


@pytest.mark.parametrize("value", [None, "", " ", "NA", "null", math.nan])
@pytest.mark.parametrize("attribute", [DOT, FLAG, SPELLED], ids=lambda a: a.name)
def test_missing_value_is_accepted_only_where_allowed(attribute, value):
    assert attribute.look(value)[1] == "missing"
    for other in (missing(attribute), attribute.model_copy(update={"protected": True})):
        code, reason = other.look(value)
        assert (math.isnan(code), reason) == (True, "")
        assert other.value(code) is None
        assert other.recorded(code) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("0", "no"),
        ("1", "yes"),
        ("true", "yes"),
        ("False", "no"),
        ("y", "yes"),
        (True, "yes"),
        (False, "no"),
        (1, "yes"),
        (0, "no"),
        ("2", None),
        (2, None),
        ("maybe", None),
        ([], None),
        ({}, None),
    ],
)
def test_flag_accepts_yes_no_1_and_0(value, expected):
    code, reason = FLAG.look(value)
    assert (FLAG.value(code), reason) == (expected, "" if expected else "unknown_category")


@pytest.mark.parametrize(
    ("value", "expected", "understood"),
    [
        ("own", "own", ""),  # a value, though another has it as a spelling
        ("OWNED", "own", "own"),
        ("RENTED", "rent", "rent"),
        ("'RENTED'", "rent", "rent"),
        ("1", "0", "0"),
        (1, "0", "0"),
        (0, "0", ""),
        ("owned", None, ""),
    ],
)
def test_spellings_are_read_and_noted(value, expected, understood):
    code, _ = SPELLED.look(value)
    assert SPELLED.value(code) == expected
    assert SPELLED.understood(value) == understood


def test_an_ambiguous_spelling_is_not_guessed():
    assert SPELLED.look("any")[1] == "ambiguous"
    assert SPELLED.understood("any") == ""


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_is_no_word_of_a_category(value):
    assert SPELLED.look(value)[1] == "unknown_category"


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.from_regex(r"-?[0-9]{1,6}[.,]?[0-9]{0,4}(e-?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["own", "any", "yes", "True", "1", "NA", "'own'"]),
    st.lists(st.integers(), max_size=2),
)


@given(ANYTHING, st.sampled_from([DOT, COMMA, FLAG, SPELLED, missing(DOT), missing(SPELLED)]))
def test_a_value_is_valid_or_has_a_reason_and_is_read_again_as_it_was(value, attribute):
    code, reason = attribute.look(value)
    if reason:
        assert math.isnan(code)
        assert attribute.name in str(attribute.invalid(value, reason))
    elif math.isnan(code):
        assert attribute.may_be_absent
    else:
        assert attribute.look(attribute.value(code)) == (code, "")
