"""Performance end to end: a real log on both backends, a real registry, gauges as scraped."""

from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import requests
import skops.io
from sklearn.metrics import brier_score_loss, roc_auc_score

from credit_risk.decision_log import codec
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.decision_log.overrides import override
from credit_risk.metrics.cost import threshold
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.registry.version import DIGEST, REFERENCE_DIGEST
from credit_risk.schema.attributes import BAD, LABEL
from credit_risk.scoring.stored import MODEL_FILE
from monitoring.exporter.gauges import page
from monitoring.performance.quality import PerformanceGauges
from tests.support.cases import slow
from tests.support.exporter import make_collector, samples
from tests.support.german_credit import GERMAN_CREDIT, NAMES, encode
from tests.support.services import put_in_service

THRESHOLD = threshold(GERMAN_CREDIT.costs.bad, GERMAN_CREDIT.costs.good)
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=430)
VINTAGE = f"{LONG_AGO:%Y-%m}"
NAMES_OF_MODELS = ("production", "challenger")


@pytest.fixture(params=["sqlite", "mongodb + bucket"])
def stack(request, served, on_servers, on_another_log):
    return served if request.param == "sqlite" else on_another_log(on_servers(served))


def named(found, name):
    return {key[1:]: value for key, value in found.items() if key[0] == f"credit_risk_{name}"}


def one(found, name):
    return found[f"credit_risk_{name}",]


def test_performance_is_estimated_from_risks_before_outcomes(served, log, draw, decide, reference):
    record = decide(log, draw(150))
    decide(log, draw(50), version="9")  # another version's risks do not count
    risk = log.read(record)["risk"].to_numpy()
    found = samples(make_collector(served).refresh())
    assert one(found, "estimated_decisions") == 150
    assert one(found, "estimated_accuracy_ratio") == pytest.approx(
        np.mean(np.where(risk < THRESHOLD, 1 - risk, risk))
    )
    assert one(found, "estimated_cost") == pytest.approx(
        np.mean(np.where(risk < THRESHOLD, 5 * risk, 1 - risk))
    )
    assert 0.6 < one(found, "estimated_auc_ratio") < 0.95
    bad = reference[LABEL] == BAD
    assert one(found, "out_of_fold_auc_ratio") == pytest.approx(
        roc_auc_score(bad, reference["risk"])
    )
    green = reference["risk"] < THRESHOLD
    assert one(found, "out_of_fold_cost") == pytest.approx(
        (5 * (green & bad) + (~green & ~bad)).mean()
    )
    assert not named(found, "vintage_bad_ratio")


def test_too_few_decisions_are_not_estimated(served, log, draw, decide):
    decide(log, draw(99))
    found = samples(make_collector(served).refresh())
    assert ("credit_risk_estimated_auc_ratio",) not in found
    assert ("credit_risk_out_of_fold_auc_ratio",) in found


def test_vintages_are_rated_once_outcomes_arrive(stack, draw, decide, become):
    log = open_log(stack)
    record = decide(log, draw(200, labelled=True), time=LONG_AGO)
    decide(log, draw(40), time=NOW - timedelta(days=35))
    subject = make_collector(stack)
    subject.refresh()
    assert become(log, record).n_added >= 30
    found = samples(subject.refresh())
    times = {key: value for key, value in found.items() if "_refresh_" in key[0]}
    assert found == pytest.approx(samples(make_collector(stack).refresh()) | times)

    table = log.read(record).to_pandas()
    funded = table[table["prediction"] == "green"]
    bad, risk = (funded["label"] == BAD).to_numpy(), funded["risk"].to_numpy()
    assert named(found, "vintage_applicants")[VINTAGE,] == 200
    assert named(found, "vintage_funded")[VINTAGE,] == len(funded)
    assert named(found, "vintage_open")[VINTAGE,] == 0
    # Everybody defaulted 100 days on: nobody by 3 months, all by 6.
    ages = {
        age: value
        for (age, vintage), value in named(found, "vintage_bad_ratio").items()
        if vintage == VINTAGE
    }
    assert ages == {"3": 0, "6": pytest.approx(bad.mean()), "12": pytest.approx(bad.mean())}
    assert named(found, "vintage_auc_ratio")["12", VINTAGE] == pytest.approx(
        roc_auc_score(bad, risk)
    )
    assert named(found, "vintage_brier")["12", VINTAGE] == pytest.approx(
        brier_score_loss(bad, risk)
    )
    assert named(found, "vintage_predicted_bad_ratio")[VINTAGE,] == pytest.approx(risk.mean())
    assert named(found, "vintage_predicted_brier")[VINTAGE,] == pytest.approx(
        np.mean(risk * (1 - risk))
    )
    assert named(found, "vintage_defaults") == {
        (VINTAGE,): bad.sum()
    }  # the other vintage is not mature
    assert named(found, "vintage_defaults_bound").keys() == {(VINTAGE,)}
    refused = table[table["prediction"] == "red"]["risk"]
    cost = (5 * bad.sum() + (1 - refused).sum()) / 200
    assert named(found, "vintage_estimated_cost")["12", VINTAGE] == pytest.approx(cost)
    old = table[table["age"].between(26, 59)]
    accepted = named(found, "vintage_acceptance_ratio")
    assert accepted["age", "26 to 59", VINTAGE] == pytest.approx(
        (old["prediction"] == "green").mean()
    )
    assert one(found, "last_outcomes_timestamp_seconds") > NOW.timestamp()


