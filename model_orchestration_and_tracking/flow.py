"""The training flow: from labelled clients to a registered challenger.

    load -> tune -> cross-validate and average the five best -> compare with Production -> log ->
    register

The data that the settings name are joined by clients who were accepted here, once there is a
snapshot of them (`credit_risk.training_data.snapshots`). The modules beside this one do each step;
this one holds their order, what is retried, and what a person sees meanwhile. Registering is the
last step, so a run that is killed on the way leaves no version behind.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import pandas as pd
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.approval_log import Approval, note_registered
from credit_risk.registry.checks import refuse_other_dataset
from credit_risk.registry.errors import DigestMismatch, NoSuchVersion, OtherDataset
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import CHALLENGER, Registry, open_registry
from credit_risk.registry.version import DATASET, DEFINITION, REFERENCE_DIGEST, Version
from credit_risk.schema.attributes import BAD, LABEL
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.schema.faults import InvalidApplications
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data.data import (
    data_hash,
    n_repeated,
    read_training,
    split,
)
from credit_risk.training_data.snapshots import (
    LATEST,
    NoSuchSnapshot,
    Snapshot,
    fits,
    latest_snapshot,
    make,
    pick,
    read,
)
from credit_risk.training_data.source import training_source
from model_orchestration_and_tracking.engine import Engine, processes
from model_orchestration_and_tracking.fitted import Trained, labels_of
from model_orchestration_and_tracking.gate import Gate, judge
from model_orchestration_and_tracking.tracking import Training, code_hash, git_commit, log_training
from model_orchestration_and_tracking.tuning import (
    FOLDS,
    Average,
    Candidate,
    Folds,
    Validated,
    best,
    candidates,
    search,
)

SEED = 0
# Tags that are equal where two versions were made of the same data, code and parameters.
SAME = ("data_hash", "code_hash", "n_iter", DEFINITION)

# Fewer are tried sooner than a process starts.
CANDIDATES_A_PROCESS = 20

# Errors after which trying again does not help.
_FINAL = (InvalidApplications, FileNotFoundError, NoSuchSnapshot, OtherDataset)

Trainings = tuple[list[Trained[Candidate]], Trained[Average]]

# A server that is being restarted is back within half a minute.
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [2, 10, 30]}


def may_pass(_task: object, _task_run: object, state: State[Any]) -> bool:
    """Return whether trying again may help; where a file is wrong or missing it does not."""
    result = state.result(raise_on_failure=False)
    return not isinstance(result, _FINAL)


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, **RETRIES)
def load(source: str, dataset: Dataset) -> pd.DataFrame:
    """Read and check the clients."""
    logger = get_run_logger()
    clients = read_training(source, dataset, logger.warning)
    n_bad = int((clients[LABEL] == BAD).sum())
    logger.info("%s: %d clients, %d of them bad", source, len(clients), n_bad)

    if repeated := n_repeated(clients, dataset):
        logger.warning(
            "%d rows repeat the inputs of another client: "
            "all rows of one client stay on one side of split and folds",
            repeated,
        )

    return clients


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, **RETRIES)
def choose(settings: Settings, source: str, base: pd.DataFrame, fresh: bool) -> Snapshot | None:
    """Return the snapshot that the settings mean, if any.

    The latest is made anew first where a fresh one is wanted.
    """
    logger, decisions, which = get_run_logger(), open_log(settings), settings.training_snapshot
    blobs = open_blobs(settings.bucket)

    if fresh and which == LATEST:
        make(
            decisions,
            blobs,
            base,
            source,
            settings.outcome_maturity_months,
            logger.info,
        )

    snapshot = pick(decisions, which, data_hash(base, decisions.dataset))
    if snapshot and which == LATEST and not fits(blobs, snapshot, decisions.dataset):
        logger.warning(
            "%s has clients whose values are not allowed any more and is left out; "
            "make training-data",
            snapshot.name,
        )
        return None

    if snapshot:
        logger.info("trained on %s", snapshot.summary)
    elif which == LATEST and (last := latest_snapshot(decisions)):
        logger.warning(
            "%s was made of other data than %s and is left out; make training-data",
            last.name,
            source,
        )

    return snapshot


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, **RETRIES)
def load_snapshot(
    settings: Settings, snapshot: Snapshot, dataset: Dataset
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a snapshot's training and test clients."""
    return read(open_blobs(settings.bucket), snapshot, dataset)


