"""The book over a real log on both backends: what is read on says the same as what is read anew."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow.compute as pc
import pytest

import monitoring.performance.loan_book
from credit_risk.decision_log import codec
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import read_outcomes, take
from credit_risk.decision_log.overrides import override
from credit_risk.months import month_of
from credit_risk.schema.protected_groups import groups
from monitoring.performance.loan_book import CODES, DTYPE, Book, Month

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=430)


@pytest.fixture(params=["sqlite", "mongodb + bucket"])
def log(request, settings, on_servers):
    return open_log(settings if request.param == "sqlite" else on_servers(settings))


def rows(book):
    assert book.advance(NOW)
    return np.concatenate([book.months[month].rows for month in sorted(book.months)])


def ids(log, record, color):
    table = log.read(record, columns=["id", "prediction"])
    return table.filter(pc.equal(table["prediction"], color))["id"].to_pylist()


def say(log, *lines):
    return take(log, "\n".join(["decision_id,outcome,date", *lines]).encode())


def check(log, book):
    """Hold the book to what `read_outcomes` says of the same decisions."""
    table = read_outcomes(log, NOW - timedelta(days=1000), NOW + timedelta(days=1))
    made = rows(book)
    assert len(made) == table.num_rows
    assert made["risk"].tolist() == table["risk"].to_pylist()
    assert made["green"].tolist() == pc.equal(table["prediction"], "green").to_pylist()
    assert made["final"].tolist() == pc.equal(table["final"], "green").to_pylist()
    assert made["outcome"].tolist() == [CODES.get(word, 0) for word in table["outcome"].to_pylist()]
    known = made["outcome"] > 0
    days = [(day - date(1970, 1, 1)).days for day in table["outcome_date"].drop_null().to_pylist()]
    assert made["outcome_day"][known].tolist() == days
    for attribute, group, members in groups(table.to_pandas()):
        bit = 1 << book.groups.index((attribute, group))
        assert ((made["groups"] & bit) > 0).tolist() == members.tolist()


def test_it_says_what_the_log_says_event_by_event(log, draw, decide, become):
    book = Book(log, 24)
    first = decide(log, draw(40, labelled=True), time=LONG_AGO)
    check(log, book)
    assert book.told is None
    decide(log, draw(20).drop(columns="age"), time=NOW - timedelta(days=40), kind="preview")
    second = decide(log, draw(30, labelled=True, seed=1).assign(housing=[None, *["own"] * 29]), time=LONG_AGO)
    become(log, first)
    check(log, book)
    assert book.told > NOW
    green, red = ids(log, first, "green"), ids(log, second, "red")
    override(log, green[0], "red", "Ann", "income not proven")
    override(log, red[0], "green", "Ann", "knows him")
    check(log, book)
    today = NOW.date()
    before = today - timedelta(days=1)
    say(log, f"{red[0]},defaulted,{today}", f"{green[1]},repaid,{today}", f"{green[1]},defaulted,{before}")
    check(log, book)
    say(log, f"{green[1]},defaulted,{today}")  # a correction
    say(log, f"{green[1]},defaulted,{today}")  # a duplicate
    say(log, f"{green[1]},repaid,{before}")  # of an older date, which does not stand
    check(log, book)
    assert rows(book)["outcome"].tolist().count(2) == rows(Book(log, 24))["outcome"].tolist().count(2)
    check(log, Book(log, 24))


def test_a_file_is_read_as_documents_are(log, draw, decide, become, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 10)
    book = Book(log, 24)
    become(log, decide(log, draw(40, labelled=True), time=LONG_AGO))
    decide(log, draw(5, labelled=True), time=NOW)
    check(log, book)
    assert sorted(book.months) == sorted({month_of(LONG_AGO), month_of(NOW)})


def test_what_is_too_old_is_neither_read_nor_kept(log, draw, decide, become):
    old = decide(log, draw(20, labelled=True), time=LONG_AGO)
    new = decide(log, draw(20, labelled=True), time=NOW - timedelta(days=120))
    become(log, old)
    become(log, new, days=20)
    book = Book(log, 6)
    assert len(rows(book)) == 20
    assert sorted(book.months) == [month_of(new.time)]
    assert book.advance(NOW + timedelta(days=400))
    assert not book.months
    become(log, decide(log, draw(5, labelled=True), time=NOW), days=0)
    assert len(rows(book)) == 5


def test_a_long_log_is_read_bit_by_bit(log, draw, decide, become, monkeypatch):
    monkeypatch.setattr(monitoring.performance.loan_book, "AT_A_TIME", 20)
    monkeypatch.setattr(monitoring.performance.loan_book, "PAGE", 2)
    records = [decide(log, draw(15, labelled=True, seed=i), time=LONG_AGO) for i in range(5)]
    for record in records:
        become(log, record)
    book = Book(log, 24)
    assert not book.advance(NOW)
    assert book.told is None  # what became of clients is heard when all of them are known
    while not book.advance(NOW):
        pass
    check(log, book)


def test_what_is_not_in_the_book_is_altered_nowhere():
    """A decision whose file is lost has outcomes still; they are not another one's."""
    month, made = Month(), np.zeros(3, DTYPE)
    made["key"] = 5, 6, 9
    month.append(made)
    month.put(np.array([4, 6, 8, 12]), outcome=np.array([2, 1, 2, 2]))
    assert month.rows["outcome"].tolist() == [0, 1, 0]
    Month().put(np.array([4]), outcome=np.array([2]))


def test_an_event_on_a_decision_that_comes_in_between_waits_for_it(log, draw, decide, monkeypatch):
    book = Book(log, 24)
    decide(log, draw(3), time=LONG_AGO)
    assert book.advance(NOW)
    read = book._read

    def meanwhile(first):
        done = read(first)
        id = log.read(decide(log, draw(1), time=NOW), columns=["id", "prediction"]).to_pylist()[0]
        override(log, id["id"], "red" if id["prediction"] == "green" else "green", "Ann", "in between")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(book, "_read", meanwhile)
        assert book.advance(NOW)
    check(log, book)
