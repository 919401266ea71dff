"""The manifest that closes a run: what was scored, how, and what was written, with hashes."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from credit_risk.storage.blobs import BlobExists, BlobMissing, Blobs
from model_deployment.portfolio.part import Figures
from model_deployment.portfolio.plan import Plan

MANIFEST = "manifest.json"

Manifest = dict[str, Any]


def read(output: Blobs) -> Manifest | None:
    """Return the manifest of an output; None where the run is not closed."""
    try:
        found: Manifest = json.loads(output.get(MANIFEST))
    except BlobMissing:
        return None
    return found


def close(output: Blobs, plan: Plan, figures: Sequence[Figures]) -> Manifest:
    """Write the manifest of a run whose parts are all scored, and return it.

    Parameters
    ----------
    output : Blobs
    plan : Plan
    figures : sequence of dict
        Those of its parts, in order.
    """
    run = plan.run
    manifest: Manifest = {
        "run": run.id,
        "order": asdict(run.order),
        "files": [file._asdict() for file in plan.files],
        "model_version": run.version,
        "digest": run.digest,
        "threshold": figures[0]["threshold"] if figures else None,
        "caller": run.caller,
        "started": run.time.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: sum(part[name] for part in figures) for name in _COUNTS},
        "rejected_by_reason": _reasons(figures),
        "warnings": sorted({warning for part in figures for warning in part["warnings"]}),
        "scores_sha256": _joint([part["scores_sha256"] for part in figures]),
        "parts": figures,
    }
    try:
        output.put(MANIFEST, json.dumps(manifest, indent=1).encode(), "application/json")
    except BlobExists:  # the same command was running twice
        return read(output) or manifest
    return manifest


_COUNTS = ("n_rows", "n_decided", "n_rejected", "n_red")


def _reasons(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    counted: Counter[tuple[str, str]] = Counter()
    for part in figures:
        for fault in part["reasons"]:
            counted[fault["column"], fault["reason"]] += fault["n"]
    return [{"column": c, "reason": r, "n": n} for (c, r), n in counted.most_common()]


def _joint(hashes: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
