"""The API's description where programs and people find it: as JSON, and as a page made of it on the server."""

import json
import re
from typing import Any

from flask import Blueprint, Response, jsonify, render_template
from markupsafe import Markup, escape

from model_deployment.api.openapi import DOCUMENT, PAGE, document

_REF = "#/components/schemas/"


def blueprint(limit: int) -> Blueprint:
    """Return the two addresses.

    Parameters
    ----------
    limit : int
        Most bytes of a request body.
    """
    docs = Blueprint("docs", __name__)
    described = document(limit)

    @docs.get(DOCUMENT)
    def openapi() -> Response:
        """Return the description as OpenAPI 3.1."""
        return jsonify(described)

    @docs.get(PAGE)
    def page() -> Response:
        """Return the description as a page."""
        return Response(render_template("api.html", api=described, words=words, coded=coded, pretty=pretty))

    return docs


def pretty(example: Any) -> str:
    """Return an example as people read it."""
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)


def coded(text: str) -> Markup:
    """Return a text as HTML, what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def words(schema: dict[str, Any]) -> Markup:
    """Return what a JSON Schema allows, in words, as HTML with links to other schemas."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(words(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(", ").join(
            Markup("null") if value is None else Markup("<code>{}</code>").format(value) for value in values
        )
    if schema.get("type") == "array":
        return Markup("list of {}").format(words(schema.get("items", {})))
    kind = schema.get("type", "anything")
    said = " or ".join(kind) if isinstance(kind, list) else kind
    if "format" in schema:
        said += f" ({schema['format']})"
    return escape(said + _bounds(schema))


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", {low:,} or more"
    return f", at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""
