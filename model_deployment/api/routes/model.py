"""The model that serves, and what it takes."""

import json

from flask import Blueprint, Response, jsonify

from credit_risk.schema.json_schema import json_schema
from model_deployment.api.operation import JSON, PREFIX, READ, Operation
from model_deployment.api.schemas import Model
from model_deployment.scoring.live_model import LiveModel

_JSON_SCHEMA = "application/schema+json"

MODEL = Operation(
    "get",
    f"{PREFIX}/model",
    "model",
    "Which model serves",
    "Its version, the digest of its file, who approved it and when.",
    {200: ("The Production model.", {JSON: Model})},
    (*READ, 503),
    permission="model",
)
SCHEMA = Operation(
    "get",
    f"{PREFIX}/schema",
    "schema",
    "The JSON Schema of an application",
    "The same as `Application` below.",
    {200: ("The schema.", {_JSON_SCHEMA: {"type": "object"}})},
    READ,
    permission="model",
)


def register(api: Blueprint, production: LiveModel) -> None:
    """Add the routes."""

    @MODEL.route(api)
    def model() -> Response:
        """Return which model serves."""
        serving = production.require()
        approval = serving.approval
        served = Model(
            version=serving.version,
            digest=serving.digest,
            approved_by=approval.by,
            approved_at=approval.time.isoformat() if approval.time else None,
            alias_agrees=production.alias_agrees,
            notice=production.status_message or None,
        )
        return jsonify(served.model_dump())

    @SCHEMA.route(api)
    def schema() -> Response:
        """Return the JSON Schema of one application."""
        return Response(json.dumps(json_schema(production.dataset)), content_type=_JSON_SCHEMA)
