"""The JSON API, `/api/v1`."""

import json
from typing import Any

from flask import Blueprint, Response, jsonify, request

from credit_risk.application import json_schema
from credit_risk.decisions import GREEN, RED, Batch
from credit_risk.sheet import Unreadable
from model_deployment.export import result_csv
from model_deployment.problems import Problem
from model_deployment.scoring import Scoring
from model_deployment.serving import Production

MAX_NAME = 200


def blueprint(scoring: Scoring, production: Production) -> Blueprint:
    """Return the API's routes."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.post("/score")
    def score() -> Response:
        """Decide on a JSON list of applications."""
        if not request.is_json:
            raise Problem(415, "unsupported-type", "Send a JSON list of applications, as application/json.")
        return _answer(scoring.rows(_json(request.get_data())))

    @api.post("/files")
    def files() -> Response:
        """Decide on a CSV of applications; `?decisions=csv` has `decisions` as the text of a CSV with all columns."""
        if request.mimetype != "multipart/form-data":
            raise Problem(415, "unsupported-type", "Send the file as multipart/form-data, in a field named 'file'.")
        sent = request.files.getlist("file")
        if len(sent) != 1:
            detail = f"The form has {len(sent)} files in a field named 'file'; send one."
            raise Problem(400, "not-one-file", detail)
        as_csv = request.args.get("decisions") == "csv"
        return _answer(scoring.file(sent[0].read(), _name(sent[0].filename)), as_csv=as_csv)

    @api.get("/model")
    def model() -> Response:
        """Tell which model serves."""
        serving = production.require()
        approval = serving.approval
        return jsonify(
            version=serving.version,
            digest=serving.digest,
            approved_by=approval.by,
            approved_at=approval.time.isoformat() if approval.time else None,
        )

    @api.get("/schema")
    def schema() -> Response:
        """Return the JSON Schema of one application."""
        return Response(json.dumps(json_schema()), content_type="application/schema+json")

    @api.after_request
    def keep_private(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    return api


def _answer(batch: Batch, *, as_csv: bool = False) -> Response:
    """Return a committed batch as the contract has it; a problem where no row was decided."""
    applications = batch.applications
    body = {
        "batch": batch.id,
        "model_version": batch.model_version,
        "n_decided": len(applications),
        "n_rejected": applications.n_rejected,
        "decisions": result_csv(batch).decode() if as_csv else _decisions(batch),
        "rejected": [fault.as_dict() for fault in applications.faults],
        "warnings": applications.warnings,
    }
    if not len(applications):
        detail = applications.faults[0].message if len(applications.faults) == 1 else "No row could be decided on."
        raise Problem(422, "nothing-decided", detail, members=body | {"decisions": []})
    return jsonify(body)


def _decisions(batch: Batch) -> list[dict[str, Any]]:
    applications, decided = batch.applications, batch.decided
    warnings = applications.row_warnings
    return [
        {
            "id": batch.decision_id(row),
            "row": row,
            "client_id": applications.client_id[i],
            "prediction": RED if red else GREEN,
            "risk": risk,
            "confidence": confidence,
            "warnings": warnings.get(i, []),
        }
        for i, (row, red, risk, confidence) in enumerate(
            zip(
                applications.rows.tolist(),
                decided.red.tolist(),
                decided.risk.tolist(),
                decided.confidence.tolist(),
                strict=True,
            )
        )
    ]


def _json(data: bytes) -> object:
    """Parse a JSON body strictly: UTF-8, no NaN, no name twice, nothing that is no text."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_constant, object_pairs_hook=_once)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text, and no log takes it
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The body is no JSON list of applications: {_why(error)}.") from None
    return value


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("an object has the same name twice")
    return found


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not UTF-8 text" if isinstance(error, UnicodeError) else "a number has too many digits"


def _name(filename: str | None) -> str | None:
    """Return the last part of an uploaded file's name, printable and short."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:MAX_NAME] or None
