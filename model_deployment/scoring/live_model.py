"""The model that serves, which a thread loads as the approvals in the decision log say.

Each worker process has its own thread, started after the fork. A request reads `serving` once and
keeps it to its end, so that one version decides a whole file, whatever is approved meanwhile.
"""

import logging
import threading
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.approval_log import Approval, decisions
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.registry.in_force import InForce, approved, in_force
from credit_risk.registry.registry import Registry
from credit_risk.schema.attributes import Labels
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.validation import Validator
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused
from credit_risk.storage.documents import LogUnavailable

# Seconds between reads of the approvals while nothing serves.
OFF_POLL_SECONDS = 1.0
# Seconds that a start waits for the first look, so that a process that replaces another refuses
# nobody while it loads what the others serve.
FIRST_LOOK_SECONDS = 5.0

logger = logging.getLogger(__name__)


class ScoringOff(Exception):
    """No model serves; the message says why."""


@dataclass(frozen=True)
class Serving:
    """A model version that is ready to decide.

    Attributes
    ----------
    approval : Approval
        The approval that it serves by.
    before : str or None
        The version that decided before it.
    """

    version: str
    digest: str
    scorer: CreditScorer
    validator: Validator
    approval: Approval
    before: str | None = None


class LiveModel:
    """The version that decides according to the approvals, as far as it could be loaded.

    Parameters
    ----------
    registry : Registry
        Holds the versions.
    log : DecisionLog
        Holds the approvals.
    poll_seconds : float
        Seconds between reads of the approvals, once started.
    follow_alias : bool
        See `in_force`.
    one_off : bool
        For one file, which should not wait long: MLflow is not asked about its alias, unless that
        is followed, and the kernel is made only where there are rows enough for it.
    labels : str
        What people read of a recorded value first.
    """

    def __init__(
        self,
        registry: Registry,
        log: DecisionLog,
        poll_seconds: float = 10.0,
        *,
        follow_alias: bool = False,
        one_off: bool = False,
        labels: Labels = "meaning",
    ) -> None:
        self.labels = labels
        self._registry = registry
        self._log = log
        self._poll_seconds = poll_seconds
        self._follow_alias = follow_alias
        self._one_off = one_off
        self._serving: Serving | None = None
        self._status_message = "The Production model has not been looked for yet."
        self._log_away = False
        self._alias_agrees: bool | None = None
        # For old decisions, which people open one by one.
        self._earlier = lru_cache(maxsize=4)(registry.load)
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def serving(self) -> Serving | None:
        """The version that serves now, or None."""
        return self._serving

    @property
    def dataset(self) -> Dataset:
        """What an application is: to the version that serves, or to the stack where none does."""
        serving = self._serving
        return self._log.dataset if serving is None else serving.scorer.dataset

    @property
    def status_message(self) -> str:
        """Why no model serves, or why the newest does not; empty when all is well."""
        return self._status_message

    @property
    def log_away(self) -> bool:
        """Whether the last read of the decision log failed: then nothing is decided."""
        return self._log_away

    @property
    def alias_agrees(self) -> bool | None:
        """Whether MLflow's alias agrees with the approvals; None if MLflow was unavailable."""
        return self._alias_agrees

    def require(self) -> Serving:
        """Return the version that serves now.

        Raises
        ------
        ScoringOff
            When nothing does.
        """
        serving = self._serving
        if serving is None:
            raise ScoringOff(self._status_message)
        return serving

    def scorer(self, version: str, digest: str) -> CreditScorer:
        """Return the scorer of a version, the one that serves or an earlier one.

        Raises
        ------
        RegistryUnavailable, NoSuchVersion, ModelRefused
            When an earlier one is unavailable.
        """
        serving = self._serving
        if serving is not None and (serving.version, serving.digest) == (version, digest):
            return serving.scorer
        return self._earlier(version, digest)

    def start(self) -> None:
        """Start watching the approvals in a thread, and return after its first look."""
        self._thread = threading.Thread(target=self._watch, name="production-watch", daemon=True)
        self._thread.start()
        self._looked.wait(FIRST_LOOK_SECONDS)

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def refresh(self) -> None:
        """Check once which version decides, and load it if it is new."""
        try:
            now = self._look()
            self._log_away = False
            self._alias_agrees = None if now.alias_mismatch is None else not now.alias_mismatch
            if not now.keeps_serving:
                self._follow(now.approval)
            self._report(_status_message(now))
        except RegistryUnavailable:
            self._report("MLflow cannot be reached.")
        except LogUnavailable:
            self._log_away = True
            self._report("The decision log cannot be reached.")
        except (ModelRefused, NoSuchVersion) as error:
            self._report(f"The Production version was refused: {error}.")

    def _follow(self, approval: Approval | None) -> None:
        """Serve by an approval, or serve nothing without one."""
        serving = self._serving
        if approval is None:
            self._serving = None
            return

        approved = (approval.version, approval.digest)
        if serving is not None and (serving.version, serving.digest) == approved:
            self._serving = replace(serving, approval=approval)
        else:
            self._serving = self._load(approval)
            logger.info("serving version %s", approval.version)

    def _look(self) -> InForce:
        if self._one_off and not self._follow_alias:
            return approved(self._registry, self._log)
        return in_force(self._registry, self._log, follow_alias=self._follow_alias)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self.refresh()
            except Exception:
                # Whatever it is, the next attempt may succeed, and the present model serves on.
                logger.exception("looking for the Production model failed")
                self._report("The Production model cannot be loaded; the service's log says why.")

            self._looked.set()
            # Each worker polls for itself: once one serves, the others should follow soon.
            seconds = self._poll_seconds
            if not self._serving:
                seconds = min(seconds, OFF_POLL_SECONDS)
            self._stopped.wait(seconds)

    def _load(self, approval: Approval) -> Serving:
        version, digest = approval.version, approval.digest
        scorer = self._registry.load(version, digest, keep=True)
        if not self._one_off:
            scorer.warm_up()  # otherwise the first request would wait for it
            scorer.decide(np.zeros((1, len(scorer.dataset.names))))  # shows that it scores

        earlier = [one.version for one in decisions(self._log) if one.version != version]
        return Serving(
            version,
            digest,
            scorer,
            Validator(scorer.dataset, scorer.domain),
            approval,
            earlier[-1] if earlier else None,
        )

    def _report(self, status_message: str) -> None:
        if status_message and status_message != self._status_message:
            logger.warning("%s", status_message)
        self._status_message = status_message


def _status_message(now: InForce) -> str:
    """Return why nothing serves, or a notice beside the version that serves."""
    if now.alias_mismatch is None:
        return "MLflow cannot be reached."
    if now.approval is None and not now.alias_mismatch:
        return "There is no Production model. A version must be approved first."
    return " ".join(f"{said}." for said in (now.refused, now.alias_mismatch) if said)
