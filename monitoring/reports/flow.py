"""The report flow: Evidently's page on the recent decisions, for a person to look into.

    look up Production -> read the reference and the window -> report -> store -> remove what is too
    old -> retrain

Every run that completes leaves a JSON document in the log, even when it had nothing to report on;
the page is in the bucket before the document that names it. Where the settings allow it, the
findings start a training.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.approval_log import Approval
from credit_risk.registry.in_force import InForce, in_force
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.schema.attributes import BAD, GOOD, LABEL
from credit_risk.schema.dataset import Dataset
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs, open_documents
from credit_risk.storage.blobs import BlobExists
from monitoring.drift.window import Window, read_window
from monitoring.kinds import REPORT
from monitoring.reports.report_store import LATEST, page_name, remove_old, remove_old_refreshes
from monitoring.reports.retraining import maybe_retrain
from monitoring.reports.summary import summary

# A server that is being restarted is back within half a minute.
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "cache_policy": NO_CACHE,
}


@dataclass(frozen=True)
class TrainedOn:
    """The clients that a version was trained on, and what an application was to it."""

    dataset: Dataset
    reference: pd.DataFrame


@dataclass(frozen=True)
class DriftReport:
    """A page for people, and its figures as JSON."""

    page: str
    figures: dict[str, Any]


@task(**RETRIES)
def look_up(registry: Registry, log: DecisionLog, follow_alias: bool) -> InForce:
    """Return which version decides, and whether it is accepted."""
    return in_force(registry, log, follow_alias=follow_alias)


@task(**RETRIES)
def read(log: DecisionLog, settings: Settings, version: str, trained_on: TrainedOn) -> Window:
    """Return the window, against what the version was trained on."""
    return read_window(log, settings, trained_on.dataset, version, trained_on.reference)


@task(**RETRIES)
def reference_of(registry: Registry, approval: Approval) -> TrainedOn:
    """Return what a version was trained on, as it was approved."""
    dataset = registry.load(approval.version, approval.digest).dataset
    reference = registry.reference(approval.version, dataset, approval.reference_digest)
    return TrainedOn(dataset, reference)


@task(**RETRIES)
def threshold_of(log: DecisionLog, decisions: pd.DataFrame) -> float | None:
    """Return the threshold of the newest of these decisions; None where there are none."""
    batch = log.batch(decisions["batch"].iloc[-1]) if len(decisions) else None
    return batch.threshold if batch else None


@task(cache_policy=NO_CACHE)
def report(window: Window, threshold: float | None) -> DriftReport:
    """Compare the window with the reference.

    Where enough labels are known, the newest decisions are rated too.
    """
    from monitoring.drift import evidently_adapter

    reference, newest = window.reference, window.newest
    shown = window.judge_newest()
    drift = evidently_adapter.drift_report(window.cells.measured, reference, newest, shown)
    snapshots = [drift.snapshot]

    labelled = window.labelled()
    enough = len(labelled) >= window.minimum and set(labelled[LABEL]) == {GOOD, BAD}
    if threshold is not None and enough:
        snapshots.append(evidently_adapter.performance_report(reference, labelled, threshold))

    figures = {
        "model_version": window.version,
        "window": {"n": len(window), "start": window.start, "end": window.end},
        "newest": {"n": len(newest), "drift": shown.as_dict(), "failed": list(drift.failed)},
        "n_labelled": len(labelled),
        "performance": len(snapshots) > 1,
        "drift": window.judge().as_dict(),
        "evidently": [
            figure for snapshot in snapshots for figure in evidently_adapter.figures(snapshot)
        ],
    }
    return DriftReport(evidently_adapter.html(*snapshots, above=summary(figures)), figures)


@task(**RETRIES)
def store_page(bucket: str, name: str, page: str) -> str:
    """Store the page under its name and as the latest, and return its address."""
    blobs = open_blobs(bucket)
    with suppress(BlobExists):  # by an earlier try of this task
        blobs.put(name, page.encode(), "text/html; charset=utf-8")
    blobs.put(LATEST, page.encode(), "text/html; charset=utf-8", overwrite=True)
    return blobs.url(name)


@task(**RETRIES)
def store_figures(log: DecisionLog, figures: dict[str, Any]) -> None:
    """Store the figures as a JSON document."""
    log.put_report(REPORT, figures)


@task(**RETRIES)
def clear(settings: Settings) -> None:
    """Remove reports and figures of refreshes that are older than the settings say."""
    documents = open_documents(settings.decision_log)
    remove_old(documents, open_blobs(settings.bucket), settings.report_keep_days)
    remove_old_refreshes(documents, settings.refresh_keep_days)


@task(**RETRIES)
def retrain(
    log: DecisionLog,
    registry: Registry,
    settings: Settings,
    version: str,
    drift: dict[str, Any] | None,
) -> None:
    """Start a training where drift or outcomes ask for one and nothing is in the way."""
    decision = maybe_retrain(log, registry, settings, version, drift, str(runtime.flow_run.id))
    get_run_logger().info("retraining: %s", decision.summary)


@flow(name="evidently-report", log_prints=False)
def evidently_report() -> State[str]:
    """Report on the recent decisions against what the version in Production was trained on."""
    settings = Settings()
    log = open_log(settings)
    registry = open_registry(settings)
    figures: dict[str, Any] = {"flow_run": runtime.flow_run.id, "page": None}

    now = look_up(registry, log, settings.follow_alias)
    approval = None if now.refused else now.approval
    window = None
    if approval is not None:
        window = read(log, settings, approval.version, reference_of(registry, approval))

    if window is None:
        message = f"no report: {now.refused or 'no version is in Production'}"
    elif not window.enough:
        message = f"no report: {len(window)} decisions, and it takes {window.minimum}"
    else:
        made = report(window, threshold_of(log, window.labelled()))
        name = page_name(datetime.now(UTC))
        url = store_page(settings.bucket, name, made.page)
        figures |= made.figures | {"page": name}
        drift = figures["drift"]
        message = f"dataset drift: {'yes' if drift['dataset_drift'] else 'no'}"
        message += f", drifted: {', '.join(drift['drifted']) or 'no feature'}; {url}"

    store_figures(log, figures | {"message": message})
    clear(settings)
    get_run_logger().info(message)

    if approval is not None:
        retrain(log, registry, settings, approval.version, figures.get("drift"))
    return Completed(message=message)