@task(cache_policy=NO_CACHE)
def tune(
    train: pd.DataFrame, dataset: Dataset, n_iter: int, scheduler: str
) -> list[Validated[Candidate]]:
    """Try the candidates on the training clients, on all cores or on a Dask cluster."""
    logger = get_run_logger()
    engine = Engine(scheduler, processes(n_iter, CANDIDATES_A_PROCESS))
    progress = create_progress_artifact(0.0, key="tuning", description=f"{n_iter} candidates")
    assert isinstance(progress, UUID)  # a coroutine only where there is an event loop
    tried: list[Validated[Candidate]] = []

    tries, codes = candidates(n_iter, SEED), encode(train, dataset)
    for validated in search(tries, dataset, codes, labels_of(train), SEED, engine):
        tried.append(validated)
        logger.info(
            "candidate %d of %d: AUC %.3f with %s",
            len(tried),
            n_iter,
            validated.auc,
            validated.candidate.summary,
        )
        update_progress_artifact(progress, 100 * len(tried) / n_iter)

    return tried


def judging_folds(train: pd.DataFrame, dataset: Dataset) -> Folds:
    """Return the folds that judge candidates: not those that chose them.

    They are the same for a challenger and for Production.
    """
    return Folds(dataset, encode(train, dataset), labels_of(train), FOLDS, SEED + 1)


@task(cache_policy=NO_CACHE)
def validate(
    train: pd.DataFrame, test: pd.DataFrame, dataset: Dataset, chosen: list[Validated[Candidate]]
) -> Trainings:
    """Cross-validate and average the chosen candidates, and fit them on all training clients.

    The folds are not those that chose them.
    """
    logger = get_run_logger()
    folds = judging_folds(train, dataset)

    validated = best([folds.validate(v.candidate) for v in chosen], len(chosen))
    fitted = [Trained.fit(v, train, test, dataset) for v in validated]
    average = Trained.fit(folds.average(validated), train, test, dataset)

    everyone: list[Trained[Any]] = [*fitted, average]
    for trained in everyone:
        logger.info(
            "%s: AUC %.3f over %d folds, %.3f on the test clients",
            trained.candidate.name,
            trained.metrics["validation_auc"],
            FOLDS,
            trained.metrics["test_auc"],
        )

    return fitted, average


@task(cache_policy=NO_CACHE, **RETRIES)
def compare(
    registry: Registry,
    approval: Approval | None,
    train: pd.DataFrame,
    dataset: Dataset,
    challenger: Validated[Average],
) -> Gate:
    """Judge the challenger beside Production, refitted on the same folds."""
    gate = Gate()

    if approval is not None:
        version = approval.version
        try:
            recipe = Average.of(registry.load(version, approval.digest))
        except (ModelRefused, NoSuchVersion) as error:
            gate = Gate(version, trouble=f"Production cannot be compared with: {error}")
        else:
            folds = judging_folds(train, dataset)
            production = folds.average([folds.validate(member) for member in recipe.members])
            gate = judge(train, dataset, challenger, production, version)

    get_run_logger().info("gate %s: %s", "passed" if gate.passed else "FAILED", gate.summary)
    return gate


@task(cache_policy=NO_CACHE, **RETRIES)
def log(
    uri: str, training: Training, tried: list[Validated[Candidate]], tags: dict[str, str]
) -> tuple[str, str]:
    """Store the runs in MLflow."""
    name = runtime.flow_run.name or "training"
    run_id, model_uri = log_training(uri, name, training, tried, tags)
    get_run_logger().info(
        "%d candidates logged to MLflow under run %r", len(training.candidates), name
    )
    return run_id, model_uri


@task(cache_policy=NO_CACHE, **RETRIES)
def note(
    registry: Registry, log: DecisionLog, version: Version, trained: Trained[Average], gate: Gate
) -> None:
    """Write what was registered and the gate's verdict to the decision log, where it is kept safe.

    Raises
    ------
    DigestMismatch
        When what is stored is not what was trained: somebody changed it in between.
    """
    digest, reference = registry.digest(version.number), registry.reference_digest(version.number)
    if not trained.is_stored_as(registry.load(version.number, digest), reference):
        raise DigestMismatch(
            f"version {version.number} is stored otherwise than it was trained, and is not noted"
        )
    tags = gate.tags() | {REFERENCE_DIGEST: reference}
    # Who started this run is known where it was started by the approvals service.
    flow_run = runtime.flow_run.id
    note_registered(log, replace(version, digest=digest, tags=tags), flow_run)


