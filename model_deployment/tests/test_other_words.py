"""Files in other words than ours: decided on, exported, and their rejected rows sent again."""

import csv
import io

import pytest

from tests.support.german_credit import NAMES
from tools.paths import ROOT

WILD = ROOT / "credit_risk/tests/wild"
# Each has the same five rows; `credit-g.csv` beside them is in our words.
FILES = sorted(path.name for path in WILD.iterdir() if path.name != "credit-g.csv")
files = pytest.mark.parametrize("file", FILES)
BROKEN = "10O"  # with a letter, in place of the third client's amount of 1,352


def lines_of(file: str) -> list[str]:
    return [line.rstrip() for line in (WILD / file).read_text().splitlines()]


def text_of(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def broken(file: str) -> str:
    """Return a file in which the third client's amount is no number."""
    return (WILD / file).read_text().replace("1352", BROKEN)


def rows_of(answer) -> list[dict[str, str]]:
    """Return the rows of an export."""
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def inputs_of(client, body) -> list[dict]:
    """Return the inputs of an answer's decisions, as they are in the log."""
    found = [client.get(f"/api/v1/decisions/{d['id']}").get_json() for d in body["decisions"]]
    return [{name: decision[name] for name in NAMES} for decision in found]


@pytest.fixture
def ours(client, send_file):
    """The inputs of the five clients."""
    text = text_of(lines_of("credit-g.csv"))
    return inputs_of(client, send_file(text, "credit-g.csv").get_json())


def expected(ours, file: str) -> list[dict]:
    # What this file calls the personal status is not what it was in the original.
    more = {"personal_status": None} if file == "germancredit.csv" else {}
    return [row | more for row in ours]


@files
def test_a_file_in_other_words_is_decided_on_as_ours(client, send_file, ours, file):
    body = send_file((WILD / file).read_bytes(), file).get_json()
    assert (body["n_decided"], body["n_rejected"]) == (5, 0)
    assert inputs_of(client, body) == expected(ours, file)
    assert any(warning.startswith("read as ") for warning in body["warnings"])


@files
def test_its_rejected_row_is_mended_and_means_the_same(client, send_file, ours, file):
    body = send_file(broken(file), file, "?decisions=none").get_json()
    assert (body["n_decided"], body["n_rejected"]) == (4, 1)
    rejected = body["rejected_csv"]
    assert rejected.count(BROKEN) == 2, "the value, and what is wrong with it"
    again = send_file(rejected.replace(BROKEN, "1352", 1), file).get_json()
    assert (again["n_decided"], again["n_rejected"]) == (1, 0), again
    assert inputs_of(client, again) == expected(ours, file)[2:3]


@files
def test_rejected_row_has_the_names_and_values_of_its_file(send_file, file):
    body = send_file(broken(file), file, "?decisions=none").get_json()
    header, row = csv.reader(io.StringIO(body["rejected_csv"]))
    assert header[-1] == "what_is_wrong"
    if file == "german.data":  # which has no names
        assert header[:-1] == [*NAMES, "class"]
        assert (row[:3], row[-2]) == (["A11", "6", "A32"], "good")
        return
    separator = " " if file.endswith(".asc") else ","
    names, _, _, sent, *_ = csv.reader(broken(file).splitlines(), delimiter=separator)
    assert (header[:-1], row[:-1]) == (names, sent)


def test_export_with_a_file_without_names_has_the_right_rows(client, send_file, ours):
    sent = broken("german.data").encode()
    body = send_file(sent, "german.data").get_json()
    url = f"/api/v1/batches/{body['batch']}.csv"
    answer = client.post(url, data={"file": (io.BytesIO(sent), "german.data")})
    rows = rows_of(answer)
    wanted = [row for i, row in enumerate(ours) if i != 2]
    assert [{name: row[name] for name in NAMES} for row in rows] == [
        {name: str(value) for name, value in row.items()} for row in wanted
    ]
    assert [row["decision_id"] for row in rows] == [d["id"] for d in body["decisions"]]
    assert list(rows[0])[-1] == "decided_at", "the file has no other columns"


@pytest.mark.parametrize("file", [file for file in FILES if file != "german.data"])
def test_other_columns_of_a_file_in_other_words_are_in_the_export(client, send_file, file):
    separator = " " if file.endswith(".asc") else ","
    first, *rest = broken(file).splitlines()
    more = [separator.join([line, f"n{i}", "old"]) for i, line in enumerate(rest)]
    # None of these files calls anything `employment`, so it is not the attribute.
    sent = text_of([separator.join([first, "note", "employment"]), *more]).encode()
    body = send_file(sent, file).get_json()
    assert body["n_decided"] == 4
    url = f"/api/v1/batches/{body['batch']}.csv"
    rows = rows_of(client.post(url, data={"file": (io.BytesIO(sent), file)}))
    assert [row["note"] for row in rows] == ["n0", "n1", "n3", "n4"]
    assert {row["employment (uploaded)"] for row in rows} == {"old"}
