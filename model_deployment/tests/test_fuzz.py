"""Random rows and bytes: the same verdict in every form, and never an invented score."""

import csv
import io
import json
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_risk.decision_log.log import open_log
from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.settings import Settings
from model_deployment.app import create_app
from model_deployment.scoring.live_model import LiveModel
from tests.support.bad_input.cases import CLIENTS, NAMES
from tests.support.bad_input.csv_files import CSV, csv_of
from tests.support.bad_input.json_bodies import body
from tests.support.bad_input.parquet_files import table
from tests.support.bad_input.workbooks import excel
from tests.support.files import parquet
from tests.support.german_credit import ATTRIBUTE, ATTRIBUTES, Validator, decode
from tests.support.riskometer import StubRegistry, client_of, decide_for

FEW = settings(max_examples=150, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=1500)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    return open_log(
        Settings(
            _env_file=None, decision_log=f"sqlite:///{folder}/log.db", bucket=str(folder / "bucket")
        )
    )


@pytest.fixture(scope="module")
def ask(log, scorers):
    """A function that sends bytes as a file or as JSON, and returns the well-formed answer."""
    decide_for(log, "1")
    production = LiveModel(StubRegistry(scorers), log, poll_seconds=10)
    production.refresh()
    client = client_of(create_app(Settings(_env_file=None), production=production, log=log))

    def send(data, as_json=False):
        if as_json:
            answer = client.post("/api/v1/score", data=data, content_type="application/json")
        else:
            answer = client.post("/api/v1/files", data={"file": (io.BytesIO(data), "clients")})
        assert answer.status_code in (200, 400, 422)
        found = json.loads(answer.get_data())
        json.dumps(found, allow_nan=False)
        if answer.status_code != 200:
            assert answer.content_type == "application/problem+json"
            assert found["detail"]
        if answer.status_code != 400:
            whole(found)
        return answer.status_code, found

    def whole(found):
        assert found["n_decided"] == len(found["decisions"])
        rows = [d["row"] for d in found["decisions"]]
        assert rows == sorted(set(rows))
        assert not set(rows) & {fault["row"] for fault in found["rejected"]}
        for fault in found["rejected"]:
            assert list(fault) == ["row", "column", "value", "message", "allowed"]
            assert fault["message"]
            assert fault["allowed"] or fault["row"] is None or fault["column"] not in ATTRIBUTE
        logged = log.read(log.batch(found["batch"])).to_pylist()
        found["inputs"] = [tuple(row[name] for name in NAMES) for row in logged]
        if logged:
            again = scorers[0].risk(
                Validator().rows([{name: row[name] for name in NAMES} for row in logged]).codes
            )
            assert [d["risk"] for d in found["decisions"]] == again.tolist()

    return send


# Rows

VALUES = st.one_of(
    st.sampled_from([c for a in ATTRIBUTES for c in a.categories]),
    st.sampled_from(["good", "bad", "NaN", "1e309", "1.234,56", "=1+1", "<b>", "$x"]),
    st.text("\",;\t\n\r' 6", max_size=5),
    st.integers(-5, 10**8),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-5, 200).map(float),
    st.integers(-5, 200).map(lambda n: f" {n}.0 "),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=70),
    st.none(),
)
CHANGES = st.dictionaries(st.sampled_from([*NAMES, CLIENT_ID, LABEL]), VALUES, max_size=4)
FORMS = st.tuples(
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.permutations([*NAMES, CLIENT_ID, LABEL, "number"]),
)


def same_verdict(ask, changes, form):
    rows = [CLIENTS[i % 3] | change | {"number": i} for i, change in enumerate(changes)]
    separator, quoting, encoding, columns = form
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, delimiter=separator, quoting=quoting, lineterminator="\r\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    by_json, by_file = ask(body(rows), as_json=True), ask(text.getvalue().encode(encoding))
    assert verdict(*by_json) == verdict(*by_file)


