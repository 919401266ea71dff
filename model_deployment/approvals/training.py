"""Starting trainings, so that it is known who did."""

from contextlib import suppress
from typing import Any

from credit_risk.access.caller import Caller
from credit_risk.decision_log.log import DecisionLog
from credit_risk.prefect_api import PrefectAPI
from credit_risk.registry.approval_log import note_training
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable

FLOW = "credit-risk-training"
DEPLOYMENT = "sunday-night"
# People who look at Prefect's page see where a run comes from.
TAG = "approvals"


class PrefectUnavailable(ConnectionError):
    """Prefect does not answer, or has no deployment of the training."""


class Trainings:
    """Starts runs of the training's deployment.

    Parameters
    ----------
    settings : Settings
    log : DecisionLog
        Where it is noted who started which.
    """

    def __init__(self, settings: Settings, log: DecisionLog) -> None:
        login = settings.prefect_api_auth_string.get_secret_value()
        self._api = PrefectAPI(settings.prefect_api_url, login)
        self._log = log

    def start(self, caller: Caller, reason: str, *, fresh: bool) -> str:
        """Start a run, note who did, and return the run's id.

        Parameters
        ----------
        fresh : bool
            Whether to bring the training data up to date first.

        Raises
        ------
        PrefectUnavailable
        LogUnavailable
            Then nothing was started, or it was cancelled: a run that nobody is known to have
            started would count as the service's.
        """
        self._log.last_approval()
        deployment = self._deployment()
        wanted = {"parameters": {"fresh": fresh}, "tags": [TAG]}
        run = str(self._ask(f"deployments/{deployment}/create_flow_run", wanted)["id"])
        try:
            note_training(self._log, run, reason, caller)
        except LogUnavailable:
            self._cancel(run)
            raise
        return run

    def _deployment(self) -> str:
        found = self._ask(
            "deployments/filter",
            {"deployments": {"name": {"any_": [DEPLOYMENT]}}, "flows": {"name": {"any_": [FLOW]}}},
        )
        if not found:
            raise PrefectUnavailable(f"Prefect has no deployment {FLOW}/{DEPLOYMENT}")
        return str(found[0]["id"])

    def _cancel(self, run: str) -> None:
        cancelled = {"type": "CANCELLED", "message": "Who started it could not be noted."}
        with suppress(PrefectUnavailable):
            self._ask(f"flow_runs/{run}/set_state", {"state": cancelled, "force": True})

    def _ask(self, path: str, question: dict[str, Any]) -> Any:
        try:
            return self._api.ask(path, question)
        except (OSError, ValueError) as error:
            raise PrefectUnavailable(f"Prefect: {error}") from error
