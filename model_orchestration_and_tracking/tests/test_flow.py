"""The training flow against a real MLflow server, under a real Prefect API."""

import io
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from credit_risk import dask_cluster as cluster_module
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.registry.approval_log import history, open_collection
from credit_risk.registry.approvals import approve
from credit_risk.registry.checks import refuse_other_dataset
from credit_risk.registry.errors import (
    ApprovalRejected,
    DigestMismatch,
    OtherDataset,
    RegistryUnavailable,
)
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import CHALLENGER, PRODUCTION, Registry
from credit_risk.registry.version import DATASET
from credit_risk.schema.faults import InvalidApplications
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.trees import MAX_LEAVES, MAX_TREES
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data import snapshots
from model_orchestration_and_tracking import flow as module
from model_orchestration_and_tracking import tracking, tuning
from model_orchestration_and_tracking.flow import credit_risk_training
from model_orchestration_and_tracking.tuning import Candidate
from tests.support.dask_cluster import dask_cluster
from tests.support.german_credit import (
    GERMAN_CREDIT,
    NAMES,
    PROTECTED,
    Validator,
    data_hash,
    encode,
    read_training,
    split,
)
from tests.support.services import put_in_service

METRICS = ("accuracy", "auc", "recall", "specificity")
FIGURES = {"confusion_matrix", "roc_curve", "cv_scores", "calibration", "feature_importance"}
DRAW = tracking.figures


@pytest.fixture(scope="module", autouse=True)
def under_prefect(prefect_api):
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


