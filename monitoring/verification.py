"""The nightly flow that verifies the decision log, and anchors it in the bucket.

    seal what is older than the hashes, once -> verify -> write an anchor

Nothing is anchored that was not verified. A run that fails is an alert.
"""

from typing import Any

from prefect import State, Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.states import Completed

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.proof import anchors
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.decision_log.proof.seal import seal
from credit_risk.decision_log.proof.verify import Verification, verify
from credit_risk.settings import Settings


async def _may_pass(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether the cause may be gone soon: a log that is damaged stays so."""
    return not isinstance(await state.aresult(raise_on_failure=False), LogDamaged)


# A server that is being restarted is back within half a minute.
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": _may_pass,
    "cache_policy": NO_CACHE,
}


@task(**RETRIES)
def seal_old(log: DecisionLog) -> None:
    """Seal what an earlier version wrote without hashes, unless that was done before."""
    if event := seal(log):
        get_run_logger().info("what an earlier version wrote is sealed by event %s", event["_id"])


@task(**RETRIES)
def check(log: DecisionLog) -> Verification:
    """Verify the whole log."""
    return verify(log, get_run_logger().info)


@task(**RETRIES)
def anchor(log: DecisionLog, found: Verification) -> str:
    """Write how the log's chains end to the bucket, and return the address."""
    return anchors.write(log, found.heads)


@flow(name="log-verification", log_prints=False)
def log_verification() -> State[str]:
    """Verify that nothing in the decision log was changed or removed, and anchor it."""
    log = open_log(Settings())
    seal_old(log)
    found = check(log)
    address = anchor(log, found)
    return Completed(message=f"{found.summary}; {address}")
