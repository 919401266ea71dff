"""Start a run of a deployment through the Prefect API and follow it to its end.

Prefect's own `deployment run --watch` exits 1 when the run failed, but prints neither what the flow
logs nor why it failed; this does.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import FlowRun, Log, State
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from credit_risk.settings import Settings

Say = Callable[[str], None]

POLL_SECONDS = 1.0
# How long the API may be away while a run is followed: it may be restarting.
PATIENCE_SECONDS = 60.0
# Runs send their log lines in batches, and those of flow and tasks out of order.
LOG_DELAY = timedelta(seconds=10)
UNTAKEN_SECONDS = 30.0


class RunFailed(Exception):
    """The run could not be started or followed, or did not complete; the message says why."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def prefect_api(settings: Settings) -> Iterator[SyncPrefectClient]:
    """Open a client of the Prefect API that the settings name."""
    address = {
        PREFECT_API_URL: settings.prefect_api_url,
        PREFECT_API_AUTH_STRING: settings.prefect_api_auth_string.get_secret_value(),
    }
    with temporary_settings(address), get_client(sync_client=True) as client:
        yield client


def start(
    client: SyncPrefectClient,
    deployment: str,
    parameters: dict[str, Any],
    tags: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> FlowRun:
    """Start a run of a deployment, named FLOW/NAME; the same idempotency key gives the same run.

    Raises
    ------
    RunFailed
        When there is no such deployment, it does not take the parameters, or the API does not
        answer.
    """
    try:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(
            found.id, parameters=parameters, tags=tags, idempotency_key=idempotency_key
        )
    except ObjectNotFound:
        raise RunFailed(f"there is no deployment {deployment}") from None
    except PrefectHTTPStatusError as error:
        raise RunFailed(f"{deployment} was not started: {_detail(error)}") from None
    except httpx.TransportError as error:
        raise RunFailed(f"no Prefect API at {client.api_url}: {error}") from None


def follow(
    client: SyncPrefectClient, run: FlowRun, say: Say = say, timeout: float = float("inf")
) -> State[Any]:
    """Print what a run logs and the states it passes through, and return its final state.

    Raises
    ------
    RunFailed
        When the API stays away, or the run is not over after `timeout` seconds; the run goes on
        then.
    """
    say(f"flow run {run.name}")

    logs = _Logs(run.id)
    began = heard = time.monotonic()
    seen: tuple[str, str | None] | None = None
    warned = False

    while True:
        try:
            state = client.read_flow_run(run.id).state
            assert state is not None
            for line in logs.new(client):
                say(line)
            heard = time.monotonic()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise RunFailed(
                    f"the Prefect API is gone, and with it sight of the run: {error}"
                ) from error
        else:
            if state.is_final():
                time.sleep(2 * POLL_SECONDS)  # the last lines may still be under way
                for line in logs.new(client):
                    say(line)
                say(f"{state.name}{': ' + state.message if state.message else ''}")
                return state

            if (state.type, state.name) != seen:
                seen = (state.type, state.name)
                say(f"{state.name}...")

            if state.is_scheduled() and not warned and time.monotonic() - began > UNTAKEN_SECONDS:
                warned = True
                say(
                    f"no worker of pool {run.work_pool_name!r} has taken the run yet: "
                    "is one up, and is it busy?"
                )

        if time.monotonic() - began > timeout:
            raise RunFailed(f"the run is not over after {timeout:.0f} s; it is left running")
        time.sleep(POLL_SECONDS)


class _Logs:
    """The log lines of a run, each once."""

    def __init__(self, run: UUID) -> None:
        self._run = run
        self._seen: dict[UUID, Log] = {}

    def new(self, client: SyncPrefectClient) -> list[str]:
        """Return the lines that have come since the last call."""
        since = max((log.timestamp for log in self._seen.values()), default=None)
        page = client.read_logs(
            LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=[self._run]),
                timestamp=LogFilterTimestamp(after_=since - LOG_DELAY) if since else None,
            ),
            sort=LogSort.TIMESTAMP_ASC,
        )

        fresh = [log for log in page if log.id not in self._seen]
        self._seen |= {log.id: log for log in fresh if log.id}

        # The end of a task is left out; how the run ended is printed anyway.
        shown = [log for log in fresh if not log.message.startswith("Finished in state")]
        return [f"{log.timestamp.astimezone():%H:%M:%S}  {log.message}" for log in shown]


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0 when the run completed, 1 when it did not."""
    parser = argparse.ArgumentParser(
        prog="python -m model_orchestration_and_tracking.run", description=__doc__
    )
    parser.add_argument("deployment", help="FLOW/NAME, as `prefect deployment ls` lists it")
    parser.add_argument(
        "--param",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the flow, in JSON or as plain text; may be given several times",
    )
    parser.add_argument(
        "--timeout", type=float, default=float("inf"), help="seconds to follow it for (no limit)"
    )
    options = parser.parse_args(arguments)

    try:
        with prefect_api(Settings()) as client:
            run = start(client, options.deployment, dict(options.param))
            state = follow(client, run, timeout=options.timeout)
    except RunFailed as failure:
        print(f"run: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run: no longer followed; it goes on", file=sys.stderr)
        return 130

    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
