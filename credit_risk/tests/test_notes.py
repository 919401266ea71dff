"""Other spellings than the contract's are taken where they are unambiguous, with a note."""

import csv
import re

import numpy as np
import pandas as pd
import pytest

from credit_risk.decision_log.outcome_file import OutcomeFile
from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.schema.faults import InvalidApplications, MalformedFile
from tests.support.clients import CLIENT, as_csv
from tests.support.german_credit import (
    ATTRIBUTE,
    ATTRIBUTES,
    NAMES,
    PROTECTED,
    Validator,
    decode,
    encode,
    parse_training,
    read_training,
)

DOORS = {
    "CSV": lambda *rows: Validator().csv(as_csv(*rows)),
    "semicolons": lambda *rows: Validator().csv(as_csv(*rows, separator=";")),
    "JSON": lambda *rows: Validator().rows(list(rows)),
}
door = pytest.mark.parametrize("read", DOORS.values(), ids=DOORS)


def said(applications) -> str:
    return "; ".join(applications.warnings)


def training(edit=lambda rows: rows) -> bytes:
    """Return the shipped clients as a CSV, their rows edited."""
    with open("data/credit-g.csv", newline="") as file:
        return as_csv(*edit(list(csv.DictReader(file))))


def with_header(change) -> bytes:
    header, rest = as_csv(CLIENT).decode().split("\r\n", 1)
    return f"{','.join(map(change, header.split(',')))}\r\n{rest}".encode()


# Thousands


@door
@pytest.mark.parametrize(
    ("name", "text", "may_be"),
    [
        ("credit_amount", "400.000", "400000 or 400"),
        ("credit_amount", " 12.000 ", "12000 or 12"),
        ("credit_amount", "12,000", "12000 or 12"),
        ("credit_amount", "'12.000'", "12000 or 12"),
        ("credit_amount", "1169.000", "1169000 or 1169"),
        ("duration", "6.000", "6000 or 6"),
        ("duration", "-6.000", "-6000 or -6"),
        ("installment_commitment", "4,000", "4000 or 4"),
        ("age", "67.000", "67000 or 67"),
    ],
)
def test_three_zeros_behind_a_mark_are_never_guessed(read, name, text, may_be):
    a = read(CLIENT, CLIENT | {name: text})
    assert a.rows.tolist() == [0]
    assert a.reasons == {(name, "ambiguous"): 1}
    read_as = text.strip(" '")
    assert a.faults[0].message.endswith(
        f"{name} '{read_as}' may be {may_be}; write it without a separator"
    )


@door
@pytest.mark.parametrize(
    ("text", "thousands"), [("2.350", 2350), ("2,350", 2350), ("0.500", 500), ("-1.234", -1234)]
)
def test_ambiguous_thousands_are_refused_with_the_remedy(read, text, thousands):
    a = read(CLIENT, CLIENT | {"credit_amount": text})
    assert a.rows.tolist() == [0]
    assert a.reasons == {("credit_amount", "not_a_number"): 1}
    assert a.faults[0].message.endswith(
        f"{text!r} is not a whole number; if it means {thousands}, write it so, without a separator"
    )


@door
@pytest.mark.parametrize("text", ["6", "6.", "6.0", "6.00", "6.0000", "6.000000", " 6.0 "])
def test_zero_fraction_of_another_length_is_the_number(read, text):
    a = read(CLIENT | {"duration": text})
    assert (decode(a.codes)["duration"].to_pylist(), a.warnings) == ([6], [])


def test_numbers_of_their_own_type_are_never_ambiguous():
    rows = [CLIENT | {"credit_amount": value} for value in (400, 400.0, 2.35, 2.125)]
    a = Validator().rows(rows)
    assert decode(a.codes)["credit_amount"].to_pylist() == [400, 400]
    assert a.reasons == {("credit_amount", "not_a_number"): 2}
    assert encode(pd.DataFrame(rows[:2]))[:, NAMES.index("credit_amount")].tolist() == [400, 400]
    with pytest.raises(InvalidApplications, match=r"'400\.000' may be 400000 or 400; write"):
        encode(pd.DataFrame([CLIENT | {"credit_amount": "400.000"}]))


@door
@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("400.000,00", "400000"),
        ("1.234.567", "1234567"),
        ("1,234,567.00", "1234567"),
        ("1'234", "1234"),
        ("1 234", "1234"),
        ("1\u202f234\u202f567", "1234567"),
        ("1_234", "1234"),
        ("1.234,567.890", None),
        ("12.34", None),
        ("6,0", None),
        ("." * 500 + "000", None),
        ("9" * 5000 + ".000", None),
    ],
)
def test_other_thousands_separators_are_refused_with_the_remedy(read, text, remedy):
    a = read(CLIENT | {"credit_amount": text})
    assert len(a) == 0
    assert ("write it without separators" in a.faults[0].message) == (remedy is not None)
    assert remedy is None or a.faults[0].message.endswith(f", as {remedy}")


