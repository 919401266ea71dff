"""The OpenAPI description: it has every route, real answers match it, the page shows it."""

import io
import re

import jsonschema
import pytest

from model_deployment.api.routes import OPERATIONS
from model_deployment.api.routes.score import SCORE
from tests.support.german_credit import application_schema as json_schema
from tests.support.outcomes import today


@pytest.fixture
def described(client):
    answer = client.get("/api/v1/openapi.json")
    assert answer.content_type == "application/json"
    return answer.get_json()


@pytest.fixture
def conforms(described):
    """A function that holds an answer to what is described of an operation."""

    def check(answer, id: str) -> None:
        (operation,) = (
            o
            for methods in described["paths"].values()
            for o in methods.values()
            if o["operationId"] == id
        )
        media = operation["responses"][str(answer.status_code)]["content"][answer.mimetype]
        if not answer.mimetype.endswith("json"):
            return
        schema = {
            "$ref": "#/$defs/answer",
            "$defs": {"answer": media["schema"]},
            "components": described["components"],
        }
        jsonschema.Draft202012Validator(schema).validate(answer.get_json(force=True))

    return check


def test_description_is_valid_openapi_3_1(described):
    assert described["openapi"].startswith("3.1.")
    assert "1 MB" in described["info"]["description"]
    text = str(described)
    for name in re.findall(r"'\$ref': '([^']+)'", text):
        assert name.removeprefix("#/components/schemas/") in described["components"]["schemas"], (
            name
        )
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_route_is_described_and_every_description_is_a_route(app, described):
    routes = {
        (re.sub(r"<([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.flask.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    routes.add((SCORE.path, "post"))
    assert routes == {
        (path, method) for path, methods in described["paths"].items() for method in methods
    }


def test_an_application_is_described_by_the_table_that_validates_it(described):
    assert described["components"]["schemas"]["Application"] == {
        name: value for name, value in json_schema().items() if name != "$schema"
    }


def test_real_answers_are_as_described(client, send_file, client_rows, as_csv, conforms):
    rows = [client | {"client_id": "C-1", "class": "good"} for client in client_rows[:31]]
    rows[30]["duration"] = 10**30
    query = "?reasons=true&what_would_change_it=true"
    for asked in ("", query):
        conforms(client.post(f"/api/v1/score{asked}", json=rows), "score")
    decisions = client.post("/api/v1/score", json=rows).get_json()["decisions"]
    conforms(client.post("/api/v1/score", json=[{"duration": [1]}, 7, {}]), "score")
    for asked in ("", query, "?decisions=none"):
        conforms(send_file(as_csv(rows), query=asked), "files")
    conforms(send_file("duration\n6\n"), "files")
    conforms(
        client.post(
            "/api/v1/files",
            data={"file": (io.BytesIO(as_csv(rows).encode()), "c.csv")},
            headers={"Accept": "text/csv"},
        ),
        "files",
    )
    conforms(send_file("duration\n6\n", query="?decisions=none"), "files")
    green, red = (
        next(d["id"] for d in decisions if d["prediction"] == p) for p in ("green", "red")
    )
    body = {"prediction": "green", "by": "Ann", "reason": "knows him"}
    conforms(client.post(f"/api/v1/decisions/{red}/override", json=body), "override")
    conforms(client.post(f"/api/v1/decisions/{red}/override", json=body), "override")
    conforms(client.post(f"/api/v1/decisions/{red}x/override", json=body), "override")
    told = (
        f"decision_id,outcome,date\n{green},repaid,{today()}\n"
        f"{red},defaulted,{today()}\n{red},paid,2020\nx,,\n"
    )
    for data in (told, told, "decision_id,outcome,date\nx,repaid,2020-01-01\n", "outcome\n"):
        conforms(client.post("/api/v1/outcomes", data=data, content_type="text/csv"), "outcomes")
    batch, _, _ = green.rpartition("-")
    for form in ("csv", "xlsx", "pdf"):
        conforms(client.get(f"/api/v1/batches/{batch}.{form}"), "batch")
    for id in (green, red, "x"):
        conforms(client.get(f"/api/v1/decisions/{id}"), "decision")
    for id in ("model", "schema", "docs"):
        conforms(client.get(f"/api/v1/{id}"), id)
    conforms(client.get("/api/v1/openapi.json"), "openapi")


def test_the_page_shows_every_operation_and_schema_without_a_script(client, described):
    answer = client.get("/api/v1/docs")
    assert answer.content_type == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    page = answer.text
    assert "<script" not in page
    assert "http" not in page.replace("HTTP", "")
    for operation in OPERATIONS:
        assert f'id="{operation.id}"' in page
        assert f"<code>{operation.path}</code>" in page
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(described["components"]["schemas"]) <= anchors
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    for asset in re.findall(r'(?:href|src)="\.\./\.\./(assets/[^"]+)"', page):
        assert client.get(f"/{asset}").status_code == 200, asset
    assert 'href="openapi.json"' in page
