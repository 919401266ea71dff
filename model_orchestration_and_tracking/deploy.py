"""Set up the Prefect server: the work pools, the deployments of `prefect.yaml`, two crash rules.

A one-shot job that can be run again at any time: what is there already is brought up to date.

The rules are needed because a worker marks a run that it lost as Crashed, but when the worker died
with the run, Prefect leaves the run Pending or Running for ever. Each run sends a heartbeat every
30 s (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`, which its worker starts it with), and one rule has the
server mark a run Crashed that has been silent for longer than `SILENCE`. The other gives a run that
a worker has taken `BEGINNING` to start sending them. To find runs that died while the server was
down as well, the server must remember them: set
`PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER=P7D` where it runs (by default it forgets them after a
minute).
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import prefect
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import Event, Resource, ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from credit_risk.settings import Settings
from model_orchestration_and_tracking.run import prefect_api

ROOT = Path(__file__).resolve().parents[1]

POOLS = {
    "training": "Training runs, one at a time",
    "reporting": "Reports on drift, one at a time",
    "scoring": "Portfolios, one at a time",
}

# By default, anybody who starts a run may choose its command, working directory and environment.
# Here nobody may: a run is Prefect's engine in the environment of its worker. A constant `env`
# would not be enough, because Prefect merges a run's own into it.
JOB_TEMPLATE = {
    "job_configuration": {"command": None, "working_dir": None, "stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}

CRASH_RULE = "Mark silent runs as crashed"
BEGIN_RULE = "Mark runs that do not begin as crashed"

# Two heartbeats may get lost on a busy machine. The server checks every 5 s, so a killed run is
# Crashed after 110 s at the latest.
SILENCE = timedelta(seconds=100)

# From being taken by a worker to running: a new process imports the flow's code, on a busy machine.
BEGINNING = timedelta(minutes=10)

RUNNING = {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"}
PENDING = {
    f"prefect.flow-run.{sign}"
    for sign in ("Pending", "Submitting", "InfrastructurePending", "pull-step.executed")
}
OVER = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")}


class DeployFailed(Exception):
    """The server could not be reached, or refused what it was sent; the message says which."""


def wait_for_api(url: str, timeout: float) -> None:
    """Return once the Prefect API at `url` reports that it is healthy.

    Raises
    ------
    DeployFailed
        When it has not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout

    while True:
        try:
            # A proxy from the environment would be asked for 127.0.0.1 too.
            httpx.get(f"{url}/health", timeout=5, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise DeployFailed(
                    f"no Prefect API at {url} after {timeout:.0f} s: {error}"
                ) from error
        time.sleep(1)


def refuse_another_version(client: SyncPrefectClient) -> None:
    """Check that the server is of the same version as this client.

    A server of another version may take what it is sent for something else.

    Raises
    ------
    DeployFailed
        When the versions differ.
    """
    server = client.api_version()
    if server != prefect.__version__:
        raise DeployFailed(
            f"the Prefect server is version {server} and this is {prefect.__version__}: "
            "start both from the same uv.lock (`make upgrade`)"
        )


def ensure_pools(client: SyncPrefectClient) -> None:
    """Create the missing work pools, and have every pool start runs by `JOB_TEMPLATE` alone."""
    for name, description in POOLS.items():
        try:
            standing = client.read_work_pool(name)
        except ObjectNotFound:
            pool = WorkPoolCreate(
                name=name,
                description=description,
                type=ProcessWorker.type,
                base_job_template=JOB_TEMPLATE,
            )
            client.create_work_pool(pool)
        else:
            if standing.base_job_template != JOB_TEMPLATE:
                client.update_work_pool(name, WorkPoolUpdate(base_job_template=JOB_TEMPLATE))


def deploy_all(client: SyncPrefectClient, settings: Settings, root: Path) -> None:
    """Send every deployment of `root`/prefect.yaml to the server, unless it has them as they are.

    Sending costs 10 s and more, for Prefect imports every flow, and it wakes schedules that
    somebody has paused.

    Raises
    ------
    DeployFailed
        When Prefect's own command fails, with what it said.
    """
    plan = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    version = _version(root, [entry["entrypoint"] for entry in plan], settings.timezone)

    standing = {found.name for found in client.read_deployments() if found.version == version}
    if standing >= {entry["name"] for entry in plan}:
        return

    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = os.environ | {
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_API_AUTH_STRING": settings.prefect_api_auth_string.get_secret_value(),
        "TIMEZONE": settings.timezone,
        "DEPLOYMENT_VERSION": version,
    }

    done = subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    if done.returncode:
        raise DeployFailed(f"`prefect deploy --all` exited with {done.returncode}:\n{done.stdout}")


def _version(root: Path, entrypoints: Sequence[str], timezone: str) -> str:
    """Return a digest of all that the deployments are made from."""
    flows = [root / entrypoint.partition(":")[0] for entrypoint in entrypoints]
    contents = [file.read_bytes() for file in (root / "prefect.yaml", *flows)]
    parts = [str(root).encode(), timezone.encode(), *contents]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def crash_rule(within: timedelta = SILENCE) -> AutomationCore:
    """Return the automation that marks a running run Crashed after a silence of `within`."""
    message = f"Not heard of for {within.total_seconds():.0f} s: its process is gone."
    return _rule(CRASH_RULE, RUNNING, RUNNING | OVER, within, message)


def begin_rule(within: timedelta = BEGINNING) -> AutomationCore:
    """Return the automation that marks a run Crashed that a worker took but did not begin."""
    message = (
        f"Taken by a worker, and not begun within {within.total_seconds():.0f} s: "
        "its process is gone."
    )
    return _rule(BEGIN_RULE, PENDING, PENDING | RUNNING | OVER, within, message)


def _rule(
    name: str, after: set[str], expect: set[str], within: timedelta, message: str
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description="A run that is neither heard of nor over has lost its process.",
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def ensure_rule(client: SyncPrefectClient, rule: AutomationCore) -> None:
    """Create a rule, or update the existing one of its name.

    A rule that is already right is left alone: an update drops its open windows, and with them runs
    that have just died.
    """
    standing = client.read_automations_by_name(rule.name)
    if not standing:
        client.create_automation(rule)
    elif rule != AutomationCore(**standing[0].model_dump(exclude={"id"})):
        client.update_automation(standing[0].id, rule)


def watch_unfinished(client: SyncPrefectClient) -> None:
    """Have the rules watch every Pending or Running run as if its state had just been reported.

    Otherwise a run that died before there were rules, or longer ago than they remember, would stay
    unfinished for ever: an earlier version may have left it, or a backup made while it ran.
    """
    kinds = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
    unfinished = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=kinds))
    )

    events = []
    for run in unfinished:
        if run.state_type:
            name = f"prefect.flow-run.{run.state_type.value.capitalize()}"
            labels = {
                "prefect.resource.id": f"prefect.flow-run.{run.id}",
                "prefect.resource.name": run.name,
            }
            events.append(Event(event=name, resource=Resource(labels)).model_dump(mode="json"))

    if events:
        client.request("POST", "/events", json=events).raise_for_status()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_orchestration_and_tracking.deploy", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds to wait for the Prefect API (120)"
    )
    options = parser.parse_args(arguments)

    settings = Settings()
    try:
        with prefect_api(settings) as client:
            wait_for_api(settings.prefect_api_url, options.timeout)
            refuse_another_version(client)
            ensure_pools(client)
            deploy_all(client, settings, ROOT)
            for rule in (crash_rule(), begin_rule()):
                ensure_rule(client, rule)
            watch_unfinished(client)

            names = ", ".join(sorted(deployment.name for deployment in client.read_deployments()))
            pools = ", ".join(POOLS)
            rules = f"crash rules after {SILENCE.seconds} s, {BEGINNING}"
            print(f"deployed: {names}; pools {pools}; {rules}")
    except DeployFailed as failure:
        print(f"deploy: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
