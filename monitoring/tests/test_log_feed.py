"""The feed of the log: what is read how often, and what a subscriber gets."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import summary_schema
from credit_risk.decision_log.chains.position import START
from credit_risk.decision_log.files.decision_files import DecisionFiles
from credit_risk.decision_log.log import DecisionLog
from credit_risk.storage.documents import LogUnavailable
from monitoring.drift.window import Window
from monitoring.exporter.log_counters import LogCounters
from monitoring.log_feed import PAGES_KEPT, LogFeed
from monitoring.log_reader import coded, read_kept
from monitoring.performance.loan_book import LoanBook
from tests.support.exporter import make_collector
from tests.support.german_credit import GERMAN_CREDIT

NOW = datetime.now(UTC)


class Collected:
    """A subscriber that keeps what it gets."""

    def __init__(self, *columns, wants=lambda record: True):
        self.schema = summary_schema(*columns)
        self.wants = wants
        self.seqs = []
        self.tables = []

    def ingest(self, records, decisions):
        self.seqs += [record.seq for record in records]
        self.tables.append(decisions)

    @property
    def rows(self):
        return pa.concat_tables(self.tables)


class Spy:
    """What is read from a log, counted by batch."""

    def __init__(self, monkeypatch):
        self.records, self.decisions, self.columns = Counter(), Counter(), set()
        batches, latest, read = DecisionLog.batches, DecisionLog.latest_batches, DecisionLog.read
        read_file = DecisionFiles.read

        def counted(found):
            for record in found:
                self.records[record.id] += 1
                yield record

        def spied_read(log, *records, schema=None):
            self.decisions.update(record.id for record in records)
            self.columns.add(tuple(schema.names))
            return read(log, *records, schema=schema)

        def spied_read_file(files, record, schema):
            self.decisions[record.id] += 1
            self.columns.add(tuple(schema.names))
            return read_file(files, record, schema)

        monkeypatch.setattr(DecisionLog, "batches", lambda *a, **k: [*counted(batches(*a, **k))])
        monkeypatch.setattr(DecisionLog, "latest_batches", lambda *a, **k: counted(latest(*a, **k)))
        monkeypatch.setattr(DecisionLog, "read", spied_read)
        monkeypatch.setattr(DecisionFiles, "read", spied_read_file)

    def forget(self):
        for seen in (self.records, self.decisions, self.columns):
            seen.clear()


@pytest.fixture
def spy(monkeypatch):
    return Spy(monkeypatch)


@pytest.fixture
def feed(log):
    return LogFeed(log)


def test_a_refresh_of_the_collector_reads_each_new_batch_once(
    served, log, draw, decide, spy, monkeypatch
):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 20)  # so that some batches are files
    monkeypatch.setattr("monitoring.log_feed.PAGE", 2)
    decide(log, draw(120))
    collector = make_collector(served)
    collector.refresh()
    for n_batches in (1, 3, 2 * PAGES_KEPT):
        spy.forget()
        new = [decide(log, draw(10 + 15 * (i % 2), seed=i)) for i in range(n_batches)]
        figures = collector.refresh()
        once = {record.id: 1 for record in new}
        assert spy.records == once
        assert spy.decisions == once
        assert len(spy.columns) == 1, "one reading for window and loan book"
    n = sum(record.n_decided for record in log.batches())
    assert figures.recent.n == sum(figures.totals.decisions.values()) == n
    assert sum(vintage.applicants for vintage in figures.quality.vintages) == n
    spy.forget()
    collector.refresh()
    assert not spy.records
    assert not spy.decisions


def test_batches_that_come_during_a_refresh_are_read_once_at_the_next(
    log, feed, draw, decide, settings, spy
):
    """Otherwise subscribers would stand at different positions for as long as the log is busy."""
    counters, window, book = (
        LogCounters(),
        Window(settings, GERMAN_CREDIT),
        LoanBook(GERMAN_CREDIT, 24),
    )
    feed.add(counters)

    def refresh():
        feed.begin()
        feed.advance(counters)
        decide(log, draw(5))
        window.advance(feed, NOW)
        decide(log, draw(5))
        book.advance(feed, NOW)

    decide(log, draw(5))
    refresh()
    for _ in range(3):
        spy.forget()
        refresh()
        assert set(spy.records.values()) == set(spy.decisions.values()) == {1}
        assert len(spy.decisions) == 2


def test_a_new_window_is_filled_from_the_recent_part_and_feeds_nobody_else(
    log, feed, draw, decide, settings, spy
):
    few = settings.model_copy(
        update={"drift_min_rows": 10, "drift_window_rows": 10, "drift_window_hours": 24}
    )
    decide(log, draw(30), time=NOW - timedelta(days=50))
    recent = decide(log, draw(15), time=NOW - timedelta(hours=1))
    counters, book, first = LogCounters(), LoanBook(GERMAN_CREDIT, 24), Window(few, GERMAN_CREDIT)
    feed.add(counters)
    feed.begin()
    feed.advance(counters)
    first.advance(feed, NOW)
    assert book.advance(feed, NOW)
    spy.forget()
    feed.remove(first)
    second = Window(few, GERMAN_CREDIT)
    second.advance(feed, NOW)
    assert len(second) == 15
    assert spy.decisions == {recent.id: 1}
    assert sum(len(month.rows) for month in book.months.values()) == 45
    assert counters.totals(None).rows["decided"] == 45


def test_each_fold_is_handed_its_own_columns_in_order(log, feed, draw, decide, spy):
    records = [decide(log, draw(3, seed=i)) for i in range(3)]
    first, second = Collected("batch", "row"), Collected("row", "risk")
    for subscriber in (first, second):
        feed.add(subscriber)
    assert feed.advance(first)
    assert spy.columns == {("batch", "row", "risk")}
    assert first.seqs == second.seqs == [record.seq for record in records]
    for subscriber in (first, second):
        expected = log.read(*records, schema=subscriber.schema)
        assert subscriber.rows.cast(expected.schema).equals(expected)


def test_a_fold_is_handed_batches_of_its_kinds_only(log, feed, draw, decide, spy):
    kinds = ("decision", "portfolio", "portfolio", "preview", "decision")
    seqs = [decide(log, draw(i + 1), kind=kind).seq for i, kind in enumerate(kinds)]
    applications, portfolios, both = Collected("row"), Collected("risk"), Collected("batch")
    feed.add(applications)
    feed.add(portfolios, kinds=("portfolio",))
    feed.add(both, kinds=("decision", "portfolio"))
    for subscriber in (portfolios, applications, both):
        assert feed.advance(subscriber)
    assert applications.seqs == [seqs[0], seqs[4]]
    assert applications.rows.num_rows == 1 + 5
    assert portfolios.seqs == [seqs[1], seqs[2]]
    assert portfolios.rows.num_rows == 2 + 3
    assert both.seqs == [seqs[0], seqs[1], seqs[2], seqs[4]]
    assert set(spy.decisions.values()) == {1}


def test_folds_of_records_read_each_record_once_and_no_decisions(log, feed, draw, decide, spy):
    seqs = [decide(log, draw(2), kind=kind).seq for kind in ("decision", "portfolio") * 2]
    applications, portfolios = (Collected(wants=lambda record: False) for _ in range(2))
    late = Collected("row")
    feed.add(applications)
    feed.add(portfolios, kinds=("portfolio",))
    feed.add(late)
    feed.advance(applications)
    feed.advance(portfolios)
    assert applications.seqs == seqs[::2]
    assert portfolios.seqs == seqs[1::2]
    assert set(spy.records.values()) == {1}
    assert not spy.decisions
    assert late.seqs == []


def test_decisions_that_no_fold_wants_are_not_read(log, feed, draw, decide, spy):
    old, new = decide(log, draw(3)), decide(log, draw(4))
    rejected = decide(log, draw(2).assign(purpose="yacht"))
    subscriber = Collected("row", wants=lambda record: record.id != old.id)
    feed.add(subscriber)
    feed.advance(subscriber)
    assert subscriber.seqs == [old.seq, new.seq, rejected.seq]
    assert spy.decisions == {new.id: 1}


def test_folds_at_different_positions_do_not_hold_each_other_up(log, feed, draw, decide):
    first, second = decide(log, draw(3)), decide(log, draw(3))
    early, late = Collected("row"), Collected("row")
    feed.add(early)
    feed.add(late, after=START.past([first]))
    feed.advance(late)
    assert (early.seqs, late.seqs) == ([], [second.seq])
    feed.advance(early)
    assert (early.seqs, late.seqs) == ([first.seq, second.seq], [second.seq])


def test_a_fold_is_read_on_in_parts_of_a_bounded_number_of_decisions(
    log, feed, draw, decide, monkeypatch
):
    monkeypatch.setattr("monitoring.log_reader.ROWS", 10)
    records = [decide(log, draw(10, seed=i)) for i in range(5)]
    subscriber = Collected("row")
    feed.add(subscriber)
    assert not feed.advance(subscriber, at_most=15)
    assert subscriber.seqs == [record.seq for record in records[:2]]
    assert not feed.advance(subscriber, at_most=15)
    assert feed.advance(subscriber, at_most=15)
    assert subscriber.seqs == [record.seq for record in records]
    assert max(table.num_rows for table in subscriber.tables) == 10


def test_what_was_handed_over_before_the_log_went_away_is_not_handed_over_again(
    log, feed, draw, decide, monkeypatch
):
    monkeypatch.setattr("monitoring.log_reader.ROWS", 10)
    records = [decide(log, draw(10, seed=i)) for i in range(3)]
    subscribers = Collected("row"), Collected("batch")
    for subscriber in subscribers:
        feed.add(subscriber)
    read = log.read

    def fail(*batches, schema):
        if batches[0].id == records[1].id:
            raise LogUnavailable("away")
        return read(*batches, schema=schema)

    with monkeypatch.context() as patch:
        patch.setattr(log, "read", fail)
        for subscriber in subscribers:
            with pytest.raises(LogUnavailable):
                feed.advance(subscriber)
    assert subscribers[0].seqs == subscribers[1].seqs == [records[0].seq]
    feed.begin()
    assert feed.advance(subscribers[1])
    assert subscribers[0].seqs == subscribers[1].seqs == [record.seq for record in records]


def test_a_lost_file_is_passed_over_with_one_line_for_all_folds(
    log, feed, draw, decide, settings, monkeypatch, caplog
):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    lost, kept = decide(log, draw(3)), decide(log, draw(4))
    log._blobs.delete(codec.parquet_name(lost.id))
    subscribers = Collected("row"), Collected("batch")
    for subscriber in subscribers:
        feed.add(subscriber)
    for subscriber in subscribers:
        assert feed.advance(subscriber)
        assert subscriber.seqs == [lost.seq, kept.seq]
        assert subscriber.rows.num_rows == 4
    assert caplog.text.count("are left out") == 1


def test_words_of_a_file_are_read_as_codes(log, draw, decide, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    record = decide(log, draw(9))
    words = pa.schema([(name, pa.string()) for name in ("batch", "purpose", "duration", "gone")])

    def spied_read(*arguments, **options):
        table = read(*arguments, **options)
        schemas.append(table.schema)
        return table

    read, schemas = pq.ParquetFile.read, []
    monkeypatch.setattr(pq.ParquetFile, "read", spied_read)
    found = read_kept(log, [record], words)

    assert found.schema == coded(words)
    assert found.cast(words).equals(log.read(record, schema=words))
    assert found["gone"].null_count == 9
    # Decoding the words of a million decisions and coding them again took a third of a start.
    assert schemas[0].field("purpose").type == found.schema.field("purpose").type
    assert schemas[0].field("duration").type == pa.int64(), "numbers in the file stay numbers"
