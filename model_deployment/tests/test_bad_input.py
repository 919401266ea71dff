"""Bad input: every answer says what to do, and no invalid row gets a score."""

import io
import json

import pytest

from credit_risk.decision_log.chains.position import START
from credit_risk.decision_log.log import open_log
from credit_risk.settings import Settings
from model_deployment.app import create_app
from model_deployment.scoring.live_model import LiveModel
from tests.support.bad_input.cases import CLIENTS
from tests.support.bad_input.csv_files import CSV_FILES
from tests.support.bad_input.json_bodies import JSON_BODIES
from tests.support.bad_input.parquet_files import PARQUET_FILES
from tests.support.bad_input.workbooks import EXCEL_FILES
from tests.support.german_credit import ATTRIBUTE, Validator
from tests.support.riskometer import StubRegistry, client_of, decide_for

FILES = [
    *((case, "clients.csv") for case in CSV_FILES),
    *((case, "clients.xlsx") for case in EXCEL_FILES),
    *((case, "clients.parquet") for case in PARQUET_FILES),
    # What a file is called says nothing.
    *(
        (cases[0], name)
        for cases in (EXCEL_FILES, PARQUET_FILES)
        for name in ("clients.csv", "clients.txt", "")
    ),
    *(
        (case, "clients.xlsx")
        for case in CSV_FILES
        if case.name in ("semicolons", "Windows line ends")
    ),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad-input")
    return open_log(
        Settings(
            _env_file=None, decision_log=f"sqlite:///{folder}/log.db", bucket=str(folder / "bucket")
        )
    )


@pytest.fixture(scope="module")
def client(log, scorers):
    decide_for(log, "1")
    production = LiveModel(StubRegistry(scorers), log, poll_seconds=10)
    production.refresh()
    app = create_app(Settings(_env_file=None, max_upload_mb=10), production=production, log=log)
    return client_of(app)


@pytest.fixture(scope="module")
def risks(scorers):
    """The risk of each client, as the model has it."""
    return scorers[0].risk(Validator().rows(CLIENTS).codes).tolist()


def refuse(constant):
    raise AssertionError(f"the answer holds {constant}, which is no JSON")


def kept(case, answer, risks, log, before):
    """Assert all that is promised of an answer, beside what the case says."""
    body = json.loads(answer.get_data(), parse_constant=refuse)
    assert answer.status_code == case.status, body
    if case.status != 200:
        assert answer.content_type == "application/problem+json"
        assert body["status"] == case.status
        assert body["type"].startswith("urn:risk-o-meter:")
        assert body["title"]
        assert body["detail"]
    committed = log.batches(after=before)
    if case.status == 400:
        assert case.says in body["detail"]
        assert committed == []
        return
    faults = body["rejected"]
    assert {(fault["row"], fault["column"]) for fault in faults} == case.rejected
    assert case.says in " ".join(
        [body.get("detail", ""), *body["warnings"], *(fault["message"] for fault in faults)]
    )
    for fault in faults:
        explained(fault)
    assert {d["row"]: d["risk"] for d in body["decisions"]} == {
        row: risks[who] for row, who in case.decided.items()
    }
    assert body["n_decided"] == len(body["decisions"])
    if None not in dict(
        case.rejected
    ):  # then it is the file that is wrong, and its rows are rejected with it
        assert body["n_rejected"] == len({row for row, _ in case.rejected})
    (record,) = committed
    assert record.id == body["batch"]
    assert (record.n_decided, record.n_rejected) == (body["n_decided"], body["n_rejected"])
    logged = log.read(record).to_pylist()
    assert [(d["id"], d["risk"]) for d in logged] == [
        (d["id"], d["risk"]) for d in body["decisions"]
    ]


def explained(fault):
    """Assert that a person learns from a fault where it is, what stands there and what should."""
    assert list(fault) == ["row", "column", "value", "message", "allowed"]
    assert 0 < len(fault["message"]) < 1000
    assert len(str(fault["value"])) <= 200
    if fault["row"] is not None:
        assert fault["message"].startswith(("line ", "row "))
    if fault["row"] is not None and fault["column"] in ATTRIBUTE:
        assert fault["column"] in fault["message"]
        assert fault["allowed"]


def newest(log):
    return START.past(log.batches())


def test_there_are_at_least_80_bad_inputs():
    assert len(FILES) + len(JSON_BODIES) >= 80
    assert len({(case.name, name) for case, name in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("case", "name"), [pytest.param(c, n, id=f"{c.name} as {n}") for c, n in FILES]
)
def test_bad_file_gets_a_helpful_answer(client, log, risks, case, name):
    before = newest(log)
    answer = client.post("/api/v1/files", data={"file": (io.BytesIO(case.data()), name)})
    kept(case, answer, risks, log, before)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in JSON_BODIES])
def test_bad_body_gets_a_helpful_answer(client, log, risks, case):
    before = newest(log)
    answer = client.post("/api/v1/score", data=case.data(), content_type="application/json")
    kept(case, answer, risks, log, before)
