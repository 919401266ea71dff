"""`python -m data.draft`: a first definition of any lender's data, consistent with the file."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from credit_risk.schema.dataset import RESERVED, Dataset
from credit_risk.schema.dataset_file import load_dataset, training_file
from data import draft
from tools.paths import ROOT

GERMAN = training_file("german_credit")


@pytest.fixture
def drafted(tmp_path, capsys):
    """Draft a definition of a file's text; returns it, its text, and what is printed."""

    def run(text, target="outcome", bad="bad", *more):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "clients.csv").write_bytes(data)
        out = tmp_path / "drafted"
        arguments = ["--file", str(tmp_path / "clients.csv"), "--target", target, "--bad", bad]
        assert draft.main([*arguments, "--out", str(out), "--overwrite", *more]) == 0
        written = (out / "dataset.toml").read_text()
        return load_dataset(str(out)), written, capsys.readouterr().out

    return run


@pytest.fixture
def refused(tmp_path, capsys):
    """Draft a definition that cannot be; returns the line that says why."""

    def run(text, target="outcome", bad="bad", *more):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "clients.csv").write_bytes(data)
        out = tmp_path / "drafted"
        arguments = ["--file", str(tmp_path / "clients.csv"), "--target", target, "--bad", bad]
        assert draft.main([*arguments, "--out", str(out), *more]) == 2
        assert not out.exists()
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        return line

    return run


def rows(n, *columns, separator=","):
    """Return a CSV; each column is its name and what gives the value of a row."""
    header = separator.join(name for name, _ in columns)
    lines = [separator.join(str(value(i)) for _, value in columns) for i in range(n)]
    return "\n".join([header, *lines, ""])


def outcome(i):
    return "bad" if i % 3 == 0 else "good"