@task(cache_policy=NO_CACHE, retry_condition_fn=may_pass, **RETRIES)
def of_this_dataset(registry: Registry, dataset: Dataset) -> None:
    """Refuse to train where the registry holds versions of another data set."""
    refuse_other_dataset(registry, dataset.name)


@task(cache_policy=NO_CACHE, **RETRIES)
def in_production(registry: Registry, log: DecisionLog, follow_alias: bool) -> Approval | None:
    """Return the approval that is in force, if any."""
    return in_force(registry, log, follow_alias=follow_alias).approval


@task(cache_policy=NO_CACHE, **RETRIES)
def nothing_new(
    registry: Registry, approval: Approval | None, tags: Mapping[str, str]
) -> str | None:
    """Return the Production version if it was made of the same data, code and parameters."""
    if approval is None:
        return None

    version = approval.version
    try:
        found = registry.version(version).tags
    except NoSuchVersion:  # a version deleted in MLflow must not prevent training
        return None

    return version if all(found.get(name) == tags[name] for name in SAME) else None


@task(cache_policy=NO_CACHE, **RETRIES)
def register(registry: Registry, run_id: str, model_uri: str, tags: dict[str, str]) -> Version:
    """Register the average as the challenger; a second try does not make a second version."""
    for version in registry.versions():
        if version.run_id == run_id:
            registry.set_alias(CHALLENGER, version.number)
            return version
    return registry.register(run_id, model_uri, tags)


@flow(name="credit-risk-training")
def credit_risk_training(
    data: str | None = None,
    n_iter: Annotated[int, Field(ge=1, le=1000)] | None = None,
    fresh: bool = False,
) -> State[str]:
    """Train a credit scorer and register it as challenger.

    A person decides whether it becomes Production.

    Parameters
    ----------
    data : str, optional
        Labelled clients: a CSV path or gs:// address. Without it the setting DATA, with the
        snapshot that the setting TRAINING_SNAPSHOT means.
    n_iter : int, optional
        Candidates to try, 1 to 1000. Without it the setting N_ITER.
    fresh : bool
        Whether to bring the latest snapshot up to date first, as `make training-data` does.
    """
    settings = Settings()
    dataset = load_dataset(settings.dataset)
    registry = open_registry(settings)
    of_this_dataset(registry, dataset)

    source = data or training_source(settings)
    clients = load(source, dataset)
    snapshot = None if data else choose(settings, source, clients, fresh)

    tries = n_iter or settings.n_iter
    tags = {
        "data": source,
        "data_hash": data_hash(clients, dataset),
        DATASET: dataset.name,
        DEFINITION: dataset.digest,
        "git_commit": git_commit(),
        "code_hash": code_hash(),
        "n_iter": str(tries),
        "repeated_rows": str(n_repeated(clients, dataset)),
    }
    if snapshot:
        tags |= snapshot.tags
        tags["data"] = snapshot.name

    decision_log = open_log(settings)
    approval = in_production(registry, decision_log, settings.follow_alias)
    if same := nothing_new(registry, approval, tags):
        message = (
            f"nothing new: {registry.name} version {same}, in Production, "
            "has the same data, code and parameters"
        )
        get_run_logger().info(message)
        return Completed(message=message)

    if snapshot:
        train, test = load_snapshot(settings, snapshot, dataset)
    else:
        train, test = split(clients, dataset)
    tried = tune(train, dataset, tries, settings.dask_scheduler)
    trained, average = validate(train, test, dataset, best(tried))
    gate = compare(registry, approval, train, dataset, average.validated)
    training = Training(trained, average, gate)

    run_id, model_uri = log(settings.mlflow_tracking_uri, training, tried, tags)
    version = register(registry, run_id, model_uri, tags | training.gate.tags())
    note(registry, decision_log, version, training.average, training.gate)

    message = f"{registry.name} version {version.number} is the challenger"
    if not training.gate.passed:
        message += ", its gate FAILED"
    get_run_logger().info("%s (test AUC %.3f)", message, average.metrics["test_auc"])
    return Completed(message=message, data=version.number)
