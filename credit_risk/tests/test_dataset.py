"""A definition is read as what it says, or refused with what is wrong and where."""

import copy
import json

import pytest
from pydantic import ValidationError

from credit_risk.schema.dataset import RESERVED, Dataset
from credit_risk.schema.dataset_file import (
    InvalidDataset,
    dataset_path,
    load_dataset,
    training_file,
)
from credit_risk.schema.validation import Validator
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT

AMOUNT = {"name": "amount", "label": "Amount", "kind": "number", "minimum": 1, "maximum": 100}
PURPOSE = {
    "name": "purpose",
    "label": "Purpose",
    "kind": "category",
    "values": [{"value": "car"}, {"value": "tv"}],
}
LEVER = {"attribute": "amount", "way": "lower", "text": "a loan of {new}"}

TOML = """
name = "loans"
title = "Loans"
[[attributes]]
name = "amount"
label = "Amount"
kind = "number"
minimum = 1
maximum = {maximum}
"""


def definition(**changes):
    return {"name": "loans", "title": "Loans", "attributes": [AMOUNT, PURPOSE]} | changes


def defined(**changes) -> Dataset:
    return Dataset.model_validate(definition(**changes))


def with_amount(**changes):
    return {"attributes": [AMOUNT | changes, PURPOSE]}


def with_purpose(**changes):
    return {"attributes": [AMOUNT, PURPOSE | changes]}


def with_lever(**changes):
    return {"levers": [LEVER | changes]}


def with_form(**changes):
    return {"formats": [{"name": "other"} | changes]}


WRONG = {
    "no attributes": ({"attributes": []}, "at least 1 item"),
    "too many": (
        {"attributes": [AMOUNT | {"name": f"a{i}"} for i in range(201)]},
        "at most 200 items",
    ),
    "unknown field": ({"tittle": "Loans"}, "Extra inputs are not permitted"),
    "no name": ({"name": ""}, "String should match pattern"),
    "a name with a line end": ({"name": "loans\n"}, "String should match pattern"),
    "not printable": ({"title": "Lo\x1bans"}, "cannot be printed"),
    "long": ({"title": "L" * 201}, "at most 200 characters"),
    "two of a name": ({"attributes": [AMOUNT, AMOUNT]}, "there are two attributes 'amount'"),
    "reserved": (with_amount(name="risk"), "'risk' is a name of ours"),
    "all protected": (
        {"attributes": [AMOUNT | {"protected": True}]},
        "there is nothing to score",
    ),
    "amount unknown": ({"amount": "sum"}, "there is no attribute 'sum'"),
    "amount no number": ({"amount": "purpose"}, "purpose is not a number"),
    "term of classes": (
        {"term": "amount", **with_amount(maximum=2, meanings={"1": "short", "2": "long"})},
        "amount is not a number",
    ),
    "bad is good": ({"target": {"bad": ["1"], "good": ["1"]}}, "cannot mean both bad and good"),
    "no bad": ({"target": {"bad": []}}, "at least 1 item"),
    "free mistakes": ({"costs": {"bad": 0}}, "greater than 0"),
    "by no amount": ({"costs": {"by": "amount"}}, "no attribute is said to be the `amount`"),
    "by an amount that may be missing": (
        {"amount": "amount", "costs": {"by": "amount"}, **with_amount(missing=True, minimum=1)},
        "costs are by amount, which an application may leave out",
    ),
    "by an amount of nothing": (
        {"amount": "amount", "costs": {"by": "amount"}, **with_amount(minimum=0)},
        "costs are by amount, so its minimum must be above 0",
    ),
    "by another": ({"costs": {"by": "term"}}, "'client' or 'amount'"),
    "endless cost": ({"costs": {"bad": float("inf")}}, "finite number"),
    "number with values": (with_amount(values=[{"value": "1"}]), "has no `values`"),
    "no range": (with_amount(minimum=100), "the minimum of amount is not below its maximum"),
    "bounds with decimals": (with_amount(maximum=9.5), "amount is whole, but its bounds are not"),
    "endless": (with_amount(maximum=float("inf")), "finite number"),
    "some meanings": (
        with_amount(maximum=3, meanings={"1": "few"}),
        "the meanings of amount are not those of its whole numbers",
    ),
    "too many decimals": (with_amount(decimals=10), "less than or equal to 9"),
    "unknown mark": (with_amount(decimals=1, decimal_mark="'"), "Input should be '.' or ','"),
    "no values": (with_purpose(values=[]), "purpose is a category without `values`"),
    "category with meanings": (with_purpose(meanings={"car": "a car"}), "only a number has"),
    "category with bounds": (with_purpose(maximum=3), "has no bounds, decimals or unit"),
    "category with unit": (with_purpose(unit="DM"), "has no bounds, decimals or unit"),
    "value twice": (
        with_purpose(values=[{"value": "car"}, {"value": "car"}]),
        "purpose has the value 'car' twice",
    ),
    "empty value": (with_purpose(values=[{"value": ""}]), "at least 1 character"),
    "unknown order": (with_purpose(order="alphabetical"), "'natural', 'listed' or 'bad rate'"),
    "unknown place": (with_amount(text="{amount} is high"), "no other places than {value}"),
    "place with an attribute": (with_amount(text="{value.__class__}"), "no other places"),
    "place with a format": (with_amount(text_more="{value:>99}"), "no other places"),
    "place with a conversion": (with_amount(text_less="{value!r}"), "no other places"),
    "open brace": (with_amount(text="{value"), "expected '}'"),
    "group of nothing": ({"groups": [{"attribute": "sex"}]}, "there is no attribute 'sex'"),
    "group with ends": (
        {"groups": [{"attribute": "purpose", "minimum": 1}]},
        "a group of purpose, a category, has no ends",
    ),
    "group without a name": (
        {"groups": [{"attribute": "amount", "minimum": 1}]},
        "a group of amount needs a name",
    ),
    "group without ends": (
        {"groups": [{"attribute": "amount", "name": "all"}]},
        "an end or two",
    ),
    "lever of nothing": (with_lever(attribute="sum"), "there is no attribute 'sum'"),
    "lever of protected": (
        {**with_lever(), **with_amount(protected=True)},
        "amount is protected; it cannot be a lever",
    ),
    "lower category": (with_lever(attribute="purpose"), "purpose is not a quantity"),
    "next number": (
        with_lever(way="next"),
        "amount has no ordered values, so it cannot move to the next one",
    ),
    "set to nothing": (
        with_lever(attribute="purpose", way="set"),
        "does not say what to set it `to`",
    ),
    "set to unknown": (
        with_lever(attribute="purpose", way="set", to="boat"),
        "'boat' is not a value of purpose",
    ),
    "set of unknown": (
        with_lever(attribute="purpose", way="set", to="car", of="boat"),
        "'boat' is not a value of purpose",
    ),
    "lever with another place": (with_lever(text="{risk}"), "may have no other places than"),
    "too many levers": ({"levers": [LEVER] * 7}, "at most 6 items"),
    "format of nothing": (with_form(columns={"x": "sum"}), "there is no attribute 'sum'"),
    "values of nothing": (with_form(values={"sum": {"1": "2"}}), "there is no attribute 'sum'"),
    "format to unknown": (
        with_form(values={"purpose": {"1": "boat"}}),
        "other: 'boat' is not a value of purpose",
    ),
}


