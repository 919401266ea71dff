"""The data sets from R's modeldata: each cell is valid, and their READMEs tell the truth."""

import hashlib
import lzma
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from credit_risk.schema.attributes import Attribute
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset, training_file
from data import make_modeldata

SETS = ("credit_data", "lending_club")
CLASSES = {
    "credit_data": {"good": 3200, "bad": 1254},
    "lending_club": {"good": 9340, "bad": 517},
}
# The lender's own judgement of the client.
LEAKS = {"credit_data": set(), "lending_club": {"int_rate", "sub_grade", "verification_status"}}


@pytest.fixture(scope="module", params=SETS)
def dataset(request) -> Dataset:
    return load_dataset(request.param)


@pytest.fixture(scope="module")
def cells(dataset) -> pd.DataFrame:
    """The file's cells as texts, as they are written."""
    return pd.read_csv(training_file(dataset.name), dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def readme(dataset) -> str:
    return training_file(dataset.name).with_name("README.md").read_text(encoding="utf-8")


def column_of(attribute: Attribute, cells: pd.DataFrame) -> str:
    (column,) = set(cells.columns) & {attribute.name, *attribute.headers}
    return column


def test_each_cell_is_valid(dataset, cells):
    for a in dataset.attributes:
        values = cells[column_of(a, cells)].unique()
        assert [(a.name, v) for v in values if a.look(v)[1]] == []


def test_no_category_is_understood_by_another_spelling(dataset, cells):
    for a in dataset.attributes:
        assert [v for v in cells[column_of(a, cells)].unique() if a.understood(v)] == []


def test_scored_attributes_may_be_missing_just_where_the_data_miss_some(dataset, cells):
    missing = {
        a.name for a in dataset.scored_attributes if (cells[column_of(a, cells)] == "").any()
    }
    assert missing == {a.name for a in dataset.attributes if a.missing}


def test_classes_are_those_of_modeldata(dataset, cells):
    counts = cells[dataset.target.column].value_counts().to_dict()
    assert counts == CLASSES[dataset.name]
    assert set(counts) == {*dataset.target.bad, *dataset.target.good}


def test_only_the_lenders_own_judgement_is_left_out(dataset, cells):
    used = {column_of(a, cells) for a in dataset.attributes}
    assert set(cells.columns) - used == LEAKS[dataset.name] | {dataset.target.column}


def test_every_category_but_iowa_occurs(dataset, cells):
    unused = {
        value
        for a in dataset.attributes
        for value in set(a.categories) - set(cells[column_of(a, cells)])
    }
    assert unused == ({"IA"} if dataset.name == "lending_club" else set())


def test_numbers_are_well_within_their_hard_bounds(dataset, cells):
    for a in dataset.attributes:
        if not a.categories:
            numbers = pd.to_numeric(cells[column_of(a, cells)])
            assert a.minimum <= numbers.min() < numbers.max() <= a.maximum
            assert a.decimals or (numbers.dropna() % 1 == 0).all()


def test_the_readme_names_the_digests(dataset, readme):
    digest = hashlib.sha256(training_file(dataset.name).read_bytes()).hexdigest()
    assert digest in readme
    assert make_modeldata.SHA256 in readme
    assert f"`{make_modeldata.PACKAGE}` {make_modeldata.VERSION}" in readme


def test_the_readme_gives_the_numbers_of_clients(dataset, cells, readme):
    bad = cells[dataset.target.column].isin(dataset.target.bad)
    assert f"{len(cells)} " in readme
    assert f"{bad.sum()} ({100 * bad.mean():.0f} %) bad" in readme


def test_the_readme_gives_each_numbers_range_and_missing_values(dataset, cells, readme):
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\S+) to (\S+) \| (\d+) \|$", readme, re.MULTILINE)
    listed = {name: (float(low), float(high), int(n)) for name, low, high, n in rows}
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    assert listed == {
        name: (numbers[name].min(), numbers[name].max(), (cells[name] == "").sum())
        for name in cells
        if numbers[name].notna().any()
    }


def test_the_readme_gives_each_categorys_clients_and_bad_rate(dataset, cells, readme):
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \| (\d+) % \|$", readme, re.MULTILINE)
    bad = cells[dataset.target.column].isin(dataset.target.bad)
    for name, value, n, rate in rows:
        members = cells[name] == value
        assert (value, int(n)) == (value, members.sum())
        assert (value, rate) == (value, f"{100 * bad[members].mean():.0f}")
    categories = {(column_of(a, cells), v) for a in dataset.scored_attributes for v in a.categories}
    assert categories <= {(name, value) for name, value, _, _ in rows}