def test_overrides_and_corrections_move_the_gauges(stack, draw, decide, become):
    log = open_log(stack)
    record = decide(log, draw(200, labelled=True), time=LONG_AGO)
    become(log, record)
    subject = make_collector(stack)
    before = samples(subject.refresh())
    table = log.read(record).to_pandas()
    red, green = (table[table["prediction"] == color] for color in ("red", "green"))
    for id in red["id"][:2]:
        override(log, id, "green", "Ann", "knows him")
    override(log, green["id"].iloc[0], "red", "Ann", "income not proven")
    day = (LONG_AGO + timedelta(days=200)).date()
    repaid = green[green["label"] == "good"]["id"].iloc[1]
    rows = [
        f"{red['id'].iloc[0]},repaid,{day}",
        f"{red['id'].iloc[1]},defaulted,{day}",
        f"{repaid},defaulted,{day}",
    ]
    ingest(log, "\n".join(["decision_id,outcome,date", *rows]).encode())
    after = samples(subject.refresh())
    assert named(after, "overrides") == {
        ("right", "green"): 1,
        ("wrong", "green"): 1,
        ("open", "green"): 0,
        ("open", "red"): 1,
    }
    assert named(after, "overrides_predicted_wrong")["green",] == pytest.approx(
        red["risk"][:2].sum()
    )
    assert named(after, "overrides_predicted_wrong")["red",] == pytest.approx(
        1 - green["risk"].iloc[0]
    )
    lost = green["label"].iloc[0] == BAD
    assert named(after, "vintage_funded")[VINTAGE,] == len(green) + 1
    defaults = named(before, "vintage_defaults")[VINTAGE,] + 2 - lost
    assert named(after, "vintage_defaults")[VINTAGE,] == defaults


def test_the_challenger_scores_what_production_decides(served, log, draw, decide, register, other):
    frame = draw(150)
    decide(log, frame)
    subject = make_collector(served)
    assert subject.refresh().quality.shadow is None  # the challenger is what is in Production
    assert register(served.model_name, other=other) == "2"
    decide(log, frame.head(50))
    found = samples(subject.refresh())
    codes = encode(frame)[[*range(150), *range(50)]]
    theirs, ours = other.risk(codes), log.read(*log.batches())["risk"].to_numpy()
    assert named(found, "challenger_model_info") == {("2",): 1}
    assert one(found, "shadow_decisions") == 200
    assert one(found, "shadow_agreement_ratio") == pytest.approx(
        np.mean((theirs < THRESHOLD) == (ours < THRESHOLD))
    )
    assert one(found, "shadow_green_ratio") == pytest.approx(np.mean(theirs < THRESHOLD))
    cost = named(found, "shadow_expected_cost")
    risks = dict(zip(NAMES_OF_MODELS, (ours, theirs), strict=True))
    for decided, d in risks.items():
        for by, r in risks.items():
            assert cost[decided, by] == pytest.approx(
                np.mean(np.where(d < THRESHOLD, 5 * r, 1 - r))
            )
    for by in risks:  # each looks best by its own risks
        assert cost[by, by] == min(cost[decided, by] for decided in risks)
    assert not named(found, "shadow_observed_cost")
    put_in_service(Registry(served.mlflow_tracking_uri, served.model_name), log, "2")
    after = subject.refresh()
    assert (after.model_version, after.quality.challenger, after.quality.shadow) == (
        "2",
        None,
        None,
    )


def test_the_challenger_is_compared_on_clients_with_outcomes(
    stack, clients, draw, decide, become, register, other
):
    """Observed on the matured funded clients, without those that the challenger was trained on."""
    log = open_log(stack)
    register(stack.model_name, other=other)
    record = decide(log, draw(200, labelled=True), time=LONG_AGO)
    become(log, record)
    train = clients[0].head(60)
    become(log, decide(log, train, time=LONG_AGO))
    become(log, decide(log, draw(60, labelled=True), time=NOW - timedelta(days=120)))  # not mature
    found = samples(make_collector(stack).refresh())
    table = log.read(record).to_pandas()
    funded = table[table["prediction"] == "green"]
    bad = (funded["label"] == BAD).to_numpy()
    theirs = other.risk(encode(funded[list(NAMES)])) < THRESHOLD
    assert one(found, "shadow_observed_clients") == len(funded)
    assert one(found, "shadow_observed_agreement_ratio") == pytest.approx(theirs.mean())
    assert named(found, "shadow_observed_cost") == {
        ("production",): pytest.approx(5 * bad.mean()),
        ("challenger",): pytest.approx(np.mean(np.where(theirs, 5 * bad, ~bad))),
    }


