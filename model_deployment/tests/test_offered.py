"""The files that the page offers, and the example of the API's description."""

import csv
import io
import json

import plotly.utils
import pytest

from credit_risk.access.caller import Caller
from credit_risk.access.roles import ANYBODY
from model_deployment.api.routes.score import example
from model_deployment.ui.layout import layout
from tests.support.german_credit import GERMAN_CREDIT, NAMES, Validator
from tools.paths import ROOT

SAMPLE = (ROOT / "data/german_credit/sample.csv").read_bytes()


def test_template_has_the_columns_and_no_rows(client):
    answer = client.get("/assets/template.csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert list(csv.reader(io.StringIO(answer.text))) == [["client_id", *NAMES]]


def test_template_with_a_row_is_decided_on(client, send_file, client_rows):
    row = ",".join(["c", *(str(client_rows[0][name]) for name in NAMES)])
    body = send_file(client.get("/assets/template.csv").text + row).get_json()
    assert [d["client_id"] for d in body["decisions"]] == ["c"]
    assert body["warnings"] == []


def test_sample_is_that_of_the_data_set(client):
    answer = client.get("/assets/sample.csv")
    assert (answer.status_code, answer.get_data()) == (200, SAMPLE)


@pytest.mark.parametrize("sample", [SAMPLE, b""])
def test_example_of_the_description_is_an_application(sample):
    found = example(GERMAN_CREDIT, sample)
    applications = Validator().rows([found])
    assert (len(applications), applications.warnings) == (1, [])
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("sample", [True, False])
def test_page_links_a_sample_where_there_is_one(sample):
    caller = Caller("ann", "user", ANYBODY)
    page = layout(1_000_000, GERMAN_CREDIT, "meaning", caller, sample=sample)
    text = json.dumps(page, cls=plotly.utils.PlotlyJSONEncoder)
    assert "assets/template.csv" in text
    assert ("assets/sample.csv" in text) is sample
