"""The book over a real log on both backends: what is read on says the same as what is read anew."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow.compute as pc
import pytest

import monitoring.log_feed
import monitoring.performance.loan_book
from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import summary_schema
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest, read_outcomes
from credit_risk.decision_log.overrides import override
from credit_risk.months import month_of
from credit_risk.schema.protected_groups import groups
from monitoring.log_feed import LogFeed
from monitoring.performance.loan_book import CODES, DTYPE, LoanBook, Month
from tests.support.german_credit import BY_AMOUNT, GERMAN_CREDIT

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=430)
SHORT = summary_schema("id", "prediction")


@pytest.fixture(params=["sqlite", "mongodb + bucket"])
def log(request, settings, on_servers):
    return open_log(settings if request.param == "sqlite" else on_servers(settings))


class Reader:
    """A loan book that reads on in a log."""

    def __init__(self, log, reach=24, dataset=GERMAN_CREDIT):
        self.book = LoanBook(dataset, reach)
        self.feed = LogFeed(log)

    def advance(self, now=NOW):
        self.feed.begin()
        return self.book.advance(self.feed, now)

    def rows(self):
        assert self.advance()
        months = self.book.months
        return np.concatenate([months[month].rows for month in sorted(months)])


def ids(log, record, color):
    table = log.read(record, schema=SHORT)
    return table.filter(pc.equal(table["prediction"], color))["id"].to_pylist()


def say(log, *lines):
    return ingest(log, "\n".join(["decision_id,outcome,date", *lines]).encode())


def check(log, reader):
    """Hold the book to what `read_outcomes` says of the same decisions."""
    table = read_outcomes(log, NOW - timedelta(days=1000), NOW + timedelta(days=1))
    made = reader.rows()
    assert len(made) == table.num_rows
    assert made["risk"].tolist() == table["risk"].to_pylist()
    assert made["green"].tolist() == pc.equal(table["prediction"], "green").to_pylist()
    assert made["final"].tolist() == pc.equal(table["final"], "green").to_pylist()
    assert made["outcome"].tolist() == [CODES.get(word, 0) for word in table["outcome"].to_pylist()]
    known = made["outcome"] > 0
    days = [(day - date(1970, 1, 1)).days for day in table["outcome_date"].drop_null().to_pylist()]
    assert made["outcome_day"][known].tolist() == days
    for attribute, group, members in groups(table.to_pandas(), GERMAN_CREDIT):
        bit = 1 << reader.book.groups.index((attribute, group))
        assert ((made["groups"] & bit) > 0).tolist() == members.tolist()


def test_the_book_has_the_amounts_where_costs_are_by_amount(log, draw, decide):
    record = decide(log, draw(30))
    amounts = log.read(record)["credit_amount"].to_pylist()
    assert Reader(log, dataset=BY_AMOUNT).rows()["weight"].tolist() == amounts
    assert Reader(log).rows()["weight"].tolist() == [1] * 30


def test_the_book_agrees_with_the_log_event_by_event(log, draw, decide, become):
    reader = Reader(log)
    first = decide(log, draw(40, labelled=True), time=LONG_AGO)
    check(log, reader)
    assert reader.book.outcomes_as_of is None
    decide(log, draw(20).drop(columns="age"), time=NOW - timedelta(days=40), kind="preview")
    second = decide(
        log, draw(30, labelled=True, seed=1).assign(housing=[None, *["own"] * 29]), time=LONG_AGO
    )
    become(log, first)
    check(log, reader)
    assert reader.book.outcomes_as_of > NOW
    green, red = ids(log, first, "green"), ids(log, second, "red")
    override(log, green[0], "red", "Ann", "income not proven")
    override(log, red[0], "green", "Ann", "knows him")
    check(log, reader)
    today = NOW.date()
    before = today - timedelta(days=1)
    say(
        log,
        f"{red[0]},defaulted,{today}",
        f"{green[1]},repaid,{today}",
        f"{green[1]},defaulted,{before}",
    )
    check(log, reader)
    say(log, f"{green[1]},defaulted,{today}")  # a correction
    say(log, f"{green[1]},defaulted,{today}")  # a duplicate
    say(log, f"{green[1]},repaid,{before}")  # of an older date, which does not stand
    check(log, reader)
    assert reader.rows()["outcome"].tolist().count(2) == Reader(log).rows()[
        "outcome"
    ].tolist().count(2)
    check(log, Reader(log))


def test_batches_stored_as_files_are_read_like_documents(log, draw, decide, become, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 10)
    reader = Reader(log)
    become(log, decide(log, draw(40, labelled=True), time=LONG_AGO))
    decide(log, draw(5, labelled=True), time=NOW)
    check(log, reader)
    assert sorted(reader.book.months) == sorted({month_of(LONG_AGO), month_of(NOW)})


def test_months_beyond_the_reach_are_neither_read_nor_kept(log, draw, decide, become):
    old = decide(log, draw(20, labelled=True), time=LONG_AGO)
    new = decide(log, draw(20, labelled=True), time=NOW - timedelta(days=120))
    become(log, old)
    become(log, new, days=20)
    reader = Reader(log, 6)
    assert len(reader.rows()) == 20
    assert sorted(reader.book.months) == [month_of(new.time)]
    assert reader.advance(NOW + timedelta(days=400))
    assert not reader.book.months
    become(log, decide(log, draw(5, labelled=True), time=NOW), days=0)
    assert len(reader.rows()) == 5


def test_a_long_log_is_read_bit_by_bit(log, draw, decide, become, monkeypatch):
    monkeypatch.setattr(monitoring.performance.loan_book, "AT_A_TIME", 20)
    monkeypatch.setattr(monitoring.log_feed, "PAGE", 2)
    records = [decide(log, draw(15, labelled=True, seed=i), time=LONG_AGO) for i in range(5)]
    for record in records:
        become(log, record)
    reader = Reader(log)
    assert not reader.advance()
    assert reader.book.outcomes_as_of is None, "outcomes wait until all decisions are known"
    while not reader.advance():
        pass
    check(log, reader)


def test_outcomes_of_lost_decisions_alter_no_others():
    """A decision whose file is lost has outcomes still; they are not another one's."""
    month, made = Month(), np.zeros(3, DTYPE)
    made["key"] = 5, 6, 9
    month.append(made)
    month.alter(np.array([4, 6, 8, 12]), outcome=np.array([2, 1, 2, 2]))
    assert month.rows["outcome"].tolist() == [0, 1, 0]
    Month().alter(np.array([4]), outcome=np.array([2]))


def test_an_event_about_a_decision_not_yet_read_waits_for_it(log, draw, decide, monkeypatch):
    reader = Reader(log)
    decide(log, draw(3), time=LONG_AGO)
    assert reader.advance()
    read = reader.feed.advance

    def meanwhile(*arguments):
        done = read(*arguments)
        id = log.read(decide(log, draw(1), time=NOW), schema=SHORT).to_pylist()[0]
        override(
            log, id["id"], "red" if id["prediction"] == "green" else "green", "Ann", "in between"
        )
        return done

    with monkeypatch.context() as patch:
        patch.setattr(reader.feed, "advance", meanwhile)
        assert reader.advance()
    check(log, reader)
