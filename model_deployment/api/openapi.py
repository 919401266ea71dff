"""The API's description, OpenAPI 3.1, made of its operations and their models."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from credit_risk.schema.dataset import Dataset
from credit_risk.schema.json_schema import json_schema
from model_deployment.api.operation import Body, Holds, Operation, Schema
from model_deployment.api.schemas import LoggedDecision, Problem
from model_deployment.http.problem import CONTENT_TYPE, size_text

VERSION = "1"

_ABOUT = """\
Decisions on credit applications: green or red, with the risk, the confidence and plain reasons.
Every decision is in the decision log before it is answered. Every error is a problem (RFC 9457) of
the same shape: `type` is a stable word for programs, `detail` a sentence for people. A request
body has at most {limit}."""

_PROBLEMS = {
    400: "The request cannot be read, or asks for a host that this service is not known as.",
    401: "The request has no valid key or token.",
    403: "The request comes from another web page, from somebody whom no trusted proxy names, or "
    "from somebody whose role does not have this right.",
    404: "There is no such decision or batch.",
    408: "The request came too slowly, less than 1,000 bytes a second.",
    409: "The same body was decided under this key, and that answer cannot be repeated.",
    413: "The body is too large, or there are too many clients for reasons or for a workbook.",
    415: "The body is of another type than those listed.",
    422: "The body can be read, but nothing in it can be taken.",
    500: "Something went wrong here; it is written to the service's log.",
    503: "No model serves, the decision log is away, or too many uploads are under way. Try again "
    "after `Retry-After`.",
}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
_REFERENCE = "#/components/schemas/{model}"


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(operations: Sequence[Operation], limit: int, dataset: Dataset) -> dict[str, Any]:
    """Return the description.

    Parameters
    ----------
    operations : sequence of Operation
    limit : int
        Most bytes of a request body.
    dataset : Dataset
        What an application is.
    """
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    about = " ".join(_ABOUT.format(limit=size_text(limit)).split())
    key = {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `API_KEYS`, or a user's token of `OIDC_ISSUER`.",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Risk-O-Meter", "version": VERSION, "description": about},
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {"schemas": _schemas(operations, dataset), "securitySchemes": {"key": key}},
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": _text(operation),
        "responses": dict(_answers(operation)),
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        content = {type: _media(body) for type, body in operation.body.items()}
        described["requestBody"] = {"required": True, "content": content}
    if operation.public:
        described["security"] = []
    return described


def _text(operation: Operation) -> str:
    if operation.permission is None:
        return operation.text
    return f"{operation.text} Takes the right `{operation.permission}`."


def _answers(operation: Operation) -> Iterator[tuple[str, Any]]:
    for status, (text, held) in operation.answers.items():
        content = {type: {"schema": _schema(holds)} for type, holds in held.items()}
        yield str(status), {"description": text, "content": content, **operation.more}

    for status in sorted(operation.problems):
        holds = operation.empty if status == 422 else Problem
        answer: dict[str, Any] = {
            "description": _PROBLEMS[status],
            "content": {CONTENT_TYPE: {"schema": _schema(holds)}},
        }
        if status == 503:
            answer["headers"] = {"Retry-After": _RETRY_AFTER}
        yield str(status), answer


def _media(body: Body) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": _schema(body.holds)}
    if body.example is not None:
        media["example"] = body.example
    if body.encoding is not None:
        media["encoding"] = body.encoding
    return media


def _schema(holds: Holds) -> Schema:
    if isinstance(holds, dict):
        return holds
    references = [{"$ref": _REFERENCE.format(model=model.__name__)} for model in _models(holds)]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _models(holds: Holds) -> tuple[type[BaseModel], ...]:
    if isinstance(holds, dict):
        return ()
    return get_args(holds) or (holds,)


def _schemas(operations: Sequence[Operation], dataset: Dataset) -> dict[str, Any]:
    """Return the schemas of all that comes in and goes out, by name."""
    answers: dict[type[BaseModel], None] = {Problem: None}
    requests: dict[type[BaseModel], None] = {}
    for operation in operations:
        for _, held in operation.answers.values():
            answers |= dict.fromkeys(model for holds in held.values() for model in _models(holds))
        answers[operation.empty] = None
        requests |= dict.fromkeys(
            model for body in operation.body.values() for model in _models(body.holds)
        )

    models: list[Any] = [(model, "serialization") for model in answers]
    models += [(model, "validation") for model in requests]
    _, found = models_json_schema(models, ref_template=_REFERENCE, schema_generator=_Untitled)
    application = {name: value for name, value in json_schema(dataset).items() if name != "$schema"}
    schemas: dict[str, Any] = {"Application": application, **found["$defs"]}
    _add_inputs(schemas[LoggedDecision.__name__], application, dataset)
    return schemas


def _add_inputs(logged: dict[str, Any], application: dict[str, Any], dataset: Dataset) -> None:
    """Name the inputs of a logged decision; each may be null, as an earlier definition's."""
    properties = application["properties"]
    null = {"type": "null"}
    logged["properties"] |= {n: {"anyOf": [properties[n], null]} for n in dataset.names}
    logged["required"] += dataset.names
