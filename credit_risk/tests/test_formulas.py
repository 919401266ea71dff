import csv
import io
import re

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from credit_risk.schema.formulas import escape_formula, escape_formulas, is_formula

SIGNS = "=+-@＝＋－＠"
HARMLESS = [
    "",
    "-5",
    "+1.5",
    "3",
    "-1,5",
    " -5 ",
    "a=b",
    "a - b",
    "x;y",
    "zwei\nZeilen",
    "a,=b",
    '"=1"',
    "'=1",
    "1-2",
    "a+b",
]


def runs(cell: str) -> bool:
    """Say whether a spreadsheet would run a cell."""
    text = re.sub(r"^[\s\x00-\x20\u00a0\u200b\ufeff]+", "", cell)
    return text[:1] in SIGNS and bool(text) and not re.fullmatch(r"[+-]?\d+([.,]\d+)?\s*", text)


def cells(text: str, separator: str) -> list[str]:
    """Return the cells of a line that holds a text as our CSVs do, read by another separator."""
    line = io.StringIO(newline="")
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(["green", text])
    return [
        cell
        for row in csv.reader(io.StringIO(line.getvalue(), newline=""), delimiter=separator)
        for cell in row
    ]


@pytest.mark.parametrize("text", HARMLESS)
def test_text_that_is_not_a_formula_is_unchanged(text):
    assert escape_formula(text) == text


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "blank",
    ["", " ", "\t", "\r", "\n", "\x0b", "\x0c", "\u00a0", "\ufeff", "\u2003", "\u200b", "\x00"],
)
def test_formula_after_any_blank_is_escaped(sign, blank):
    assert escape_formula(f"{blank}{sign}1+1").startswith("'")


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize(
    "text",
    [
        "x;=1+1;y",
        "x\t=1+1",
        "x; @SUM(1)",
        'x;"=1+1&";y',
        'r;=HYPERLINK("http://x");b',
        "x;\u00a0=1",
        "x;;=1",
    ],
)
def test_part_of_a_split_text_is_not_a_formula(text, separator):
    assert not any(map(runs, cells(escape_formula(text), separator)))
    if separator in text:
        assert any(map(runs, cells(text, separator))), "the attack is one"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_line_within_a_text_is_not_a_formula(end):
    assert escape_formula(f"a{end}=1+1") == f"a{end}'=1+1"


@given(
    st.text(st.sampled_from("=+-@;\t\n \"'a1\u00a0\ufeff＝"), max_size=8), st.sampled_from(",;\t")
)
def test_no_separator_turns_a_text_into_a_formula(text, separator):
    safe = escape_formula(text)
    assert not any(map(runs, cells(safe, separator)))
    assert safe.replace("'", "") == text.replace("'", "")


def test_columns_keep_their_blanks():
    assert escape_formulas(pa.array(["=1", None, "a"])).to_pylist() == ["'=1", None, "a"]
    assert escape_formulas(pa.chunked_array([["a"], ["b;=1"]])).to_pylist() == ["a", "b;'=1"]


@given(st.text(st.sampled_from("=+-@; \"'a＝"), max_size=8))
def test_a_printable_text_is_a_formula_if_it_would_be_escaped(text):
    assert is_formula(text) is (escape_formula(text) != text)


@pytest.mark.parametrize("text", HARMLESS)
def test_plain_numbers_and_text_are_no_formulas(text):
    assert not is_formula(text)
