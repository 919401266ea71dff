from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.scoring.model import confidence
from monitoring.exporter.collector import Refresher, evidently
from monitoring.exporter.figures import Figures, page
from monitoring.kinds import REFRESH, REPORT
from tests.support.exporter import refresher, samples


def test_counts_and_drift(served, log, draw, decide):
    first = decide(log, draw(150))
    decide(log, draw(50), version="9", kind="preview")
    log.put_report(REPORT, {})
    figures = refresher(served).refresh()
    assert figures.totals.decisions == {("red", "1"): first.n_red, ("green", "1"): 150 - first.n_red}
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
    subject = refresher(served)
    before = samples(subject.refresh())
    decide(log, draw(500, drifted=True))
    after = samples(subject.refresh())
    assert before["credit_risk_drifted_features",] == 0
    assert after["credit_risk_drifted_features",] >= 3
    assert after["credit_risk_drift_detected", "credit_amount"] == 1
    assert after["credit_risk_drift_score", "credit_amount"] < 0.05
    assert after["credit_risk_drifted_features_ratio",] == after["credit_risk_drifted_features",] / 21
    assert after["credit_risk_dataset_drift",] == 1
    assert after["credit_risk_window_decisions",] == 650


def test_too_few_decisions_is_no_verdict(served, log, draw, decide):
    decide(log, draw(99))
    subject = refresher(served)
    found = samples(subject.refresh())
    assert found["credit_risk_window_decisions",] == 99
    assert found["credit_risk_unjudged_features", "credit_amount", "too few decisions"] == 1
    assert not any("drift" in name for name, *_ in found)
    decide(log, draw(1))
    assert len(subject.refresh().drift.features) == 21


def test_rejected_rows_by_reason(served, log, draw, decide):
    bad = draw(5).assign(purpose="yacht", duration=[-1, -1, 6, 6, 6])
    record = decide(log, bad)
    assert (record.n_decided, record.n_rejected) == (0, 5)
    assert refresher(served).refresh().totals.rejected == {"unknown_category": 5, "out_of_range": 2}


def test_nothing_new_is_not_computed_again(served, log, draw, decide):
    decide(log, draw(120))
    subject = refresher(served)
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
    subject = refresher(served)
    counted = [subject.refresh().totals.decisions]
    decide(log, draw(20))
    counted = subject.refresh().totals.decisions
    assert refresher(served).refresh().totals.decisions == counted
    assert sum(counted.values()) == 170


def test_a_big_log_is_counted_page_by_page(served, log, draw, decide, monkeypatch):
    monkeypatch.setattr("monitoring.exporter.log_counters.PAGE", 2)
    monkeypatch.setattr("monitoring.drift.window.PAGE", 2)
    for _ in range(5):
        decide(log, draw(1))
    figures = refresher(served).refresh()
    assert sum(figures.totals.decisions.values()) == figures.recent.n == 5


def test_a_new_production_version_is_followed(served, log, draw, decide, register):
    decide(log, draw(120))
    subject = refresher(served)
    subject.refresh()
    register(served.model_name, log)
    figures = subject.refresh()
    assert figures.model_version == "2"
    assert (
        figures.totals.decisions["green", "2"] == 0
    )  # served from the start, so that the first decision is an increase
    assert figures.drift.unjudged == {"risk": "empty"}  # the new version has decided nothing yet


def test_an_alias_that_was_moved_is_told_and_not_followed(served, log, draw, decide, register, other):
    """The version that the exporter says is in Production is the one that decides (see `approvals`)."""
    decide(log, draw(120))
    subject = refresher(served)
    assert samples(subject.refresh())["credit_risk_alias_mismatch",] == 0
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    registry.set_alias("production", register(served.model_name, other=other))
    figures = subject.refresh()
    assert (figures.model_version, samples(figures)["credit_risk_alias_mismatch",]) == ("1", 1)
    followed = refresher(served.model_copy(update={"follow_alias": True})).refresh()
    assert (followed.model_version, samples(followed)["credit_risk_alias_mismatch",]) == ("2", 0)


@pytest.mark.parametrize("follow_alias", [False, True])
def test_an_alias_on_a_version_that_is_refused_is_told(served, log, draw, decide, follow_alias):
    """Whoever registers a version by hand, without a digest, and moves the alias there."""
    settings = served.model_copy(update={"follow_alias": follow_alias})
    decide(log, draw(120))
    subject = refresher(settings)
    before = subject.refresh()
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    real = registry._client.get_model_version(served.model_name, "1")
    hand = registry._client.create_model_version(
        served.model_name, real.source, real.run_id, model_id=real.source.removeprefix("models:/")
    )
    registry.set_alias("production", hand.version)
    assert subject.refresh().drift is before.drift, "the reference is still version 1's"
    for figures in (subject.figures, refresher(settings).refresh()):
        found = samples(figures)
        assert figures.model_version == "1"
        assert found["credit_risk_production_model_info", "1"] == 1
        assert (found["credit_risk_model_refused",], found["credit_risk_alias_mismatch",]) == (1, 1)
        assert figures.drift.features == before.drift.features
    registry.set_alias("production", "1")
    assert samples(subject.refresh())["credit_risk_model_refused",] == 0