@pytest.fixture
def registry(mlflow_server, monkeypatch, request, settings, no_trial):
    """An empty registry, and the settings that lead the flow to it.

    The figures of a run, which take long to draw, are drawn in tests that ask for `figures`.
    """
    name = request.node.name
    monkeypatch.setattr(tracking, "figures", lambda trained, compared: {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MODEL_NAME", name)
    monkeypatch.setenv("DATA", "data/credit-g.csv")
    monkeypatch.setenv("GIT_COMMIT", "0123abc")
    monkeypatch.setenv("DECISION_LOG", settings.decision_log)
    monkeypatch.setenv("BUCKET", settings.bucket)
    for task in (module.load, module.log, module.register):
        monkeypatch.setattr(task, "retry_delay_seconds", 0)
    return Registry(mlflow_server, name)


@pytest.fixture
def figures(registry, monkeypatch):
    """The figures of each run, drawn as outside the tests."""
    monkeypatch.setattr(tracking, "figures", DRAW)


def children(client, parent):
    return client.search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
        order_by=["start_time"],
    )


def artifacts(client, run_id, path=None):
    return {found.path.rsplit("/", 1)[-1] for found in client.list_artifacts(run_id, path)}


@pytest.mark.usefixtures("figures")
def test_a_run_logs_the_five_best_and_registers_their_average(registry, mlflow_server, settings):
    number = credit_risk_training(n_iter=6)

    version = registry.version(number)
    assert registry.alias(CHALLENGER) == number
    assert registry.alias(PRODUCTION) is None
    clients = read_training("data/credit-g.csv")
    assert version.tags["data_hash"] == data_hash(clients)
    assert version.tags["git_commit"] == "0123abc"

    client = MlflowClient(mlflow_server)
    parent = client.get_run(version.run_id)
    runs = children(client, parent)
    assert len(runs) == 5
    for run in [parent, *runs]:
        assert run.info.status == "FINISHED"
        assert run.data.tags["data_hash"] == version.tags["data_hash"]
        params = {"members", "candidates"} if run is parent else {"num_leaves", "learning_rate"}
        assert params | {"num_boost_round"} <= set(run.data.params)
        for part in ("validation", "test"):
            assert {f"{part}_{name}" for name in METRICS} <= set(run.data.metrics)
            assert {f"decision_{part}_{name}" for name in METRICS if name != "auc"} <= set(
                run.data.metrics
            )
        drawn = FIGURES | ({"slices"} if run is parent else set())
        assert artifacts(client, run.info.run_id, "figures") == {f"{name}.png" for name in drawn}
        assert run.outputs.model_outputs
    # The best by cross-validation comes first; the parent holds their average, which beats most of
    # them.
    losses = [run.data.metrics["validation_log_loss"] for run in runs]
    assert losses == sorted(losses)
    assert parent.data.metrics["validation_log_loss"] < np.mean(losses)
    assert parent.data.params["members"] == ", ".join(run.info.run_name.split()[1] for run in runs)
    assert client.get_experiment(parent.info.experiment_id).name == "credit-risk"
    assert client.get_experiment(parent.info.experiment_id).artifact_location.startswith(
        "mlflow-artifacts:"
    )
    tried = pd.read_csv(
        io.StringIO(mlflow.artifacts.load_text(f"runs:/{version.run_id}/candidates.csv"))
    )
    assert list(tried["candidate"]) == list(range(1, 7))

    figure = mlflow.artifacts.load_image(f"runs:/{version.run_id}/figures/roc_curve.png")
    assert np.asarray(figure.convert("L")).std() > 10

    # What is registered is the scorer that the logged test metrics are of.
    scorer = registry.load(number)
    _, test = split(clients)
    right = np.mean(scorer.predict(test) == test["class"])
    assert right == pytest.approx(parent.data.metrics["decision_test_accuracy"])
    assert scorer.accepted_ is not None, "it can explain its decisions"
    assert (
        len(scorer.trees)
        == sum(int(run.data.params["num_boost_round"]) for run in runs)
        <= MAX_TREES
    )
    assert all(len(tree.value) <= MAX_LEAVES for tree in scorer.trees)
    assert "num_cat=0" in scorer.model_text_
    assert not re.search(r"num_cat=[1-9]", scorer.model_text_), "numerical splits only"
    model = mlflow.models.get_model_info(f"models:/{registry.name}/{number}")
    assert set(NAMES) == set(model.signature.inputs.input_names())
    assert model.saved_input_example_info is not None

    reference = registry.reference(number, GERMAN_CREDIT)
    assert list(reference.columns) == [*NAMES, "class", "risk"]
    assert len(reference) == 800
    assert reference["risk"].between(0, 1).all()
    # Out of fold: the scorer knows these clients better.
    assert not np.allclose(reference["risk"], scorer.risk(encode(reference)))

    def text(name):
        return mlflow.artifacts.load_text(f"runs:/{version.run_id}/{name}")

    assert json.loads(text("domain.json")) == scorer.domain_
    assert set(pd.read_csv(io.StringIO(text("slices.csv")))["attribute"]) == set(PROTECTED)
    card = text("model_card.md")
    assert card == parent.data.tags["mlflow.note.content"], "shown on the run's page"
    accepted = 10 * parent.data.metrics["decision_validation_acceptance"]
    assert f"Of 10 clients like those in training it accepts about {accepted:.0f}." in card
    for told in (
        version.tags["data_hash"],
        "800 (240 bad)",
        "200 (60 bad)",
        "0.1667",
        "Gate: passed",
        "25 or younger",
    ):
        assert told in card
    assert f"{parent.data.metrics['validation_auc']:.3f} ±" in card
    cost = parent.data.metrics["decision_validation_cost"]
    assert f"| cost per client there | {cost:.3f} ±" in card
    assert ": a bad client accepted costs 5, a good one refused 1." in card
    assert version.tags["gate"] == "passed"
    assert version.tags["gate_reasons"] == "no Production version to compare with"

    assert card.endswith("\n## Approval\n\nNobody has approved it yet.\n")
    log = open_log(settings)
    (note,) = log.events("registered", number)
    assert (note["digest"], note["run_id"], note["gate"]) == (
        registry.digest(number),
        version.run_id,
        "passed",
    )
    assert note["reference_digest"] == registry.reference_digest(number)
    with get_client(sync_client=True) as prefect:
        assert prefect.read_flow_run(note["flow_run"]).name == parent.info.run_name
    approve(registry, log, number, "Ada", "better than none")
    registry.sign(number, "another line.")
    signed = text("model_card.md")
    assert signed.startswith(card.removesuffix("Nobody has approved it yet.\n"))
    *_, first, second = signed.splitlines()
    assert first.startswith(f"- approval of version {number} by Ada, ")
    assert first.endswith(": better than none.")
    assert second == "- another line."
    assert client.get_run(version.run_id).data.tags["mlflow.note.content"] == signed


@pytest.mark.slow
def test_version_stored_otherwise_than_trained_is_not_noted(registry, settings, monkeypatch):
    """Whoever reaches MLflow may be there between logging and registering, too."""
    log_training = module.log_training
    clients = read_training("data/train.csv")

    def overwritten(*arguments):
        run_id, _ = log_training(*arguments)
        with mlflow.start_run(run_id=run_id):
            another = CreditScorer(num_boost_round=5).fit(clients, clients["class"])
            return run_id, log_scorer(another, clients[list(NAMES)].head(2))

    monkeypatch.setattr(module, "log_training", overwritten)
    monkeypatch.setattr(module.note, "retry_delay_seconds", 0)
    state = credit_risk_training(n_iter=1, return_state=True)
    assert "is stored otherwise than it was trained, and is not noted" in state.message
    log = open_log(settings)
    assert log.events("registered") == []
    with pytest.raises(ApprovalRejected, match="registered by nobody we know"):
        approve(registry, log, "1", "Ada", "its metrics are fine", forced=True)


@pytest.fixture
def on_mongodb(registry, mongodb_url, monkeypatch):
    """A log on MongoDB that the flow writes to."""
    monkeypatch.setenv("DECISION_LOG", mongodb_url)
    return open_log(Settings(_env_file=None))


def test_flow_cannot_approve_a_version(registry, on_mongodb, in_role):
    """MongoDB rights as in docker-compose.yml: a flow must stay within its worker's role."""
    with in_role("approver"):
        open_collection(on_mongodb)
    with in_role("training"):
        number = credit_risk_training(n_iter=1)
    with in_role("approver"):
        approve(registry, on_mongodb, number, "Ada", "better than none")
    standing = history(on_mongodb)

    @flow
    def hostile(decide):
        decide()

    def as_training(decide):
        with in_role("training"):
            hostile(decide)

    def forge():
        on_mongodb.append_event(
            "approval", number, by="CEO", reason="x", digest="0" * 64, forced=True
        )

    def decide():
        on_mongodb.append_approval(
            "approval", number, by="CEO", reason="x", digest="0" * 64, forced=True
        )

    as_training(forge)  # where approvals stood once; it counts for nothing there
    assert history(on_mongodb) == standing
    with pytest.raises(
        AssertionError, match=r"training has no right to: \[\('approvals', 'insert'\)"
    ):
        as_training(decide)


@pytest.mark.slow
def test_gate_blocks_a_worse_recipe_from_production(registry, mlflow_server, monkeypatch, settings):
    approve(registry, open_log(settings), credit_risk_training(n_iter=2), "Ada", "better than none")
    same = credit_risk_training(n_iter=3)
    assert registry.version(same).tags["gate"] == "passed"
    assert registry.version(same).tags["gate_reasons"] == "nowhere worse than version 1"
    found = pd.read_csv(
        io.StringIO(mlflow.artifacts.load_text(f"runs:/{registry.version(same).run_id}/gate.csv")),
        index_col=0,
    )
    assert {"AUC", "Brier score", "cost per client"} <= set(found.index)
    assert "gate.png" in artifacts(
        MlflowClient(mlflow_server), registry.version(same).run_id, "figures"
    )

    poor = [Candidate(1, {"num_leaves": 2, "learning_rate": 0.001}, 20)]
    monkeypatch.setattr(module, "candidates", lambda n, seed: poor)
    monkeypatch.setattr(tuning, "ROUNDS", (20,))
    version = registry.version(credit_risk_training(n_iter=1))
    assert version.tags["gate"] == "failed"
    assert version.tags["gate_reasons"].startswith("AUC 0.")
    assert registry.alias(CHALLENGER) == version.number, "registered all the same: a person decides"
    assert registry.alias(PRODUCTION) == "1"
    # Who edits the tag does not get past it.
    registry._client.set_model_version_tag(registry.name, version.number, "gate", "passed")
    with pytest.raises(ApprovalRejected, match="its tag was edited since"):
        approve(registry, open_log(settings), version.number, "Ada", "looks fine")
    card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/model_card.md")
    assert "## Gate: FAILED" in card
    assert version.tags["gate_reasons"] in card


@pytest.mark.slow
def test_a_production_version_whose_file_has_changed_fails_the_gate(
    registry, mlflow_server, monkeypatch, settings
):
    mlflow.set_tracking_uri(mlflow_server)
    clients = read_training("data/train.csv")
    with mlflow.start_run() as run:
        uri = log_scorer(
            CreditScorer(num_boost_round=10).fit(clients, clients["class"]),
            clients[list(NAMES)].head(2),
        )
    put_in_service(registry, open_log(settings), registry.register(run.info.run_id, uri).number)

    load = Registry.load

    def changed(self, number, digest=None, **more):
        if number == "1":
            raise DigestMismatch("version 1 was stored as aa... and is now bb...")
        return load(self, number, digest, **more)

    monkeypatch.setattr(Registry, "load", changed)
    version = registry.version(credit_risk_training(n_iter=1))
    assert version.tags["gate"] == "failed"
    assert "version 1 was stored as aa" in version.tags["gate_reasons"]


@pytest.mark.slow
def test_unchanged_data_code_and_parameters_register_nothing(registry, monkeypatch, settings):
    approve(registry, open_log(settings), credit_risk_training(n_iter=1), "Ada", "better than none")
    state = credit_risk_training(n_iter=1, return_state=True)
    assert state.is_completed()
    assert state.message.startswith("nothing new: ")
    assert "version 1" in state.message
    assert len(registry.versions()) == 1

    assert credit_risk_training(n_iter=2) == "2", "other parameters"
    monkeypatch.setattr(module, "code_hash", lambda: "other code")
    assert credit_risk_training(n_iter=1) == "3", "other code"


def accepted_long_ago(settings, n, seed=0):
    """The snapshot of clients who were decided on and whose outcomes, a fifth bad, are in."""
    log, base = open_log(settings), read_training("data/credit-g.csv")
    clients = base.sample(n, random_state=seed).assign(
        duration=6, credit_amount=lambda c: c["credit_amount"] + 20_000
    )
    applications = Validator().rows(clients.drop(columns="class").to_dict("records"))
    risk = np.full(n, 0.1)
    decided = Decisions(risk, risk >= 1 / 6, confidence(risk))
    record = log.commit(
        Batch(applications, decided, "1", "abc", 1 / 6, time=datetime(2024, 1, 10, tzinfo=UTC))
    )
    rows = [f"{record.id}-{i},{'repaid' if i % 5 else 'defaulted'},2024-09-01" for i in range(n)]
    ingest(log, "\n".join(["decision_id,outcome,date", *rows]).encode())
    return snapshots.make(log, open_blobs(settings.bucket), base, "data/credit-g.csv", 12)[0]


def test_latest_snapshot_is_used_and_its_bias_is_on_the_card(registry, settings):
    snapshot = accepted_long_ago(settings, 50)
    version = registry.version(credit_risk_training(n_iter=1))
    assert version.tags["snapshot"] == version.tags["data_hash"] == snapshot.sha256
    assert version.tags["data"] == snapshot.name
    assert (version.tags["n_base"], version.tags["n_funded"], version.tags["n_funded_bad"]) == (
        "1000",
        "50",
        "10",
    )
    n_test = snapshot.n_funded_test
    assert len(registry.reference(version.number, GERMAN_CREDIT)) == 850 - n_test
    card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/model_card.md")
    assert f"{snapshot.name}, SHA-256 {snapshot.sha256}: {850 - n_test} (" in card
    assert f"(10 bad, {n_test} for the test)" in card
    assert (
        "Learnt from accepted clients only: "
        "50 of the 1050 clients were accepted here, and 20.0 % of them" in card
    )
    approve(registry, open_log(settings), version.number, "Ada", "it has learnt")

    state = credit_risk_training(n_iter=1, fresh=True, return_state=True)
    assert state.message.startswith("nothing new: "), "the same outcomes"
    assert len(open_log(settings).events("training-data")) == 1


@pytest.mark.slow
def test_explicit_data_are_used_without_a_snapshot(
    registry, settings, monkeypatch, tmp_path, caplog
):
    accepted_long_ago(settings, 10)
    path = tmp_path / "other.csv"
    read_training("data/credit-g.csv").sample(300, random_state=0).to_csv(path, index=False)
    monkeypatch.setenv("DATA", str(path))
    with caplog.at_level(logging.WARNING, "prefect.task_runs"):
        version = registry.version(credit_risk_training(n_iter=1))
    assert version.tags["data"] == str(path)
    assert "was made of other data" in caplog.text
    assert "snapshot" not in version.tags
    assert "accepted clients only" not in mlflow.artifacts.load_text(
        f"runs:/{version.run_id}/model_card.md"
    )


@pytest.mark.slow
def test_a_snapshot_with_values_that_were_allowed_once_is_left_out_until_it_is_made_again(
    registry, settings, monkeypatch, tmp_path, caplog
):
    accepted_long_ago(settings, 50)  # who asked for more than 20,000 DM
    definition = Path("data/german_credit/dataset.toml").read_text()
    narrower = definition.replace("maximum = 10000000", "maximum = 20000")
    (tmp_path / "dataset.toml").write_text(narrower)
    monkeypatch.setenv("DATASET", str(tmp_path))
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        version = registry.version(credit_risk_training(n_iter=1))
        assert "has clients whose values are not allowed any more and is left out" in caplog.text
        assert "snapshot" not in version.tags
        version = registry.version(credit_risk_training(n_iter=1, fresh=True))
    assert "50 clients left out, of an earlier definition: " in caplog.text
    assert "credit_amount (50)" in caplog.text
    assert (version.tags["n_base"], version.tags["n_funded"]) == ("1000", "0")


def test_missing_snapshot_fails_the_run_at_once(registry, settings, monkeypatch):
    snapshot = accepted_long_ago(settings, 10)
    open_blobs(settings.bucket).delete(snapshot.name)
    state = credit_risk_training(n_iter=1, return_state=True)
    assert state.is_failed()
    assert "not in the bucket; make training-data writes it again" in state.message
    monkeypatch.setenv("TRAINING_SNAPSHOT", "abcdef")
    state = credit_risk_training(n_iter=1, return_state=True)
    assert "TRAINING_SNAPSHOT=abcdef: there is no snapshot" in state.message


@pytest.mark.slow
def test_fresh_run_updates_the_snapshot_first(registry, settings):
    snapshot = accepted_long_ago(settings, 10)
    again = f"decision_id,outcome,date\n{first_decision(settings)},repaid,2024-10-01\n"
    ingest(open_log(settings), again.encode())
    version = registry.version(credit_risk_training(n_iter=1, fresh=True))
    assert version.tags["snapshot"] != snapshot.sha256
    assert (version.tags["n_funded"], version.tags["n_funded_bad"]) == ("10", "1")


def first_decision(settings):
    return next(open_log(settings).latest_batches()).id + "-0"


@pytest.mark.slow
def test_csv_without_protected_columns_can_be_trained_on(registry, tmp_path):
    clients = (
        read_training("data/credit-g.csv").drop(columns=list(PROTECTED)).sample(300, random_state=0)
    )
    path = tmp_path / "other.csv"
    clients[clients.columns[::-1]].to_csv(path, sep=";", index=False)
    number = credit_risk_training(data=str(path), n_iter=1)
    version = registry.version(number)
    assert version.tags["data"] == str(path)
    assert version.tags["data_hash"] == data_hash(read_training(path))
    assert registry.reference(number, GERMAN_CREDIT)["age"].isna().all()


def test_faulty_csv_fails_at_once_and_names_the_place(registry, tmp_path):
    clients = read_training("data/credit-g.csv")
    clients.loc[6, "purpose"] = "yacht"
    path = tmp_path / "bad.csv"
    clients.to_csv(path, index=False)
    state = credit_risk_training(data=str(path), return_state=True)
    assert state.is_failed()
    assert "bad.csv: line 8: purpose 'yacht' is not one of new car" in state.message
    with pytest.raises(InvalidApplications):
        state.result()
    assert registry.versions() == []


def test_missing_file_fails_the_run(registry, tmp_path):
    state = credit_risk_training(data=str(tmp_path / "none.csv"), return_state=True)
    assert state.is_failed()
    assert "none.csv" in state.message


def test_a_registry_of_another_data_set_is_refused_at_once_in_one_line(
    registry, mlflow_server, monkeypatch
):
    """A version without the tag is older than definitions, and so is German Credit's."""
    mlflow.set_tracking_uri(mlflow_server)
    clients = read_training("data/train.csv")
    scorer = CreditScorer(num_boost_round=5).fit(clients, clients["class"])
    with mlflow.start_run() as run:
        uri = log_scorer(scorer, clients[list(NAMES)].head(2))
    registry.register(run.info.run_id, uri)
    refuse_other_dataset(registry, "german_credit")
    registry.register(run.info.run_id, uri, {DATASET: "credit_data"})

    tries = []

    def counted(*arguments):
        tries.append(arguments)
        refuse_other_dataset(*arguments)

    monkeypatch.setattr(module, "refuse_other_dataset", counted)
    monkeypatch.setattr(module.of_this_dataset, "retry_delay_seconds", 0)
    state = credit_risk_training(n_iter=1, return_state=True)
    assert state.is_failed()
    with pytest.raises(OtherDataset) as refused:
        state.result()
    assert str(refused.value) == (
        "version 2 is in the registry already; it is of the data set credit_data, and this stack "
        "serves german_credit: set DATASET=credit_data, or start a stack of its own with another "
        "VAR_DIR"
    )
    assert len(tries) == 1
    assert len(registry.versions()) == 2


def test_an_unreachable_registry_is_tried_again(registry, monkeypatch):
    """Unlike one of another data set."""
    tries = []

    def away(registry, served):
        tries.append(served)
        if len(tries) < 3:
            raise RegistryUnavailable("away")

    monkeypatch.setattr(module, "refuse_other_dataset", away)
    monkeypatch.setattr(module.of_this_dataset, "retry_delay_seconds", 0)
    state = credit_risk_training(data="nowhere.csv", return_state=True)
    assert tries == ["german_credit"] * 3
    assert "nowhere.csv" in state.message


@pytest.mark.parametrize("n_iter", [0, -1, 1001, "many"])
def test_n_iter_out_of_range_is_refused(n_iter):
    with pytest.raises(ParameterTypeError, match="n_iter"):
        credit_risk_training(n_iter=n_iter)


@pytest.mark.slow
def test_each_candidate_of_the_default_n_iter_logs_progress(
    registry, mlflow_server, monkeypatch, caplog
):
    monkeypatch.setenv("N_ITER", "2")
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        version = registry.version(credit_risk_training())
    assert MlflowClient(mlflow_server).get_run(version.run_id).data.params["candidates"] == "2"
    lines = [record.getMessage() for record in caplog.records]
    tried = [
        line.split(":")[0] for line in lines if line.startswith("candidate") and " of 2: " in line
    ]
    assert tried == ["candidate 1 of 2", "candidate 2 of 2"]


@pytest.mark.slow
def test_search_on_a_cluster_logs_progress_and_finds_the_same(tmp_path, caplog):
    train, _ = split(read_training("data/credit-g.csv"))

    @flow
    def tuning_alone(scheduler):
        return module.tune(train, GERMAN_CREDIT, 3, scheduler)

    with dask_cluster(tmp_path) as cluster, caplog.at_level(logging.INFO, "prefect.task_runs"):
        here, there = tuning_alone(""), tuning_alone(cluster.address)
    assert [v.candidate for v in there] == [v.candidate for v in here]
    for one, other in zip(there, here, strict=True):
        np.testing.assert_array_equal(one.risk, other.risk)

    lines = [record.getMessage() for record in caplog.records]
    told = [line for line in lines if line.startswith("candidate")]
    assert [line.split(":")[0] for line in told[3:]] == [f"candidate {n} of 3" for n in (1, 2, 3)]
    assert told[3:] == told[:3]


@pytest.mark.slow
def test_cluster_that_is_away_fails_the_run_and_is_named(registry, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    monkeypatch.setenv("DASK_SCHEDULER", "tcp://127.0.0.1:1")
    state = credit_risk_training(n_iter=2, return_state=True)
    assert state.is_failed()
    assert "DASK_SCHEDULER=tcp://127.0.0.1:1: no scheduler answers there" in state.message
    assert registry.versions() == []


@pytest.mark.slow
def test_run_that_dies_while_logging_registers_nothing(
    registry, mlflow_server, monkeypatch, tmp_path
):
    def dies(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking, "_log_reference", dies)
    path = tmp_path / "clients.csv"
    path.write_bytes(Path("data/credit-g.csv").read_bytes())
    with pytest.raises(KeyboardInterrupt):
        credit_risk_training(data=str(path), n_iter=1)
    assert registry.versions() == []
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("credit-risk")
    runs = client.search_runs([experiment.experiment_id], f"tags.data = '{path}'")
    assert sorted(run.info.status for run in runs) == [
        "FAILED",
        "FINISHED",
    ]  # the parent, its child


@pytest.mark.slow
def test_run_that_dies_before_registering_registers_nothing(registry, monkeypatch):
    def dies(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "register", dies)
        with pytest.raises(KeyboardInterrupt):
            credit_risk_training(n_iter=1)
    assert registry.versions() == []
    assert credit_risk_training(n_iter=1) == "1"


@pytest.mark.slow
def test_registry_away_for_a_moment_gets_one_version(registry, monkeypatch):
    set_alias = Registry.set_alias
    tries = []

    def flaky(self, alias, number):
        tries.append(number)
        if len(tries) == 1:
            raise ConnectionError("away")
        set_alias(self, alias, number)

    monkeypatch.setattr(Registry, "set_alias", flaky)
    number = credit_risk_training(n_iter=1)
    assert tries == [number, number]
    assert [version.number for version in registry.versions()] == [number]
    assert registry.alias(CHALLENGER) == number
