"""Retraining on a real Prefect server: started for a reason, when allowed, once, and recorded."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Running, Scheduled

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.registry.registry import CHALLENGER, PRODUCTION, Registry
from credit_risk.schema.attributes import LABEL
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data.snapshots import latest_snapshot, make
from model_orchestration_and_tracking.flow import credit_risk_training
from monitoring.reports import retraining
from monitoring.reports.retraining import DEPLOYMENT, FLOW, RETRAINING, maybe_retrain
from tests.support.german_credit import GERMAN_CREDIT, read_training

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_api")]

LONG_AGO = datetime(2024, 1, 10, tzinfo=UTC)
DRIFT = {"dataset_drift": True, "drifted": ["duration", "credit_amount"]}
CALM = {"dataset_drift": False, "drifted": ["duration"]}
DATA = "data/credit-g.csv"


@pytest.fixture
def api():
    with get_client(sync_client=True) as client:
        yield client


def trainings(client):
    return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])))


@pytest.fixture
def deployment(api) -> Iterator[str]:
    """The training deployment, as the real flow describes it; nobody works on its runs."""
    forget_trainings(api)  # those of other modules
    id = credit_risk_training.to_deployment(DEPLOYMENT.partition("/")[2]).apply()
    yield id
    forget_trainings(api)
    api.delete_deployment(id)


def forget_trainings(api):
    for run in trainings(api):
        api.delete_flow_run(run.id)


@pytest.fixture
def allowed(served, deployment):
    return served.model_copy(update={"retrain_on_report": True})


@pytest.fixture
def ask(log) -> Callable:
    """A function that asks as a report does."""

    def considered(settings, drift=DRIFT, version="1", report=None, log=log):
        registry = Registry(settings.mlflow_tracking_uri, settings.model_name)
        return maybe_retrain(log, registry, settings, version, drift, report)

    return considered


def hot(settings):
    """Settings without a cooldown."""
    return settings.model_copy(update={"retrain_cooldown_hours": 0.0})


def actions(log):
    return [event["action"] for event in log.events(RETRAINING)]


@pytest.fixture
def matured_outcomes(log, draw, decide) -> Callable[..., int]:
    """A function that adds old decisions with outcomes; the number of accepted clients."""

    def lend(n: int, n_bad: int, seed: int = 0, log=log) -> int:
        clients = draw(n * 4, seed=seed).assign(
            duration=12, checking_status="no checking", credit_amount=1000 + seed
        )
        record = decide(log, clients, time=LONG_AGO)
        table = log.read(record)
        ids = [row["id"] for row in table.to_pylist() if row["prediction"] == "green"][:n]
        assert len(ids) == n
        rest = [row["id"] for row in table.to_pylist() if row["prediction"] == "green"][n:]
        words = ["defaulted"] * n_bad + ["repaid"] * (n - n_bad + len(rest))
        rows = [f"{id},{word},2025-02-01" for id, word in zip([*ids, *rest], words, strict=True)]
        ingest(log, "\n".join(["decision_id,outcome,date", *rows]).encode())
        return len(rows)

    return lend


def test_retraining_is_off_by_default_and_says_what_asked_for_it(served, deployment, ask, log, api):
    assert Settings.model_fields["retrain_on_report"].default is False
    decision = ask(served)
    assert decision.summary == (
        "no training started (RETRAIN_ON_REPORT is off), "
        "although: dataset drift: duration, credit_amount"
    )
    assert trainings(api) == []
    (event,) = log.events(RETRAINING)
    assert (event["action"], event["key"], event["obstacle"]) == (
        "held",
        "1",
        "RETRAIN_ON_REPORT is off",
    )
    assert event["reasons"] == ["dataset drift: duration, credit_amount"]


@pytest.mark.parametrize("drift", [None, CALM])
def test_without_a_reason_nothing_is_started_or_written(allowed, ask, log, drift):
    assert ask(allowed, drift).summary == "nothing asks for a training"
    assert log.events(RETRAINING) == []


def test_drift_starts_one_training_and_then_the_cooldown_holds(allowed, ask, log, api):
    decision = ask(allowed)
    (run,) = trainings(api)
    assert (
        decision.summary
        == f"training run {run.name} started: dataset drift: duration, credit_amount"
    )
    assert run.parameters == {"fresh": True}
    assert run.tags == [RETRAINING]
    assert run.parent_task_run_id is None
    begun, started = log.events(RETRAINING)
    assert (started["start"], started["run"], started["run_name"]) == (
        begun["_id"],
        str(run.id),
        run.name,
    )
    assert begun["reasons"] == list(decision.reasons)

    api.set_flow_run_state(run.id, Completed(), force=True)
    assert ask(allowed).obstacle.startswith("the last one was started ")
    assert len(trainings(api)) == 1
    assert actions(log) == ["starting", "started", "held"]
    assert ask(hot(allowed)).action == "started"
    assert len(trainings(api)) == 2


def test_a_running_training_blocks_a_start_and_a_planned_one_does_not(
    allowed, deployment, ask, api
):
    planned = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=3))
    api.create_flow_run_from_deployment(deployment, state=planned)
    by_hand = api.create_flow_run_from_deployment(deployment)
    assert ask(allowed).obstacle == f"training run {by_hand.name} is under way"
    api.set_flow_run_state(by_hand.id, Running(), force=True)
    assert ask(allowed).obstacle == f"training run {by_hand.name} is under way"
    api.set_flow_run_state(by_hand.id, Completed(), force=True)
    assert ask(allowed).action == "started"


@pytest.mark.parametrize("backend", ["sqlite", "mongodb"])
def test_concurrent_reports_start_one_training(allowed, ask, log, api, backend, request):
    settings = hot(allowed)
    if backend == "mongodb":
        settings = settings.model_copy(
            update={"decision_log": request.getfixturevalue("mongodb_url")}
        )
    start = threading.Barrier(4)

    def report(number):
        start.wait()
        return ask(settings, report=f"report {number}", log=open_log(settings)).action

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(report, range(4)))
    assert sorted(done) == ["held", "held", "held", "started"]
    assert len(trainings(api)) == 1
    assert actions(open_log(settings)).count("starting") == 1


def test_a_start_that_fails_is_tried_again_and_not_made_twice(served, ask, log, api, request):
    allowed = served.model_copy(update={"retrain_on_report": True})
    with pytest.raises(ObjectNotFound):
        ask(allowed, report="mine")
    assert actions(log) == ["starting"]
    request.getfixturevalue("deployment")
    assert ask(allowed, report="other").obstacle == "another report is starting one"
    assert ask(allowed, report="mine").action == "started", "the same report tries again"
    assert actions(log) == ["starting", "held", "started"]
    assert len(trainings(api)) == 1


def test_a_start_that_was_cut_off_is_finished_by_a_later_report(
    allowed, ask, log, api, monkeypatch
):
    append = log.append_event

    def dies(kind, key, *arguments, **fields):
        if fields.get("action") == "started":
            raise KeyboardInterrupt
        return append(kind, key, *arguments, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(log, "append_event", dies)
        with pytest.raises(KeyboardInterrupt):
            ask(allowed, report="dead")
    (run,) = trainings(api)
    monkeypatch.setattr(retraining, "CUT_OFF", timedelta(0))
    assert ask(allowed, report="later").obstacle == f"training run {run.name} is under way"
    api.set_flow_run_state(run.id, Completed(), force=True)
    assert ask(allowed, report="later").run == run.name
    assert [r.id for r in trainings(api)] == [run.id]
    assert actions(log) == ["starting", "held", "started"]


def test_new_outcomes_start_a_training(allowed, ask, matured_outcomes):
    n = matured_outcomes(40, 0)
    decision = ask(allowed, CALM)
    assert decision.action == "started"
    assert decision.reasons == [f"{n} outcomes have matured that version 1 was not trained on"]


def test_outcomes_ask_for_nothing_where_training_leaves_them_out(allowed, ask, matured_outcomes):
    matured_outcomes(40, 0)
    assert ask(allowed.model_copy(update={"training_snapshot": "none"}), CALM).action == "none"


def test_too_few_outcomes_start_none(allowed, ask, log, matured_outcomes, monkeypatch):
    monkeypatch.setattr(retraining, "ENOUGH", matured_outcomes(10, 2) + 1)
    assert ask(allowed, CALM).action == "none"


def test_more_defaults_than_the_risks_explain_are_reported(allowed, ask, log, matured_outcomes):
    n = matured_outcomes(40, 40)
    _, second = ask(allowed, None).reasons
    assert second.startswith(f"40 of these {n} defaulted, where their risks explain ")


def test_a_challenger_that_has_learnt_all_there_is_waits_for_a_person(
    allowed, ask, log, register, matured_outcomes
):
    matured_outcomes(40, 4)
    registry = Registry(allowed.mlflow_tracking_uri, allowed.model_name)
    make(log, open_blobs(allowed.bucket), read_training(DATA), DATA, 12)
    assert register(allowed.model_name) == "2"
    registry._client.set_model_version_tag(
        allowed.model_name, "2", "snapshot", latest_snapshot(log).sha256
    )
    registry.set_alias(CHALLENGER, "2")
    assert ask(allowed, CALM).action == "none"
    assert (
        ask(allowed).obstacle
        == "version 2 waits for a person, and there is nothing newer to learn from"
    )
    n = matured_outcomes(40, 0, seed=7)
    assert ask(allowed).reasons[1] == f"{n} outcomes have matured that version 2 was not trained on"


def test_the_deployment_is_one_of_the_stack_and_takes_the_parameter():
    plans = {
        d["name"]: d["entrypoint"]
        for d in yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    }
    assert plans[DEPLOYMENT.partition("/")[2]].endswith("flow.py:credit_risk_training")
    assert credit_risk_training.name == FLOW
    assert "fresh" in credit_risk_training.parameters.properties


def test_the_report_flow_itself_starts_it_and_says_so(
    allowed, log, draw, decide, run_report, api, caplog
):
    decide(log, draw(300, drifted=True))
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        state = run_report(allowed)
    assert state.is_completed()
    assert state.message.startswith("dataset drift: yes")
    (training,) = trainings(api)
    assert f"retraining: training run {training.name} started: dataset drift: " in caplog.text
    begun, _ = log.events(RETRAINING)
    assert begun["report"] == str(state.state_details.flow_run_id)
    assert Registry(allowed.mlflow_tracking_uri, allowed.model_name).alias(PRODUCTION) == "1"


@pytest.mark.slow
def test_the_started_training_uses_the_new_outcomes_and_a_person_still_approves(
    allowed, log, draw, decide, run_report, api, matured_outcomes, monkeypatch
):
    n = matured_outcomes(60, 9)
    decide(log, draw(120))
    monkeypatch.setenv("N_ITER", "1")
    run_report(allowed.model_copy(update={"n_iter": 1}))
    (training,) = trainings(api)
    number = credit_risk_training(**training.parameters)
    registry = Registry(allowed.mlflow_tracking_uri, allowed.model_name)
    assert (registry.alias(CHALLENGER), registry.alias(PRODUCTION)) == (number, "1")
    assert registry.version(number).tags["n_funded"] == str(n)
    assert registry.version(number).tags["snapshot"] == latest_snapshot(log).sha256
    assert LABEL in registry.reference(number, GERMAN_CREDIT)
