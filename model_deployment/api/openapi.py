"""The API's description, OpenAPI 3.1, made from what validates: the table of attributes and the models of `schemas`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from credit_risk.decision_log.outcome_file import MAX_ROWS
from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.codec import decode
from credit_risk.schema.json_schema import json_schema
from credit_risk.schema.validation import Validator
from model_deployment.api import schemas
from model_deployment.api.json_body import MAX_ROWS as MAX_LIST
from model_deployment.http.problem import CONTENT_TYPE, size_text
from model_deployment.scoring.service import CHANGES, MAX_CHANGED, REASONS

VERSION = "1"
MAX_KEY = 200
PREFIX = "/api/v1"
DOCUMENT = f"{PREFIX}/openapi.json"
PAGE = f"{PREFIX}/docs"
# What describes the API needs no key: whoever writes a client reads it before there is one.
PUBLIC = (DOCUMENT, PAGE)

JSON = "application/json"
CSV = "text/csv"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PARQUET = "application/vnd.apache.parquet"

_ABOUT = """\
Decisions on credit applications: green or red, with the risk, the confidence and plain reasons. Every decision is in
the decision log before it is answered. Every answer that is no success is a problem (RFC 9457) of one shape: `type` is
a stable word for programs, `detail` a sentence for people. A request body has at most {limit}."""

_SPELLING = (
    "What is written in another way than in `Application` is taken where it can mean one thing only, which `warnings` "
    "say: names of columns in another case or with blanks for underscores, values in quotes of their own, `NA`, `NaN`, "
    "`NULL` or `None` where a value may be absent. A text like `400.000` or `400,000` is no whole number."
)

_PROBLEMS = {
    400: "The request cannot be read, or asks for a host that this service is not known as.",
    401: "Keys are set, and the request has none of them.",
    403: "The request comes from another web page, or from somebody whom no trusted proxy names.",
    404: "There is no such decision or batch.",
    408: "The request came too slowly, less than 1,000 bytes a second.",
    409: "The same body was decided under this key, and what was answered then cannot be told again.",
    413: "The body is too large, or there are too many clients for reasons or for a workbook.",
    415: "The body is of another type than those listed.",
    422: "The body can be read, but nothing in it can be taken.",
    500: "Something went wrong here; it is written to the service's log.",
    503: "No model serves, the decision log is away, or too many uploads are under way. Try again after `Retry-After`.",
}
_READ = (400, 401, 403, 500)
_WRITE = (*_READ, 408, 413, 415, 422, 503)

Schema = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One thing to do at one address.

    Attributes
    ----------
    answers : dict
        By status, what a success holds: a description, and a schema by media type.
    problems : tuple of int
        The statuses of what is no success.
    empty : model, optional
        What a 422 holds, where that is more than a problem.
    """

    method: str
    path: str
    id: str
    summary: str
    text: str
    answers: Mapping[int, tuple[str, Mapping[str, Schema]]]
    problems: tuple[int, ...]
    parameters: tuple[Schema, ...] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    empty: type[BaseModel] = schemas.Problem
    more: Mapping[str, Any] = field(default_factory=dict)


def _ref(model: type[BaseModel]) -> Schema:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _asked(name: str, what: str) -> Schema:
    text = f"{what}: `true`, `1`, or the name alone. Anything else: no."
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}, "allowEmptyValue": True}


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Of a decision, as answers, exports and the log have it.",
    "schema": {"type": "string", "minLength": 1},
}
_EXTRAS = (
    _asked(REASONS, "Each decision comes with its reasons"),
    _asked(CHANGES, f"Each red decision comes with what would change it; at most {MAX_CHANGED} clients at a time"),
)
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The caller's own, for one body: when that is sent again, what was decided first is answered.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
}
_BRIEF = {
    "name": "decisions",
    "in": "query",
    "description": "`none`: without the decisions, which are in the log, and with the rejected rows as a file.",
    "schema": {"type": "string"},
}
_DECISION_HEADERS = {
    "Batch": {"description": "The batch's id.", "schema": {"type": "string"}},
    "Rows-Rejected": {"description": "How many rows were rejected.", "schema": {"type": "integer"}},
    "Warnings": {"description": "What `warnings` holds in JSON, as a JSON list.", "schema": {"type": "string"}},
}


