"""What a training run leaves in MLflow: a parent run, a child run for each of the best candidates, their models.

The parent is the training run itself: it holds what is registered, with the metrics, figures and reference rows that
belong to it. Nothing is in the registry before all of it is stored.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient

from credit_risk.application import ATTRIBUTES, LABEL, NAMES, encode
from credit_risk.model import CreditScorer
from credit_risk.registry import REFERENCE_FILE, log_scorer
from model_orchestration_and_tracking import plots
from model_orchestration_and_tracking.metrics import metrics, named
from model_orchestration_and_tracking.tuning import Candidate, Labels, Validated

EXPERIMENT = "credit-risk"
HERE = Path(__file__).parent
# Logging takes seconds; what has been at it for a quarter of an hour is dead.
ABANDONED_SECONDS = 900


@dataclass(frozen=True)
class Trained:
    """A candidate, cross-validated and fitted on the training clients.

    Attributes
    ----------
    validated : Validated
        Its cross-validation on the training clients.
    scorer : CreditScorer
        Fitted on all of them.
    train, test : DataFrame
        The 20 attributes and `class`.
    """

    validated: Validated
    scorer: CreditScorer
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def candidate(self) -> Candidate:
        """What was tried."""
        return self.validated.candidate

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric, under its name in MLflow."""
        labels, risk = self.parts["test"]
        return named("validation", self.validated.metrics) | named("test", metrics(labels, risk))

    @cached_property
    def parts(self) -> dict[str, plots.Part]:
        """Labels and risk of the training clients, out of fold, and of the test clients."""
        return {
            "validation": (_labels(self.train), self.validated.risk),
            "test": (_labels(self.test), self.scorer.risk(encode(self.test))),
        }

    @property
    def reference(self) -> pd.DataFrame:
        """What drift is measured against: the training clients, their class, their out-of-fold `risk`."""
        return self.train[[*NAMES, LABEL]].assign(risk=self.validated.risk)


def figures(one: Trained, compared: Sequence[Trained]) -> dict[str, Figure]:
    """Return the figures of one candidate by name; `compared` are those that its CV scores stand beside."""
    scores = {f"candidate {c.candidate.number}": [fold["auc"] for fold in c.validated.folds] for c in compared}
    return {
        "confusion_matrix": plots.confusion(one.parts, one.scorer.threshold),
        "roc_curve": plots.roc(one.parts, one.scorer.threshold),
        "cv_scores": plots.cv_scores(scores, f"candidate {one.candidate.number}"),
        "calibration": plots.calibration(one.parts),
        "feature_importance": plots.importance(one.scorer),
    }


def git_commit() -> str:
    """Return the commit of the code: `GIT_COMMIT` where set (containers have no .git), else git's word, or unknown."""
    if commit := os.environ.get("GIT_COMMIT"):
        return commit
    command = ["git", "-C", str(HERE), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def log_training(
    uri: str, name: str, trained: Sequence[Trained], tried: Sequence[Validated], tags: Mapping[str, str]
) -> tuple[str, str]:
    """Log a training run with its best candidates and return its run id and the address of its model.

    Parameters
    ----------
    uri : str
        Of the MLflow server.
    name : str
        Of the run, as people will see it.
    trained : sequence of Trained
        Best first. Each becomes a child run; the first is what the parent run holds.
    tried : sequence of Validated
        Every candidate of the search, by its tuning folds.
    tags : mapping
        Put on the parent and on each child.
    """
    mlflow.set_tracking_uri(uri)
    end_abandoned(MlflowClient(uri), mlflow.set_experiment(EXPERIMENT).experiment_id)
    best = trained[0]
    with mlflow.start_run(run_name=name, tags=dict(tags)) as parent:
        for one in trained:
            with mlflow.start_run(run_name=f"candidate {one.candidate.number}", nested=True, tags=dict(tags)):
                _log(one, trained)
        mlflow.log_params({"candidates": len(tried), "candidate": best.candidate.number})
        mlflow.log_text(table(tried).to_csv(index=False), "candidates.csv")
        _log_reference(best)
        return parent.info.run_id, _log(best, trained)


def end_abandoned(client: MlflowClient, experiment_id: str) -> None:
    """End the runs whose training was killed while it logged them; MLflow would show them as running for ever."""
    long_ago = 1000 * (time.time() - ABANDONED_SECONDS)
    where = f"attributes.status = 'RUNNING' and attributes.start_time < {long_ago:.0f}"
    for run in client.search_runs([experiment_id], where):
        client.set_terminated(run.info.run_id, "KILLED")


def table(tried: Sequence[Validated]) -> pd.DataFrame:
    """Return a row for each candidate: its number, hyperparameters and metrics."""
    return pd.DataFrame([{"candidate": v.candidate.number, **v.candidate.as_params(), **v.metrics} for v in tried])


def _log(one: Trained, compared: Sequence[Trained]) -> str:
    mlflow.log_params(one.candidate.as_params())
    mlflow.log_metrics(one.metrics)
    for name, figure in figures(one, compared).items():
        mlflow.log_figure(figure, f"figures/{name}.png")
    # Numbers as floats: a protected one may be absent, which an integer in the signature would forbid.
    example = one.train[list(NAMES)].head(5).astype({a.name: float for a in ATTRIBUTES if a.kind == "number"})
    return log_scorer(one.scorer, example)


def _log_reference(one: Trained) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / REFERENCE_FILE
        one.reference.to_parquet(path, index=False)
        mlflow.log_artifact(str(path))


def _labels(clients: pd.DataFrame) -> Labels:
    return clients[LABEL].to_numpy(dtype=np.str_)
