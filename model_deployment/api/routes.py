"""The JSON API, `/api/v1`."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

from flask import Blueprint, Response, jsonify, request, send_file
from pydantic import ValidationError
from werkzeug.datastructures import FileStorage

from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcomes import outcomes
from credit_risk.decision_log.overrides import MAX_TEXT, NoSuchDecision, NotAllowed, override, overrides, standing
from credit_risk.registry.registry import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.attributes import RED
from credit_risk.schema.json_schema import json_schema
from credit_risk.scoring.model import NotExplainable
from credit_risk.scoring.stored import ModelRefused
from model_deployment.api.json_body import SMALL, check_size, parse
from model_deployment.api.openapi import MAX_KEY
from model_deployment.api.schemas import OverrideRequest
from model_deployment.api.serializers import body, explained, head, inputs, rejected, taken
from model_deployment.files.export import rejected_rows
from model_deployment.files.formats import Upload
from model_deployment.http.asking import FILES, RESULT, asking, note, own, user
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import content
from model_deployment.outcomes import taken_from
from model_deployment.scoring.batches import TYPES, exported
from model_deployment.scoring.live_model import Production
from model_deployment.scoring.service import CHANGES, REASONS, Scored, Scoring

MAX_NAME = 200
MAX_HEADER = 4_000
PRIVATE = {"Cache-Control": "no-store"}


def blueprint(scoring: Scoring, production: Production, log: DecisionLog) -> Blueprint:
    """Return the API's routes."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.post("/files")
    def files() -> Response:
        """Decide on a CSV, Excel or Parquet file."""
        note("files")
        sent, extras = _file(), extras_of(request.args)
        if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
            batch, result = scoring.result(sent, caller=asking(), key=_key())
            note("files", batch.id)
            return _as_csv(batch, result)
        scored = scoring.file(sent, caller=asking(), key=_key(), extras=extras)
        note("files", scored.batch.id)
        if request.args.get("decisions") != "none":
            return _answer(scored, extras)
        # The page reads decisions as it shows them, and offers the rejected rows to be mended.
        applications = scored.batch.applications
        again = rejected_rows(sent, applications)
        refuse_empty(scored.batch, again)
        members = {"warnings": applications.warnings, **again}
        return jsonify(head(scored.batch) | rejected(scored.batch) | members)

    @api.route("/batches/<id>.<form>", methods=["GET", "POST"])
    def batch(id: str, form: str) -> Response:
        """Return a batch as CSV or Excel; who posts its file again gets that one's other columns too."""
        note("export", id)
        if form not in TYPES:
            raise Problem(404, "not-found", f"A batch can be had as {' or '.join(TYPES)}, not as {form}.")
        record = own(log).batch(id)
        if record is None:
            raise Problem(404, "not-found", f"There is no batch {id}.")
        upload = _file() if request.method == "POST" else None
        content = exported(log, production, record, form, upload)
        named = f"{(record.source or 'decisions').rsplit('.', 1)[0]}-result.{form}"
        return send_file(io.BytesIO(content), TYPES[form], as_attachment=True, download_name=named)

    @api.get("/decisions/<id>")
    def decision(id: str) -> Response:
        """Return a decision: inputs, overrides, outcomes; with its reasons where its version can still be had."""
        note("decision", id)
        found = _decision(own(log), id)
        record = log.batch(found["batch"])
        assert record is not None
        overridden = overrides(log, id)
        found["time"] = found["time"].isoformat()
        found |= {
            "source": record.source,
            "caller": record.caller,
            "kind": record.kind,
            "threshold": record.threshold,
            "base_rate": record.base_rate,
        }
        found |= {"standing": standing(found, overridden), "overrides": [_event(one) for one in overridden]}
        told = outcomes(log, id)
        found["outcomes"] = [{name: one[name] for name in ("outcome", "date", "number", "caller")} for one in told]
        return jsonify(found | _explained(production, found, record.digest))

    @api.post("/decisions/<id>/override")
    def set_override(id: str) -> Response:
        """Set a decision to the other colour: `{"prediction", "by", "reason"}`; `by` is who a known proxy says."""
        note("override", id)
        sent = parse(_json_body(), "object with prediction, by and reason", SMALL)
        if isinstance(sent, dict) and (who := user()):
            sent["by"] = who
        try:
            given = OverrideRequest.model_validate(sent)
            event = override(own(log), id, given.prediction, given.by, given.reason, str(asking()))
        except ValidationError:
            detail = (
                f"Send an object with prediction (green or red), by and reason: texts of 1 to {MAX_TEXT:,} characters."
            )
            raise Problem(422, "invalid-override", detail) from None
        except NoSuchDecision as error:
            raise Problem(404, "not-found", f"{error}.") from None
        except NotAllowed as error:
            raise Problem(422, "invalid-override", f"{error}.") from None
        answer = jsonify(id=id, standing=event["prediction"], **_event(event))
        answer.status_code = 201
        return answer

    @api.post("/outcomes")
    def tell_outcomes() -> Response:
        """Take what became of clients: a file of decision or client, outcome and date."""
        note("outcomes")
        sent = _outcome_file()
        found = taken_from(sent, own(log), caller=str(asking()))
        note("outcomes", found.upload)
        if found.n_added or found.n_known or not found.faults:
            return jsonify(taken(found))
        detail = found.faults[0].message if len(found.faults) == 1 else "No row could be taken."
        raise Problem(422, "nothing-taken", detail, members=taken(found))

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
            alias_agrees=production.alias_agrees,
            notice=production.trouble or None,
        )

    @api.get("/schema")
    def schema() -> Response:
        """Return the JSON Schema of one application."""
        return Response(json.dumps(json_schema()), content_type="application/schema+json")

    @api.after_request
    def keep_private(response: Response) -> Response:
        response.headers.update(PRIVATE)
        return response

    return api


