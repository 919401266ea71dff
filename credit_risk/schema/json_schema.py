"""The JSON Schema of one application."""

from typing import Any

from credit_risk.schema.attributes import (
    BAD,
    CLIENT_ID,
    GOOD,
    LABEL,
    MAX_CLIENT_ID,
    Attribute,
)
from credit_risk.schema.dataset import Dataset


def json_schema(dataset: Dataset) -> dict[str, Any]:
    """Return the JSON Schema of one application."""
    properties = {a.name: _property(a, dataset.meanings_from) for a in dataset.attributes}
    properties[CLIENT_ID] = {
        "title": "Client",
        "type": ["string", "null"],
        "maxLength": MAX_CLIENT_ID,
        "description": "Handed back with the decision; never a model input.",
    }
    properties[LABEL] = {
        "title": "Outcome, where known",
        "enum": [GOOD, BAD, None],
        "description": (
            "Stored as label; never shown to the model. Another value is left out, with a warning."
        ),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Credit application",
        "type": "object",
        "properties": properties,
        "required": [a.name for a in dataset.attributes if not a.may_be_absent],
    }


def _property(attribute: Attribute, source: str) -> dict[str, Any]:
    """Return the schema of one attribute; `source` is who says what its values mean."""
    a = attribute
    schema: dict[str, Any] = {"title": a.title}
    if a.categories:
        schema |= {"type": "string", "enum": list(a.categories)}
    else:
        kind = "number" if a.decimals else "integer"
        schema |= {"type": kind, "minimum": a.minimum, "maximum": a.maximum}
    if a.missing:
        schema |= {"type": [schema["type"], "null"]}
        schema |= {"enum": [*schema["enum"], None]} if a.categories else {}

    notes = ["Never scored; may be absent."] if a.protected else []
    notes += ["May be absent."] if a.missing and not a.protected else []
    values = a.categories or tuple(map(str, a.classes)) if a.has_meanings else ()
    if values:
        # With a form that shows only the labels, clerks would record the opposite of what a client
        # says.
        meant = "; ".join(f"{value}: {a.meaning(value) or value}" for value in values)
        cited = f" ({source})" if source else ""
        notes.append(f"What the values stand for in the training data{cited}: {meant}.")
    if notes:
        schema["description"] = " ".join(notes)
    return schema