def test_an_approved_version_that_is_refused_is_not_measured_against(served, log, draw, decide, register):
    """What is stored of it is not what was approved: who has the earlier one loaded goes on with that."""
    decide(log, draw(120))
    subject = refresher(served)
    before = subject.refresh()
    assert samples(before)["credit_risk_model_refused",] == 0
    log.append_approval("approval", register(served.model_name), by="Bo", reason="r", digest="v2:0", forced=False)
    figures = subject.refresh()
    assert (figures.model_version, figures.drift, figures.trained) == ("1", before.drift, before.trained)
    assert samples(figures)["credit_risk_model_refused",] == 1
    started = refresher(served).refresh()
    assert (started.model_version, started.drift) == (None, None)
    assert samples(started)["credit_risk_model_refused",] == 1


def test_a_registry_that_was_deleted_leaves_what_decides(served, log, draw, decide):
    decide(log, draw(120))
    Refresher(log, open_registry(served), served).refresh()
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    registry._client.delete_registered_model(served.model_name)
    figures = Refresher(log, open_registry(served), served).refresh()  # which has kept the version
    assert (figures.model_version, figures.alias_astray, figures.refused, figures.time) == ("1", True, False, None)
    lost = refresher(served).refresh()
    assert (lost.model_version, lost.refused, lost.drift) == (None, True, None)


def test_another_reference_than_was_approved_is_refused(served, log, draw, decide, monkeypatch):
    decide(log, draw(120))
    subject = refresher(served)
    monkeypatch.setattr(subject._registry, "_run_file", lambda *_: b"another")
    figures = subject.refresh()
    assert (figures.model_version, figures.drift, figures.time) == ("1", None, None)


def test_a_log_that_is_away_leaves_the_last_figures(served, log, draw, decide, monkeypatch):
    decide(log, draw(120))
    subject = refresher(served)
    before = subject.refresh()
    with monkeypatch.context() as patch:
        away = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
        for part in (subject, subject._counting, subject._window):
            patch.setattr(part, "_log", open_log(served.model_copy(update={"decision_log": away})))
        assert subject.refresh() == before
    after = subject.refresh()
    assert (after.totals, after.drift) == (before.totals, before.drift)
    assert after.time > before.time


def test_a_registry_that_is_away_stops_the_clock_but_not_the_counting(served, log, draw, decide, monkeypatch):
    decide(log, draw(120))
    subject = refresher(served)
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
    figures = refresher(settings).refresh()
    assert sum(figures.totals.decisions.values()) == 120
    assert (figures.model_version, figures.drift, figures.time) == (None, None, None)


def test_no_version_in_production_is_no_trouble(settings, mlflow_server, log, draw, decide):
    decide(log, draw(120))
    none = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": "nobody-trained-this"})
    figures = refresher(none).refresh()
    assert (figures.model_version, figures.drift) == (None, None)
    assert figures.recent.n == 120
    assert figures.time is not None


def test_a_version_without_reference_has_no_verdict(settings, mlflow_server, register, log, draw, decide):
    register("no-reference", log, with_reference=False)
    decide(log, draw(120))
    bare = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server, "model_name": "no-reference"})
    figures = refresher(bare).refresh()
    assert figures.model_version == "1"
    assert (figures.drift, figures.time) == (None, None)


def test_an_empty_exporter_serves_no_false_zeros():
    assert samples(Figures()) == {}


@pytest.mark.parametrize("backend", ["mongodb + bucket"])
def test_the_same_on_the_other_backend(
    served, draw, decide, become, in_role, mongodb_url, gcs_url, backend, on_another_log
):
    other = on_another_log(served.model_copy(update={"decision_log": mongodb_url, "bucket": gcs_url}))
    log = open_log(other)
    become(log, decide(log, draw(150, labelled=True)))
    with in_role("exporter"):
        figures = refresher(other).refresh()
    assert sum(figures.totals.decisions.values()) == 150
    assert len(figures.drift.features) == 21
    assert log.reports(REFRESH, limit=1)[0]["body"]["n_window"] == 150


