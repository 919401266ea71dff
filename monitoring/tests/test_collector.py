from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.approval_log import Approval
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.scoring.decisions import confidence
from monitoring.exporter.collector import Collector, _break_glass, evidently
from monitoring.exporter.gauges import page
from monitoring.exporter.measurements import Measurements
from monitoring.kinds import REFRESH, REPORT
from tests.support.exporter import make_collector, samples


def test_a_refresh_counts_decisions_and_judges_drift(served, log, draw, decide):
    first = decide(log, draw(150))
    decide(log, draw(50), version="9", kind="preview")
    log.put_report(REPORT, {})
    figures = make_collector(served).refresh()
    assert figures.totals.decisions == {
        ("red", "1"): first.n_red,
        ("green", "1"): 150 - first.n_red,
    }
    assert figures.recent.n == 150
    assert figures.model_version == "1"
    assert not figures.drift.drifted
    assert len(figures.drift.features) == 21
    now = datetime.now(UTC)
    for time in (figures.time, figures.trained, figures.reported):
        assert now - timedelta(minutes=20) < time <= now
    served_as = samples(figures)
    assert served_as["credit_risk_decisions_total", "1", "red"] == first.n_red
    assert served_as["credit_risk_production_model_info", "1"] == 1
    assert served_as["credit_risk_dataset_drift",] == 0
    assert served_as["credit_risk_drift_score", "risk"] > 0.05


def test_a_drifted_file_moves_the_gauges(served, log, draw, decide):
    decide(log, draw(150))
    subject = make_collector(served)
    before = samples(subject.refresh())
    decide(log, draw(500, drifted=True))
    after = samples(subject.refresh())
    assert before["credit_risk_drifted_features",] == 0
    assert after["credit_risk_drifted_features",] >= 3
    assert after["credit_risk_drift_detected", "credit_amount"] == 1
    assert after["credit_risk_drift_score", "credit_amount"] < 0.05
    assert (
        after["credit_risk_drifted_features_ratio",] == after["credit_risk_drifted_features",] / 21
    )
    assert after["credit_risk_dataset_drift",] == 1
    assert after["credit_risk_window_decisions",] == 650


def test_too_few_decisions_give_no_verdict(served, log, draw, decide):
    decide(log, draw(99))
    subject = make_collector(served)
    found = samples(subject.refresh())
    assert found["credit_risk_window_decisions",] == 99
    assert found["credit_risk_unjudged_features", "credit_amount", "too few decisions"] == 1
    assert not any("drift" in name for name, *_ in found)
    decide(log, draw(1))
    assert len(subject.refresh().drift.features) == 21


def test_drift_is_not_computed_again_without_new_decisions(served, log, draw, decide):
    decide(log, draw(120))
    subject = make_collector(served)
    first = subject.refresh()
    second = subject.refresh()
    assert second.drift is first.drift
    assert second.time > first.time
    assert len(log.reports(REFRESH)) == 1
    decide(log, draw(1))
    assert subject.refresh().drift is not first.drift
    document = log.reports(REFRESH, limit=1)[0]["body"]
    assert document["n_window"] == 121
    assert document["drift"]["features"][0]["feature"] == "checking_status"


def test_a_restart_loses_nothing(served, log, draw, decide):
    for seed in range(5):
        decide(log, draw(30, seed=seed), version=str(seed % 2 + 1))
    subject = make_collector(served)
    counted = [subject.refresh().totals.decisions]
    decide(log, draw(20))
    counted = subject.refresh().totals.decisions
    assert make_collector(served).refresh().totals.decisions == counted
    assert sum(counted.values()) == 170


def test_a_big_log_is_counted_page_by_page(served, log, draw, decide, monkeypatch):
    monkeypatch.setattr("monitoring.log_feed.PAGE", 2)
    for _ in range(5):
        decide(log, draw(1))
    figures = make_collector(served).refresh()
    assert sum(figures.totals.decisions.values()) == figures.recent.n == 5


def test_a_new_production_version_is_followed(served, log, draw, decide, register):
    decide(log, draw(120))
    subject = make_collector(served)
    subject.refresh()
    register(served.model_name, log)
    figures = subject.refresh()
    assert figures.model_version == "2"
    assert (
        figures.totals.decisions["green", "2"] == 0
    )  # served from the start, so that the first decision is an increase
    assert figures.drift.unjudged == {"risk": "empty"}  # the new version has decided nothing yet


