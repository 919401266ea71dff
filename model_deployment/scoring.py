"""From a body to decisions that are in the log: validate, decide, commit. Only then is there an answer."""

import hashlib
from collections.abc import Callable

from credit_risk.application import Applications, Validator
from credit_risk.decisions import Batch, DecisionLog
from model_deployment.metrics import Metrics
from model_deployment.serving import Production


class Scoring:
    """Decides on lists and files of applications.

    Every method raises `Unreadable` when the body is no list of applications, `ScoringOff` when no model serves and
    `LogUnavailable` when the decisions cannot be logged. Then nothing is stored.
    """

    def __init__(self, production: Production, log: DecisionLog, metrics: Metrics) -> None:
        self._production = production
        self._log = log
        self._metrics = metrics

    def rows(self, rows: object) -> Batch:
        """Decide on a JSON list of applications; return the batch as committed."""
        return self._decide(lambda validator: validator.rows(rows))

    def file(self, data: bytes, name: str | None) -> Batch:
        """Decide on a CSV of applications; return the batch as committed."""
        return self._decide(lambda validator: validator.csv(data), name, hashlib.sha256(data).hexdigest())

    def _decide(
        self, read: Callable[[Validator], Applications], source: str | None = None, sha256: str | None = None
    ) -> Batch:
        serving = self._production.require()
        with self._metrics.scoring_seconds.time():
            applications = read(serving.validator)
            batch = Batch(
                applications=applications,
                decided=serving.scorer.decide(applications.codes),
                model_version=serving.version,
                digest=serving.digest,
                threshold=serving.scorer.threshold,
                source=source,
                sha256=sha256,
            )
            self._log.commit(batch)
        return batch
