"""Whatever a file holds, its draft is valid and consistent with it, or one line says why not."""

import contextlib
import csv
import io
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk.schema.dataset_file import load_dataset
from data import draft

ODD = st.text(max_size=8) | st.sampled_from(
    ["", "class", "client_id", "[[x]]", "a = 1", '"', "#", "'a'", "a\x1b", "\x00", "x" * 201]
)
USUAL = st.sampled_from(
    ["age", "Age", "id", "risk", "Rate", "amount", "loan term", "sex", "zip", "n_1", "Größe", "a_b"]
)
NUMBERS = [
    st.integers(-(10**20), 10**20).map(str),
    st.integers(0, 5).map(str),
    st.floats().map(str),
    st.decimals(-9999, 9999, places=2).map(str),
    st.decimals(-9999, 9999, places=2).map(lambda number: str(number).replace(".", ",")),
    st.decimals(0, 9, places=3).map(str),
    st.decimals(0, 9, places=12).map(str),
]
WORDS = [
    st.text(max_size=5),
    st.sampled_from(["yes", "no", "1", "0", "Y"]),
    st.sampled_from(["A", "B", "C", "low", "high", "<1", "1-3", "10+", "3 years"]),
    st.sampled_from(["", "NA", "'NA'", '""a""', "007", "0.0", "1.000", "1,5", "10 %", "\\", '"']),
    st.sampled_from(
        ["2024-01-31", "31.12.2024", "20240131", "a\nb", "\x1b[1m", "x" * 201, "\xa0x"]
    ),
]
# Each column has cells of one sort, or of all.
CELLS = st.sampled_from(
    [*NUMBERS, *WORDS, *(cells | st.just("") for cells in NUMBERS), st.one_of(*NUMBERS, *WORDS)]
)
OUTCOMES = st.sampled_from(["bad", "good", "good", "", "unclear"])


@st.composite
def tables(draw):
    """Draw a header and rows; the outcome stands in any of the columns."""
    is_odd = draw(st.sampled_from([False, False, False, True]))
    n = draw(st.integers(0 if is_odd else 2, 25))
    names = ODD | USUAL if is_odd else USUAL
    columns = [
        [name, *draw(st.lists(draw(CELLS), min_size=n, max_size=n))]
        for name in draw(st.lists(names, min_size=1 - is_odd, max_size=5, unique=True))
        if name != "outcome"
    ]
    labels = OUTCOMES if is_odd else st.sampled_from(["bad", "good"])
    given = draw(st.lists(labels, min_size=n, max_size=n))
    given = given if is_odd else [*("bad", "good"), *given][:n]
    columns.insert(draw(st.integers(0, len(columns))), ["outcome", *given])
    return list(zip(*columns, strict=True))


def as_csv(table, separator):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        table
    )
    return text.getvalue().encode("utf-8", "ignore")


def run(file, out):
    """Return the exit code and both outputs of the command."""
    printed, told = io.StringIO(), io.StringIO()
    arguments = ["--file", str(file), "--target", "outcome", "--bad", "bad", "--out", str(out)]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        code = draft.main([*arguments, "--name", "any"])
    return code, printed.getvalue(), told.getvalue()


@settings(max_examples=400)
@given(tables(), st.sampled_from(",;\t"))
def test_any_table_is_drafted_consistently_or_refused_in_one_line(table, separator):
    data = as_csv(table, separator)
    with TemporaryDirectory() as folder:
        file, out = Path(folder) / "clients.csv", Path(folder) / "drafted"
        file.write_bytes(data)
        code, printed, told = run(file, out)
        if code:
            assert code == 2
            assert printed == ""
            assert re.fullmatch(r"draft: [^\n]{10,}\n", told)
            assert not out.exists()
            return

        dataset, text = load_dataset(str(out)), (out / "dataset.toml").read_text()

    # What is left out is still TOML once its marks are removed.
    every = tomllib.loads(re.sub(r"(?m)^#(?! \S|$)", "", text))
    assert len(every["attributes"]) == len(table[0]) - 1
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator)
    header = [name.strip() for name in header]
    for attribute in dataset.attributes:
        (name,) = attribute.headers or (attribute.name,)
        for row in rows:
            if len(row) == len(header):
                assert attribute.look(row[header.index(name)])[1] == ""


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_drafted_or_refused_in_one_line(data):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "clients.csv"
        file.write_bytes(data)
        code, printed, told = run(file, Path(folder) / "drafted")
    assert code == 2
    assert printed == ""
    assert re.fullmatch(r"draft: [^\n]{10,}\n", told)
