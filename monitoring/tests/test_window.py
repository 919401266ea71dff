from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.log import open_log
from credit_risk.storage.documents import LogUnavailable
from monitoring.drift.drift import compare
from monitoring.drift.window import Window, read_window
from monitoring.log_feed import LogFeed
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT, NAMES

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def settings(settings):
    return settings.model_copy(
        update={"drift_window_hours": 24, "drift_window_rows": 150, "drift_min_rows": 100}
    )


@pytest.fixture
def window(settings, reference):
    return Window(settings, GERMAN_CREDIT, "1", reference)


@pytest.fixture
def advance(log, window):
    """A function that brings the window up to date with the log, as of a time."""
    feed = LogFeed(log)

    def read_on(now):
        feed.begin()
        return window.advance(feed, now)

    return read_on


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def test_the_window_holds_the_decisions_of_the_last_hours(window, advance, log, draw, decide):
    decide(log, draw(130), time=ago(30))
    decide(log, draw(60), time=ago(23))
    decide(log, draw(50), time=ago(1))
    advance(NOW)
    assert (len(window), window.enough) == (110, True)
    assert (window.start, window.end) == (ago(23), ago(1))
    assert [*window.newest.columns] == [
        *NAMES, "class", "risk", "confidence", "prediction", "model_version", "batch", "time"
    ]  # fmt: skip


def test_the_window_has_no_maximum(settings, log, draw, decide):
    """A window holds all of its hours, however many rows it takes where they hold too few."""
    decide(log, draw(400), time=ago(2))
    assert len(read_window(log, settings, GERMAN_CREDIT, now=NOW)) == 400


def test_decisions_count_by_amount_where_costs_do(settings, log, draw, decide):
    record = decide(log, draw(30), time=ago(2))
    amounts = log.read(record)["credit_amount"].to_pylist()
    assert read_window(log, settings, BY_AMOUNT, now=NOW).rows["weight"].tolist() == amounts
    plain = read_window(log, settings, GERMAN_CREDIT, now=NOW)
    assert plain.rows["weight"].tolist() == [1] * 30


def test_the_window_holds_the_latest_decisions_where_the_hours_hold_too_few(
    window, advance, log, draw, decide
):
    decide(log, draw(60), time=ago(50))
    decide(log, draw(60), time=ago(40))
    decide(log, draw(60), time=ago(1))
    advance(NOW)
    assert len(window) == 150
    assert window.end == ago(1)


def test_previews_never_count(window, advance, log, draw, decide):
    decide(log, draw(120), time=ago(2), kind="preview")
    decide(log, draw(40), time=ago(1))
    advance(NOW)
    assert (len(window), window.enough) == (40, False)


def test_an_empty_log_gives_an_empty_window(window, advance):
    assert not advance(NOW)
    assert (len(window), window.enough, window.start, window.end) == (0, False, None, None)
    assert len(window.newest) == 0
    assert not advance(NOW + timedelta(hours=100))


def test_only_new_decisions_and_time_change_the_window(window, advance, log, draw, decide):
    decide(log, draw(100), time=ago(23))
    decide(log, draw(120), time=ago(1))
    assert advance(NOW)
    assert not advance(NOW + timedelta(minutes=59))
    assert advance(NOW + timedelta(minutes=61))
    assert len(window) == 120
    decide(log, draw(1), time=ago(0))
    assert advance(NOW + timedelta(minutes=62))
    assert len(window) == 121


def test_decisions_read_before_the_log_went_away_are_kept(
    window, advance, log, draw, decide, monkeypatch
):
    monkeypatch.setattr("monitoring.log_feed.PAGE", 1)
    decide(log, draw(120), time=ago(2))
    decide(log, draw(30), time=ago(1))
    found = iter([log.batches(limit=1)])

    def batches(**_):
        if page := next(found, None):
            return page
        raise LogUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(log, "batches", batches)
        with pytest.raises(LogUnavailable):
            advance(NOW)
    assert len(window) == 120
    assert advance(NOW)
    assert len(window) == 150
    assert not advance(NOW)


def test_time_does_not_change_a_window_of_the_latest_decisions(window, advance, log, draw, decide):
    decide(log, draw(60), time=ago(40))
    decide(log, draw(60), time=ago(1))
    advance(NOW)
    assert not advance(NOW + timedelta(hours=100))