def some(*values):
    """Return what gives one of these values, whatever the outcome is."""
    return lambda i: values[(i * 7919 // 3) % len(values)]


def comments(text):
    """Return the sentences of the comments, without their line breaks."""
    return " ".join(re.findall(r"(?m)^# (\S.*)$", text))


def uncommented(text):
    """Return a definition with the attributes that were left out."""
    return re.sub(r"(?m)^#(?! \S|$)", "", text)


def test_german_credit_is_drafted_as_it_is_defined(tmp_path):
    arguments = ["--file", str(GERMAN), "--target", "class", "--bad", "bad"]
    assert draft.main([*arguments, "--out", str(tmp_path / "german")]) == 0
    drafted, defined = load_dataset(str(tmp_path / "german")), load_dataset("german_credit")

    assert drafted.names == defined.names
    assert drafted.protected == defined.protected
    assert drafted.target == defined.target
    assert (drafted.amount, drafted.term) == (defined.amount, defined.term)
    # Two values have no client in the file. The file's yes and no stand for each other there,
    # which only a person can know; so they are a flag in the draft.
    absent = {"vacation", "female single"}
    for ours, theirs in zip(drafted.attributes, defined.attributes, strict=True):
        assert set(ours.categories) == set(theirs.categories) - absent
        assert ours.kind == ("flag" if ours.name == "foreign_worker" else theirs.kind)


def test_the_groups_of_german_credit_are_the_usual_ones(tmp_path):
    arguments = ["--file", str(GERMAN), "--target", "class", "--bad", "bad"]
    assert draft.main([*arguments, "--out", str(tmp_path / "german")]) == 0
    drafted = {
        (g.attribute, g.minimum, g.maximum) for g in load_dataset(str(tmp_path / "german")).groups
    }
    assert drafted == {(g.attribute, g.minimum, g.maximum) for g in load_dataset().groups}


def test_decimals_with_commas_missing_values_and_other_columns_of_a_lender(drafted):
    text = rows(
        60,
        ("Kunden ID", lambda i: f"K{1000 + i}"),
        ("LoanAmount", lambda i: 500 + 37 * i % 401),
        ("income", lambda i: "" if i % 10 == 0 else f"{(i * 17) % 40 + 10},{i % 90 + 10}"),
        ("Marital Status", some("single", "married", "widowed")),
        ("opened", lambda i: f"{i % 28 + 1:02}.03.2024"),
        ("copy", lambda i: outcome(i).upper()),
        ("Status", outcome),
        separator=";",
    )
    dataset, text, printed = drafted(text, "Status")

    assert dataset.names == ("loan_amount", "income", "marital_status")
    assert [attribute.headers for attribute in dataset.attributes] == [
        ("LoanAmount",),
        (),
        ("Marital Status",),
    ]
    income = dataset.by_name["income"]
    assert (income.decimals, income.decimal_mark, income.missing) == (2, ",", True)
    assert "Missing in 6 of 60 rows." in comments(text)
    assert dataset.protected == ("marital_status",)
    assert [group.attribute for group in dataset.groups] == ["marital_status"]
    assert dataset.amount == "loan_amount"
    assert dataset.target.good == ("good",)
    for sentence in (
        "Left out: 'Kunden ID'. It looks like an identifier",
        "Left out: 'opened'. It has dates",
        "Suspected leak: 'copy'. Alone it separates good from bad almost perfectly (AUC 1.000).",
    ):
        assert sentence in comments(text)
        assert sentence in printed


def test_a_suspected_leak_is_an_attribute_once_its_marks_are_removed(drafted):
    columns = ("int_rate", lambda i: f"{i % 13 + 1}.5"), ("sub_grade", some("A1", "A2", "B1", "C1"))
    dataset, text, _ = drafted(rows(50, ("months", some(12, 24)), *columns, ("outcome", outcome)))
    assert dataset.names == ("months",)
    assert comments(text).count("Suspected leak") == 2

    whole = Dataset.model_validate(tomllib.loads(uncommented(text)))
    assert whole.names == ("months", "int_rate", "sub_grade")
    assert whole.by_name["sub_grade"].order == "natural"


def test_a_number_that_only_bad_clients_have_is_a_suspected_leak(drafted):
    late = ("sum_later", lambda i: 100 + i if outcome(i) == "bad" else "")
    dataset, text, _ = drafted(rows(60, ("months", some(12, 24, 36)), late, ("outcome", outcome)))
    assert dataset.names == ("months",)
    assert "Suspected leak: 'sum_later'." in comments(text)


def test_a_number_may_tell_the_outcome_where_it_is_there(drafted):
    def later(i):
        return i if outcome(i) == "bad" else "" if i % 8 else 10_000 - i

    text = rows(300, ("months", some(12, 24)), ("later", later), ("outcome", outcome))
    dataset, text, _ = drafted(text)
    assert dataset.names == ("months",)
    assert "Suspected leak: 'later'. Alone it separates" in comments(text)


def test_columns_that_are_left_out_for_one_reason_are_told_together(drafted):
    days = ("opened", some("2024-01-31", "2024-02-01")), ("closed", some("1.1.2025", "2.1.2025"))
    *_, printed = drafted(rows(40, ("months", some(12, 24)), *days, ("outcome", outcome)))
    assert "Left out: 'opened', 'closed'. The first: it has dates, such as '2024-0" in printed


def test_many_categories_are_no_leak_for_being_many(drafted):
    text = rows(400, ("office", lambda i: f"branch {i // 2 % 150}"), ("outcome", outcome))
    dataset, *_ = drafted(text)
    assert len(dataset.by_name["office"].categories) == 150


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (("1-3", "<1", "10+ years", "4-9"), None),
        (("1-3", "<1", "10+", "4-9"), ["<1", "1-3", "4-9", "10+"]),
        (("3 years", "< 1 year", "10+ years"), ["< 1 year", "3 years", "10+ years"]),
        ((" 60 months", "36 months"), ["36 months", "60 months"]),
        (("C", "A", "B"), ["A", "B", "C"]),
        (("B2", "A1", "C1", "A2"), ["A1", "A2", "B2", "C1"]),
        (("high", "Low", "medium"), ["Low", "medium", "high"]),
        (("0", "1", "2", "3+"), ["0", "1", "2", "3+"]),
        (("M", "F"), None),
        (("A", "B"), None),
        (("01067", "10115", "80331"), None),
        (("S", "M", "W"), None),
        (("rent", "own", "free"), None),
    ],
)
def test_an_order_is_taken_from_values_that_look_ordered(drafted, values, order):
    dataset, *_ = drafted(rows(40, ("what", some(*values)), ("outcome", outcome)))
    attribute = dataset.by_name["what"]
    assert attribute.kind == "category"
    assert attribute.order == ("natural" if order else "bad rate")
    assert set(attribute.categories) == {value.strip() for value in values}
    if order:
        assert list(attribute.categories) == order


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        (("0", "1"), ("no", "yes")),
        (("no", "yes", "y"), ("no", "yes")),
        (("True", "False"), ("no", "yes")),
        (("Yes", "No"), ("No", "Yes")),
        (("Y", "N"), ("N", "Y")),
    ],
)
def test_a_flag_is_no_or_yes(drafted, values, categories):
    dataset, *_ = drafted(rows(40, ("what", some(*values)), ("outcome", outcome)))
    assert dataset.by_name["what"].kind == "flag"
    assert dataset.by_name["what"].categories == categories


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ((4, 72), (0, 100)),
        ((250, 18424), (0, 50000)),
        ((-3, 7), (-5, 10)),
        ((-30, -7), (-50, 0)),
        (("0.1", "0.35"), (0, 0.5)),
        ((1, 4), (0, 5)),
    ],
)
def test_bounds_are_round_and_leave_room(drafted, values, bounds):
    dataset, *_ = drafted(rows(40, ("what", some(*values)), ("outcome", outcome)))
    attribute = dataset.by_name["what"]
    assert (attribute.minimum, attribute.maximum) == bounds
    assert attribute.minimum <= min(map(float, values))
    assert attribute.maximum >= max(map(float, values))


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("id", lambda i: (i * 7919) % 1009, "looks like an identifier"),
        ("position", lambda i: 3 * i, "looks like an identifier"),
        ("client_id", some("a", "b"), "needs no entry"),
        ("story", lambda i: f"I need money for reason {i % 30} and {i}", "It has free text"),
        ("same", some("x"), "Every row has 'x'"),
        ("empty", some(""), "It has no value"),
        ("issued", some("Dec-2015", "Jan-2016"), "It has dates"),
        ("issued", some("2015-12-01", "2016-01-01"), "It has dates"),
        ("issued", some("1/31/2015", "12/1/2016"), "It has dates"),
        ("issued", some("20151201", "20160101"), "It has dates"),
        ("sum", some('"1,640"', '"2,250"', '"3,125"'), "may be thousands or decimals"),
        ("share", lambda i: f"{i}.5%", "written in a way that is not read, such as '0.5%'"),
        ("sum", lambda i: f"{i * i}" if i % 9 else "?", "numbers, but not all: '?'"),
        ("what", some("a\x07b", "c"), "characters that cannot be printed, such as 'a\\x07b'"),
        ("what", some('"a\nb"', "c"), "characters that cannot be printed, such as 'a\\nb'"),
        ("what", lambda i: "x" * 201 if i else "y", "It has free text"),
        ("", some("a", "b"), "Its column has no name"),
        ("wh\x1bat", some("a", "b"), "Its name, 'wh\\x1bat', is too long or has characters"),
        ("class", some("a", "b"), "Files here call the outcome class"),
    ],
)
def test_what_is_no_attribute_is_left_out_with_the_reason(drafted, column, value, why):
    columns = ("months", some(12, 24, 36)), (column, value), ("outcome", outcome)
    dataset, text, printed = drafted(rows(60, *columns))
    assert dataset.names == ("months",)
    assert why in comments(text)
    assert why in printed
    assert len(re.findall(r"(?m)^#\[\[attributes\]\]$", text)) == 1


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Größe des Betrags", "grosse_des_betrags"),
        ("LTVRatio", "ltv_ratio"),
        ("2nd income", "n_2nd_income"),
        ("risk", "risk_value"),
        ("収入", "column_1"),
        ("[[attributes]]", "attributes"),
        ('a""b = 1 # \\ x', "a_b_1_x"),
        ("x" * 90, "x" * 40),
    ],
)
def test_names_are_made_from_the_headers(drafted, header, name):
    text = f'"{header}",outcome\n' + "".join(f"{i % 2 + 1},{outcome(i)}\n" for i in range(30))
    dataset, *_ = drafted(text)
    assert dataset.names == (name,)
    assert dataset.attributes[0].headers == (header.replace('""', '"'),)
    assert not RESERVED.intersection(dataset.names)


