from datetime import UTC, datetime, timedelta

import pytest

from credit_risk.application import NAMES
from credit_risk.decisions import LogUnavailable, open_log
from monitoring.window import read_window

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"drift_window_hours": 24, "drift_window_rows": 150, "drift_min_rows": 100})


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def test_decisions_of_the_last_hours(settings, log, draw, decide):
    decide(log, draw(30), time=ago(30))
    decide(log, draw(60), time=ago(23))
    decide(log, draw(50), time=ago(1))
    window = read_window(log, settings, NOW)
    assert (len(window), window.enough) == (110, True)
    assert (window.start, window.end) == (ago(23), ago(1))
    assert [*window.decisions.columns] == [*NAMES, "class", "risk", "model_version", "batch", "time"]


def test_the_latest_ones_where_the_hours_hold_too_few(settings, log, draw, decide):
    decide(log, draw(60), time=ago(50))
    decide(log, draw(60), time=ago(40))
    decide(log, draw(60), time=ago(1))
    window = read_window(log, settings, NOW)
    assert len(window) == 150
    assert window.end == ago(1)


def test_previews_never_count(settings, log, draw, decide):
    decide(log, draw(120), time=ago(2), kind="preview")
    decide(log, draw(40), time=ago(1))
    window = read_window(log, settings, NOW)
    assert (len(window), window.enough) == (40, False)


def test_no_decisions_at_all(settings, log):
    window = read_window(log, settings, NOW)
    assert (len(window), window.enough, window.start, window.end) == (0, False, None, None)
    assert not window.outdated(NOW + timedelta(hours=100))


def test_time_alone_changes_the_window(settings, log, draw, decide):
    decide(log, draw(60), time=ago(23))
    decide(log, draw(60), time=ago(1))
    window = read_window(log, settings, NOW)
    assert not window.outdated(NOW + timedelta(minutes=59))
    assert window.outdated(NOW + timedelta(minutes=61))


def test_time_does_not_change_the_latest_ones(settings, log, draw, decide):
    decide(log, draw(60), time=ago(40))
    decide(log, draw(60), time=ago(1))
    assert not read_window(log, settings, NOW).outdated(NOW + timedelta(hours=100))


def test_another_versions_risk_is_not_compared(settings, log, draw, decide):
    decide(log, draw(60), version="1", time=ago(2))
    decide(log, draw(50), version="2", time=ago(1))
    decisions = read_window(log, settings, NOW).as_scored_by("2")
    assert decisions["risk"].notna().tolist() == [False] * 60 + [True] * 50
    assert decisions["duration"].notna().all()


def test_labelled_decisions_are_those_of_the_version(settings, log, draw, decide):
    decide(log, draw(40, labelled=True), version="1", time=ago(3))
    decide(log, draw(30), version="2", time=ago(2))
    decide(log, draw(50, labelled=True), version="2", time=ago(1))
    labelled = read_window(log, settings, NOW).labelled("2")
    assert len(labelled) == 50
    assert set(labelled["class"]) == {"good", "bad"}
    assert labelled["risk"].notna().all()


def test_a_protected_attribute_may_be_absent(settings, log, draw, decide):
    decide(log, draw(110).drop(columns=["age", "foreign_worker"]), time=ago(1))
    decisions = read_window(log, settings, NOW).decisions
    assert decisions[["age", "foreign_worker"]].isna().all(axis=None)


def test_an_unreachable_log_is_said_so(settings):
    gone = settings.model_copy(update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"})
    with pytest.raises(LogUnavailable):
        read_window(open_log(gone), gone, NOW)