def verdict(status, found):
    decided = [
        (d["row"], d["client_id"], d["prediction"], d["risk"], d["warnings"])
        for d in found["decisions"]
    ]
    # A column that no row of the list has, a file may have: only what is wrong with rows counts.
    wrong = {(f["row"], f["column"], json.dumps(f["allowed"])) for f in found["rejected"]}
    return status, decided, wrong, found["n_rejected"]


ROWS = given(st.lists(CHANGES, min_size=1, max_size=5), FORMS)


@ROWS
@FEW
def test_row_gets_one_verdict_in_both_forms(ask, changes, form):
    same_verdict(ask, changes, form)


@pytest.mark.nightly
@ROWS
@MANY
def test_row_gets_one_verdict_in_both_forms_longer(ask, changes, form):
    same_verdict(ask, changes, form)


# Bytes

NOTED = [
    client | {"note": note}
    for client, note in zip(CLIENTS, ('a "b"', "c\nd", "e;f\tg"), strict=True)
]
SOURCES = {
    "csv": CSV,
    "noted csv": csv_of(NOTED, ";"),
    "utf-16": b"\xff\xfe" + CSV.decode().encode("utf-16-le"),
    "json": body(CLIENTS),
    "workbook": excel(NOTED),
    "sheet": excel(NOTED),
    "parquet": parquet(table(NOTED)),
    "nothing": b"",
}
SHEET = "xl/worksheets/sheet1.xml"
SPICES = [
    b'"',
    b"\n",
    b"\r",
    b",",
    b"\0",
    b"\xff",
    b'","',
    b"1e309",
    b"-",
    b"[",
    b"{",
    b"}",
    b"\\u",
    b"<",
    b"&#13;",
]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.integers(0, 40),
        st.one_of(st.binary(max_size=8), st.sampled_from(SPICES)),
    ),
    min_size=1,
    max_size=6,
)
BYTES = given(st.sampled_from(sorted(SOURCES)), EDITS)


def edited(data, edits):
    """Return bytes of which some are taken out and others put in, each at a place and so many."""
    for at, gone, new in edits:
        at %= len(data) + 1
        data = data[:at] + new + data[at + gone :]
    return data


def with_sheet(workbook, edits):
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(sink, "w") as new:
        for name in old.namelist():
            new.writestr(name, edited(old.read(name), edits) if name == SHEET else old.read(name))
    return sink.getvalue()


def there(data):
    """Return the valid clients of a CSV, as Python's own reader finds them."""
    text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    found = set()
    for separator in ",;\t":
        header, *rows = csv.reader(
            io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=separator
        )
        names = [name.strip() for name in header]
        valid = Validator().rows(
            [dict(zip(names, row, strict=False)) for row in rows if len(row) == len(names)] or [{}]
        )
        found |= {tuple(row[name] for name in NAMES) for row in decode(valid.codes).to_pylist()}
    return found


def no_score_for_what_is_not_there(ask, source, edits):
    data = (
        with_sheet(SOURCES[source], edits) if source == "sheet" else edited(SOURCES[source], edits)
    )
    status, found = ask(data, as_json=source == "json")
    if status == 400:
        return
    if source == "json":
        rows = json.loads(data)
        decided = [rows[d["row"]] for d in found["decisions"]]
        assert len(rows) == found["n_decided"] + found["n_rejected"]
        assert [tuple(row.get(name) for name in NAMES) for row in decided] == found["inputs"]
    elif not data.startswith((b"PK", b"PAR1")):
        assert set(found["inputs"]) <= there(data)


@pytest.mark.slow
@BYTES
@FEW
def test_arbitrary_bytes_get_an_answer_and_no_invented_score(ask, source, edits):
    no_score_for_what_is_not_there(ask, source, edits)


@pytest.mark.nightly
@BYTES
@MANY
def test_arbitrary_bytes_get_an_answer_and_no_invented_score_longer(ask, source, edits):
    no_score_for_what_is_not_there(ask, source, edits)