def test_headers_that_differ_by_case_only_are_different_attributes(drafted):
    columns = ("Age of car", some(1, 2)), ("age_of_car", some(3, 4)), ("Age.Of.Car", some(5, 6))
    dataset, *_ = drafted(rows(40, *columns, ("outcome", outcome)))
    assert dataset.by_name["age_of_car"].maximum == 5
    assert {a.headers[0] if a.headers else a.name for a in dataset.attributes} == {
        "Age of car",
        "age_of_car",
        "Age.Of.Car",
    }


def test_long_headers_that_begin_alike_get_different_names(drafted):
    columns = [("y" * 50 + str(n), some(12, 24)) for n in range(12)]
    dataset, *_ = drafted(rows(30, *columns, ("outcome", outcome)))
    assert len({*dataset.names}) == 12


def test_at_most_200_columns_are_attributes(drafted):
    columns = [(f"a{n}", some(n, n + 1)) for n in range(230)]
    dataset, text, _ = drafted(rows(30, *columns, ("outcome", outcome)))
    assert len(dataset.names) == 200
    assert comments(text).count("A definition has at most 200 attributes.") == 30


def test_bands_of_a_protected_number_cover_it_without_an_overlap(drafted):
    dataset, *_ = drafted(
        rows(90, ("m", some(1, 2)), ("age", lambda i: 30 + i % 20), ("outcome", outcome))
    )
    for age in range(100):
        inside = [
            group
            for group in dataset.groups
            if (group.minimum is None or group.minimum <= age)
            and (group.maximum is None or age <= group.maximum)
        ]
        assert len(inside) == 1
    assert len(dataset.groups) == 3


