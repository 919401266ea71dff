"""What the Prefect server knows of our flows: how their runs ended, and when one last completed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

from credit_risk.prefect_api import PrefectAPI

# By their names on the server: the training flow is another service's, and is not imported.
FLOWS = ("credit-risk-training", "evidently-report", "log-verification", "batch-score")
ENDINGS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LATE = "late"
KEPT = timedelta(days=7)


class FlowsUnknown(ConnectionError):
    """The Prefect server does not answer, or not as expected."""


@dataclass(frozen=True)
class FlowRuns:
    """How the runs of one flow went.

    Attributes
    ----------
    runs : mapping of state to int
        Runs that ended in the last 7 days by how they ended, and those that are late now.
    last, ending : str, optional
        The id of the run that ended last, and how it ended.
    completed : datetime, optional
        When a run last completed; where none has, when the flow was deployed.
    """

    flow: str
    runs: Mapping[str, int]
    last: str | None
    ending: str | None
    completed: datetime | None

    @property
    def failed(self) -> bool:
        """Whether the run that ended last failed or crashed."""
        return self.ending in ("failed", "crashed")


def flow_runs(api: PrefectAPI, flow: str, now: datetime | None = None) -> FlowRuns:
    """Ask the Prefect server how the runs of a flow went.

    Raises
    ------
    FlowsUnknown
        When it does not answer.
    """
    about = {"flows": {"name": {"any_": [flow]}}}
    since = {"after_": ((now or datetime.now(UTC)) - KEPT).isoformat()}
    late = about | {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}

    try:
        runs = {
            ending.lower(): _count(api, about, state=ending, end_time=since) for ending in ENDINGS
        }
        runs[LATE] = int(api.ask("flow_runs/count", late))
        last = _last(api, about, ENDINGS)
        completed = _last(api, about, ("COMPLETED",))
        since_when = completed["end_time"] if completed else _deployed(api, about)
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise FlowsUnknown(f"Prefect does not say how {flow} went: {error}") from error

    return FlowRuns(
        flow,
        runs,
        last=last["id"] if last else None,
        ending=last["state_type"].lower() if last else None,
        completed=datetime.fromisoformat(since_when) if since_when else None,
    )


def _count(api: PrefectAPI, about: dict[str, Any], state: str, end_time: dict[str, str]) -> int:
    runs = {"state": {"type": {"any_": [state]}}, "end_time": end_time}
    return int(api.ask("flow_runs/count", about | {"flow_runs": runs}))


def _last(api: PrefectAPI, about: dict[str, Any], states: tuple[str, ...]) -> dict[str, Any]:
    """Return the run that last ended in one of these states; an empty one when none has."""
    runs = {"state": {"type": {"any_": [*states]}}, "end_time": {"is_null_": False}}
    newest = {"flow_runs": runs, "sort": "END_TIME_DESC", "limit": 1}
    found = api.ask("flow_runs/filter", about | newest)
    return dict(found[0]) if found else {}


def _deployed(api: PrefectAPI, about: dict[str, Any]) -> str | None:
    return min((d["created"] for d in api.ask("deployments/filter", about)), default=None)
