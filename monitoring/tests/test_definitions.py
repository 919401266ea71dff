"""Decisions and models of other definitions than German Credit's, as it is in the repository."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import mlflow
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch, BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import codes_of, encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.dataset_file import load_dataset, training_file
from credit_risk.schema.validation import Validator
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training
from monitoring.challenger import Challenger
from monitoring.drift import evidently_adapter
from monitoring.drift.drift import compare
from monitoring.drift.window import Window, read_window
from monitoring.log_feed import LogFeed
from monitoring.performance.loan_book import LoanBook
from monitoring.performance.vintages import Vintages
from tests.support.exporter import make_collector
from tests.support.german_credit import GERMAN_CREDIT, NAMES

NOW = datetime.now(UTC)
INCOME = {
    "name": "income",
    "label": "Income",
    "kind": "number",
    "minimum": 0,
    "maximum": 9999,
    "decimals": 2,
}


def changed(*, without: Sequence[str] = (), more: Sequence[dict] = ()) -> Dataset:
    """German Credit's definition without some attributes and with others."""
    plain = GERMAN_CREDIT.model_dump(mode="json", exclude_defaults=True)
    kept = [a for a in plain["attributes"] if a["name"] not in without]
    return Dataset.model_validate(
        plain | {"attributes": [*kept, *more], "levers": [], "formats": []}
    )


# `job` is asked for no more, and `income` is.
NEW = changed(without=["job"], more=[INCOME])


def with_income(clients: pd.DataFrame) -> pd.DataFrame:
    """Clients of the new definition; the same client has the same income always."""
    income = (clients["credit_amount"] * 1.37 % 4999 + clients["age"] / 7).round(2)
    return clients.drop(columns="job").assign(income=income)


@pytest.fixture(scope="session")
def newer(clients) -> CreditScorer:
    """A scorer of the new definition."""
    train = with_income(clients[0])
    return CreditScorer(num_boost_round=30, definition=NEW.text).fit(train, train[LABEL])


@pytest.fixture(scope="session")
def newer_reference(reference, newer) -> pd.DataFrame:
    """What it was trained on."""
    train = with_income(reference)
    return train[[*NEW.names, LABEL]].assign(risk=newer.risk(encode(train, NEW)))


def commit(
    log: DecisionLog, scorer: CreditScorer, clients: pd.DataFrame, version: str, **more: object
) -> BatchRecord:
    """Score clients by a scorer and its definition, and commit them to a log."""
    applications = Validator(scorer.dataset, scorer.domain).rows(clients.to_dict("records"))
    assert len(applications) == len(clients), applications.faults[:3]
    decided = scorer.decide(applications.codes)
    return log.commit(Batch(applications, decided, version, "digest", scorer.threshold, **more))


@pytest.fixture(params=["documents", "file"])
def both(request, monkeypatch, stores, draw, scorer, newer) -> DecisionLog:
    """A log with 150 decisions of the old definition, and then 120 of the new one."""
    if request.param == "file":
        monkeypatch.setattr(codec, "MAX_DOCUMENTS", 100)
    log = DecisionLog(*stores, NEW)
    commit(log, scorer, draw(150), "1", time=NOW - timedelta(hours=2))
    commit(log, newer, with_income(draw(120, seed=9)), "2", time=NOW - timedelta(hours=1))
    return log


def test_old_decisions_miss_a_new_attribute_and_the_others_are_judged(
    settings, both, newer_reference
):
    window = read_window(both, settings, NEW, "2", newer_reference, NOW)
    assert len(window) == 270
    missing = {name: n for name, n in window.missing().items() if n}
    assert missing == {"income": 150}
    verdict = window.judge()
    assert not verdict.unjudged
    n = {feature.feature: feature.n for feature in verdict.features}
    assert n == dict.fromkeys(NEW.names, 270) | {"income": 120, "risk": 120}
    assert "job" not in window.newest


def test_new_decisions_miss_a_removed_attribute_while_the_old_version_decides(
    settings, both, reference
):
    """Such as after a version was withdrawn."""
    window = read_window(both, settings, GERMAN_CREDIT, "1", reference, NOW)
    assert {name: n for name, n in window.missing().items() if n} == {"job": 120}
    n = {feature.feature: feature.n for feature in window.judge().features}
    assert n == dict.fromkeys(NAMES, 270) | {"job": 150, "risk": 150}


def test_drift_is_judged_on_what_both_definitions_have(
    settings, stores, draw, scorer, newer_reference, reference
):
    log = DecisionLog(*stores, NEW)
    commit(log, scorer, draw(200, drifted=True), "1", time=NOW - timedelta(hours=1))
    verdict = read_window(log, settings, NEW, "2", newer_reference, NOW).judge()
    assert verdict.unjudged == {"income": "empty", "risk": "empty"}
    own = read_window(log, settings, GERMAN_CREDIT, "1", reference, NOW).judge()
    expected = {f.feature: (f.n, f.p_value, f.psi) for f in own.features}
    assert {f.feature: (f.n, f.p_value, f.psi) for f in verdict.features} == {
        name: expected[name] for name in NAMES if name != "job"
    }
    assert {"credit_amount", "checking_status"} <= set(verdict.drifted)


