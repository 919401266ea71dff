"""Which model serves: found, checked and swapped by a thread that watches the approvals in the decision log.

Each worker process has its own, started after the fork. A request takes `serving` once and keeps it to its end, so that
one file is decided by one version whatever is approved meanwhile.
"""

import logging
import threading
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approvals import Approval, InForce, decisions, in_force
from credit_risk.registry.registry import NoSuchVersion, Registry, RegistryUnavailable
from credit_risk.schema.attributes import NAMES
from credit_risk.schema.validation import Validator
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused
from credit_risk.storage.documents import LogUnavailable

# How often the approvals are looked at while nothing serves.
OFF_POLL_SECONDS = 1.0

logger = logging.getLogger(__name__)


class ScoringOff(Exception):
    """No model serves; the message says why."""


@dataclass(frozen=True)
class Serving:
    """A model version, ready to decide, the approval that it serves by, and the version that decided before it."""

    version: str
    digest: str
    scorer: CreditScorer
    validator: Validator
    approval: Approval
    before: str | None = None


class Production:
    """The version that the approvals say decides, as far as it could be loaded.

    Parameters
    ----------
    registry : Registry
        Where the versions are.
    log : DecisionLog
        Where the approvals are.
    poll_seconds : float
        How often they are looked at.
    follow_alias : bool
        See `approvals.in_force`.
    """

    def __init__(
        self, registry: Registry, log: DecisionLog, poll_seconds: float, *, follow_alias: bool = False
    ) -> None:
        self._registry = registry
        self._log = log
        self._poll_seconds = poll_seconds
        self._follow_alias = follow_alias
        self._serving: Serving | None = None
        self._trouble = "The Production model has not been looked for yet."
        self._log_away = False
        self._alias_agrees: bool | None = None
        # People look at old decisions one by one.
        self._earlier = lru_cache(maxsize=4)(registry.load)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def serving(self) -> Serving | None:
        """What serves now, or None."""
        return self._serving

    @property
    def trouble(self) -> str:
        """Why no model serves, or why the newest does not; empty when all is well."""
        return self._trouble

    @property
    def log_away(self) -> bool:
        """Whether the decision log could not be reached at the last look: then nothing is decided."""
        return self._log_away

    @property
    def alias_agrees(self) -> bool | None:
        """Whether MLflow's alias is where the approvals are; None where MLflow could not be asked."""
        return self._alias_agrees

    def require(self) -> Serving:
        """Return what serves now.

        Raises
        ------
        ScoringOff
            When nothing does.
        """
        serving = self._serving
        if serving is None:
            raise ScoringOff(self._trouble)
        return serving

    def scorer(self, version: str, digest: str) -> CreditScorer:
        """Return the scorer of a version, the one that serves or an earlier one.

        Raises
        ------
        RegistryUnavailable, NoSuchVersion, ModelRefused
            When an earlier one cannot be had.
        """
        serving = self._serving
        if serving is not None and (serving.version, serving.digest) == (version, digest):
            return serving.scorer
        return self._earlier(version, digest)

    def start(self) -> None:
        """Begin to watch, in a thread of this process."""
        self._thread = threading.Thread(target=self._watch, name="production-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def look(self) -> None:
        """Look once which version decides, and load it where that is new."""
        try:
            now = in_force(self._registry, self._log, follow_alias=self._follow_alias)
            self._log_away = False
            self._alias_agrees = None if now.astray is None else not now.astray
            approval, serving = now.approval, self._serving
            if now.goes_on:
                pass
            elif approval is None:
                self._serving = None
            elif serving is None or (serving.version, serving.digest) != (approval.version, approval.digest):
                self._serving = self._load(approval)
                logger.info("serving version %s", approval.version)
            else:
                self._serving = replace(serving, approval=approval)
            self._say(_trouble(now))
        except RegistryUnavailable:
            self._say("MLflow cannot be reached.")
        except LogUnavailable:
            self._log_away = True
            self._say("The decision log cannot be reached.")
        except (ModelRefused, NoSuchVersion) as error:
            self._say(f"The Production version was refused: {error}.")

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except Exception:  # whatever it is, the next look may go well, and the model at hand serves on
                logger.exception("looking for the Production model failed")
                self._say("The Production model cannot be loaded; the service's log says why.")
            # Each worker looks for itself: where one serves already, the others should not be long in following.
            self._stopped.wait(self._poll_seconds if self._serving else min(self._poll_seconds, OFF_POLL_SECONDS))

    def _load(self, approval: Approval) -> Serving:
        version, digest = approval.version, approval.digest
        scorer = self._registry.load(version, digest, keep=True)
        scorer.warm_up()  # or the first request would wait for it
        scorer.decide(np.zeros((1, len(NAMES))))  # shows that it scores
        earlier = [one.version for one in decisions(self._log) if one.version != version]
        return Serving(version, digest, scorer, Validator(scorer.domain), approval, earlier[-1] if earlier else None)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.warning("%s", trouble)
        self._trouble = trouble


def _trouble(now: InForce) -> str:
    """Return why nothing serves, or what is to be said beside what does."""
    if now.astray is None:
        return "MLflow cannot be reached."
    if now.approval is None and not now.astray:
        return "There is no Production model. A version must be approved first."
    return " ".join(f"{said}." for said in (now.refused, now.astray) if said)