def test_thousands_in_training_data_are_refused_with_their_line():
    data = training(lambda rows: [rows[0], rows[1] | {"credit_amount": "5.951"}, *rows[2:]])
    with pytest.raises(
        InvalidApplications,
        match=r"line 3: credit_amount '5\.951' is not a whole number; if it means 5951",
    ):
        parse_training(data, "clients.csv")


# Labels


@door
@pytest.mark.parametrize("label", ["yes", "no", "1", "2", "GOOD", "0", "Bad", "x" * 300])
def test_invalid_label_is_left_out_and_reported(read, label):
    a = read(CLIENT | {LABEL: label}, CLIENT | {LABEL: "good"}, CLIENT | {LABEL: ""})
    assert (a.label, a.faults) == ([None, "good", None], [])
    assert re.fullmatch(
        r"class: '.{1,60} left out: neither good nor bad, and not needed to decide", said(a)
    )


@pytest.mark.parametrize("label", [1, 0, True, ["good"], {"is": "good"}, 10**400])
def test_label_of_another_type_is_left_out_of_json(label):
    a = Validator().rows([CLIENT | {LABEL: label}] * 3)
    assert (a.label, len(a.warnings)) == ([None] * 3, 1)
    assert a.warnings[0].startswith("class: 3 values like ")


def test_training_needs_the_label_as_the_definition_has_it():
    data = training(lambda rows: [rows[0] | {LABEL: "yes"}, rows[1] | {LABEL: "2"}, *rows[2:]])
    with pytest.raises(InvalidApplications) as error:
        parse_training(data, "clients.csv")
    assert "line 2: class 'yes' is not one of good, bad" in str(error.value)
    assert "line 3: class '2' is not one of good, bad" in str(error.value)


# No value


@door
@pytest.mark.parametrize(
    "word", ["NA", "NaN", "NULL", "None", "nan", "null", "N/A", "<NA>", " NA ", "'NA'"]
)
def test_words_for_no_value_mean_missing_where_allowed(read, word):
    rows = [CLIENT | dict.fromkeys((*PROTECTED, LABEL), word)] * 2
    a = read(*rows)
    assert (len(a), a.label) == (2, [None, None])
    assert all(np.isnan(a.codes[:, NAMES.index(name)]).all() for name in PROTECTED)
    assert {text.split(":")[0] for text in a.warnings} == {*PROTECTED, LABEL}
    assert all(re.search(f"2 values like .{word}. taken as no value", text) for text in a.warnings)


@door
def test_words_for_no_value_are_refused_elsewhere(read):
    for attribute in ATTRIBUTES:
        if not attribute.protected:
            a = read(CLIENT | {attribute.name: "None"})
            assert a.reasons == {(attribute.name, "missing"): 1}
            assert f"{attribute.name} has no value ('None')" in a.faults[0].message
            assert a.faults[0].allowed == ATTRIBUTE[attribute.name].allowed


@door
def test_client_id_na_means_no_id(read):
    a = read(*(CLIENT | {CLIENT_ID: id} for id in ("NA", "NA", "Nana", "none")))
    assert a.client_id == [None, None, "Nana", "none"]
    assert a.warnings == ["client_id: 2 values like 'NA' taken as no value"]


def test_none_in_lower_case_is_still_a_category():
    assert decode(Validator().rows([CLIENT]).codes)["other_parties"].to_pylist() == ["none"]


def test_words_for_no_value_in_training_data():
    told: list[str] = []
    frame = parse_training(
        training(lambda rows: [row | {"age": "NA"} for row in rows]), "x.csv", report=told.append
    )
    assert frame["age"].isna().all()
    assert told == ["x.csv: age: 1,000 values like 'NA' taken as no value"]
    with pytest.raises(InvalidApplications, match="line 2: class has no value"):
        parse_training(training(lambda rows: [rows[0] | {LABEL: "NULL"}, *rows[1:]]), "x.csv")


# Names of columns


@pytest.mark.parametrize(
    "change",
    [
        str.title,
        str.upper,
        lambda name: name.replace("_", " "),
        lambda name: name.replace("_", "-").capitalize(),
        lambda name: name.replace("_", ".").title(),
        lambda name: name.title().replace("_", ""),
        lambda name: f"'{name}'",
        lambda name: f" {name.replace('_', '  ').title()} ",
    ],
)
def test_column_names_spelled_otherwise_are_noted(change):
    a = Validator().csv(with_header(change))
    assert decode(a.codes).to_pylist() == [CLIENT]
    b = Validator().rows([{change(name): value for name, value in CLIENT.items()}])
    assert decode(b.codes).to_pylist() == [CLIENT]
    for one in (a, b):
        assert len(one.warnings) == 1
        assert one.warnings[0].startswith("columns read by the contract's names: ")
        assert one.warnings[0].count(" as ") == sum(change(name) != name for name in NAMES)


