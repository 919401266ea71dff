"""What a training run stores in MLflow: a parent run, a child run per candidate, their models.

The children are the best candidates. The parent is the training run itself: it holds what is
registered, with the metrics, figures and reference rows that belong to it. Nothing is registered
before all of it is stored.
"""

import hashlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

import credit_risk
from credit_risk.registry.logged import log_scorer, requirements
from credit_risk.registry.registry import CARD_FILE, REFERENCE_FILE
from model_orchestration_and_tracking import plots
from model_orchestration_and_tracking.card import card
from model_orchestration_and_tracking.evaluation.fairness import frame
from model_orchestration_and_tracking.fitted import Trained
from model_orchestration_and_tracking.gate import Gate
from model_orchestration_and_tracking.tuning import Average, Candidate, Validated

EXPERIMENT = "credit-risk"
HERE = Path(__file__).parent
_CODE = (HERE, Path(credit_risk.__file__).parent)
# Logging takes seconds; a run that has been logging for a quarter of an hour is dead.
ABANDONED_SECONDS = 900


def figures(
    trained: Trained[Candidate] | Trained[Average], compared: Sequence[Trained[Candidate]]
) -> dict[str, Figure]:
    """Return the figures of a candidate or average by name.

    `compared` are the candidates whose cross-validation scores are drawn beside its own.
    """
    scores = {}
    for each in (*compared, trained):
        scores[each.candidate.name] = [fold["auc"] for fold in each.validated.folds]

    return {
        "confusion_matrix": plots.confusion(trained.parts, trained.scorer.threshold),
        "roc_curve": plots.roc(trained.parts, trained.scorer.threshold),
        "cv_scores": plots.cv_scores(scores, trained.candidate.name),
        "calibration": plots.calibration(trained.parts),
        "feature_importance": plots.importance(trained.scorer),
    }


@dataclass(frozen=True)
class Training:
    """What a run results in: the candidates, best first, their average, and the gate's verdict.

    The gate compares the average with Production.
    """

    candidates: Sequence[Trained[Candidate]]
    average: Trained[Average]
    gate: Gate


def git_commit() -> str:
    """Return the commit of the code, or "unknown".

    It is `GIT_COMMIT` where that is set (containers have no .git), else what git reports.
    """
    if commit := os.environ.get("GIT_COMMIT"):
        return commit

    command = ["git", "-C", str(HERE), "describe"]
    command += ["--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def code_hash() -> str:
    """Return the SHA-256 of our code and the libraries' versions.

    They are what the result of a training run depends on beside its data. Unlike the commit, the
    hash needs no git, tells one dirty tree from another, and ignores files that are not code.
    """
    found = hashlib.sha256()

    for folder in _CODE:
        for path in sorted(folder.rglob("*.py")):
            if "tests" not in path.relative_to(folder).parts:
                found.update(f"{path.relative_to(folder.parent)}\n".encode() + path.read_bytes())

    found.update(" ".join(requirements()).encode())
    return found.hexdigest()


def log_training(
    uri: str,
    name: str,
    training: Training,
    tried: Sequence[Validated[Candidate]],
    tags: Mapping[str, str],
) -> tuple[str, str]:
    """Log a training run with its best candidates; return its run id and its model's address.

    Parameters
    ----------
    uri : str
        Address of the MLflow server.
    name : str
        Name of the run, as people will see it.
    training : Training
        Each of its candidates becomes a child run; their average is what the parent run holds.
    tried : sequence of Validated
        Every candidate of the search, by its tuning folds.
    tags : mapping
        Put on the parent and on each child.
    """
    mlflow.set_tracking_uri(uri)
    end_abandoned(MlflowClient(uri), mlflow.set_experiment(EXPERIMENT).experiment_id)
    best, gate = training.average, training.gate

    with mlflow.start_run(run_name=name, tags=dict(tags) | gate.tags()) as parent:
        for trained in training.candidates:
            with mlflow.start_run(run_name=trained.candidate.name, nested=True, tags=dict(tags)):
                _log(trained, training.candidates)

        mlflow.log_param("candidates", len(tried))
        mlflow.log_text(table(tried).to_csv(index=False), "candidates.csv")

        text = card(name, best, gate, tags)
        mlflow.log_text(text, CARD_FILE)
        mlflow.set_tag(MLFLOW_RUN_NOTE, text)
        mlflow.log_dict(best.scorer.domain_, "domain.json")
        mlflow.log_text(best.scorer.dataset.text, "dataset.json")

        if best.slices:
            mlflow.log_text(frame(best.slices).to_csv(index=False), "slices.csv")
            figure = plots.slices(best.slices, best.scorer.dataset)
            mlflow.log_figure(figure, "figures/slices.png")

        if gate.differences:
            mlflow.log_text(gate.table().to_csv(index=False), "gate.csv")
            figure = plots.gate(gate.differences, str(gate.production))
            mlflow.log_figure(figure, "figures/gate.png")

        _log_reference(best)
        return parent.info.run_id, _log(best, training.candidates)


def end_abandoned(client: MlflowClient, experiment_id: str) -> None:
    """End the runs whose training was killed while it logged them.

    MLflow would show them as running for ever.
    """
    long_ago = 1000 * (time.time() - ABANDONED_SECONDS)
    where = f"attributes.status = 'RUNNING' and attributes.start_time < {long_ago:.0f}"
    for run in client.search_runs([experiment_id], where):
        client.set_terminated(run.info.run_id, "KILLED")


def table(tried: Sequence[Validated[Candidate]]) -> pd.DataFrame:
    """Return a row for each candidate: its number, hyperparameters and metrics."""
    return pd.DataFrame(
        [{"candidate": v.candidate.number, **v.candidate.as_params(), **v.metrics} for v in tried]
    )


def _log(
    trained: Trained[Candidate] | Trained[Average], compared: Sequence[Trained[Candidate]]
) -> str:
    mlflow.log_params(trained.candidate.as_params())
    mlflow.log_metrics(trained.metrics)
    for name, figure in figures(trained, compared).items():
        mlflow.log_figure(figure, f"figures/{name}.png")
    return log_scorer(trained.scorer, trained.train[list(trained.scorer.dataset.names)].head(5))


def _log_reference(average: Trained[Average]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / REFERENCE_FILE
        average.reference.to_parquet(path, index=False)
        mlflow.log_artifact(str(path))
