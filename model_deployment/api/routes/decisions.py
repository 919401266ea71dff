"""A decision: read it, or set another one in its place."""

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import ValidationError

from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcomes import outcomes
from credit_risk.decision_log.overrides import (
    MAX_TEXT,
    current_prediction,
    override,
    overrides,
)
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.attributes import RED
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.stored import ModelRefused
from model_deployment.api.json_body import SMALL, parse
from model_deployment.api.operation import (
    JSON,
    PREFIX,
    READ,
    WRITE,
    Body,
    Operation,
    path_parameter,
)
from model_deployment.api.request_data import sent_json
from model_deployment.api.schemas import LoggedDecision, Overridden, OverrideRequest
from model_deployment.api.serializers import as_decided, explained, inputs
from model_deployment.http.asking import asking, note, own, user
from model_deployment.http.problem import Problem
from model_deployment.scoring.live_model import LiveModel
from model_deployment.scoring.service import CHANGES, REASONS

_ID = path_parameter("id", "Of a decision, as answers, exports and the log have it.")
_OVERRIDE = ("prediction", "by", "reason", "time", "caller")
_OUTCOME = ("outcome", "date", "number", "caller")

DECISION = Operation(
    "get",
    f"{PREFIX}/decisions/{{id}}",
    "decision",
    "Read a decision",
    "Its inputs, overrides and outcomes; its reasons, where the version that decided is still "
    "available.",
    {200: ("The decision.", {JSON: LoggedDecision})},
    (*READ, 404, 503),
    (_ID,),
    permission="read",
)
OVERRIDE = Operation(
    "post",
    f"{PREFIX}/decisions/{{id}}/override",
    "override",
    "Set a decision to the other colour",
    "Both decisions are kept; the last override stands.",
    {201: ("The override is stored.", {JSON: Overridden})},
    (*WRITE, 404),
    (_ID,),
    {
        JSON: Body(
            OverrideRequest,
            {"prediction": "green", "by": "Ann Example", "reason": "A guarantor signed today"},
        )
    },
    permission="override",
)


def register(api: Blueprint, production: LiveModel, log: DecisionLog) -> None:
    """Add the routes."""

    @DECISION.route(api)
    def decision(id: str) -> Response:
        """Return a decision, with its reasons where its version is available."""
        note("decision", id)
        return jsonify(_logged(own(log), production, id))

    @OVERRIDE.route(api)
    def set_override(id: str) -> Response:
        """Set a decision to the other colour; `by` is the user's name, where there is one."""
        note("override", id)
        sent = parse(sent_json(), "object with prediction, by and reason", SMALL)
        if isinstance(sent, dict) and (name := user()):
            sent["by"] = name
        event = _override(own(log), id, sent)

        stored = Overridden(id=id, standing=event["prediction"], **_part(event, _OVERRIDE))
        answer = jsonify(stored.model_dump())
        answer.status_code = 201
        return answer


def _decision(log: DecisionLog, id: str) -> dict[str, Any]:
    found = log.decision(id)
    if found is None:
        raise Problem(404, "not-found", f"There is no decision {id}.")
    return found


def _logged(log: DecisionLog, production: LiveModel, id: str) -> dict[str, Any]:
    found = _decision(log, id)
    record = log.batch(found["batch"])
    assert record is not None
    overridden = overrides(log, id)

    return {
        **found,
        "time": found["time"].isoformat(),
        "source": record.source,
        "caller": record.caller,
        "branch": record.branch,
        "kind": record.kind,
        "threshold": record.threshold,
        "base_rate": record.base_rate,
        "standing": current_prediction(found, overridden),
        "overrides": [_part(event, _OVERRIDE) for event in overridden],
        "outcomes": [_part(event, _OUTCOME) for event in outcomes(log, id)],
        **_explained(log, production, found, record.digest),
    }


def _explained(
    log: DecisionLog, production: LiveModel, decision: dict[str, Any], digest: str
) -> dict[str, Any]:
    """Return the reasons for a logged decision and what would change it.

    Both are None where its version is unavailable.
    """
    try:
        scorer = production.scorer(decision["model_version"], digest)
        codes = inputs(as_decided(decision, scorer.dataset, log), scorer.dataset)
        red = [decision["prediction"] == RED]
        labels = production.labels
        return {
            extra: explained(scorer, codes, red, extra, labels)[0] for extra in (REASONS, CHANGES)
        }
    except (RegistryUnavailable, NoSuchVersion, ModelRefused, NotExplainable):
        return {REASONS: None, CHANGES: None}


def _override(log: DecisionLog, id: str, sent: object) -> dict[str, Any]:
    try:
        given = OverrideRequest.model_validate(sent)
        return override(log, id, given.prediction, given.by, given.reason, str(asking()))
    except ValidationError:
        detail = (
            "Send an object with prediction (green or red), by and reason: "
            f"texts of 1 to {MAX_TEXT:,} characters."
        )
        raise Problem(422, "invalid-override", detail) from None


def _part(event: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: event.get(name) for name in names}