def test_a_definition_has_what_it_says():
    dataset = defined(amount="amount", target={"column": "default", "bad": ["1"], "good": ["0"]})
    assert dataset.names == dataset.scored == ("amount", "purpose")
    assert dataset.by_name["purpose"].categories == ("car", "tv")
    assert dataset.quantities == ("amount",)
    assert dataset.headers["default"] == "class"


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_definition_is_refused(changes, message):
    defined()  # right without the change
    with pytest.raises(ValidationError) as error:
        defined(**changes)
    assert message in str(error.value)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_attribute_takes_the_name_of_another_column(name):
    with pytest.raises(ValidationError, match="is a name of ours"):
        defined(**with_amount(name=name))


@pytest.mark.parametrize("value", ["NA", "None", "null", " car", "'car'"])
def test_a_value_that_no_file_could_hold_is_refused(value):
    with pytest.raises(ValidationError, match="is read as"):
        defined(**with_purpose(values=[{"value": "tv"}, {"value": value}]))


def test_a_column_means_one_thing():
    with pytest.raises(ValidationError, match="'Sum' is a column of amount and of purpose"):
        defined(attributes=[AMOUNT | {"headers": ["Sum"]}, PURPOSE | {"headers": ["Sum"]}])
    with pytest.raises(ValidationError, match="'purpose' is a column of amount and of purpose"):
        defined(attributes=[AMOUNT | {"headers": ["purpose"]}, PURPOSE])
    with pytest.raises(ValidationError, match="'amount' is a column of amount and of class"):
        defined(target={"column": "amount"})


def test_an_attribute_has_one_lever():
    with pytest.raises(ValidationError, match="there are two levers of amount"):
        defined(levers=[LEVER, LEVER])


def test_what_a_definition_is_can_be_read_as_json_schema():
    schema = Dataset.model_json_schema()
    assert set(schema["required"]) == {"name", "title", "attributes"}
    described = schema["$defs"]["Attribute"]["properties"]
    assert all("description" in described[name] for name in ("name", "kind", "minimum", "order"))


