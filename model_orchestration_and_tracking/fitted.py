"""A candidate, or the average of the best, once fitted: its scorer, and how well it does."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic

import pandas as pd
import skops.io

from credit_risk.metrics.cost import weights
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import read
from model_orchestration_and_tracking.evaluation.fairness import Slice, slices
from model_orchestration_and_tracking.evaluation.metrics import metrics, named
from model_orchestration_and_tracking.plots import Part
from model_orchestration_and_tracking.tuning import Labels, Tried, Validated


@dataclass(frozen=True)
class Trained(Generic[Tried]):
    """Cross-validated, and fitted on the training clients.

    Attributes
    ----------
    validated : Validated
        Its cross-validation on the training clients.
    scorer : CreditScorer
        Fitted on all of them.
    train, test : DataFrame
        The attributes and `class`.
    """

    validated: Validated[Tried]
    scorer: CreditScorer
    train: pd.DataFrame
    test: pd.DataFrame

    @classmethod
    def fit(
        cls,
        validated: Validated[Tried],
        train: pd.DataFrame,
        test: pd.DataFrame,
        dataset: Dataset,
    ) -> "Trained[Tried]":
        """Fit what was validated.

        From the out-of-fold risks the scorer knows whom it would accept, so that it can explain its
        decisions.
        """
        scorer = validated.candidate.scorer(dataset).fit(train, train[LABEL], validated.risk)
        return cls(validated, scorer, train, test)

    @property
    def candidate(self) -> Tried:
        """What was fitted."""
        return self.validated.candidate

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric, under its name in MLflow."""
        labels, risk = self.parts["test"]
        dataset = self.scorer.dataset
        tested = metrics(labels, risk, dataset.costs, weights(self.test, dataset))
        return named("validation", self.validated.metrics) | named("test", tested)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Labels and risk of the training clients, out of fold, and of the test clients."""
        return {
            "validation": (labels_of(self.train), self.validated.risk),
            "test": (
                labels_of(self.test),
                self.scorer.risk(encode(self.test, self.scorer.dataset)),
            ),
        }

    @cached_property
    def slices(self) -> list[Slice]:
        """How groups of the training clients fare, out of fold.

        Empty where no protected attribute is known.
        """
        return slices(self.train, self.validated.risk, self.scorer.dataset)

    @property
    def reference(self) -> pd.DataFrame:
        """What drift is measured against: training clients, with class and out-of-fold `risk`."""
        return self.train[[*self.scorer.dataset.names, LABEL]].assign(risk=self.validated.risk)

    def is_stored_as(self, scorer: CreditScorer, reference_digest: str) -> bool:
        """Return whether what the registry holds is what was trained.

        Parameters
        ----------
        scorer : CreditScorer
            The scorer that was read from the registry.
        reference_digest : str
            The SHA-256 of the reference file there.
        """
        ours = read(skops.io.dumps(self.scorer))
        reference = hashlib.sha256(self.reference.to_parquet(index=False)).hexdigest()
        return (_comparable_state(ours), reference) == (_comparable_state(scorer), reference_digest)


def _comparable_state(scorer: CreditScorer) -> dict[str, Any]:
    """Return a scorer's state as plain values."""
    return {name: value for name, value in scorer.__getstate__().items() if name != "classes_"}


def labels_of(clients: pd.DataFrame) -> Labels:
    """Return the classes of clients, shape (n,)."""
    return clients[LABEL].to_numpy(str)
