"""A committed batch as the API returns it, with reasons where they are requested."""

from collections.abc import Mapping
from typing import Any

from credit_risk.decision_log.batch import Batch, decision_schema
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcomes import OutcomeImport
from credit_risk.decision_log.tables import table_of
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import GREEN, RED, Floats, Labels
from credit_risk.schema.codec import codes_of
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.counterfactual import counterfactual
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.reason_codes import Reasons
from model_deployment.http.problem import Problem
from model_deployment.scoring.service import REASONS, Scored


def body(scored: Scored, extras: frozenset[str]) -> dict[str, Any]:
    """Return the answer; `extras` is a subset of `REASONS` and `CHANGES`."""
    batch, scorer, labels = scored
    applications = batch.applications
    found = decisions(batch)
    warnings = list(applications.warnings)

    for extra in sorted(extras):
        try:
            values = explained(scorer, applications.codes, batch.decided.red, extra, labels)
        except NotExplainable:
            values = [None] * len(found)
            version = batch.model_version
            warnings.append(f"version {version} was trained without what its {extra} need")
        for decision, value in zip(found, values, strict=True):
            decision[extra] = value

    return {**head(batch), "decisions": found, **rejected(batch), "warnings": warnings}


def head(batch: Batch) -> dict[str, Any]:
    """Return the batch's id, the version that decided, and the counts."""
    return {
        "batch": batch.id,
        "model_version": batch.model_version,
        "n_decided": len(batch.applications),
        "n_rejected": batch.applications.n_rejected,
    }


def refuse_empty(batch: Batch, more: Mapping[str, Any] | None = None) -> None:
    """Raise a problem, with `more` members, where no row was decided."""
    if len(batch.applications):
        return

    faults = batch.applications.faults
    detail = faults[0].message if len(faults) == 1 else "No row could be decided on."
    members = {
        **head(batch),
        "decisions": [],
        **rejected(batch),
        "warnings": batch.applications.warnings,
        **(more or {}),
    }
    raise Problem(422, "nothing-decided", detail, members=members)


def rejected(batch: Batch) -> dict[str, Any]:
    """Return the kinds of faults, and the faults, at most 1,000."""
    return _faults(batch.applications)


def _faults(found: Applications | OutcomeImport) -> dict[str, Any]:
    kinds = [kind.as_dict() for kind in found.kinds]
    return {"kinds": kinds, "rejected": [fault.as_dict() for fault in found.faults]}


def taken(found: OutcomeImport) -> dict[str, Any]:
    """Return the result of a file of outcomes."""
    return {
        "upload": found.upload,
        "n_added": found.n_added,
        "n_known": found.n_known,
        "n_open": found.n_open,
        "n_rejected": found.n_rejected,
        **_faults(found),
        "warnings": found.warnings,
    }


def decisions(batch: Batch) -> list[dict[str, Any]]:
    """Return the decision on each valid row."""
    applications, decided = batch.applications, batch.decided
    warnings = applications.row_warnings
    columns = zip(
        applications.rows.tolist(),
        decided.red.tolist(),
        decided.risk.tolist(),
        decided.confidence.tolist(),
        strict=True,
    )

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
        for i, (row, red, risk, confidence) in enumerate(columns)
    ]


def as_decided(decision: dict[str, Any], dataset: Dataset, log: DecisionLog) -> dict[str, Any]:
    """Return a logged decision by the definition of the version that made it.

    By the stack's, a value that the version saw may be absent: what is a number now may have been a
    category then.
    """
    if dataset.digest == log.dataset.digest:
        return decision
    then = DecisionLog(log.storage.documents, log.storage.blobs, dataset)
    return then.decision(decision["id"]) or decision


def inputs(decision: dict[str, Any], dataset: Dataset) -> Floats:
    """Return the inputs of a logged decision as codes, shape (1, n_attributes)."""
    return codes_of(table_of([decision], decision_schema(dataset, dataset.names)), dataset)


def explained(
    scorer: CreditScorer, codes: Floats, red: Any, extra: str, labels: Labels
) -> list[Any]:
    """Return the reasons for decisions, or what would turn the red ones green.

    Parameters
    ----------
    scorer : CreditScorer
    codes : array of shape (n, n_attributes)
        The inputs of the decisions.
    red : sequence of n bools
        Which of them are red.
    extra : str
        `REASONS`, or `CHANGES`, which are None for a green client.
    labels : str
        What people read of a recorded value first.

    Raises
    ------
    NotExplainable
        When the scorer was fitted without out-of-fold risks.
    """
    if extra == REASONS:
        return [_reasons(one) for one in scorer.reasons(codes, red, labels)]
    clients = zip(codes, red, strict=True)
    return [_change(scorer, row, labels) if refused else None for row, refused in clients]


def _reasons(found: Reasons) -> dict[str, Any]:
    return {
        "raising": [reason._asdict() for reason in found.raising],
        "lowering": [reason._asdict() for reason in found.lowering],
    }


def _change(scorer: CreditScorer, codes: Floats, labels: Labels) -> dict[str, Any]:
    change = counterfactual(scorer, codes, labels=labels)
    if change is None:
        return {"text": "none found", "attributes": [], "risk": None}
    return {"text": change.text, "attributes": list(change.attributes), "risk": change.risk}
