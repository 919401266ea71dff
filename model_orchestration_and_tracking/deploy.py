"""Tell the Prefect server what this stack runs: two work pools, the deployments of `prefect.yaml`, and the crash rule.

A one-shot job that can be run again at any time: what is there already is brought up to date.

The crash rule is needed because a worker marks a run that it lost as Crashed, but when the worker died with the run,
Prefect leaves that Running for ever. Each run says every 30 s that it lives (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY` in
`prefect.yaml`), and the rule has the server mark a run Crashed that has been silent for longer than `SILENCE`. To find
those that died while the server was down too, it must remember them: set
`PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER=P7D` where it runs (by default it forgets them after a minute).
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from credit_risk.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

POOLS = {
    "training": "Training runs, one at a time",
    "reporting": "Reports on drift, one at a time",
}

CRASH_RULE = "Mark silent runs as crashed"

# Two heartbeats may get lost on a busy machine, and a run may take as long to import its code before it sends any.
# The server looks every 5 s, so a killed run is Crashed after 110 s at the latest.
SILENCE = timedelta(seconds=100)


class DeployFailed(Exception):
    """The server could not be reached, or did not take what it was sent; the message says which."""


def wait_for_api(url: str, timeout: float) -> None:
    """Return once the Prefect API at `url` answers that it is well.

    Raises
    ------
    DeployFailed
        When it has not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - the address is our own setting
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if time.monotonic() > deadline:
                raise DeployFailed(f"no Prefect API at {url} after {timeout:.0f} s: {error}") from error
        time.sleep(1)


def ensure_pools(client: SyncPrefectClient) -> None:
    """Create the work pools that are not there yet."""
    for name, description in POOLS.items():
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(
                WorkPoolCreate(
                    name=name,
                    description=description,
                    type=ProcessWorker.type,
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )


def deploy_all(client: SyncPrefectClient, settings: Settings, root: Path) -> None:
    """Send every deployment of `root`/prefect.yaml to the server, unless it has them as they are.

    Sending costs 10 s and more, for Prefect imports every flow, and it wakes schedules that somebody has paused.

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
        "TIMEZONE": settings.timezone,
        "DEPLOYMENT_VERSION": version,
    }
    done = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise DeployFailed(f"`prefect deploy --all` exited with {done.returncode}:\n{done.stdout}")


def _version(root: Path, entrypoints: Sequence[str], timezone: str) -> str:
    """Return a digest of all that the deployments are made from."""
    files = [root / "prefect.yaml", *(root / entrypoint.partition(":")[0] for entrypoint in entrypoints)]
    parts = [str(root).encode(), timezone.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def crash_rule() -> AutomationCore:
    """Return the automation that marks a run Crashed when it has been silent for longer than `SILENCE`."""
    signs = ("Pending", "Submitting", "pull-step.executed", "Running", "heartbeat")
    lives = {f"prefect.flow-run.{sign}" for sign in signs}
    over = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")}
    return AutomationCore(
        name=CRASH_RULE,
        description="A run that is neither heard of nor over has lost its process.",
        trigger=EventTrigger(
            after=lives,
            expect=lives | over,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"Not heard of for {SILENCE.total_seconds():.0f} s: its process is gone.",
            )
        ],
    )


def ensure_crash_rule(client: SyncPrefectClient) -> None:
    """Create the crash rule, or bring the one that is there up to date.

    One that is right already is left alone: an update drops its open windows, and with them runs that have just died.
    """
    rule = crash_rule()
    standing = client.read_automations_by_name(CRASH_RULE)
    if not standing:
        client.create_automation(rule)
    elif rule != AutomationCore(**standing[0].model_dump(exclude={"id"})):
        client.update_automation(standing[0].id, rule)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m model_orchestration_and_tracking.deploy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--timeout", type=float, default=120, help="seconds to wait for the Prefect API (120)")
    options = parser.parse_args(arguments)
    settings = Settings()
    try:
        with temporary_settings({PREFECT_API_URL: settings.prefect_api_url}), get_client(sync_client=True) as client:
            wait_for_api(settings.prefect_api_url, options.timeout)
            ensure_pools(client)
            deploy_all(client, settings, ROOT)
            ensure_crash_rule(client)
            names = ", ".join(sorted(deployment.name for deployment in client.read_deployments()))
            print(f"deployed: {names}; pools {', '.join(POOLS)}; crash rule after {SILENCE.seconds} s")  # noqa: T201
    except DeployFailed as failure:
        print(f"deploy: {failure}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
