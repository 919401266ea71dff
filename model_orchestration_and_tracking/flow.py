"""The training flow: from a CSV of labelled clients to a registered challenger.

    load -> tune -> cross-validate -> log the five best -> register the best

How each is done stands in the modules beside this one; here is the order, what is tried again, and what a person sees
meanwhile. Registering is the last step, so a run that is killed on the way leaves no version behind.
"""

from typing import Annotated, Any
from uuid import UUID

import pandas as pd
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from credit_risk.application import LABEL, InvalidApplications, encode
from credit_risk.data import data_hash, read_training, split
from credit_risk.registry import CHALLENGER, Registry, Version
from credit_risk.settings import Settings
from model_orchestration_and_tracking.tracking import Trained, git_commit, log_training
from model_orchestration_and_tracking.tuning import FOLDS, Validated, best, candidates, cross_validate, search

KEPT = 5
SEED = 0

# A server that is being restarted is back within half a minute.
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [2, 10, 30]}


def may_pass(_task: object, _task_run: object, state: State[Any]) -> bool:
    """Tell Prefect whether trying again may help; with a file that is wrong or not there it does not."""
    return not isinstance(state.result(raise_on_failure=False), InvalidApplications | FileNotFoundError)


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, **RETRIES)
def load(source: str) -> pd.DataFrame:
    """Read and check the clients."""
    clients = read_training(source)
    n_bad = int((clients[LABEL] == "bad").sum())
    get_run_logger().info("%s: %d clients, %d of them bad", source, len(clients), n_bad)
    return clients


@task(cache_policy=NO_CACHE)
def tune(train: pd.DataFrame, n_iter: int) -> list[Validated]:
    """Try the candidates on the training clients."""
    logger = get_run_logger()
    progress = create_progress_artifact(0.0, key="tuning", description=f"{n_iter} candidates")
    assert isinstance(progress, UUID)  # a coroutine only where there is an event loop
    tried: list[Validated] = []
    for one in search(candidates(n_iter, SEED), encode(train), train[LABEL].to_numpy(str), SEED):
        tried.append(one)
        logger.info("candidate %d of %d: AUC %.3f with %s", len(tried), n_iter, one.auc, one.candidate.words)
        update_progress_artifact(progress, 100 * len(tried) / n_iter)
    return tried


@task(cache_policy=NO_CACHE)
def validate(train: pd.DataFrame, test: pd.DataFrame, chosen: list[Validated]) -> list[Trained]:
    """Cross-validate the chosen candidates on folds that did not choose them, and fit each on all training clients."""
    logger = get_run_logger()
    codes, labels = encode(train), train[LABEL].to_numpy(str)
    validated = [cross_validate(c.candidate, codes, labels, FOLDS, SEED + 1) for c in chosen]
    # With the out-of-fold risks a scorer knows whom it would accept, and so can explain its decisions.
    trained = [
        Trained(v, v.candidate.scorer().fit(codes, labels, v.risk), train, test) for v in best(validated, len(chosen))
    ]
    for one in trained:
        m = one.metrics
        logger.info(
            "candidate %d: AUC %.3f over %d folds, %.3f on the test clients",
            *(one.candidate.number, m["validation_auc"], FOLDS, m["test_auc"]),
        )
    return trained


@task(cache_policy=NO_CACHE, **RETRIES)
def log(uri: str, trained: list[Trained], tried: list[Validated], tags: dict[str, str]) -> tuple[str, str]:
    """Store the runs in MLflow."""
    name = runtime.flow_run.name or "training"
    run_id, model_uri = log_training(uri, name, trained, tried, tags)
    get_run_logger().info("%d candidates logged to MLflow under run %r", len(trained), name)
    return run_id, model_uri


@task(cache_policy=NO_CACHE, **RETRIES)
def register(registry: Registry, run_id: str, model_uri: str, tags: dict[str, str]) -> Version:
    """Make the best one the challenger; a second try does not make a second version."""
    for version in registry.versions():
        if version.run_id == run_id:
            registry.set_alias(CHALLENGER, version.number)
            return version
    return registry.register(run_id, model_uri, tags)


@flow(name="credit-risk-training")
def credit_risk_training(
    data: str | None = None, n_iter: Annotated[int, Field(ge=1, le=1000)] | None = None
) -> State[str]:
    """Train a credit scorer and register it as challenger; a person decides whether it becomes Production.

    Parameters
    ----------
    data : str, optional
        Labelled clients: a CSV path or gs:// address. Without it the setting DATA.
    n_iter : int, optional
        Candidates to try, 1 to 1000. Without it the setting N_ITER.
    """
    settings = Settings()
    source = data or settings.data
    clients = load(source)
    train, test = split(clients)
    tried = tune(train, n_iter or settings.n_iter)
    trained = validate(train, test, best(tried, KEPT))
    tags = {"data": source, "data_hash": data_hash(clients), "git_commit": git_commit()}
    run_id, model_uri = log(settings.mlflow_tracking_uri, trained, tried, tags)
    registry = Registry(settings.mlflow_tracking_uri, settings.model_name)
    version = register(registry, run_id, model_uri, tags)
    message = f"{registry.name} version {version.number} is the challenger"
    get_run_logger().info("%s (test AUC %.3f)", message, trained[0].metrics["test_auc"])
    return Completed(message=message, data=version.number)