def test_a_moved_alias_is_reported_and_not_followed(served, log, draw, decide, register, other):
    """The version that the exporter serves as Production is the deciding one (see `approvals`)."""
    decide(log, draw(120))
    subject = make_collector(served)
    assert samples(subject.refresh())["credit_risk_alias_mismatch",] == 0
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    registry.set_alias("production", register(served.model_name, other=other))
    figures = subject.refresh()
    assert (figures.model_version, samples(figures)["credit_risk_alias_mismatch",]) == ("1", 1)
    followed = make_collector(served.model_copy(update={"follow_alias": True})).refresh()
    assert (followed.model_version, samples(followed)["credit_risk_alias_mismatch",]) == ("2", 0)


@pytest.mark.parametrize("follow_alias", [False, True])
def test_an_alias_on_a_refused_version_is_reported(served, log, draw, decide, follow_alias):
    """The version was registered by hand, without a digest, and the alias moved there."""
    settings = served.model_copy(update={"follow_alias": follow_alias})
    decide(log, draw(120))
    subject = make_collector(settings)
    before = subject.refresh()
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    real = registry._client.get_model_version(served.model_name, "1")
    hand = registry._client.create_model_version(
        served.model_name, real.source, real.run_id, model_id=real.source.removeprefix("models:/")
    )
    registry.set_alias("production", hand.version)
    assert subject.refresh().drift is before.drift, "the reference is still version 1's"
    for figures in (subject.figures, make_collector(settings).refresh()):
        found = samples(figures)
        assert figures.model_version == "1"
        assert found["credit_risk_production_model_info", "1"] == 1
        assert (found["credit_risk_model_refused",], found["credit_risk_alias_mismatch",]) == (1, 1)
        assert figures.drift.features == before.drift.features
    registry.set_alias("production", "1")
    assert samples(subject.refresh())["credit_risk_model_refused",] == 0


def test_an_approved_version_that_is_refused_is_not_measured_against(
    served, log, draw, decide, register
):
    """The stored version is not the approved one: services go on with the earlier one."""
    decide(log, draw(120))
    subject = make_collector(served)
    before = subject.refresh()
    assert samples(before)["credit_risk_model_refused",] == 0
    log.append_approval(
        "approval", register(served.model_name), by="Bo", reason="r", digest="v2:0", forced=False
    )
    figures = subject.refresh()
    assert (figures.model_version, figures.drift, figures.trained) == (
        "1",
        before.drift,
        before.trained,
    )
    assert samples(figures)["credit_risk_model_refused",] == 1
    started = make_collector(served).refresh()
    assert (started.model_version, started.drift) == (None, None)
    assert samples(started)["credit_risk_model_refused",] == 1


def test_decisions_past_the_approvals_service_are_counted_for_a_day_and_while_in_force(
    served, log, monkeypatch
):
    subject = make_collector(served)

    def counted():
        return samples(subject.refresh())["credit_risk_break_glass_approvals",]

    def decides(**more):
        first = log.approvals()[-1]
        fields = {name: first[name] for name in ("by", "reason", "digest", "forced")}
        log.append_approval("approval", first["key"], **fields, **more)

    assert counted() == 0
    decides(break_glass=True)
    decides(break_glass=True)
    assert counted() == 2
    with monkeypatch.context() as patch:
        patch.setattr("monitoring.exporter.collector.BREAK_GLASS_SHOWN", timedelta(0))
        assert counted() == 1, "what decides, however old it is"
    decides()
    assert counted() == 2, "it was less than a day ago"
    monkeypatch.setattr("monitoring.exporter.collector.BREAK_GLASS_SHOWN", timedelta(0))
    assert counted() == 0


def test_entries_past_the_approvals_service_are_counted_without_their_flag_too():
    now = datetime.now(UTC)

    def entry(kind, hours=1, **more):
        return Approval("1", "a", "b", kind, "0", time=now - timedelta(hours=hours), **more)

    def counted(*entries, needs_two=True):
        return _break_glass(entries, now, needs_two=needs_two)

    assert counted(entry("adopted", break_glass=True), needs_two=False) == 1
    assert counted(entry("approval"), needs_two=False) == 0
    assert counted(entry("approval"), entry("approval", verified=True)) == 1
    assert counted(entry("approval", hours=25)) == 0, "it may be from before there were tokens"
    assert counted(entry("approval", hours=25, break_glass=True)) == 1