@pytest.mark.slow
def test_an_unavailable_challenger_stops_nothing(
    served, log, draw, decide, register, other, caplog
):
    decide(log, draw(120))
    register(served.model_name, other=other, with_reference=False)
    figures = make_collector(served).refresh()
    assert "not put in shadow" in caplog.text
    assert figures.quality.challenger is figures.quality.shadow is None
    assert figures.quality.estimated is not None
    assert figures.time is not None


def put(registry, address, data):
    path = address.removeprefix("mlflow-artifacts:/")
    requests.put(
        f"{registry._uri}/api/2.0/mlflow-artifacts/artifacts/{path}", data, timeout=30
    ).raise_for_status()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "trees",
            "version 2 is not taken: it is not one of our scorers: "
            "tree 2: a node or a leaf is not reached",
        ),
        *slow(("reference", "the reference was tried out, and it was refused")),
    ],
    ids=["trees", "reference"],
)
def test_a_hostile_challenger_stops_nothing(
    served, log, draw, decide, register, other, caplog, what, said
):
    """Someone who reaches MLflow can replace files, and have their digests recorded as well."""
    decide(log, draw(120))
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    challenger = copy(other)  # in a run of its own
    register(served.model_name, other=challenger)
    client, version = registry._client, registry.version("2")
    if what == "trees":
        model = client.get_model_version(registry.name, "2").source.removeprefix("models:/")
        challenger.model_text_ = other.model_text_.replace("left_child=1", "left_child=0", 1)
        put(
            registry,
            f"{client.get_logged_model(model).artifact_location}/{MODEL_FILE}",
            skops.io.dumps(challenger),
        )
        client.set_model_version_tag(registry.name, "2", DIGEST, registry.digest("2"))
    else:
        put(
            registry,
            f"{client.get_run(version.run_id).info.artifact_uri}/{REFERENCE_FILE}",
            b"PAR1junkPAR1",
        )
        client.set_model_version_tag(
            registry.name, "2", REFERENCE_DIGEST, registry.reference_digest("2")
        )
    subject = make_collector(served)
    figures = subject.refresh()
    assert f"not put in shadow: {said}" in caplog.text
    assert figures.quality.challenger is None
    assert figures.time is not None
    decide(log, draw(10))
    assert subject.refresh().quality.estimated is not None


def test_the_challenger_stays_in_shadow_while_the_registry_is_away(
    served, log, draw, decide, register, other, monkeypatch
):
    decide(log, draw(120))
    register(served.model_name, other=other)
    subject = make_collector(served)
    before = subject.refresh().quality.shadow
    for part in (subject, subject._performance):
        monkeypatch.setattr(part, "_registry", Registry("http://127.0.0.1:1", served.model_name))
    decide(log, draw(10))
    after = subject.refresh().quality.shadow
    assert (before.n, after.n, after.version) == (120, 130, "2")


def test_a_file_of_decisions_that_is_lost_is_named_and_stops_nothing(
    served, log, draw, decide, become, register, other, monkeypatch, caplog
):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 50)
    register(served.model_name, other=other)
    lost = decide(log, draw(60, labelled=True).assign(**{LABEL: BAD}), time=LONG_AGO)
    kept = decide(log, draw(200, labelled=True).assign(**{LABEL: "good"}), time=LONG_AGO)
    decide(log, draw(120))
    for record in (kept, lost):
        assert become(log, record).n_added > 0
    (file,) = Path(served.bucket).rglob(f"{lost.id}.parquet")
    file.unlink()
    figures = make_collector(served).refresh()
    assert sum(figures.totals.decisions.values()) == 380
    assert (figures.recent.n, len(figures.drift.features)) == (120, 21)
    old, new = figures.quality.vintages
    assert (old.applicants, old.open, old.defaults, new.applicants) == (200, 0, 0, 120)
    assert figures.quality.observed.n > 0
    assert figures.time is not None
    assert f"{file.name}: its 60 decisions are left out" in caplog.text


def test_vintages_without_changes_are_not_rated_again(
    served, log, draw, decide, become, register, other
):
    register(served.model_name, other=other)
    become(log, decide(log, draw(150, labelled=True), time=LONG_AGO))
    decide(log, draw(120))
    subject = make_collector(served)
    first = subject.refresh().quality
    second = subject.refresh().quality
    assert second is first
    decide(log, draw(1))
    third = subject.refresh().quality
    assert (third.vintages[0] is first.vintages[0], third.vintages[-1].applicants) == (True, 121)


def test_served_outcomes_name_no_client(served, log, draw, decide, become, register, other):
    register(served.model_name, other=other)
    become(
        log,
        decide(log, draw(150, labelled=True).assign(client_id="Erika Mustermann"), time=LONG_AGO),
    )
    figures = make_collector(served).refresh()
    text = page(figures).decode()
    assert "vintage_defaults{" in text
    assert "ustermann" not in text
    assert not any(batch.id in text for batch in log.batches())


def test_unknown_performance_is_not_served():
    assert PerformanceGauges().as_dict() == {
        "estimated": None,
        "out_of_fold": None,
        "shadow": None,
        "observed": None,
    }
