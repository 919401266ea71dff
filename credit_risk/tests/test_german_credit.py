"""The definition of German Credit says what data/README.md says."""

import re
from pathlib import Path

import pytest

from tests.support.german_credit import ATTRIBUTE, ATTRIBUTES, MEANINGS, NAMES, meaning
from tests.support.german_credit import application_schema as json_schema

README = Path("data/README.md").read_text()
CATEGORIES = [a for a in ATTRIBUTES if a.kind == "category"]
# UCI counts the values of these two from 0, those of the others from 1.
FROM_ZERO = ("credit_history", "purpose")


def test_the_meanings_are_those_of_the_readme():
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| \d+ \| (.+?) \| *\w* *\|$", README, re.MULTILINE)
    assert {(a, v, m) for a, values in MEANINGS.items() for v, m in values.items()} == set(rows)


def test_every_value_but_a_quantity_has_a_meaning():
    for attribute in ATTRIBUTES:
        if attribute.kind == "category":
            assert tuple(MEANINGS[attribute.name]) == attribute.categories
        elif attribute.unit:
            assert attribute.name not in MEANINGS
        else:
            codes = range(attribute.minimum, attribute.maximum + 1)
            assert list(MEANINGS[attribute.name]) == [str(code) for code in codes]


def test_quantities_have_no_other_meaning():
    assert meaning("duration", "24") == ""
    assert meaning("checking_status", "no checking").startswith("200 DM or more")


def test_json_schema_contains_the_meanings():
    description = json_schema()["properties"]["savings_status"]["description"]
    assert "no known savings: 1000 DM or more" in description


@pytest.mark.parametrize("attribute", CATEGORIES, ids=lambda a: a.name)
def test_ucis_codes_are_in_the_order_of_the_values(attribute):
    start = 0 if attribute.name in FROM_ZERO else 1
    of_attribute = f"A{NAMES.index(attribute.name) + 1}"
    found = [
        attribute.understood(f"{of_attribute}{start + i}") for i in range(len(attribute.values))
    ]
    assert found == list(attribute.categories)
    assert attribute.look(f"{of_attribute}{start + len(found)}")[1] == "unknown_category"


def test_no_code_of_uci_is_taken_for_another_attributes():
    assert ATTRIBUTE["purpose"].look("A11")[1] == "unknown_category"
