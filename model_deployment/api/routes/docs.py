"""The API's description: as JSON for programs, and as a page for people."""

import json
import re
from typing import Any

from flask import Blueprint, Response, jsonify, render_template
from markupsafe import Markup, escape

from model_deployment.api.operation import JSON, PREFIX, Operation

DOCUMENT = Operation(
    "get",
    f"{PREFIX}/openapi.json",
    "openapi",
    "This description",
    "OpenAPI 3.1. Needs no key.",
    {200: ("The description.", {JSON: {"type": "object"}})},
    (400, 500),
    public=True,
)
PAGE = Operation(
    "get",
    f"{PREFIX}/docs",
    "docs",
    "This description to read",
    "A page. Needs no key.",
    {200: ("The page.", {"text/html": {"type": "string"}})},
    (400, 500),
    public=True,
)

_REF = "#/components/schemas/"


def register(docs: Blueprint, described: dict[str, Any]) -> None:
    """Add the routes; `described` is the description."""

    @DOCUMENT.route(docs)
    def openapi() -> Response:
        """Return the description as OpenAPI 3.1."""
        return jsonify(described)

    @PAGE.route(docs)
    def page() -> Response:
        """Return the description as a page."""
        text = render_template("api.html", api=described, words=words, coded=coded, pretty=pretty)
        return Response(text)


def pretty(example: Any) -> str:
    """Return an example as people read it."""
    if isinstance(example, str):
        return example
    return json.dumps(example, indent=2, ensure_ascii=False)


def coded(text: str) -> Markup:
    """Return a text as HTML, with everything in backticks as code."""
    escaped = str(escape(text))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))  # noqa: S704


def words(schema: dict[str, Any]) -> Markup:
    """Return what a JSON Schema allows, in words, as HTML with links to other schemas."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return Markup('<a href="#{0}">{0}</a>').format(name)

    if "anyOf" in schema:
        return Markup(" or ").join(words(one) for one in schema["anyOf"])

    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(", ").join(map(_value, values))

    if schema.get("type") == "array":
        return Markup("list of {}").format(words(schema.get("items", {})))

    kind = schema.get("type", "anything")
    text = " or ".join(kind) if isinstance(kind, list) else kind
    if "format" in schema:
        text += f" ({schema['format']})"
    return escape(text + _bounds(schema))


def _value(value: object) -> Markup:
    return Markup("null") if value is None else Markup("<code>{}</code>").format(value)


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", {low:,} or more"
    return f", at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""