def test_postcodes_are_marked_for_a_person_to_decide(drafted):
    dataset, text, printed = drafted(rows(40, ("state", some("CA", "NY")), ("outcome", outcome)))
    assert dataset.scored == ("state",)
    assert "May stand for what the law protects" in comments(text)
    assert "May stand for what the law protects: state" in printed


def test_rows_without_an_outcome_and_ragged_rows_are_counted(drafted):
    text = rows(40, ("months", some(12, 24)), ("outcome", lambda i: "" if i < 3 else outcome(i)))
    _, _, printed = drafted(f"{text}12\n")
    assert "3 rows have no value of 'outcome'" in printed
    assert "1 row has more or fewer values than the header has columns (line 42)" in printed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_encodings(drafted, encoding, separator):
    columns = ("months", some(12, 24)), ("Gebühr", some(1, 2)), ("outcome", outcome)
    dataset, *_ = drafted(rows(40, *columns, separator=separator).encode(encoding))
    assert dataset.names == ("months", "gebuhr")


def test_outcomes_of_more_than_two_values_are_told_apart_by_hand(drafted, refused):
    text = rows(40, ("months", some(12, 24)), ("outcome", some("0", "1", "2")))
    assert "more than two values; say which are good (--good" in refused(text, bad="2")
    line = refused(text, "outcome", "2", "--good", "0")
    assert re.search(r"also has '1' \(\d+\); say for each whether it is bad or good", line)

    dataset, *_ = drafted(text, "outcome", "2", "--good", "0", "--good", "1")
    assert (dataset.target.bad, dataset.target.good) == (("2",), ("0", "1"))