def test_column_name_in_another_case_is_noted():
    a = Validator().csv(with_header(lambda name: "Purpose" if name == "purpose" else name))
    assert (len(a), a.warnings) == (
        1,
        ["columns read by the contract's names: 'Purpose' as purpose"],
    )


def test_exact_column_name_outranks_a_similar_one():
    row = {"Purpose": "yacht", **CLIENT, "PURPOSE": "yacht"}
    for a in (Validator().csv(as_csv(row)), Validator().rows([row])):
        assert decode(a.codes).to_pylist() == [CLIENT]
        assert a.warnings == ["column 'Purpose' ignored", "column 'PURPOSE' ignored"]


def test_two_names_for_one_attribute_are_refused():
    row = {name: value for name, value in CLIENT.items() if name != "purpose"}
    row |= {"Purpose": "radio/tv", "PURPOSE": "business"}
    a = Validator().csv(as_csv(row))
    assert [f.message for f in a.faults] == [
        "column 'purpose' stands 2 times in the header; keep one"
    ]
    b = Validator().rows([row])
    assert b.reasons == {("purpose", "missing"): 1}
    assert sorted(b.warnings) == ["column 'PURPOSE' ignored", "column 'Purpose' ignored"]


def test_unknown_column_names_are_left_alone():
    a = Validator().csv(as_csv(CLIENT | {"Purpose of visit": "a", "purposes": "b"}))
    assert a.extra.to_pydict() == {"Purpose of visit": ["a"], "purposes": ["b"]}


def test_training_data_and_outcomes_take_other_column_names():
    told: list[str] = []
    data = training(
        lambda rows: [
            {name.replace("_", " ").title(): v for name, v in row.items()} for row in rows
        ]
    )
    pd.testing.assert_frame_equal(
        parse_training(data, "x", report=told.append), read_training("data/credit-g.csv")
    )
    assert len(told) == 1
    assert told[0].startswith(
        "x: columns read by the contract's names: 'Checking Status' as checking_status, "
    )
    assert told[0].endswith(" and 1 more")
    file = OutcomeFile(b"Client ID;Outcome;DATE;Note\nA;repaid;2026-01-31;x\n")
    assert [(row.client_id, row.outcome) for row in file.rows] == [("A", "repaid")]
    assert file.warnings[0] == (
        "columns read by the contract's names: "
        "'Client ID' as client_id, 'Outcome' as outcome, 'DATE' as date"
    )


# The lines of a CSV


@pytest.mark.parametrize(
    "line", ["sep=;\r\n", "sep=,\n", "SEP=;\n", '"sep=;"\n', "sep=;;;;;\n", "sep=\t\n", "sep=;\n\n"]
)
def test_the_line_that_tells_excel_the_separator_is_skipped(line):
    bad = CLIENT | {"duration": 0}
    a = Validator().csv(line.encode() + as_csv(CLIENT, bad, separator=";"))
    assert a.rows.tolist() == [0]
    assert a.faults[0].message.split(":")[0] == f"line {3 + line.count(chr(10))}"
    assert a.warnings[0].startswith("first line ")
    assert a.warnings[0].endswith("skipped")


def test_separator_line_alone_is_not_a_file():
    with pytest.raises(MalformedFile, match="empty"):
        Validator().csv(b"sep=;\n\n")
    with pytest.raises(MalformedFile, match="must name the columns"):
        Validator().csv(b"sep=;\nhello\n")
    file = OutcomeFile(b"sep=;\nclient_id;outcome;date\nA;paid;2026-01-31\n")
    assert file.warnings == ["first line 'sep=;' skipped"]
    assert file.faults()[0][0].message.startswith("line 3: outcome 'paid'")


@door
@pytest.mark.parametrize("quote", ["'", '"'])
def test_literal_quotes_around_values_are_removed(read, quote):
    row = {name: f"{quote}{value}{quote}" for name, value in CLIENT.items()}
    a = read(row, CLIENT, row | {LABEL: f"{quote}good{quote}", CLIENT_ID: "'x'"})
    assert decode(a.codes).to_pylist() == [CLIENT] * 3
    assert (a.label, a.client_id) == ([None, None, "good"], [None, None, "'x'"])
    assert len(a.warnings) == 21
    assert all(" taken without the quotes around" in text for text in a.warnings)


@door
def test_quote_at_one_end_is_kept(read):
    for text in ("'6", "6'", "'6\"", "'"):
        assert read(CLIENT | {"duration": text}).reasons == {("duration", "not_a_number"): 1}


