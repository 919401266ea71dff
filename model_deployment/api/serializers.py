"""A committed batch as the API answers it: what the contract has, and reasons for whoever asks."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from credit_risk.decision_log.batch import Batch, decision_schema
from credit_risk.decision_log.outcomes import Taken
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import GREEN, NAMES, RED, Floats
from credit_risk.schema.codec import codes_of
from credit_risk.scoring.counterfactual import what_would_change_it
from credit_risk.scoring.model import CreditScorer, NotExplainable
from credit_risk.scoring.reason_codes import Reasons
from model_deployment.scoring.service import REASONS


def body(batch: Batch, scorer: CreditScorer, extras: frozenset[str]) -> dict[str, Any]:
    """Return the answer; `extras` are of `REASONS` and `CHANGES`."""
    applications = batch.applications
    found = decisions(batch)
    warnings = list(applications.warnings)
    for extra in sorted(extras):
        try:
            values = explained(scorer, applications.codes, batch.decided.red, extra)
        except NotExplainable:
            values = [None] * len(found)
            warnings.append(f"version {batch.model_version} was trained without what its {extra} need")
        for decision, value in zip(found, values, strict=True):
            decision[extra] = value
    return head(batch) | {"decisions": found, **rejected(batch), "warnings": warnings}


def head(batch: Batch) -> dict[str, Any]:
    """Return which batch it is, who decided and how many."""
    return {
        "batch": batch.id,
        "model_version": batch.model_version,
        "n_decided": len(batch.applications),
        "n_rejected": batch.applications.n_rejected,
    }


def rejected(batch: Batch) -> dict[str, Any]:
    """Return the kinds of faults, and the faults, at most 1,000."""
    return _faults(batch.applications)


def _faults(found: Applications | Taken) -> dict[str, Any]:
    kinds = [kind.as_dict() for kind in found.kinds]
    return {"kinds": kinds, "rejected": [fault.as_dict() for fault in found.faults]}


def taken(found: Taken) -> dict[str, Any]:
    """Return what a file of outcomes came to."""
    counts = {name: getattr(found, name) for name in ("upload", "n_added", "n_known", "n_open", "n_rejected")}
    return counts | _faults(found) | {"warnings": found.warnings}


def decisions(batch: Batch) -> list[dict[str, Any]]:
    """Return the decision on each valid row."""
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


def inputs(decision: Mapping[str, Any]) -> Floats:
    """Return the inputs of a logged decision as codes, shape (1, 20)."""
    return codes_of(pa.Table.from_pylist([decision], decision_schema(NAMES)))


def explained(scorer: CreditScorer, codes: Floats, red: Any, extra: str) -> list[Any]:
    """Return the reasons for decisions on codes, shape (n, 20), or what would turn the red ones green.

    Raises
    ------
    NotExplainable
        When the scorer was fitted without out-of-fold risks.
    """
    if extra == REASONS:
        return [_reasons(one) for one in scorer.reasons(codes, red)]
    return [_change(scorer, row) if refused else None for row, refused in zip(codes, red, strict=True)]


def _reasons(found: Reasons) -> dict[str, Any]:
    return {
        "raising": [reason._asdict() for reason in found.raising],
        "lowering": [reason._asdict() for reason in found.lowering],
    }


def _change(scorer: CreditScorer, codes: Floats) -> dict[str, Any]:
    change = what_would_change_it(scorer, codes)
    if change is None:
        return {"text": "none found", "attributes": [], "risk": None}
    return {"text": change.text, "attributes": list(change.attributes), "risk": change.risk}