def _file(types: tuple[str, ...], what: str) -> Schema:
    return {
        "schema": {
            "type": "object",
            "properties": {"file": {"description": what, "type": "string", "format": "binary"}},
            "required": ["file"],
        },
        "encoding": {"file": {"contentType": ", ".join(types)}},
    }


_BATCH = (
    {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "Of a batch, as answers have it.",
        "schema": {"type": "string", "minLength": 1},
    },
    {
        "name": "form",
        "in": "path",
        "required": True,
        "description": "Of the file.",
        "schema": {"enum": ["csv", "xlsx"]},
    },
)
_EXPORT = {CSV: {"schema": {"type": "string"}}, EXCEL: {"schema": {"type": "string", "format": "binary"}}}


def _example() -> list[dict[str, Any]]:
    """Return the first client of the page's sample file."""
    sample = Validator().csv((Path(__file__).parents[1] / "assets" / "sample.csv").read_bytes())
    return [{CLIENT_ID: sample.client_id[0], **decode(sample.codes[:1]).to_pylist()[0]}]


_OUTCOMES_CSV = {"schema": {"type": "string"}, "example": "decision_id,outcome,date\n01J...-0,repaid,2026-01-31\n"}
_FOLLOW = {
    "links": {
        "decision": {"operationId": "decision", "parameters": {"id": "$response.body#/decisions/0/id"}},
        "override": {"operationId": "override", "parameters": {"id": "$response.body#/decisions/0/id"}},
    }
}

