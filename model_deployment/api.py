"""The JSON API, `/api/v1`."""

import io
import json
from typing import IO, Any

from flask import Blueprint, Response, jsonify, request, send_file
from pydantic import ValidationError

from credit_risk.application import json_schema
from credit_risk.decisions import RED, Batch, DecisionLog
from credit_risk.model import NotExplainable
from credit_risk.outcomes import outcomes, take
from credit_risk.overrides import MAX_TEXT, NoSuchDecision, NotAllowed, override, overrides, standing
from credit_risk.registry import DigestMismatch, NoSuchVersion, RegistryUnavailable
from credit_risk.sheet import Unreadable
from model_deployment.answer import CHANGES, REASONS, body, explained, head, inputs, rejected, taken
from model_deployment.batches import TYPES, exported
from model_deployment.export import rejected_csv
from model_deployment.formats import Upload
from model_deployment.guard import user
from model_deployment.openapi import MAX_KEY
from model_deployment.problems import Problem
from model_deployment.receiving import content
from model_deployment.scoring import Scored, Scoring
from model_deployment.serving import Production
from model_deployment.shapes import OverrideRequest

MAX_NAME = 200
PRIVATE = {"Cache-Control": "no-store"}


def blueprint(scoring: Scoring, production: Production, log: DecisionLog) -> Blueprint:
    """Return the API's routes."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.post("/score")
    def score() -> Response:
        """Decide on a JSON list of applications."""
        data, extras = _json_body(), _extras()
        scored = scoring.rows(data, parse(data), key=_key(), explain=bool(extras))
        return _answer(scored, extras)

    @api.post("/files")
    def files() -> Response:
        """Decide on a CSV, Excel or Parquet file."""
        sent, extras = _file(), _extras()
        if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
            return _as_csv(*scoring.result(sent, key=_key()))
        scored = scoring.file(sent, key=_key(), explain=bool(extras))
        if request.args.get("decisions") != "none":
            return _answer(scored, extras)
        # The page reads decisions as it shows them, and offers the rejected rows to be mended.
        applications = scored.batch.applications
        again = rejected_csv(sent.csv, applications).decode() if applications.n_rejected else None
        refuse_empty(scored.batch, {"rejected_csv": again})
        members = {"rejected": rejected(scored.batch), "warnings": applications.warnings, "rejected_csv": again}
        return jsonify(head(scored.batch) | members)

    @api.route("/batches/<id>.<form>", methods=["GET", "POST"])
    def batch(id: str, form: str) -> Response:
        """Return a batch as CSV or Excel; who posts its file again gets that one's other columns too."""
        if form not in TYPES:
            raise Problem(404, "not-found", f"A batch can be had as {' or '.join(TYPES)}, not as {form}.")
        record = log.batch(id)
        if record is None:
            raise Problem(404, "not-found", f"There is no batch {id}.")
        upload = _file() if request.method == "POST" else None
        content = exported(log, production, record, form, upload)
        named = f"{(record.source or 'decisions').rsplit('.', 1)[0]}-result.{form}"
        return send_file(io.BytesIO(content), TYPES[form], as_attachment=True, download_name=named)

    @api.get("/decisions/<id>")
    def decision(id: str) -> Response:
        """Return a decision: inputs, overrides, outcomes; with its reasons where its version can still be had."""
        found = _decision(log, id)
        record = log.batch(found["batch"])
        assert record is not None
        overridden = overrides(log, id)
        found["time"] = found["time"].isoformat()
        found |= {
            "source": record.source,
            "kind": record.kind,
            "threshold": record.threshold,
            "base_rate": record.base_rate,
        }
        found |= {"standing": standing(found, overridden), "overrides": [_event(one) for one in overridden]}
        told = outcomes(log, id)
        found["outcomes"] = [{name: one[name] for name in ("outcome", "date", "number")} for one in told]
        return jsonify(found | _explained(production, found, record.digest))

    @api.post("/decisions/<id>/override")
    def set_override(id: str) -> Response:
        """Set a decision to the other colour: `{"prediction", "by", "reason"}`; `by` is who a known proxy says."""
        sent = parse(_json_body(), "object with prediction, by and reason")
        if isinstance(sent, dict) and (who := user()):
            sent["by"] = who
        try:
            given = OverrideRequest.model_validate(sent)
            event = override(log, id, given.prediction, given.by, given.reason)
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
        """Take what became of clients: a CSV of decision or client, outcome and date."""
        sent = _outcome_file()
        found = take(log, sent.data, sent.name)
        if found.n_added or found.n_known:
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
    response = send_file(result, mimetype="text/csv")  # gunicorn has the system copy it from file to socket
    response.content_length = length
    response.headers["Batch"] = batch.id
    response.headers["Rows-Rejected"] = str(batch.applications.n_rejected)
    return response


def refuse_empty(batch: Batch, more: dict[str, Any] | None = None) -> None:
    """Raise a problem where no row was decided, with `more` members."""
    if len(batch.applications):
        return
    faults = batch.applications.faults
    detail = faults[0].message if len(faults) == 1 else "No row could be decided on."
    members = head(batch) | {"decisions": [], "rejected": rejected(batch), "warnings": batch.applications.warnings}
    raise Problem(422, "nothing-decided", detail, members=members | (more or {}))


def _extras() -> frozenset[str]:
    """Return what a request asks for beside the decisions: `?reasons=true&what_would_change_it=true`."""
    return frozenset(name for name in (REASONS, CHANGES) if request.args.get(name, "no").lower() in ("true", "1", ""))


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
    sent = request.files.getlist("file")
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
    return request.get_data()


def _decision(log: DecisionLog, id: str) -> dict[str, Any]:
    found = log.decision(id)
    if found is None:
        raise Problem(404, "not-found", f"There is no decision {id}.")
    return found


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in ("prediction", "by", "reason", "time")}


def _explained(production: Production, decision: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return the reasons for a logged decision and what would change it; None where its version is not to be had."""
    try:
        scorer = production.scorer(decision["model_version"], digest)
        codes = inputs(decision)
        red = [decision["prediction"] == RED]
        return {extra: explained(scorer, codes, red, extra)[0] for extra in (REASONS, CHANGES)}
    except (RegistryUnavailable, NoSuchVersion, DigestMismatch, NotExplainable):
        return {REASONS: None, CHANGES: None}


def parse(data: bytes, what: str = "list of applications") -> object:
    """Parse a JSON body strictly: UTF-8, no NaN, no name twice, nothing that is no text.

    Raises
    ------
    Unreadable
        When it is not `what` it should be.
    """
    try:
        value = _strict.decode(data.decode())
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text, and no log takes it
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The body is no JSON {what}: {_why(error)}.") from None
    return value


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("an object has the same name twice")
    return found


# `json.loads` would make one for each body.
_strict = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_once)


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