def test_the_readme_of_credit_data_gives_what_one_should_keep_in_mind():
    frame = pd.read_csv(training_file("credit_data"))
    readme = training_file("credit_data").with_name("README.md").read_text(encoding="utf-8")
    bad = frame["Status"] == "bad"
    absent = frame["Income"].isna()
    freelancers = (frame["Job"][absent] == "freelance").sum()
    spent = frame.groupby("Marital")["Expenses"].mean()
    usual = frame["Expenses"].isin([35, 45, 60, 75, 90]).mean()
    missing = {name: frame[name].isna().sum() for name in ("Home", "Job", "Marital")}
    for text in (
        f"{frame.isna().any(axis=1).sum()} clients have a missing value",
        f"{frame.duplicated().sum()} rows repeat another",
        "`Home` is missing for {Home} clients, `Job` for {Job}, `Marital` for {Marital}".format(
            **missing
        ),
        f"{bad[absent].mean():.0%} of those".replace("%", " %"),
        f"{bad[~absent].mean():.0%} of the others".replace("%", " %"),
        f"{freelancers} of the {absent.sum()} are freelancers",
        f"75 or 90 for {usual:.0%} of".replace("%", " %"),
        f"{spent['married']:.0f} on average for the married, {spent['single']:.0f} for the single",
        f"(correlation {frame['Age'].corr(frame['Seniority']):.2f})",
    ):
        assert text in readme
    assert (frame["Amount"] <= frame["Price"]).all()


def test_the_readme_of_lending_club_gives_what_one_should_keep_in_mind():
    frame = pd.read_csv(training_file("lending_club"))
    readme = training_file("lending_club").with_name("README.md").read_text(encoding="utf-8")
    bad = frame["Class"] == "bad"
    rate = frame.groupby("verification_status")["int_rate"].mean()
    by_state = bad.groupby(frame["addr_state"]).sum()
    terms = frame["term"].value_counts()
    for text in (
        f"36 ({terms[36]} loans) or 60 ({terms[60]})",
        f"an AUC of {roc_auc_score(bad, frame['int_rate']):.2f}",
        f"{rate['Not_Verified']:.1f} % where it did not, {rate['Verified']:.1f} % where it did",
        f"{(by_state <= 5).sum()} of the {len(by_state)} have at most five bad loans",
        f"is above 0 for {(frame['acc_now_delinq'] > 0).sum()})",
    ):
        assert text in readme
    assert not frame.duplicated().any()
    assert set(terms.index) == {36, 60}


def test_no_direction_of_credit_data_contradicts_a_logistic_regression():
    dataset = load_dataset("credit_data")
    frame = pd.read_csv(training_file("credit_data"))
    names = {column_of(a, frame): a for a in dataset.scored_attributes}
    inputs = pd.get_dummies(frame[["Home", "Job"]], dtype=float)
    for column, a in names.items():
        if a.kind == "number":
            skewed = a.name in ("income", "assets", "debt")
            numbers = frame[column].fillna(0)
            inputs[a.name] = np.log1p(numbers) if skewed else numbers
            inputs[f"no {a.name}"] = frame[column].isna().astype(float)
    inputs["records"] = (frame["Records"] == "yes").astype(float)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=1000))
    model.fit(inputs, frame["Status"] == "bad")
    weights = dict(zip(inputs, model[-1].coef_[0], strict=True))
    directed = {a.name: a.direction for a in dataset.attributes if a.direction}
    assert directed == {name: "more" if weights[name] > 0 else "less" for name in directed}


def test_a_frame_is_written_without_needless_fractions(tmp_path):
    frame = pd.DataFrame(
        {
            "term": pd.Categorical(["term_36", "term_60"]),
            "annual_inc": [35000.0, 80662.4],
            "Income": pd.array([None, 129], dtype="Int32"),
            "Home": pd.Categorical(["rent", None]),
        },
        index=[1, 2],
    )
    make_modeldata.write_csv(frame, tmp_path / "new" / "small.csv")
    assert (tmp_path / "new" / "small.csv").read_bytes() == (
        b"term,annual_inc,Income,Home\n36,35000,,rent\n60,80662.4,129,\n"
    )


def stored(serialized: bytes, letter: bytes = b"Z", length: int | None = None) -> bytes:
    """Return an object as R's lazy-load database has it."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    packed = lzma.compress(serialized, lzma.FORMAT_RAW, filters=filters)
    return (len(serialized) if length is None else length).to_bytes(4, "big") + letter + packed


def test_an_object_is_read_from_rs_database():
    assert make_modeldata.unpacked(stored(b"X\n" + bytes(9000))) == b"X\n" + bytes(9000)
    with pytest.raises(make_modeldata.NotMade, match="compressed as b'2', which is not known"):
        make_modeldata.unpacked(stored(b"X\n", letter=b"2"))
    with pytest.raises(make_modeldata.NotMade, match="2 bytes instead of 3"):
        make_modeldata.unpacked(stored(b"X\n", length=3))


def test_another_package_is_refused_in_one_line(tmp_path):
    package = tmp_path / "r-cran-modeldata_9_all.deb"
    package.write_bytes(b"another")
    with pytest.raises(SystemExit, match=r"^.*SHA-256 \w{64}, which is not 1\.1\.0-1's: \w{64}$"):
        make_modeldata.main([str(package), "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == [package]


def test_a_missing_tool_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^apt-get is missing; run `apt-get update` on Debian"):
        make_modeldata.main(["--out", str(tmp_path)])


def test_a_package_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemExit, match=re.escape(str(tmp_path / "gone.deb"))):
        make_modeldata.main([str(tmp_path / "gone.deb"), "--out", str(tmp_path)])