OPERATIONS = (
    Operation(
        "post",
        f"{PREFIX}/score",
        "score",
        "Decide on a list of applications",
        "Valid applications are decided on; what is wrong with the others is said. `row` counts from 0. "
        f"At most {MAX_LIST:,} come in a list; more come as a file. {_SPELLING}",
        {200: ("At least one application was decided on.", {JSON: {"schema": _ref(schemas.Decided)}})},
        (*_WRITE, 409),
        (*_EXTRAS, _KEY),
        {
            JSON: {
                "schema": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Application"}},
                "example": _example(),
            }
        },
        schemas.NothingDecided,
        _FOLLOW,
    ),
    Operation(
        "post",
        f"{PREFIX}/files",
        "files",
        "Decide on a file of applications",
        "One client a row, columns named as in `Application`, in any order; others are ignored. Of a workbook the "
        "first visible sheet is read; `warnings` name it, and others that hold such columns. `Accept: text/csv` asks "
        "for the result as a CSV.",
        {
            200: (
                "At least one row was decided on.",
                {
                    JSON: {"schema": {"anyOf": [_ref(schemas.Decided), _ref(schemas.DecidedInBrief)]}},
                    CSV: {"schema": {"type": "string"}},
                },
            )
        },
        (*_WRITE, 409),
        (*_EXTRAS, _BRIEF, _KEY),
        {"multipart/form-data": _file((CSV, EXCEL, PARQUET), "A CSV, a workbook, or Parquet.")},
        schemas.NothingDecided,
        {"headers": _DECISION_HEADERS},
    ),
    Operation(
        "get",
        f"{PREFIX}/batches/{{id}}.{{form}}",
        "batch",
        "Read a batch as a file",
        "Decisions, overrides, inputs, reasons, version and ids of what came in one request or file.",
        {200: ("The file.", _EXPORT)},
        (*_READ, 404, 413, 503),
        _BATCH,
    ),
    Operation(
        "post",
        f"{PREFIX}/batches/{{id}}.{{form}}",
        "batch_with_its_file",
        "Read a batch with the other columns of its file",
        "The log keeps what an application holds. Whoever sends the same file again gets its other columns back, too.",
        {200: ("The file.", _EXPORT)},
        (*_WRITE, 404),
        _BATCH,
        {"multipart/form-data": _file((CSV, EXCEL, PARQUET), "The file that was decided on.")},
    ),
    Operation(
        "get",
        f"{PREFIX}/decisions/{{id}}",
        "decision",
        "Read a decision",
        "Its inputs, overrides and outcomes; its reasons, where the version that decided can still be had.",
        {200: ("The decision.", {JSON: {"schema": _ref(schemas.LoggedDecision)}})},
        (*_READ, 404, 503),
        (_ID,),
    ),
    Operation(
        "post",
        f"{PREFIX}/decisions/{{id}}/override",
        "override",
        "Set a decision to the other colour",
        "Both decisions are kept; the last override stands.",
        {201: ("The override is stored.", {JSON: {"schema": _ref(schemas.Overridden)}})},
        (*_WRITE, 404),
        (_ID,),
        {
            JSON: {
                "schema": _ref(schemas.OverrideRequest),
                "example": {"prediction": "green", "by": "Ann Example", "reason": "A guarantor signed today"},
            }
        },
    ),
    Operation(
        "post",
        f"{PREFIX}/outcomes",
        "outcomes",
        "Tell what became of clients",
        "A file of `decision_id` or `client_id`, `outcome` (`repaid` or `defaulted`) and `date` (2026-01-31 or "
        "31.01.2026; not before the decision, not in the future, UTC). A row that has neither outcome nor date is of a "
        "loan that is still open, and counted. Only decisions that are green after overrides have outcomes. A "
        "`client_id` stands for the one accepted decision on that client up to the date; where there are several, say "
        "which in `decision_id`. Good rows are taken, together; what is wrong with the others is said. The latest "
        "outcome of a decision stands, all are kept; a file that is sent again adds nothing that the log ever held. At "
        f"most {MAX_ROWS:,} rows.",
        {
            200: (
                "At least one row was added or known, or all are open.",
                {JSON: {"schema": _ref(schemas.OutcomesTaken)}},
            )
        },
        _WRITE,
        (),
        {CSV: _OUTCOMES_CSV, "multipart/form-data": _file((CSV, EXCEL, PARQUET), "A CSV, a workbook, or Parquet.")},
        schemas.NothingTaken,
    ),
    Operation(
        "get",
        f"{PREFIX}/model",
        "model",
        "Which model serves",
        "Its version, the digest of its file, who approved it and when.",
        {200: ("The Production model.", {JSON: {"schema": _ref(schemas.Model)}})},
        (*_READ, 503),
    ),
    Operation(
        "get",
        f"{PREFIX}/schema",
        "schema",
        "The JSON Schema of an application",
        "The same as `Application` below.",
        {200: ("The schema.", {"application/schema+json": {"schema": {"type": "object"}}})},
        _READ,
    ),
    Operation(
        "get",
        DOCUMENT,
        "openapi",
        "This description",
        "OpenAPI 3.1. Needs no key.",
        {200: ("The description.", {JSON: {"schema": {"type": "object"}}})},
        (400, 500),
    ),
    Operation(
        "get",
        PAGE,
        "docs",
        "This description to read",
        "A page. Needs no key.",
        {200: ("The page.", {"text/html": {"schema": {"type": "string"}}})},
        (400, 500),
    ),
)


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(limit: int) -> dict[str, Any]:
    """Return the description.

    Parameters
    ----------
    limit : int
        Most bytes of a request body.
    """
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    about = " ".join(_ABOUT.format(limit=size_text(limit)).split())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Risk-O-Meter", "version": VERSION, "description": about},
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where `API_KEYS` are set, one of them."}
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.text,
        "responses": dict(_answers(operation)),
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = {"required": True, "content": dict(operation.body)}
    if operation.path in PUBLIC:
        described["security"] = []
    return described


def _answers(operation: Operation) -> Iterator[tuple[str, Any]]:
    for status, (text, content) in operation.answers.items():
        yield str(status), {"description": text, "content": dict(content), **operation.more}
    for status in sorted(operation.problems):
        schema = _ref(operation.empty if status == 422 else schemas.Problem)
        answer: dict[str, Any] = {
            "description": _PROBLEMS[status],
            "content": {CONTENT_TYPE: {"schema": schema}},
        }
        if status == 503:
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            answer["headers"] = {"Retry-After": seconds}
        yield str(status), answer


def _schemas() -> dict[str, Any]:
    application = {name: value for name, value in json_schema().items() if name != "$schema"}
    answers = (
        schemas.Decided,
        schemas.DecidedInBrief,
        schemas.LoggedDecision,
        schemas.Overridden,
        schemas.OutcomesTaken,
        schemas.Model,
        schemas.Problem,
        schemas.NothingDecided,
        schemas.NothingTaken,
    )
    models: list[Any] = [(model, "serialization") for model in answers] + [(schemas.OverrideRequest, "validation")]
    template = "#/components/schemas/{model}"
    _, found = models_json_schema(models, ref_template=template, schema_generator=_Untitled)
    return {"Application": application, **found["$defs"]}