def test_the_deciding_version_outlives_a_deleted_registry(served, log, draw, decide):
    decide(log, draw(120))
    Collector(log, open_registry(served), served).refresh()
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    registry._client.delete_registered_model(served.model_name)
    figures = Collector(log, open_registry(served), served).refresh()  # which has kept the version
    assert (figures.model_version, figures.alias_astray, figures.refused, figures.time) == (
        "1",
        True,
        False,
        None,
    )
    lost = make_collector(served).refresh()
    assert (lost.model_version, lost.refused, lost.drift) == (None, True, None)


def test_a_reference_other_than_the_approved_one_is_refused(served, log, draw, decide, monkeypatch):
    decide(log, draw(120))
    subject = make_collector(served)
    monkeypatch.setattr(subject._registry, "_run_file", lambda *_: b"another")
    figures = subject.refresh()
    assert (figures.model_version, figures.drift, figures.time) == ("1", None, None)


def test_a_log_that_is_away_leaves_the_last_figures(served, log, draw, decide, monkeypatch):
    decide(log, draw(120))
    subject = make_collector(served)
    before = subject.refresh()
    with monkeypatch.context() as patch:
        away = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
        gone = open_log(served.model_copy(update={"decision_log": away}))
        patch.setattr(subject, "_log", gone)
        patch.setattr(subject._feed, "log", gone)
        assert subject.refresh() == before
    after = subject.refresh()
    assert (after.totals, after.drift) == (before.totals, before.drift)
    assert after.time > before.time


def test_a_registry_that_is_away_stops_the_clock_but_not_the_counting(
    served, log, draw, decide, monkeypatch
):
    decide(log, draw(120))
    subject = make_collector(served)
    before = subject.refresh()
    away = Registry("http://127.0.0.1:1", served.model_name)
    monkeypatch.setattr(subject, "_registry", away)
    decide(log, draw(10))
    after = subject.refresh()
    assert sum(after.totals.decisions.values()) == 130
    assert after.recent.n == 130
    assert after.model_version == "1"
    assert after.time == before.time


def test_without_registry_from_the_start_there_are_counts_only(settings, log, draw, decide):
    decide(log, draw(120))
    figures = make_collector(settings).refresh()
    assert sum(figures.totals.decisions.values()) == 120
    assert (figures.model_version, figures.drift, figures.time) == (None, None, None)


def test_no_version_in_production_is_no_trouble(settings, mlflow_server, log, draw, decide):
    decide(log, draw(120))
    none = settings.model_copy(
        update={"mlflow_tracking_uri": mlflow_server, "model_name": "nobody-trained-this"}
    )
    figures = make_collector(none).refresh()
    assert (figures.model_version, figures.drift) == (None, None)
    assert figures.recent.n == 120
    assert figures.time is not None


def test_a_version_without_reference_has_no_verdict(
    settings, mlflow_server, register, log, draw, decide
):
    register("no-reference", log, with_reference=False)
    decide(log, draw(120))
    bare = settings.model_copy(
        update={"mlflow_tracking_uri": mlflow_server, "model_name": "no-reference"}
    )
    figures = make_collector(bare).refresh()
    assert figures.model_version == "1"
    assert (figures.drift, figures.time) == (None, None)


def test_an_exporter_without_figures_serves_nothing():
    assert samples(Measurements()) == {}


@pytest.mark.parametrize("backend", ["mongodb + bucket"])
def test_mongodb_and_a_bucket_give_the_same_figures(
    served, draw, decide, become, in_role, mongodb_url, gcs_url, backend, on_another_log
):
    other = on_another_log(
        served.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url})
    )
    log = open_log(other)
    become(log, decide(log, draw(150, labelled=True)))
    with in_role("exporter"):
        figures = make_collector(other).refresh()
    assert sum(figures.totals.decisions.values()) == 150
    assert len(figures.drift.features) == 21
    assert log.reports(REFRESH, limit=1)[0]["body"]["n_window"] == 150


