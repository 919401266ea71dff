"""What values mean: the table, the schema and data/README.md agree."""

import re
from pathlib import Path

from credit_risk.schema.attributes import ATTRIBUTES
from credit_risk.schema.code_book import MEANINGS, meaning
from credit_risk.schema.json_schema import json_schema

README = Path("data/README.md").read_text()


def test_code_book_agrees_with_the_readme():
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