def test_a_challenger_of_another_definition_scores_in_shadow(
    settings, both, reference, newer, newer_reference
):
    """It is given its own attributes, and Production's drift does not know of them."""
    challenger = Challenger("2", newer, newer_reference)
    window = Window(settings, GERMAN_CREDIT, "1", reference, challenger)
    window.advance(LogFeed(both), NOW)
    table = both.read(*both.batches())
    codes = codes_of(table, NEW)
    income = codes[:, NEW.names.index("income")]
    assert np.isnan(income).tolist() == [True] * 150 + [False] * 120
    np.testing.assert_array_equal(window.rows["shadow"], newer.risk(codes))
    assert "income" not in {f.feature for f in window.judge().features}


def test_the_exporter_puts_a_challenger_of_another_definition_in_shadow(
    served, log, draw, decide, become, newer, newer_reference, tmp_path
):
    """Production decides by German Credit's; the challenger is told no income."""
    become(log, decide(log, draw(150, labelled=True), time=NOW - timedelta(days=430)))
    decide(log, draw(130, seed=3))
    newer_reference.to_parquet(tmp_path / REFERENCE_FILE, index=False)
    mlflow.set_tracking_uri(served.mlflow_tracking_uri)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / REFERENCE_FILE))
        uri = log_scorer(newer, newer_reference[list(NEW.names)].head(2))
    registry = Registry(served.mlflow_tracking_uri, served.model_name)
    assert registry.register(run.info.run_id, uri).number == "2"

    figures = make_collector(served).refresh()
    assert figures.time is not None
    assert len(figures.drift.features) == len(NAMES) + 1
    quality = figures.quality
    assert (quality.challenger, quality.shadow.n, quality.observed.version) == ("2", 130, "2")
    table = log.read(next(log.latest_batches()))
    theirs = newer.risk(codes_of(table, NEW)) < newer.threshold
    ours = table["prediction"].to_numpy() == "green"
    assert quality.shadow.agreement == pytest.approx(np.mean(ours == theirs))


def test_a_data_set_without_groups_has_a_loan_book(stores):
    """Lending Club's has none."""
    dataset = load_dataset("lending_club")
    assert not dataset.groups
    clients = read_training(training_file("lending_club"), dataset)
    some = pd.concat([clients[clients[LABEL] == one].head(100) for one in ("good", "bad")])
    scorer = CreditScorer(num_boost_round=5, definition=dataset.text).fit(some, some[LABEL])
    log = DecisionLog(*stores, dataset)
    record = commit(log, scorer, some.drop(columns=LABEL), "1", time=NOW - timedelta(days=40))

    book, feed = LoanBook(dataset, 24), LogFeed(log)
    feed.begin()
    assert book.advance(feed, NOW)
    (month,) = book.months.values()
    assert month.rows["risk"].tolist() == log.read(record)["risk"].to_pylist()
    assert not month.rows["groups"].any()
    (vintage,) = Vintages(12, dataset.costs).of(book, NOW)
    assert (vintage.applicants, vintage.acceptance) == (200, {})


@pytest.mark.parametrize("n_groups", [17, 40, 70])
def test_the_loan_book_knows_many_groups(stores, caplog, n_groups):
    """As those of a client's country are; the acceptance of each is given, up to a limit."""
    names = [f"c{number:03}" for number in range(n_groups)]
    country = {"name": "country", "label": "Country", "kind": "category", "protected": True}
    dataset = Dataset.model_validate(
        {
            "name": "countries",
            "title": "Countries",
            "attributes": [
                INCOME | {"decimals": 0},
                country | {"values": [{"value": name} for name in names]},
            ],
            "groups": [{"attribute": "country"}],
        }
    )
    rng = np.random.default_rng(0)
    clients = pd.DataFrame(
        {"income": rng.integers(1, 5000, 40 * n_groups), "country": names * 40}
    ).assign(**{LABEL: rng.choice(["good", "bad"], 40 * n_groups)})
    scorer = CreditScorer(num_boost_round=5, definition=dataset.text).fit(clients, clients[LABEL])
    log = DecisionLog(*stores, dataset)
    record = commit(log, scorer, clients.drop(columns=LABEL), "1", time=NOW - timedelta(days=40))

    book, feed = LoanBook(dataset, 24), LogFeed(log)
    feed.begin()
    assert book.advance(feed, NOW)
    (vintage,) = Vintages(12, dataset.costs).of(book, NOW)
    table = log.read(record).to_pandas()
    expected = (table["prediction"] == "green").groupby(table["country"]).mean()
    assert vintage.acceptance == {
        ("country", name): pytest.approx(expected[name]) for name in names[:64]
    }
    assert ("no acceptance" in caplog.text) == (n_groups > 64)


@pytest.mark.parametrize("tester", [None, evidently_adapter.p_values])
def test_the_p_values_of_decimals_are_those_of_scipy_on_the_values(reference, newer, tester):
    """With values that both samples have, values between and beyond them, and missing ones."""
    before = with_income(reference)
    rng = np.random.default_rng(1)
    kept = before["income"].sample(150, random_state=0).to_numpy()
    others = [*(kept[:90] + rng.choice([-0.01, 0.01], 90)).round(2), 0.0, 0.1, 0.3, 9999.99]
    income = np.array([*kept, *others, *[np.nan] * 30])
    after = before.sample(len(income), random_state=1, ignore_index=True).assign(income=income)
    verdict = compare(NEW, before, after, tester=tester)
    found = next(f for f in verdict.features if f.feature == "income")
    expected = scipy.stats.ks_2samp(
        before["income"], income[~np.isnan(income)], method="asymp"
    ).pvalue
    assert (found.test, found.n) == ("Kolmogorov-Smirnov", len(income) - 30)
    assert 1e-6 < expected < 0.999
    assert found.p_value == pytest.approx(expected, rel=1e-6)
