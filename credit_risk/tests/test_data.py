"""The training data: the committed files are what the scripts make; faults are located."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

from credit_risk.schema.attributes import GOOD, LABEL
from credit_risk.schema.faults import InvalidApplications
from credit_risk.storage.backends import open_blobs
from data import make_data
from data import split as split_script
from tests.support.german_credit import (
    ATTRIBUTES,
    NAMES,
    data_hash,
    n_repeated,
    read_training,
    split,
)

DATA = Path(__file__).parents[2] / "data"
CSV = DATA / "credit-g.csv"
WILD = Path(__file__).with_name("wild")

ARFF = """\
% a comment
@relation german_credit
@attribute checking_status { '<0', '0<=X<200', '>=200', 'no checking'}
@attribute duration numeric
@attribute purpose { 'new car', radio/tv}
@attribute class { good, bad}
@data
'<0',6,radio/tv,good
'0<=X<200',48,'new car',bad
"""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return read_training(CSV)


@pytest.fixture
def lines() -> list[str]:
    return CSV.read_text().splitlines()


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_data_are_the_thousand_clients_of_german_credit(frame):
    assert list(frame.columns) == [*NAMES, LABEL]
    assert frame[LABEL].value_counts().to_dict() == {"good": 700, "bad": 300}
    assert frame.notna().all().all()
    assert not frame.duplicated().any()
    assert {a.name for a in ATTRIBUTES if a.kind == "number"} == set(
        frame.select_dtypes("int64").columns
    )


def test_the_readme_names_the_digest_of_the_committed_file(frame):
    digest = hashlib.sha256(CSV.read_bytes()).hexdigest()
    assert digest in (DATA / "README.md").read_text()
    assert data_hash(frame) == digest


def test_the_readme_lists_every_category_with_its_number_of_clients(frame):
    listed: dict[str, dict[str, int]] = {}
    rows = re.findall(
        r"^\| `(\w+)` \| `([^`]+)` \| (\d+) \|", (DATA / "README.md").read_text(), re.MULTILINE
    )
    for name, value, n in rows:
        listed.setdefault(name, {})[value] = int(n)
    for a in ATTRIBUTES:
        counts = frame[a.name].value_counts()
        if a.kind == "category":
            assert listed[a.name] == {c: int(counts.get(c, 0)) for c in a.categories}
        elif a.maximum <= 4:
            assert listed[a.name] == {
                str(code): int(counts.get(code, 0)) for code in range(1, a.maximum + 1)
            }


def test_rows_with_equal_inputs_are_never_on_both_sides_of_the_split(frame):
    extract = pd.concat(
        [frame, frame.sample(300, random_state=1), frame.head(5).assign(**{LABEL: GOOD})]
    )
    train, test = split(extract.reset_index(drop=True))
    assert not set(train[list(NAMES)].apply(tuple, axis=1)) & set(
        test[list(NAMES)].apply(tuple, axis=1)
    )
    assert len(train) + len(test) == 1305
    # Further rows of a client move nobody: the distinct clients are drawn as the data's own are.
    assert set(test.index) >= set(split(frame)[1].index)


def test_split_keeps_equal_rows_with_missing_values_together(frame):
    absent = frame.assign(age=float("nan"))
    train, test = split(pd.concat([absent, absent], ignore_index=True))
    assert (len(train), len(test)) == (1600, 400)
    assert set(train.index[:800] + 1000) == set(train.index[800:])
    assert n_repeated(pd.concat([absent, absent])) == 1000


def test_a_class_needs_twenty_different_clients(lines, tmp_path):
    bad = [line for line in lines[1:] if line.endswith(",bad")]
    good = [line for line in lines[1:] if line.endswith(",good")]
    with pytest.raises(InvalidApplications, match="class is 'bad' for 19 clients only"):
        read_training(written(tmp_path / "few.csv", [lines[0], *good, *bad[:19] * 5]))


def test_arff_is_converted_to_csv(tmp_path, capsys):
    arff = tmp_path / "small.arff"
    arff.write_text(ARFF)
    make_data.main([str(arff), "--out", str(tmp_path / "small.csv")])
    assert (tmp_path / "small.csv").read_bytes() == (
        b"checking_status,duration,purpose,class\n<0,6,radio/tv,good\n0<=X<200,48,new car,bad\n"
    )
    assert "2 rows" in capsys.readouterr().out


def test_the_committed_split_is_the_one_that_the_script_makes(tmp_path):
    split_script.main(["--out", str(tmp_path)])
    for name in ("train.csv", "test.csv"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


def test_split_keeps_the_classes_shares_and_loses_nobody(frame):
    train, test = split(frame)
    assert (len(train), len(test)) == (800, 200)
    assert (train[LABEL] == GOOD).mean() == (test[LABEL] == GOOD).mean() == 0.7
    pd.testing.assert_frame_equal(pd.concat([train, test]).sort_index(), frame)
    assert not split(frame, seed=1)[1].index.equals(test.index)


def test_data_hash_depends_on_rows_only(frame):
    known = data_hash(frame)
    same = frame.set_index(frame.index + 5)[[LABEL, *reversed(NAMES)]].assign(note="x")
    assert data_hash(same) == known
    assert data_hash(frame.iloc[::-1]) != known
    changed = frame.copy()
    changed.loc[3, "duration"] += 1
    assert data_hash(changed) != known


def test_training_data_of_another_file_are_read(tmp_path, frame):
    other = frame[[LABEL, *reversed(NAMES)]].rename(columns={"foreign_worker": " foreign_worker"})
    other.astype({"duration": "float64"}).assign(note="x").to_csv(
        tmp_path / "other.csv", sep=";", index=False
    )
    pd.testing.assert_frame_equal(read_training(tmp_path / "other.csv"), frame)


def test_training_data_may_lack_protected_attributes(tmp_path, frame):
    frame.drop(columns=["age", "personal_status", "foreign_worker"]).to_csv(
        tmp_path / "lean.csv", index=False
    )
    lean = read_training(tmp_path / "lean.csv")
    assert list(lean.columns) == [*NAMES, LABEL]
    assert lean[["age", "personal_status", "foreign_worker"]].isna().all().all()


def test_training_data_are_read_from_a_bucket(gcs_url, frame):
    open_blobs(gcs_url).put("credit-g.csv", CSV)
    pd.testing.assert_frame_equal(read_training(f"{gcs_url}/credit-g.csv"), frame)
    with pytest.raises(FileNotFoundError, match=f"{gcs_url}/gone.csv"):
        read_training(f"{gcs_url}/gone.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: [rows[0], rows[1], rows[2].replace("radio/tv", "yacht")],
            "line 3: purpose 'yacht' is not",
        ),
        (
            lambda rows: [rows[0], rows[1].replace("<0,6,", "<0,six,")],
            "line 2: duration 'six' is not a whole number",
        ),
        (
            lambda rows: [rows[0], "", rows[1], rows[2].removesuffix("bad")],
            "line 4: class has no value; write good or",
        ),
        (
            lambda rows: [row.rpartition(",")[0] for row in rows],
            "column 'class' is missing or empty",
        ),
        (
            lambda rows: [row.partition(",")[2] for row in rows],
            "column 'checking_status' is missing; add it",
        ),
        (
            lambda rows: [row for row in rows if not row.endswith("bad")],
            "class is 'bad' for 0 clients only; add some",
        ),
        (lambda rows: [""], "the file is empty"),
    ],
)
def test_a_fault_names_file_line_column_and_remedy(tmp_path, lines, change, message):
    path = written(tmp_path / "clients.csv", change(lines))
    with pytest.raises(InvalidApplications, match=re.escape(f"{path}: {message}")):
        read_training(path)


def test_a_fault_s_line_is_that_of_a_file_without_a_header(tmp_path):
    lines = (WILD / "german.data").read_text().splitlines()
    lines[2] = lines[2].rpartition(" ")[0] + ' ""'
    path = written(tmp_path / "german.data", lines)
    message = re.escape(f"{path}: line 3: class has no value")
    with pytest.raises(InvalidApplications, match=message):
        read_training(path)
