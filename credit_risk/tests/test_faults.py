"""No flood of one kind of fault hides another, from whichever door."""

import pytest

from credit_risk.schema.faults import (
    FIRSTS,
    MAX_FAULTS,
    InvalidApplications,
    chosen,
    first_messages,
    kinds,
)
from tests.support.clients import CLIENT, as_csv
from tests.support.german_credit import Validator, parse_training

FLOOD, RARE = (
    CLIENT | {"purpose": "yacht", "duration": 0},
    CLIENT | {"duration": "six", "client_id": "x" * 65},
)


def flooded(n=3000, rare=2500):
    return [RARE if i == rare else FLOOD for i in range(n)]


@pytest.mark.parametrize(
    ("found", "word", "offset"),
    [
        (lambda rows: Validator().rows(rows), "row", 0),
        (lambda rows: Validator().csv(as_csv(*rows)), "line", 2),
    ],
    ids=["json", "csv"],
)
def test_rare_fault_is_reported_beside_thousands_of_others(found, word, offset):
    a = found(flooded())
    assert (a.n_rejected, len(a.faults)) == (3000, MAX_FAULTS)
    assert [(f.row, f.column) for f in a.faults[-3:]] == [
        (498, "purpose"),
        (2500, "duration"),
        (2500, "client_id"),
    ]
    assert [(k.column, k.reason, k.n, k.rows) for k in a.kinds] == [
        ("duration", "out_of_range", 2999, [0, 1, 2, 3, 4]),
        ("purpose", "unknown_category", 2999, [0, 1, 2, 3, 4]),
        ("duration", "not_a_number", 1, [2500]),
        ("client_id", "too_long", 1, [2500]),
    ]
    first = ", ".join(str(i + offset) for i in range(5))
    zero = "0" if word == "row" else "'0'"
    assert (
        a.kinds[0].message
        == f"2,999 times ({word} {first}, ...), the first: duration {zero} is outside 1 to 120"
    )
    assert a.kinds[2].message == f"{word} {2500 + offset}: duration 'six' is not a whole number"


def test_fault_kinds_are_found_anywhere_in_a_large_file(monkeypatch):
    monkeypatch.setattr("credit_risk.schema.sheets.csv_table._BLOCK", 20_000)
    ragged = as_csv(*flooded(), CLIENT) + b"a,b\n"
    rest = as_csv(
        *[CLIENT | {"age": 5, "client_id": ""}] * 7, *[CLIENT | {"client_id": ""}] * 900
    ).partition(b"\n")[2]
    a = Validator().csv(ragged + rest)
    assert {(k.column, k.reason): (k.n, k.rows[0]) for k in a.kinds} == {
        ("duration", "out_of_range"): (2999, 0),
        ("purpose", "unknown_category"): (2999, 0),
        ("duration", "not_a_number"): (1, 2500),
        ("client_id", "too_long"): (1, 2500),
        (None, "shape"): (1, 3001),
        ("age", "out_of_range"): (7, 3002),
    }
    assert len(a.faults) == MAX_FAULTS


def test_training_data_with_a_rare_fault_are_refused():
    rows = [row | {"class": "good"} for row in flooded(2000, 1500)]
    with pytest.raises(InvalidApplications) as refused:
        parse_training(as_csv(*rows), "clients.csv")
    message = str(refused.value)
    assert message.startswith(
        "clients.csv: 1,999 times (line 2, 3, 4, 5, 6, ...), the first: duration '0' is outside"
    )
    assert "line 1502: duration 'six' is not a whole number" in message
    assert len(message) < 1000


def test_few_faults_are_listed_one_by_one():
    few = Validator().csv(as_csv(CLIENT, *[CLIENT | {"age": 5}] * 3))
    assert first_messages(few.faults, few.kinds, few.n_rejected) == [f.message for f in few.faults]
    with pytest.raises(
        InvalidApplications,
        match=r"^x: line 3: age '5'.*; line 4: age '5'.*; line 5: age '5' [^;]*$",
    ):
        raise InvalidApplications(few.faults, "x")


def test_command_prints_fault_kinds_before_the_faults():
    a = Validator().csv(as_csv(*flooded(600, 500)))
    lines = first_messages(a.faults, a.kinds, a.n_rejected)
    assert lines[:4] == [kind.message for kind in a.kinds]
    assert lines[4:6] == [f.message for f in a.faults[:2]]
    assert (len(lines), lines[-1]) == (4 + 20 + 1, "and more; 600 rows were rejected in all")


def test_chosen_faults_keep_their_order_and_cover_each_kind():
    found = ["a"] * 2000 + ["b"] * 3 + ["a"] * 10 + ["c"] * 2000
    told = chosen(list(enumerate(found)), lambda one: one[1])
    assert told == sorted(told)
    assert [kind for _, kind in told].count("c") == FIRSTS
    assert [kind for _, kind in told].count("b") == 3
    assert len(told) == MAX_FAULTS


def test_fault_of_a_file_is_not_counted_among_its_rows():
    a = Validator().csv(as_csv({name: value for name, value in CLIENT.items() if name != "job"}))
    assert (len(a.faults), kinds(a.faults, a.reasons)) == (1, [])