def test_files_rows_and_faults_are_counted(served, log, draw, decide):
    decide(log, draw(4), source="a.csv")
    decide(log, draw(4).assign(purpose=["yacht", "yacht", "business", "business"], duration=-1), source="b.csv")
    decide(log, draw(4).assign(housing=[None, "rent", "rent", "rent"]))
    decide(log, draw(4).assign(purpose="yacht"), kind="preview", source="preview.csv")
    found = samples(refresher(served).refresh())
    assert {key[1:]: n for key, n in found.items() if key[0] == "credit_risk_rejected_values_total"} == {
        ("purpose", "unknown_category"): 2,
        ("duration", "out_of_range"): 4,
        ("housing", "missing"): 1,
    }
    assert (found["credit_risk_rows_total", "decided"], found["credit_risk_rows_total", "rejected"]) == (7, 5)
    assert {key[1:]: n for key, n in found.items() if key[0] == "credit_risk_batches_total"} == {
        ("decided", "file"): 1,
        ("partly rejected", "file"): 0,
        ("rejected", "file"): 1,
        ("decided", "request"): 0,
        ("partly rejected", "request"): 1,
        ("rejected", "request"): 0,
    }


def test_what_was_decided_and_on_what_values(served, log, draw, decide, reference, scorer):
    drawn = draw(120)
    decide(log, drawn.drop(columns="age").assign(duration=100, credit_amount=3000), version="2")
    mine = log.read(decide(log, drawn.assign(credit_amount=90_000, duration=12)))
    found = samples(refresher(served).refresh())
    assert found["credit_risk_window_decisions",] == 240
    assert found["credit_risk_window_missing_values", "age"] == 120
    assert found["credit_risk_window_missing_values", "duration"] == 0
    assert found["credit_risk_window_outside_training_values", "credit_amount"] == 120
    assert found["credit_risk_window_outside_training_values", "duration"] == 120
    # Only of version 1, which is Production.
    assert found["credit_risk_window_green_ratio",] == mine["prediction"].to_pylist().count("green") / 120
    assert found["credit_risk_window_risk_ratio",] == pytest.approx(np.mean(mine["risk"]))
    assert found["credit_risk_window_confidence_ratio",] == pytest.approx(np.mean(mine["confidence"]))
    assert found["credit_risk_reference_green_ratio",] == np.mean(reference["risk"] < scorer.threshold)
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
        buckets = {key[1]: n for key, n in found.items() if key[0] == f"credit_risk_{name}_ratio_bucket"}
        assert len(buckets) == 21
        assert buckets == {le: np.count_nonzero(values <= float(le)) for le in buckets}
        assert buckets["0.5"] < buckets["+Inf"] == len(values)


def test_evidently_judges_the_newest_and_counts_judge_all(served, log, draw, decide):
    few = served.model_copy(update={"drift_evidently_rows": 200})
    decide(log, draw(400, drifted=True))
    decide(log, draw(200))
    subject = Refresher(open_log(few), Registry(few.mlflow_tracking_uri, few.model_name), few, evidently)
    found = samples(subject.refresh())
    assert (found["credit_risk_window_decisions",], found["credit_risk_newest_decisions",]) == (600, 200)
    assert (found["credit_risk_dataset_drift",], found["credit_risk_newest_dataset_drift",]) == (1, 0)
    assert found["credit_risk_drift_detected", "credit_amount"] == 1
    assert found["credit_risk_drift_psi", "credit_amount"] > found["credit_risk_drift_psi_limit", "credit_amount"]
    assert found["credit_risk_newest_drift_detected", "credit_amount"] == 0
    assert found["credit_risk_newest_drift_score", "credit_amount"] > 0.05


def test_on_the_same_decisions_evidently_and_counts_say_the_same(served, log, draw, decide):
    decide(log, draw(300, drifted=True).drop(columns="age"))
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    figures = Refresher(log, registry, served, evidently).refresh()
    assert figures.newest.unjudged == figures.drift.unjudged == {"age": "empty"}
    for theirs, ours in zip(figures.newest.features, figures.drift.features, strict=True):
        assert theirs.p_value == pytest.approx(ours.p_value, rel=1e-6)
        assert (theirs.feature, theirs.psi, theirs.drifted) == (ours.feature, ours.psi, ours.drifted)
    assert figures.drift.dataset


def test_no_client_is_in_the_page(served, log, draw, decide):
    decide(log, draw(120).assign(client_id="Erika Mustermann"), source="mustermann.csv")
    decide(log, draw(3).assign(client_id="Erika Mustermann", purpose="yacht"), source="mustermann.csv")
    text = page(refresher(served).refresh()).decode()
    assert not any(word in text for word in ("ustermann", "yacht"))
