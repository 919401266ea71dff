"""The JSON Schema of one application."""

from typing import Any

from credit_risk.schema.attributes import (
    ATTRIBUTES,
    BAD,
    CLIENT_ID,
    GOOD,
    LABEL,
    MAX_CLIENT_ID,
    SCORED,
)
from credit_risk.schema.code_book import MEANINGS


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one application."""
    properties: dict[str, Any] = {}
    for a in ATTRIBUTES:
        title = f"{a.label} ({a.unit})" if a.unit else a.label
        schema: dict[str, Any] = {"title": title}

        if a.kind == "number":
            schema |= {"type": "integer", "minimum": a.minimum, "maximum": a.maximum}
        else:
            schema |= {"type": "string", "enum": list(a.categories)}

        notes = ["Never scored; may be absent."] if a.protected else []
        if a.name in MEANINGS:
            # With a form that shows only the labels, clerks would record the opposite of what a
            # client says.
            meant = "; ".join(f"{value}: {words}" for value, words in MEANINGS[a.name].items())
            notes.append(
                f"What the values stand for in the training data (Grömping 2019): {meant}."
            )
        if notes:
            schema["description"] = " ".join(notes)
        properties[a.name] = schema

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
        "required": list(SCORED),
    }