def test_literal_quotes_in_training_data_and_outcomes_are_removed():
    told: list[str] = []
    data = training(
        lambda rows: [{name: f"'{value}'" for name, value in row.items()} for row in rows]
    )
    pd.testing.assert_frame_equal(
        parse_training(data, "x", report=told.append), read_training("data/credit-g.csv")
    )
    assert len(told) == 21
    file = OutcomeFile(b"client_id,outcome,date\nA,'repaid','2026-01-31'\nNA,NULL,NaN\n")
    assert [row.outcome for row in file.rows] == ["repaid"]
    assert "outcome: \"'repaid'\" taken without the quotes around" in file.warnings
    assert "client_id: 'NA' taken as no value" in file.warnings


def lines(separator=",", n=3) -> list[str]:
    return as_csv(*[CLIENT] * n, separator=separator).decode().splitlines()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("behind", [1, 3])
def test_trailing_separators_of_every_row_are_ignored(separator, behind):
    header, *rows = lines(separator)
    ends = separator * behind
    a = Validator().csv(
        "\n".join([header, *(row + ends for row in rows), separator * 25, ""]).encode()
    )
    assert decode(a.codes).to_pylist() == [CLIENT] * 3
    assert a.warnings == ["a separator behind the last value of each row left out"]
    assert (a.faults, a.n_rows, a.extra.num_columns) == ([], 3, 0)


def test_trailing_separator_of_the_header_alone_is_ignored():
    header, *rows = lines()
    a = Validator().csv("\n".join([header + ",", *rows]).encode())
    assert (len(a), a.faults) == (3, [])
    assert a.warnings == ["a separator behind the last column's name left out"]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [rows[0] + ",", rows[1], rows[2]],
        lambda rows: [rows[0] + ",", rows[1] + ",", rows[2] + ",x"],
        lambda rows: [rows[0] + ",", rows[1] + ",,", rows[2] + ","],
        lambda rows: [row.replace(",1169,", ",1,169,") for row in rows],
    ],
)
def test_rows_with_uneven_trailing_separators_are_faults(change):
    header, *rows = lines()
    a = Validator().csv("\n".join([header, *change(rows)]).encode())
    assert {f.message.split(", but")[1] for f in a.faults} == {" the header has 20 columns"}
    assert a.warnings == []


def test_thousands_split_by_the_separator_are_not_a_column():
    """1,640 in a file of commas makes two values, of which the second would shift the columns."""
    order = [*(name for name in NAMES if name != "credit_amount"), "credit_amount", "note"]
    row = ",".join(str(CLIENT[name]) for name in order[:-2])
    a = Validator().csv("\n".join([",".join(order), f"{row},1,640,", f"{row},2,350,"]).encode())
    assert len(a) == 0
    assert "22 values, but the header has 21 columns" in a.faults[0].message


def test_trailing_separators_of_training_data_are_ignored():
    told: list[str] = []
    header, *rows = training().decode().splitlines()
    data = "\n".join([header, *(row + "," for row in rows)]).encode()
    assert len(parse_training(data, "x", report=told.append)) == 1000
    assert told == ["x: a separator behind the last value of each row left out"]
    file = OutcomeFile(b"client_id;outcome;date\nA;repaid;2026-01-31;\n")
    assert (len(file.rows), file.warnings) == (
        1,
        ["a separator behind the last value of each row left out"],
    )


# Codes of UCI


@door
def test_uci_code_is_read_as_what_it_means(read):
    codes = {
        "checking_status": ("A11", "<0"),
        "credit_history": ("A34", "critical/other existing credit"),
        "purpose": ("A410", "other"),
        "savings_status": ("A65", "no known savings"),
        "employment": ("A71", "unemployed"),
        "personal_status": ("A92", "female div/dep/mar"),
        "other_parties": ("A103", "guarantor"),
        "property_magnitude": ("A124", "no known property"),
        "other_payment_plans": ("A143", "none"),
        "housing": ("A152", "own"),
        "job": ("A171", "unemp/unskilled non res"),
        "own_telephone": ("A192", "yes"),
        "foreign_worker": ("A202", "no"),
    }
    assert set(codes) == {a.name for a in ATTRIBUTES if a.kind == "category"}
    a = read(CLIENT | {name: code for name, (code, _) in codes.items()})
    assert len(a) == 1
    read_as = decode(a.codes).select(list(codes)).to_pylist()
    assert read_as == [{name: word for name, (_, word) in codes.items()}]
    assert a.warnings == [
        f"{name}: {code!r} read as {word!r}" for name, (code, word) in codes.items()
    ]
    assert "is not one of" in read(CLIENT | {"purpose": "A11"}).faults[0].message
