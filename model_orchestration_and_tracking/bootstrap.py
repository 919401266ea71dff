"""Give an empty registry its first Production model, so that a newcomer has one to use.

A one-shot job that can be run again, twice at once, and after being killed at any point: it looks
at what is there and does what is missing. It trains through the deployment, as everybody does, and
approves version 1 in its own name, with the approver's credential, which no flow has. From then on
only a person decides: once anybody has decided, it never does anything again, whatever happens to
the registry. Where it takes two people to approve a version, it approves none.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.approval_log import decisions, open_collection
from credit_risk.registry.approvals import approve
from credit_risk.registry.checks import refuse_other_dataset
from credit_risk.registry.errors import (
    ApprovalRejected,
    NoSuchVersion,
    OtherDataset,
    RegistryUnavailable,
)
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from model_orchestration_and_tracking.run import RunFailed, Say, follow, prefect_api, say, start

DEPLOYMENT = "credit-risk-training/sunday-night"
BY = "bootstrap"
REASON = "the first version of an empty registry"
FIRST = "1"

T = TypeVar("T")


def bootstrap(
    registry: Registry,
    log: DecisionLog,
    train: Callable[[], None],
    say: Say = say,
    *,
    needs_two: bool = False,
) -> None:
    """Train and approve the first version, unless one was ever decided on.

    Parameters
    ----------
    train : callable
        Trains a model and returns when it is registered; called only when the registry is empty.
    needs_two : bool
        Whether it takes two people to approve a version; then none is approved.

    Raises
    ------
    ApprovalRejected, NoSuchVersion
        When version 1 cannot become Production.
    """
    open_collection(log)
    if not registry.versions():
        say("the registry is empty: training the first version")
        train()

    now, first = in_force(registry, log), registry.versions()[-1]
    if now.approval is not None:
        decided_by = one_line(now.approval.by)
        say(f"version {now.approval.version} was decided on, by {decided_by}: nothing to do")
    if now.refused:
        say(now.refused)

    if now.alias_mismatch:  # moved by hand, or while the alias was what counted
        say(now.alias_mismatch)
    elif now.approval is None and first.number != FIRST:
        say("the registry's first version was deleted: a person decides which one is Production")
    elif now.approval is None and needs_two:
        say(f"version {FIRST} waits for two people to approve it, at the approvals service")
    elif now.approval is None:
        try:
            approve(registry, log, FIRST, BY, REASON)
        except ApprovalRejected:
            # Another bootstrap may have been faster by a moment.
            if not decisions(log):
                raise

        say(f"version {FIRST} is Production, approved by {BY}")


def train_by_deployment(settings: Settings, timeout: float, say: Say = say) -> None:
    """Run the training deployment to its end, or follow the run that an earlier bootstrap started.

    Raises
    ------
    RunFailed
        When it does not complete.
    """
    with prefect_api(settings) as client:
        before = _runs(client)
        if before and before[-1].state and not before[-1].state.is_final():
            say("following the run that an earlier bootstrap started")
            if follow(client, before[-1], say, timeout).is_completed():
                return

        # Two bootstraps at once count the same earlier runs, so they share a new one.
        run = start(client, DEPLOYMENT, {}, tags=[BY], idempotency_key=f"{BY}-{len(before)}")
        state = follow(client, run, say, timeout)
        if not state.is_completed():
            raise RunFailed("the first training run failed; once its cause is gone, run this again")


def _runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Return the runs that bootstraps have started, the latest last."""
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[BY])))
    return sorted(runs, key=lambda run: run.expected_start_time or datetime.min.replace(tzinfo=UTC))


def until(attempt: Callable[[], T], seconds: float, say: Say = say) -> T:
    """Call `attempt` until it succeeds; the services that it needs may still be starting.

    Raises
    ------
    RegistryUnavailable, LogUnavailable
        The last failure, once `seconds` have passed.
    """
    deadline = time.monotonic() + seconds
    announced = False

    while True:
        try:
            return attempt()
        except (RegistryUnavailable, LogUnavailable) as error:
            if time.monotonic() > deadline:
                raise
            if not announced:
                say(f"waiting, for {seconds:.0f} s at most: {type(error).__name__}")
                announced = True
            time.sleep(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_orchestration_and_tracking.bootstrap", description=__doc__
    )
    parser.add_argument(
        "--wait", type=float, default=120, help="seconds to wait for MLflow and the log (120)"
    )
    parser.add_argument(
        "--timeout", type=float, default=900, help="seconds that the training run may take (900)"
    )
    options = parser.parse_args(arguments)

    settings = Settings()
    registry, log = open_registry(settings), open_log(settings)

    try:
        until(registry.versions, options.wait)
        refuse_other_dataset(registry, log.dataset.name)
        until(log.ping, options.wait)
        bootstrap(
            registry,
            log,
            lambda: train_by_deployment(settings, options.timeout),
            needs_two=settings.needs_two,
        )
    except (
        RunFailed,
        ApprovalRejected,
        NoSuchVersion,
        RegistryUnavailable,
        LogUnavailable,
        OtherDataset,
    ) as failure:
        print(f"bootstrap: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