def _answer(scored: Scored, extras: frozenset[str]) -> Response:
    """Return a committed batch as the contract has it; a problem where no row was decided."""
    batch = scored.batch
    refuse_empty(batch)
    return jsonify(body(batch, scored.scorer, extras))


def _as_csv(batch: Batch, result: IO[bytes]) -> Response:
    refuse_empty(batch)
    length = result.tell()
    result.seek(0)
    request.environ[RESULT] = result  # which is sent on without a thread that would wait for the client
    response = Response(mimetype="text/csv")
    response.content_length = length
    response.headers["Batch"] = batch.id
    response.headers["Rows-Rejected"] = str(batch.applications.n_rejected)
    response.headers["Warnings"] = _in_header(batch.applications.warnings)
    return response


def _in_header(warnings: Sequence[str]) -> str:
    """Return as many of the warnings as a header may hold, as JSON, which is ASCII."""
    kept = list(warnings)
    while len(text := json.dumps(kept)) > MAX_HEADER:
        kept.pop()
    return text


def refuse_empty(batch: Batch, more: dict[str, Any] | None = None) -> None:
    """Raise a problem where no row was decided, with `more` members."""
    if len(batch.applications):
        return
    faults = batch.applications.faults
    detail = faults[0].message if len(faults) == 1 else "No row could be decided on."
    members = head(batch) | {"decisions": [], **rejected(batch), "warnings": batch.applications.warnings}
    raise Problem(422, "nothing-decided", detail, members=members | (more or {}))


def extras_of(query: Mapping[str, str]) -> frozenset[str]:
    """Return what a request asks for beside the decisions: `?reasons=true&what_would_change_it=true`."""
    return frozenset(name for name in (REASONS, CHANGES) if query.get(name, "no").lower() in ("true", "1", ""))


def _key() -> str | None:
    return key_of(request.headers.get("Idempotency-Key"))


def key_of(key: str | None) -> str | None:
    """Return an idempotency key as it came, if it is one.

    Raises
    ------
    Problem
        When it is empty or too long.
    """
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise Problem(400, "bad-key", f"An Idempotency-Key has 1 to {MAX_KEY} characters.")
    return key


def _file(what: str = "the file") -> Upload:
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "unsupported-type", f"Send {what} as multipart/form-data, in a field named 'file'.")
    sent: list[FileStorage] = request.environ[FILES]
    if len(sent) != 1:
        raise Problem(400, "not-one-file", f"The form has {len(sent)} files in a field named 'file'; send one.")
    return Upload(content(sent[0]), _name(sent[0].filename))


def _outcome_file() -> Upload:
    if request.mimetype == "text/csv":
        return Upload(request.get_data())
    return _file("a CSV as text/csv, or")


def _json_body() -> bytes:
    if not request.is_json:
        raise Problem(415, "unsupported-type", "Send JSON, as application/json.")
    check_size(request.content_length or 0, SMALL)
    return request.get_data()


def _decision(log: DecisionLog, id: str) -> dict[str, Any]:
    found = log.decision(id)
    if found is None:
        raise Problem(404, "not-found", f"There is no decision {id}.")
    return found


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in ("prediction", "by", "reason", "time", "caller")}


def _explained(production: Production, decision: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return the reasons for a logged decision and what would change it; None where its version is not to be had."""
    try:
        scorer = production.scorer(decision["model_version"], digest)
        codes = inputs(decision)
        red = [decision["prediction"] == RED]
        return {extra: explained(scorer, codes, red, extra)[0] for extra in (REASONS, CHANGES)}
    except (RegistryUnavailable, NoSuchVersion, ModelRefused, NotExplainable):
        return {REASONS: None, CHANGES: None}


def _name(filename: str | None) -> str | None:
    """Return the last part of an uploaded file's name, printable and short."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:MAX_NAME] or None