def test_predictions_and_values_of_the_window_are_served(
    served, log, draw, decide, reference, scorer
):
    drawn = draw(120)
    decide(log, drawn.drop(columns="age").assign(duration=100, credit_amount=3000), version="2")
    mine = log.read(decide(log, drawn.assign(credit_amount=90_000, duration=12)))
    found = samples(make_collector(served).refresh())
    assert found["credit_risk_window_decisions",] == 240
    assert found["credit_risk_window_missing_values", "age"] == 120
    assert found["credit_risk_window_missing_values", "duration"] == 0
    assert found["credit_risk_window_outside_training_values", "credit_amount"] == 120
    assert found["credit_risk_window_outside_training_values", "duration"] == 120
    # Only of version 1, which is Production.
    assert (
        found["credit_risk_window_green_ratio",]
        == mine["prediction"].to_pylist().count("green") / 120
    )
    assert found["credit_risk_window_risk_ratio",] == pytest.approx(np.mean(mine["risk"]))
    assert found["credit_risk_window_confidence_ratio",] == pytest.approx(
        np.mean(mine["confidence"])
    )
    assert found["credit_risk_reference_green_ratio",] == np.mean(
        reference["risk"] < scorer.threshold
    )
    assert found["credit_risk_reference_risk_ratio",] == pytest.approx(reference["risk"].mean())
    clear = confidence(reference["risk"])
    assert found["credit_risk_reference_confidence_ratio",] == pytest.approx(clear.mean())
    # How they are spread: as many of each as do not exceed an edge.
    spread = {
        "window_risks": np.array(mine["risk"]),
        "window_confidences": np.array(mine["confidence"]),
        "reference_risks": reference["risk"],
        "reference_confidences": clear,
    }
    for name, values in spread.items():
        buckets = {
            key[1]: n for key, n in found.items() if key[0] == f"credit_risk_{name}_ratio_bucket"
        }
        assert len(buckets) == 21
        assert buckets == {le: np.count_nonzero(values <= float(le)) for le in buckets}
        assert buckets["0.5"] < buckets["+Inf"] == len(values)


def test_evidently_judges_the_newest_and_counts_judge_all(served, log, draw, decide):
    few = served.model_copy(update={"drift_evidently_rows": 200})
    decide(log, draw(400, drifted=True))
    decide(log, draw(200))
    subject = Collector(
        open_log(few), Registry(few.mlflow_tracking_uri, few.model_name), few, evidently
    )
    found = samples(subject.refresh())
    assert (found["credit_risk_window_decisions",], found["credit_risk_newest_decisions",]) == (
        600,
        200,
    )
    assert (found["credit_risk_dataset_drift",], found["credit_risk_newest_dataset_drift",]) == (
        1,
        0,
    )
    assert found["credit_risk_drift_detected", "credit_amount"] == 1
    assert (
        found["credit_risk_drift_psi", "credit_amount"]
        > found["credit_risk_drift_psi_limit", "credit_amount"]
    )
    assert found["credit_risk_newest_drift_detected", "credit_amount"] == 0
    assert found["credit_risk_newest_drift_score", "credit_amount"] > 0.05


def test_evidently_and_counts_agree_on_the_same_decisions(served, log, draw, decide):
    decide(log, draw(300, drifted=True).drop(columns="age"))
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    figures = Collector(log, registry, served, evidently).refresh()
    assert figures.newest.unjudged == figures.drift.unjudged == {"age": "empty"}
    for theirs, ours in zip(figures.newest.features, figures.drift.features, strict=True):
        assert theirs.p_value == pytest.approx(ours.p_value, rel=1e-6)
        assert (theirs.feature, theirs.psi, theirs.drifted) == (
            ours.feature,
            ours.psi,
            ours.drifted,
        )
    assert figures.drift.dataset


def test_the_page_of_metrics_names_no_client(served, log, draw, decide):
    decide(log, draw(120).assign(client_id="Erika Mustermann"), source="mustermann.csv")
    decide(
        log, draw(3).assign(client_id="Erika Mustermann", purpose="yacht"), source="mustermann.csv"
    )
    text = page(make_collector(served).refresh()).decode()
    assert not any(word in text for word in ("ustermann", "yacht"))
