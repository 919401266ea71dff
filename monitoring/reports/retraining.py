"""Retraining: whether a report starts a training, and why; a person still approves the result.

There are two reasons for a training: drift, and outcomes that no version has learnt from yet. It
may be blocked by a setting, by a training that was started or is running, and by a challenger that
waits for a person while there is nothing newer to learn from. Whenever there is a reason, the
decision is an event in the decision log. The event `starting` also keeps two reports from starting
two trainings: each looks for the other's before it writes its own. The run carries the event's
number as its idempotency key, so a start that was cut off is finished later and not made twice.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment

from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DEFAULTED
from credit_risk.decision_log.outcomes import outcome_schema
from credit_risk.registry.registry import CHALLENGER, Registry
from credit_risk.registry.version import Version
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data.outcome_maturation import matured
from credit_risk.training_data.snapshots import LATEST, SNAPSHOT_TAG, NoSuchSnapshot, decision_ids
from monitoring.performance.poisson_binomial import upper_bound

RETRAINING = "retraining"
STARTING, STARTED, HELD, NONE = "starting", "started", "held", "none"

FLOW = "credit-risk-training"
DEPLOYMENT = f"{FLOW}/sunday-night"

# New outcomes that are enough to learn from, and to judge how many of them are bad.
ENOUGH = 30
# A report that has not finished a start after this time is dead.
CUT_OFF = timedelta(minutes=10)

_UNDER_WAY = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
]


@dataclass(frozen=True)
class Retraining:
    """A decision on retraining.

    Attributes
    ----------
    action : str
        What was done.
    reasons : sequence of str
        What asks for a training.
    obstacle : str
        What blocked it.
    run : str
        The name of the run that was started.
    """

    action: str
    reasons: Sequence[str] = ()
    obstacle: str = ""
    run: str = ""

    @property
    def summary(self) -> str:
        """The decision on one line."""
        asked = "; ".join(self.reasons)
        if self.action == STARTED:
            return f"training run {self.run} started: {asked}"
        if asked:
            return f"no training started ({self.obstacle}), although: {asked}"
        return "nothing asks for a training"


class _Blocked(Exception):
    """Something blocks a start."""


def maybe_retrain(
    log: DecisionLog,
    registry: Registry,
    settings: Settings,
    version: str,
    drift: dict[str, Any] | None,
    report: str | None = None,
) -> Retraining:
    """Start a training where there is a reason and nothing blocks it; return the decision.

    Parameters
    ----------
    version : str
        The version that decides.
    drift : dict or None
        The verdict on the recent decisions (`Drift.as_dict`), where there is one.
    report : str, optional
        The flow run that asks; when the same one asks again, a start that failed is tried again.

    Raises
    ------
    LogUnavailable, RegistryUnavailable
        When the decision log or MLflow is.
    prefect.exceptions.PrefectException, httpx.HTTPError
        When Prefect does not accept the run. The next report tries again.
    """
    learnt = _learnt(registry, version)
    new = _new_outcomes(log, settings, learnt) if settings.retrain_on_report else None
    reasons = [*_drift_reasons(drift), *_outcome_reasons(new, learnt)]
    if not reasons:
        return Retraining(NONE)

    try:
        if new is None:
            raise _Blocked("RETRAIN_ON_REPORT is off")

        if learnt.number != version and not len(new):
            raise _Blocked(
                f"version {learnt.number} waits for a person, "
                "and there is nothing newer to learn from"
            )

        run = _start(log, settings, version, reasons, report)
    except _Blocked as held:
        log.append_event(
            RETRAINING, version, action=HELD, reasons=reasons, obstacle=str(held), report=report
        )
        return Retraining(HELD, reasons, str(held))

    return Retraining(STARTED, reasons, run=run.name)


def _learnt(registry: Registry, version: str) -> Version:
    """Return the newest version that decides or may be approved.

    What it was trained on has been learnt.
    """
    challenger = registry.alias(CHALLENGER)
    waits = challenger is not None and int(challenger) > int(version)
    return registry.version(challenger if challenger and waits else version)


def _new_outcomes(log: DecisionLog, settings: Settings, learnt: Version) -> pa.Table:
    """Return accepted clients with matured outcomes whom a version was not trained on."""
    if settings.training_snapshot != LATEST:
        return outcome_schema(log.dataset).empty_table()  # a training would not learn from them

    known: set[str] = set()
    if snapshot := learnt.tags.get(SNAPSHOT_TAG):
        with suppress(NoSuchSnapshot):  # lost, it is written again by the training
            known = decision_ids(open_blobs(settings.bucket), snapshot)

    rows = matured(log, settings.outcome_maturity_months).rows
    return rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(sorted(known), pa.string()))))


def _drift_reasons(drift: dict[str, Any] | None) -> list[str]:
    if not drift or not drift["dataset_drift"]:
        return []
    return [f"dataset drift: {', '.join(drift['drifted'])}"]


def _outcome_reasons(new: pa.Table | None, learnt: Version) -> list[str]:
    if new is None or len(new) < ENOUGH:
        return []

    reasons = [
        f"{len(new):,} outcomes have matured that version {learnt.number} was not trained on"
    ]
    n_bad = int(pc.sum(pc.equal(new["outcome"], DEFAULTED)).as_py())
    most = upper_bound(new["risk"].to_numpy())
    if n_bad > most:
        reasons.append(
            f"{n_bad:,} of these {len(new):,} defaulted, where their risks explain {most:,}"
        )
    return reasons


def _start(
    log: DecisionLog, settings: Settings, version: str, reasons: Sequence[str], report: str | None
) -> FlowRun:
    """Start a training, or finish a start that was cut off."""
    start = _cut_off(log, report)
    if start is None:
        cooldown = timedelta(hours=settings.retrain_cooldown_hours)
        start = _note_start(log, version, cooldown, reasons=reasons, report=report)

    # Separate, and not as a part of the report's run: it goes on when that is over.
    run = run_deployment(
        DEPLOYMENT,
        parameters={"fresh": True},
        timeout=0,
        tags=[RETRAINING],
        idempotency_key=f"{RETRAINING}-{start['_id']}-{start['time']}",
        as_subflow=False,
    )
    assert isinstance(run, FlowRun)  # a coroutine only where there is an event loop
    log.append_event(
        RETRAINING, version, action=STARTED, start=start["_id"], run=str(run.id), run_name=run.name
    )
    return run


def _note_start(
    log: DecisionLog, version: str, cooldown: timedelta, **fields: Any
) -> dict[str, Any]:
    """Note that a training is being started, unless an earlier start blocks it."""
    for _ in attempts():
        newest = log.last_event()
        _check(log, cooldown)
        with suppress(Conflict):
            return log.append_event(RETRAINING, version, newest, action=STARTING, **fields)
    raise AssertionError("the attempts end with an error")


def _cut_off(log: DecisionLog, report: str | None) -> dict[str, Any] | None:
    """Return the last start, if it was not finished and its report is dead or asks again."""
    last, finished = _last_start(log)
    if last is None or finished:
        return None

    if report is not None and last["report"] == report:
        return last

    if _age(last) <= CUT_OFF:
        return None

    _check_runs()
    return last


def _check(log: DecisionLog, cooldown: timedelta) -> None:
    """Raise when an earlier start blocks this one."""
    last, finished = _last_start(log)
    if last and not finished:
        raise _Blocked("another report is starting one")

    if last and _age(last) < cooldown:
        until = datetime.fromisoformat(last["time"]) + cooldown
        raise _Blocked(
            f"the last one was started {last['time'][:16]}, "
            f"and the next may be from {until:%Y-%m-%dT%H:%M} UTC"
        )

    _check_runs()


def _last_start(log: DecisionLog) -> tuple[dict[str, Any] | None, bool]:
    """Return the last start, if any, and whether it was finished."""
    events = log.events(RETRAINING)
    starts = [event for event in events if event["action"] == STARTING]
    if not starts:
        return None, False

    return starts[-1], any(event.get("start") == starts[-1]["_id"] for event in events)


def _age(event: dict[str, Any]) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(event["time"])


def _check_runs() -> None:
    """Raise when any training runs, or should run by now; later ones do not count."""
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    flow = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_filter=flow, flow_run_filter=wanted, limit=1):
            raise _Blocked(f"training run {run.name} is under way")
