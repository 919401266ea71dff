"""A file of applications, decided on."""

import json
from collections.abc import Sequence
from typing import IO

from flask import Blueprint, Response, jsonify, request

from credit_risk.decision_log.batch import Batch
from model_deployment.api.operation import (
    CSV,
    EXTRAS,
    FORM,
    JSON,
    KEY,
    PREFIX,
    WRITE,
    Operation,
    file_body,
)
from model_deployment.api.request_data import extras_of, sent_file, sent_key
from model_deployment.api.schemas import Decided, DecidedInBrief, NothingDecided
from model_deployment.api.serializers import body, head, refuse_empty, rejected
from model_deployment.files.export import rejected_rows
from model_deployment.http.asking import RESULT, asking, note
from model_deployment.scoring.service import Scoring

# Bytes of the header with the warnings.
MAX_HEADER = 4_000

FILES = Operation(
    "post",
    f"{PREFIX}/files",
    "files",
    "Decide on a file of applications",
    "One client a row, columns named as in `Application`, in any order; others are ignored. Of a "
    "workbook the first visible sheet is read; `warnings` name it, and others that hold such "
    "columns. `Accept: text/csv` asks for the result as a CSV: decisions and inputs, the columns "
    "of an override, which are empty, reasons where they are asked for, and the other columns of "
    "the file.",
    {
        200: (
            "At least one row was decided on.",
            {JSON: Decided | DecidedInBrief, CSV: {"type": "string"}},
        )
    },
    (*WRITE, 409),
    (
        *EXTRAS,
        {
            "name": "decisions",
            "in": "query",
            "description": "`none`: without the decisions, which are in the log, and with the "
            "rejected rows as a file.",
            "schema": {"type": "string"},
        },
        KEY,
    ),
    {FORM: file_body("A CSV, a workbook, or Parquet.")},
    NothingDecided,
    {
        "headers": {
            "Batch": {"description": "The batch's id.", "schema": {"type": "string"}},
            "Rows-Rejected": {
                "description": "How many rows were rejected.",
                "schema": {"type": "integer"},
            },
            "Warnings": {
                "description": "What `warnings` holds in JSON, as a JSON list.",
                "schema": {"type": "string"},
            },
        }
    },
    permission="score",
)


def register(api: Blueprint, scoring: Scoring) -> None:
    """Add the route."""

    @FILES.route(api)
    def files() -> Response:
        """Decide on a CSV, Excel or Parquet file."""
        note("files")
        sent, extras, key = sent_file(), extras_of(request.args), sent_key()
        if request.accept_mimetypes.best_match([JSON, CSV]) == CSV:
            batch, result = scoring.result(sent, caller=asking(), key=key, extras=extras)
            note("files", batch.id)
            return _as_csv(batch, result)

        scored = scoring.file(sent, caller=asking(), key=key, extras=extras)
        batch = scored.batch
        note("files", batch.id)
        if request.args.get("decisions") != "none":
            refuse_empty(batch)
            return jsonify(body(scored, extras))

        # The page reads decisions as it shows them, and offers the rejected rows to be mended.
        again = rejected_rows(sent, batch.applications)
        refuse_empty(batch, again)
        members = {"warnings": batch.applications.warnings, **again}
        return jsonify(head(batch) | rejected(batch) | members)


def _as_csv(batch: Batch, result: IO[bytes]) -> Response:
    refuse_empty(batch)
    length = result.tell()
    result.seek(0)
    # It is sent without a thread that would wait for the client.
    request.environ[RESULT] = result
    response = Response(mimetype=CSV)
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
