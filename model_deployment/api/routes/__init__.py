"""The routes of the JSON API, `/api/v1`: one resource a module."""

from flask import Blueprint, Response

from credit_risk.access.roles import Permission
from credit_risk.decision_log.log import DecisionLog
from model_deployment.api.openapi import document
from model_deployment.api.operation import JSON, PRIVATE
from model_deployment.api.routes import batches, decisions, docs, files, model, outcomes, score
from model_deployment.scoring.live_model import LiveModel
from model_deployment.scoring.service import Scoring

OPERATIONS = (
    score.SCORE,
    files.FILES,
    batches.BATCH,
    batches.BATCH_WITH_ITS_FILE,
    decisions.DECISION,
    decisions.OVERRIDE,
    outcomes.OUTCOMES,
    model.MODEL,
    model.SCHEMA,
    docs.DOCUMENT,
    docs.PAGE,
)
# What describes the API needs no key: it is read before there is one.
PUBLIC = tuple(operation.path for operation in OPERATIONS if operation.public)


def permissions() -> dict[str, Permission]:
    """Return what each address takes that is not public, by its rule.

    Raises
    ------
    ValueError
        When two operations at one address take different ones: addresses are checked.
    """
    found: dict[str, Permission] = {}
    for operation in OPERATIONS:
        if operation.permission is None:
            continue
        if found.setdefault(operation.rule, operation.permission) != operation.permission:
            raise ValueError(f"{operation.rule} takes two permissions")
    return found


def blueprints(
    scoring: Scoring, production: LiveModel, log: DecisionLog, limit: int, sample: bytes
) -> tuple[Blueprint, Blueprint]:
    """Return all routes but `/score`, which is answered without Flask.

    Parameters
    ----------
    limit : int
        Most bytes of a request body.
    sample : bytes
        A file of clients, of which the first is the example of the description.
    """
    api = Blueprint("api", __name__)
    files.register(api, scoring)
    batches.register(api, production, log)
    decisions.register(api, production, log)
    outcomes.register(api, log)
    model.register(api, production)

    @api.after_request
    def keep_private(response: Response) -> Response:
        response.headers.update(PRIVATE)
        return response

    description = Blueprint("docs", __name__)
    described = document(OPERATIONS, limit, log.dataset)
    scored = described["paths"][score.SCORE.path][score.SCORE.method]["requestBody"]
    scored["content"][JSON]["example"] = [score.example(log.dataset, sample)]
    docs.register(description, described)
    return api, description
