"""The newest portfolio: which one it is, what is served of it, how it is read."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.files.decision_files import DecisionFiles
from credit_risk.schema.attributes import RED
from credit_risk.storage.documents import LogUnavailable
from monitoring.drift.drift import compare
from monitoring.exporter.gauges import page
from tests.support.exporter import make_collector, samples
from tests.support.german_credit import GERMAN_CREDIT

NOW = datetime.now(UTC)


def portfolio_of(figures) -> dict[tuple[str, ...], float]:
    """Return what is served of the portfolio, by the names' ends and labels."""
    prefix = "credit_risk_portfolio_"
    return {
        (name.removeprefix(prefix), *labels): value
        for (name, *labels), value in samples(figures).items()
        if name.startswith(prefix)
    }


@pytest.fixture
def score(log, draw, decide):
    """A function that commits a part of a portfolio, by a run's name."""

    def commit(run: str, n: int = 150, part: int = 0, version: str = "1", **more):
        clients = draw(n, seed=part, **more)
        clients.iloc[:3, clients.columns.get_loc("purpose")] = "yacht"
        key = f"{run}/part-{part}.parquet"
        return decide(log, clients, version, kind="portfolio", idempotency_key=key)

    return commit


def test_figures_are_those_of_all_rows_of_the_run(served, log, score, reference, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 200)
    records = [score("one", n, part, drifted=True) for part, n in enumerate((50, 120, 300))]
    assert [record.stored for record in records] == ["inline", "documents", "parquet"]
    found = portfolio_of(make_collector(served).refresh())

    rows = log.read(*records).to_pandas()
    assert found["rows", "decided"] == len(rows) == 461
    assert found["rows", "rejected"] == 9
    assert found["red_ratio",] == pytest.approx((rows["prediction"] == RED).mean())
    assert found["risk_ratio",] == pytest.approx(rows["risk"].mean())
    assert found["timestamp_seconds",] == pytest.approx(records[-1].time.timestamp())
    psi = {name[1]: value for name, value in found.items() if name[0] == "drift_psi"}
    expected = compare(GERMAN_CREDIT, reference, rows)
    assert psi == {f.feature: pytest.approx(f.psi) for f in expected.features}
    assert psi["credit_amount"] > 0.25


def test_without_a_portfolio_nothing_is_served_of_it(served, log, draw, decide):
    decide(log, draw(150))
    assert portfolio_of(make_collector(served).refresh()) == {}


def test_the_newest_is_the_run_that_began_last(served, score):
    collector = make_collector(served)
    score("first", 60)
    assert portfolio_of(collector.refresh())["rows", "decided"] == 57
    score("second", 70)
    score("first", 80, part=1)  # a late part of an earlier run
    score("second", 90, part=1)
    assert portfolio_of(collector.refresh())["rows", "decided"] == 154
    assert portfolio_of(make_collector(served).refresh())["rows", "decided"] == 154


def test_a_run_grows_and_its_parts_are_read_once(served, score, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 20)
    read, files = DecisionFiles.read, []

    def spied(self, record, schema):
        files.append((record.id, len(schema.names)))
        return read(self, record, schema)

    monkeypatch.setattr(DecisionFiles, "read", spied)
    collector = make_collector(served)
    records = []
    for part in range(3):
        records.append(score("run", 150, part))
        assert portfolio_of(collector.refresh())["rows", "decided"] == 147 * (part + 1)
    collector.refresh()
    assert files == [(record.id, 21) for record in records]


def test_a_big_one_is_read_in_several_refreshes(served, log, draw, decide, score, monkeypatch):
    monkeypatch.setattr("monitoring.drift.portfolio.AT_A_TIME", 200)
    collector = make_collector(served)
    score("before", 60)
    assert portfolio_of(collector.refresh())["rows", "decided"] == 57
    for part in range(5):
        score("big", 150, part)
    decide(log, draw(150))

    figures = collector.refresh()
    assert figures.recent.n == 150, "applications do not wait for it"
    for _ in range(2):
        assert portfolio_of(figures)["rows", "decided"] == 57, "not before all is read"
        figures = collector.refresh()
    assert portfolio_of(figures)["rows", "decided"] == 735


def test_a_new_version_is_compared_with_anew(served, log, score, register):
    collector = make_collector(served)
    score("run", 300)
    before = portfolio_of(collector.refresh())
    assert register(served.model_name, log) == "2"
    after = portfolio_of(collector.refresh())
    assert ("drift_psi", "risk") in before
    assert ("drift_psi", "risk") not in after, "another version gave these risks"
    assert after["drift_psi", "age"] == before["drift_psi", "age"]
    assert after["risk_ratio",] == before["risk_ratio",]


def test_what_was_counted_before_the_bucket_went_away_is_not_counted_twice(
    served, score, reference, log, monkeypatch
):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 20)
    records = [score("run", 150, part) for part in range(2)]
    read = DecisionFiles.read

    def fail(self, record, schema):
        if record.id == records[1].id:
            raise LogUnavailable("away")
        return read(self, record, schema)

    collector = make_collector(served)
    with monkeypatch.context() as patch:
        patch.setattr(DecisionFiles, "read", fail)
        assert portfolio_of(collector.refresh()) == {}
    found = portfolio_of(collector.refresh())
    rows = log.read(*records).to_pandas()
    assert found["risk_ratio",] == pytest.approx(rows["risk"].mean())
    psi = {f.feature: f.psi for f in compare(GERMAN_CREDIT, reference, rows).features}
    assert found["drift_psi", "purpose"] == pytest.approx(psi["purpose"])


def test_a_lost_file_is_left_out_of_what_is_read(served, score, log, monkeypatch, caplog):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 20)
    lost, kept = (score("run", 150, part) for part in range(2))
    log._blobs.delete(codec.parquet_name(lost.id))
    found = portfolio_of(make_collector(served).refresh())
    assert found["rows", "decided"] == 294, "as the records say"
    assert found["risk_ratio",] == pytest.approx(log.read(kept)["risk"].to_pandas().mean())
    assert "are left out" in caplog.text


def test_no_client_and_no_file_is_named(served, log, draw, decide):
    clients = draw(150).assign(client_id=[f"secret-{i}" for i in range(150)])
    time = NOW - timedelta(hours=1)
    more = {"source": "secret.parquet", "idempotency_key": "secret-run/0", "time": time}
    decide(log, clients, kind="portfolio", **more)
    served_as = page(make_collector(served).refresh()).decode()
    assert "credit_risk_portfolio_rows" in served_as
    assert not re.search("secret", served_as)
