"""Schemathesis against the API's description: no 500, nothing undescribed, good data taken."""

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import schemathesis
from flask import Blueprint, Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection

from credit_risk.decision_log.batch import Batch
from model_deployment.api.openapi import document
from model_deployment.api.operation import CSV, EXCEL, PARQUET
from model_deployment.api.routes import OPERATIONS, docs
from tests.support.german_credit import GERMAN_CREDIT, Validator
from tests.support.riskometer import client_of

LIMIT = 1_000_000
# A batch of decisions that is in the log whenever a test runs.
KNOWN = "01KB0000000000000000000000"
BOUNDED = settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(BOUNDED, max_examples=150)

# What the description cannot express in full:
# - a row in a list may be wrong while the others are decided on, numbers may come as text, unknown
#   columns are ignored;
# - a file's content, a decision's id in the log, and an earlier override decide what is valid.
CONFIG = {
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "422"]}}
}
TAKES_THE_REST = ("score", "files")


def clients_csv() -> bytes:
    with open("data/test.csv", "rb") as clients:
        return b"".join(clients.readlines()[:12])


def outcomes_csv(row: int, outcome: str) -> bytes:
    today = datetime.now(UTC).date()
    return f"decision_id,outcome,date\n{KNOWN}-{row},{outcome},{today}\n".encode()


def spoiled(data: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes replaced by others."""
    cut = st.tuples(st.integers(0, len(data)), st.integers(0, 20), st.binary(max_size=20))
    return cut.map(lambda c: data[: c[0]] + c[2] + data[c[0] + c[1] :])


def workbook(data: bytes) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for line in data.decode().splitlines():
        book.active.append(line.split(","))
    book.save(out)
    return out.getvalue()


def parquet(data: bytes) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.csv.read_csv(io.BytesIO(data)), out)
    return out.getvalue()


CLIENTS = clients_csv()
OUTCOMES = st.builds(
    outcomes_csv, st.integers(0, 12), st.sampled_from(["repaid", "defaulted", "paid"])
)
for kind, files in {
    CSV: st.one_of(
        st.just(CLIENTS),
        spoiled(CLIENTS),
        OUTCOMES,
        OUTCOMES.flatmap(spoiled),
        st.binary(max_size=200),
    ),
    EXCEL: st.one_of(st.just(workbook(CLIENTS)), spoiled(workbook(CLIENTS))),
    PARQUET: st.one_of(st.just(parquet(CLIENTS)), spoiled(parquet(CLIENTS))),
}.items():
    schemathesis.openapi.media_type(kind, files)


class Stage:
    """The app of the test that runs."""

    app: Callable[..., Iterable[bytes]]

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


def described() -> Any:
    """Return the description, read from its address before there is an app with a model."""
    app = Flask("model_deployment.app", static_folder=None)
    description = Blueprint("docs", __name__)
    docs.register(description, document(OPERATIONS, LIMIT, GERMAN_CREDIT))
    app.register_blueprint(description)
    found = schemathesis.openapi.from_wsgi(
        docs.DOCUMENT.path, app, config=schemathesis.Config.from_dict(CONFIG)
    )
    found.app = stage
    return found


def check(case: Any) -> None:
    """Send a request, mostly with an idempotency key of its own, and check the answer."""
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(numbers)
    if key and len(key) < 100 and number % 5:
        case.headers["Idempotency-Key"] = f"{key}{number}"
    partly = case.operation.definition.raw["operationId"] in TAKES_THE_REST
    case.call_and_validate(excluded_checks=[negative_data_rejection] if partly else [])


numbers = itertools.count()
stage = Stage()
api = described()
of_what_is_there = api.include(path_regex="/(decisions|batches)/")


@pytest.fixture(autouse=True)
def _on_stage(app, log, scorers):
    stage.app = client_of(app).application
    applications = Validator().csv(CLIENTS)
    decided = scorers[0].decide(applications.codes)
    sha256 = hashlib.sha256(CLIENTS).hexdigest()
    log.commit(
        Batch(applications, decided, "1", "digest-1", scorers[0].threshold, id=KNOWN, sha256=sha256)
    )


@api.parametrize()
@BOUNDED
def test_api_answers_as_described(case):
    check(case)


@of_what_is_there.parametrize()
@BOUNDED
def test_api_answers_as_described_on_existing_data(case):
    of_batch = "form" in case.path_parameters
    case.path_parameters["id"] = KNOWN if of_batch else f"{KNOWN}-{len(str(case.body)) % 11}"
    check(case)


@pytest.mark.slow
@api.parametrize()
@LONG
def test_api_answers_as_described_over_many_examples(case):
    check(case)
