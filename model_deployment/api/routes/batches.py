"""A batch, read as a file."""

import io

from flask import Blueprint, Response, request, send_file

from credit_risk.decision_log.log import DecisionLog
from model_deployment.api.operation import (
    CSV,
    EXCEL,
    FORM,
    PREFIX,
    READ,
    WRITE,
    Holds,
    Operation,
    file_body,
    path_parameter,
)
from model_deployment.api.request_data import sent_file
from model_deployment.http.asking import note, own
from model_deployment.http.problem import Problem
from model_deployment.scoring.batches import TYPES, exported
from model_deployment.scoring.live_model import LiveModel

_PATH = f"{PREFIX}/batches/{{id}}.{{form}}"
_PARAMETERS = (
    path_parameter("id", "Of a batch, as answers have it."),
    path_parameter("form", "Of the file.", {"enum": list(TYPES)}),
)
_BRANCH = {
    "name": "branch",
    "in": "query",
    "description": "Only if the batch is this branch's; for who sees more than one.",
    "schema": {"type": "string"},
}
_FILE: dict[str, Holds] = {
    CSV: {"type": "string"},
    EXCEL: {"type": "string", "format": "binary"},
}

BATCH = Operation(
    "get",
    _PATH,
    "batch",
    "Read a batch as a file",
    "Decisions, overrides, inputs, reasons, version and ids of what came in one request or file.",
    {200: ("The file.", _FILE)},
    (*READ, 404, 413, 503),
    (*_PARAMETERS, _BRANCH),
    permission="export",
)
BATCH_WITH_ITS_FILE = Operation(
    "post",
    _PATH,
    "batch_with_its_file",
    "Read a batch with the other columns of its file",
    "The log keeps what an application holds. Whoever sends the same file again gets its other "
    "columns back, too.",
    {200: ("The file.", _FILE)},
    (*WRITE, 404),
    _PARAMETERS,
    {FORM: file_body("The file that was decided on.")},
    permission="export",
)


def register(api: Blueprint, production: LiveModel, log: DecisionLog) -> None:
    """Add the routes."""

    @BATCH.route(api)
    @BATCH_WITH_ITS_FILE.route(api)
    def batch(id: str, form: str) -> Response:
        """Return a batch as CSV or Excel."""
        note("export", id)
        if form not in TYPES:
            detail = f"A batch is available as {' or '.join(TYPES)}, not as {form}."
            raise Problem(404, "not-found", detail)
        record = own(log, request.args.get("branch")).batch(id)
        if record is None:
            raise Problem(404, "not-found", f"There is no batch {id}.")

        upload = sent_file() if request.method == "POST" else None
        content = exported(log, production, record, form, upload)
        name = (record.source or "decisions").rsplit(".", 1)[0]
        return send_file(
            io.BytesIO(content),
            TYPES[form],
            as_attachment=True,
            download_name=f"{name}-result.{form}",
        )