def test_the_figures_equal_those_of_all_rows_as_decisions_come_and_go(
    window, advance, log, draw, decide, reference, monkeypatch
):
    """As documents or as a file: as if all rows of the window were counted anew at each step."""
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 150)
    monkeypatch.setattr("monitoring.log_reader.ROWS", 300)
    rng = np.random.default_rng(0)
    seen = set()
    for step in range(30):
        now = ago(600 - 10 * step)
        for _ in range(rng.integers(0, 4) if step % 20 < 12 else 0):
            drawn = draw(
                int(rng.integers(1, 200)),
                drifted=bool(rng.integers(2)),
                seed=int(rng.integers(1000)),
            )
            version = str(rng.integers(1, 3))
            decide(
                log,
                drawn.drop(columns=["age"] if rng.integers(2) else []),
                version=version,
                time=now,
            )
        advance(now + timedelta(hours=1))
        if not len(window):
            continue
        table = log.read(*log.batches())
        frame = table.slice(table.num_rows - len(window)).to_pandas()
        frame["risk"] = frame["risk"].where(frame["model_version"] == "1")
        assert window.judge() == compare(GERMAN_CREDIT, reference, frame)
        assert window.missing()["age"] == frame["age"].isna().sum()
        assert window.newest["credit_amount"].tolist() == frame["credit_amount"].tolist()
        assert (window.start, window.end) == (frame["time"].iloc[0], frame["time"].iloc[-1])
        seen.add((window.enough, len(window) <= 150))
    assert len(seen) >= 2
    assert len(window._counts.kept) < 1000


def test_the_newest_are_a_part_of_the_window(settings, log, draw, decide, reference):
    few = settings.model_copy(update={"drift_evidently_rows": 120})
    decide(log, draw(300, drifted=True), time=ago(3))
    decide(log, draw(100), time=ago(2))
    decide(log, draw(50), time=ago(1))
    window = read_window(log, few, GERMAN_CREDIT, "1", reference, NOW)
    assert (len(window), len(window.newest)) == (450, 120)
    assert window.newest["time"].tolist() == [ago(2)] * 70 + [ago(1)] * 50
    assert window.judge_newest() == compare(GERMAN_CREDIT, reference, window.newest)
    assert (window.judge().dataset, window.judge_newest().dataset) == (True, False)


def test_another_versions_risk_is_not_compared(window, advance, log, draw, decide):
    decide(log, draw(60), version="2", time=ago(2))
    decide(log, draw(50), version="1", time=ago(1))
    advance(NOW)
    assert window.newest["risk"].notna().tolist() == [False] * 60 + [True] * 50
    assert window.newest["duration"].notna().all()
    assert window.judge().unjudged == {"risk": "too few decisions"}


def test_labelled_decisions_are_those_of_the_version(settings, log, draw, decide):
    decide(log, draw(40, labelled=True), version="1", time=ago(3))
    decide(log, draw(30), version="2", time=ago(2))
    decide(log, draw(50, labelled=True), version="2", time=ago(1))
    labelled = read_window(log, settings, GERMAN_CREDIT, "2", now=NOW).labelled()
    assert len(labelled) == 50
    assert set(labelled["class"]) == {"good", "bad"}
    assert labelled["risk"].notna().all()


def test_values_outside_the_training_range_are_those_that_were_warned_of(
    window, advance, log, draw, decide
):
    drawn = draw(200)
    drawn = drawn.assign(
        credit_amount=drawn["credit_amount"] * 20,
        duration=[*[100] * 30, *drawn["duration"].iloc[30:]],
    )
    record = decide(log, drawn, time=ago(1))
    advance(NOW)
    warned = [
        text.split()[0] for texts in log.read(record)["warnings"].to_pylist() for text in texts
    ]
    outside = {name: n for name, n in window.outside().items() if n}
    assert outside == {name: warned.count(name) for name in ("duration", "credit_amount")}


def test_a_protected_attribute_may_be_absent(window, advance, log, draw, decide):
    decide(log, draw(110).drop(columns=["age", "foreign_worker"]), time=ago(1))
    advance(NOW)
    assert {name for name, n in window.missing().items() if n == 110} == {"age", "foreign_worker"}
    assert sum(window.missing().values()) == 220


def test_an_unreachable_log_raises(settings):
    gone = settings.model_copy(
        update={"decision_log": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"}
    )
    with pytest.raises(LogUnavailable):
        read_window(open_log(gone), gone, GERMAN_CREDIT, now=NOW)