@pytest.mark.parametrize(
    ("text", "arguments", "why"),
    [
        ("", (), "the file is empty"),
        ("\n \n", (), "the file is empty"),
        ("a,outcome\n", (), "names columns, but has no clients below them"),
        ("a,outcome\n1,2,bad\n1\n", (), "names columns, but no row has as many values"),
        ("a,a,outcome\n1,2,bad\n", (), "the column 'a' twice"),
        (
            "a,b,outcome\n1,2,bad\n",
            ("outcom",),
            "no column 'outcom'; did you mean 'outcome'? It has",
        ),
        ("a;b\n1;2\n", ("status",), "no column 'status'. It has 'a', 'b'"),
        ("a,outcome\n1,bad\n2,good\n2,good\n", ("outcome", "worse"), "'good' (2), 'bad' (1)"),
        ("a,outcome\n1,bad\n2,bad\n", (), "no other value than 'bad'"),
        ("a,outcome\n1,good\n2,bad\n", ("outcome", "good"), "nor good be bad"),
        ("a,outcome\n1,\n2,\n", (), "no value at all"),
        ("a,outcome\n1,bad\n1,good\n", (), "no column is left to learn from; 'a': Every row has"),
        ("outcome\nbad\ngood\n", (), "the file has only the target"),
        ("age,outcome\n20,bad\n30,good\n", (), "no column is left to learn from"),
        ("Outcome,a,outcome\nx,1,bad\ny,2,good\n", (), "all be read as"),
        ('a,outcome\n"1,bad\n2,good\n', (), "is never closed"),
        (b"a,outcome\n\xff,bad\n", (), "line 2 is not UTF-8"),
        (b"PK\x03\x04", (), "Excel workbook"),
        ("a,outcome\nx\x00,bad\n", (), "NUL byte"),
        ("a,outcome\n1,bad\n2,ba\x07d\n", (), "which cannot stand in a definition"),
    ],
)
def test_what_cannot_be_drafted_is_refused_in_one_line(refused, text, arguments, why):
    assert why in refused(text, *arguments)


def test_a_missing_file_and_an_invalid_name_are_refused(tmp_path, capsys):
    gone = ["--file", str(tmp_path / "gone.csv"), "--target", "a", "--bad", "b"]
    assert draft.main([*gone, "--out", str(tmp_path / "x")]) == 2
    assert "gone.csv cannot be read: No such file" in capsys.readouterr().err
    assert draft.main([*gone, "--name", "../x"]) == 2
    assert "cannot be a data set's name" in capsys.readouterr().err


def test_a_definition_that_is_there_is_kept_unless_it_may_go(tmp_path, capsys):
    (tmp_path / "dataset.toml").write_text("mine\n")
    arguments = ["--file", str(GERMAN), "--target", "class", "--bad", "bad", "--out", str(tmp_path)]
    assert draft.main([*arguments, "--name", "mine"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "dataset.toml").read_text() == "mine\n"

    assert draft.main([*arguments, "--name", "mine", "--overwrite"]) == 0
    assert load_dataset(str(tmp_path)).name == "mine"


def test_the_command_says_what_to_do_next(tmp_path):
    command = [sys.executable, "-m", "data.draft", "--file", str(GERMAN), "--target", "class"]
    done = subprocess.run(
        [*command, "--bad", "bad", "--out", str(tmp_path / "own")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1].strip() == f"make run DATASET={tmp_path / 'own'}"
    assert "\n1. " in done.stdout
    assert (tmp_path / "own" / load_dataset(str(tmp_path / "own")).file).samefile(GERMAN)
    assert Path(done.stdout.partition(":")[0]) == tmp_path / "own" / "dataset.toml"


def test_values_that_a_spreadsheet_would_run_are_put_aside(drafted):
    place = "place", lambda i: "=1+1" if i % 2 else "home"
    table = rows(40, place, ("income", some(20, 60)), ("outcome", outcome))
    dataset, text, *_ = drafted(table)
    assert dataset.names == ("income",)
    assert "would run as a formula, such as '=1+1'" in " ".join(text.replace("#", " ").split())