def backwards(value):
    """Return a definition with the keys of each of its tables in the opposite order."""
    if isinstance(value, list):
        return [backwards(one) for one in value]
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return value


def test_the_digest_is_of_what_a_definition_says():
    plain = definition(levers=[LEVER], target={"bad": ["1"], "good": ["0"]})
    spelled_out = copy.deepcopy(plain)
    spelled_out["costs"] = {"bad": 5.0, "good": 1}
    spelled_out["attributes"][0] = {**AMOUNT, "decimals": 0, "headers": [], "missing": False}
    digests = [Dataset.model_validate(d).digest for d in (plain, backwards(plain), spelled_out)]
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Other loans"},
        {"costs": {"bad": 6}},
        {"attributes": [PURPOSE, AMOUNT]},
        with_amount(maximum=101),
        with_purpose(values=[{"value": "tv"}, {"value": "car"}]),
    ],
)
def test_another_definition_has_another_digest(changes):
    assert defined(**changes).digest != defined().digest


def test_a_flag_spelled_out_is_the_same():
    flag = {"name": "owner", "label": "Owner", "kind": "flag"}
    short = defined(attributes=[flag])
    values = [value.model_dump() for value in short.attributes[0].values]
    assert short.attributes[0].categories == ("no", "yes")
    assert defined(attributes=[flag | {"values": values}]).digest == short.digest


def test_a_definition_is_read_from_its_text_as_it_was():
    again = Dataset.model_validate_json(GERMAN_CREDIT.text)
    assert again == GERMAN_CREDIT
    assert again.digest == GERMAN_CREDIT.digest
    # The columns of a file without a header are in the definition's order.
    for form, other in zip(GERMAN_CREDIT.formats, again.formats, strict=True):
        assert list(form.columns) == list(other.columns)


def test_a_definition_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        defined().title = "Other loans"


def test_a_definition_is_found_by_name_and_by_path(tmp_path):
    path = tmp_path / "dataset.toml"
    path.write_text(TOML.format(maximum=100))
    assert load_dataset(str(tmp_path)) == load_dataset(str(path))
    assert dataset_path("german_credit").parts[-3:] == ("data", "german_credit", "dataset.toml")
    assert training_file("german_credit").is_file()


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(InvalidDataset, match=r"DATASET=french_credit: .*german_credit"):
        load_dataset("french_credit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOML.format(maximum=0), "attributes.0: the minimum of amount is not below its maximum"),
        (TOML.format(maximum='"many"'), "attributes.0.maximum"),
        (TOML.format(maximum=9) + 'colour = "red"\n', "attributes.0.colour: Extra inputs"),
        (TOML.format(maximum=9) + "protected = true\n", "nothing to score"),
        ("name = loans", "is not a TOML file"),
        ("name = '\udcff'", "is not a TOML file"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path, text, message):
    path = tmp_path / "dataset.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidDataset) as error:
        load_dataset(str(path))
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_definition_without_a_file_says_what_to_set(tmp_path):
    (tmp_path / "dataset.toml").write_text(TOML.format(maximum=100))
    with pytest.raises(InvalidDataset, match="set DATA to the training data"):
        training_file(str(tmp_path))


def test_costs_are_said_as_people_read_them():
    assert f"{defined().costs}" == "a bad client accepted costs 5, a good one refused 1"
    assert f"{BY_AMOUNT.costs}" == (
        "a bad client accepted costs 0.6, a good one refused 0.1, each times the amount"
    )


def test_the_text_of_a_definition_is_json():
    assert json.loads(defined().text)["attributes"][0]["name"] == "amount"


@pytest.mark.parametrize(
    ("bad", "good", "values", "labels"),
    [
        (["1"], ["0"], [1, 1.0, "1", 0.0], ["bad", "bad", "bad", "good"]),
        (["1.0"], ["0.0"], [1.0, 0.0], ["bad", "good"]),
        (["1"], ["1.0"], [1, 1.0], ["bad", "good"]),
        (["true"], ["false"], [True, False, "true"], ["bad", "good", "bad"]),
        (["True"], ["False"], [True, False], ["bad", "good"]),
        (["1"], ["0"], [True, False, 1.5, 1e300, [1.0]], [None] * 5),
    ],
)
def test_an_outcome_of_json_is_the_word_that_files_have_for_it(bad, good, values, labels):
    dataset = defined(target={"bad": bad, "good": good})
    rows = [{"amount": 5, "purpose": "car", "class": value} for value in values]
    assert Validator(dataset).rows(rows).label == labels
