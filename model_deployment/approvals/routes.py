"""The API: `GET /api/v1/versions`, a POST for each action, and answers for a proxy in front.

`GET /authorize/TOOL` says whether the caller may reach a tool: 204, or the refusal. A proxy asks it
before it passes a request on (Caddy's `forward_auth`, nginx' `auth_request`).
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import ValidationError

from credit_risk.access.policy import METRICS, AccessDenied
from credit_risk.access.roles import Permission
from credit_risk.registry.approval_log import Approval
from model_deployment.approvals.actions import ACTIONS, Action, Desk, Wanted
from model_deployment.approvals.versions import Listed, overview
from model_deployment.http.access import refused
from model_deployment.http.asking import ENTRY, asking, note
from model_deployment.http.problem import Problem

PREFIX = "/api/v1"
VERSIONS = f"{PREFIX}/versions"
JSON = "application/json"
TOOLS: dict[str, Permission] = {
    "mlflow": "mlflow",
    "prefect": "prefect",
    "prometheus": "prometheus",
    "grafana": "grafana",
    "reports": "reports",
}
PERMISSIONS: dict[str, Permission] = {
    VERSIONS: "versions",
    METRICS: "metrics",
    **{f"{PREFIX}/{action.route}": action.permission for action in ACTIONS},
    **{f"/authorize/{tool}": permission for tool, permission in TOOLS.items()},
}


def blueprint(desk: Desk, counts: CollectorRegistry) -> Blueprint:
    """Return the routes.

    Parameters
    ----------
    counts : CollectorRegistry
        What `/metrics` serves.
    """
    api = Blueprint("api", __name__)

    @api.get(VERSIONS)
    def versions() -> Response:
        """Return the versions, and what each takes to become Production."""
        note("versions")
        found = overview(desk.registry, desk.log, needs_two=desk.needs_two)
        return jsonify(
            needs_two=desk.needs_two,
            deciding=found.deciding.version if found.deciding else None,
            versions=[_version(version) for version in found.versions],
        )

    for action in ACTIONS:
        rule = f"{PREFIX}/{action.route}"
        api.add_url_rule(rule, action.route, _view(desk, action), methods=["POST"])
    for tool in TOOLS:
        api.add_url_rule(f"/authorize/{tool}", f"authorize-{tool}", _admission(tool))

    @api.get(METRICS)
    def metrics() -> Response:
        """Return the counts."""
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return Response(generate_latest(counts), content_type=content_type)

    return api


def check_proven() -> None:
    """Refuse the request under way unless a token proves who sends it.

    Raises
    ------
    Problem
    """
    caller = asking()
    if not caller.is_proven:
        detail = "This is for people whose token says who they are."
        denied = AccessDenied(403, "not-permitted", detail, caller)
        raise refused(denied, request.environ[ENTRY])


def parsed(action: Action, read: Callable[[type[Wanted]], Wanted]) -> Wanted:
    """Return what an action takes, as a function reads it from the request.

    Raises
    ------
    Problem
        When it is something else.
    """
    try:
        return read(action.takes)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        detail = f"{where}: {fault['msg']}" if where else str(fault["msg"])
        raise Problem(422, "invalid", detail) from None


def _view(desk: Desk, action: Action) -> Callable[[], tuple[Response, int]]:
    def act() -> tuple[Response, int]:
        note(action.name)
        check_proven()
        # A page of another site cannot send this type without asking first.
        if request.mimetype != JSON:
            raise Problem(415, "unsupported-type", f"Send {JSON}.")
        wanted = parsed(action, lambda model: model.model_validate_json(request.get_data()))
        done = desk.do(action, asking(), wanted)
        return jsonify(message=done.message, **done.members), 201

    return act


def _admission(tool: str) -> Callable[[], Response]:
    def admit() -> Response:
        """Answer that the caller may pass: the access policy has refused all without the role."""
        note(tool)
        check_proven()
        return Response(status=204)

    return admit


def _version(version: Listed) -> dict[str, Any]:
    return {
        "version": version.number,
        "digest": version.digest,
        "registered": version.registered.isoformat(),
        "gate": version.gate,
        "gate_failure": version.failure or None,
        "decides": version.decides,
        "trained_by": list(version.review.trained_by),
        "proposals": [_entry(entry) for entry in version.review.proposals],
        "approvals": [_entry(entry) for entry in version.review.approvals],
        "missing": version.missing or None,
    }


def _entry(entry: Approval) -> dict[str, Any]:
    time = entry.time.isoformat() if entry.time else None
    return {"by": entry.by, "reason": entry.reason, "time": time, "forced": entry.forced}
