"""Outcomes: whether clients paid."""

from flask import Blueprint, Response, jsonify, request

from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import MAX_ROWS
from model_deployment.api.operation import (
    CSV,
    FORM,
    JSON,
    PREFIX,
    WRITE,
    Body,
    Operation,
    file_body,
)
from model_deployment.api.request_data import sent_file
from model_deployment.api.schemas import NothingTaken, OutcomesTaken
from model_deployment.api.serializers import taken
from model_deployment.files.formats import UploadedFile
from model_deployment.http.asking import asking, note, own
from model_deployment.http.problem import Problem
from model_deployment.outcomes import taken_from

OUTCOMES = Operation(
    "post",
    f"{PREFIX}/outcomes",
    "outcomes",
    "Report outcomes",
    "A file of `decision_id` or `client_id`, `outcome` (`repaid` or `defaulted`) and `date` "
    "(2026-01-31 or 31.01.2026; not before the decision, not in the future, UTC). A row that has "
    "neither outcome nor date is of a loan that is still open, and counted. Only decisions that "
    "are green after overrides have outcomes. A `client_id` stands for the one accepted decision "
    "on that client up to the date; where there are several, say which in `decision_id`. Good rows "
    "are taken, together; what is wrong with the others is said. The latest outcome of a decision "
    "stands, all are kept; a file that is sent again adds nothing that the log ever held. At most "
    f"{MAX_ROWS:,} rows.",
    {200: ("At least one row was added or known, or all are open.", {JSON: OutcomesTaken})},
    WRITE,
    (),
    {
        CSV: Body({"type": "string"}, "decision_id,outcome,date\n01J...-0,repaid,2026-01-31\n"),
        FORM: file_body("A CSV, a workbook, or Parquet."),
    },
    NothingTaken,
    permission="outcomes",
)


def register(api: Blueprint, log: DecisionLog) -> None:
    """Add the route."""

    @OUTCOMES.route(api)
    def report_outcomes() -> Response:
        """Take a file of outcomes."""
        note("outcomes")
        found = taken_from(_sent(), own(log), caller=str(asking()))
        note("outcomes", found.upload)
        if found.n_added or found.n_known or not found.faults:
            return jsonify(taken(found))
        detail = found.faults[0].message if len(found.faults) == 1 else "No row could be taken."
        raise Problem(422, "nothing-taken", detail, members=taken(found))


def _sent() -> UploadedFile:
    if request.mimetype == CSV:
        return UploadedFile(request.get_data())
    return sent_file("a CSV as text/csv, or")
