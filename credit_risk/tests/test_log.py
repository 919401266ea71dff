import json
import os
import sqlite3
import sys
import threading
import time
from contextlib import closing, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from credit_risk.decision_log import codec, commit
from credit_risk.decision_log.batch import AlreadyCommitted, Batch, BatchLost
from credit_risk.decision_log.chains.numbered import Conflict
from credit_risk.decision_log.chains.position import START, chain_and_place
from credit_risk.decision_log.chains.writer import Chain
from credit_risk.decision_log.codec import storable
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.scoring.decisions import Decisions
from credit_risk.storage import sqlite
from credit_risk.storage.backends import open_documents
from credit_risk.storage.documents import LogUnavailable
from tests.support.batches import IN_AN_HOUR, at_once, batch, without_guard
from tests.support.clients import CLIENT
from tests.support.german_credit import Validator
from tests.support.processes import wait_for


def open_log_like(log: DecisionLog) -> DecisionLog:
    """Return a log of its own on the same storage, as of another process."""
    return DecisionLog(log.storage.documents, log.storage.blobs, log.dataset)


def die(*_) -> None:
    raise LogUnavailable("died here")


def test_a_committed_batch_is_read_back(log):
    record = log.commit(batch(source="clients.csv", sha256="00", base_rate=0.3))
    assert (record.threshold, record.base_rate) == (1 / 6, 0.3)
    assert chain_and_place(record.seq) == (1, 1)
    assert (record.n_decided, record.n_rejected, record.n_red) == (3, 1, 0)
    assert {"column": "duration", "reason": "not_a_number", "n": 1} in record.reasons
    assert log.batches() == [record] == list(log.latest_batches())
    assert log.batch(record.id) == record
    rows = log.read(record).to_pylist()
    assert [r["client_id"] for r in rows] == ["c0", "c1", "c2"]
    assert {k: rows[0][k] for k in CLIENT} == CLIENT
    assert rows[0]["time"] == record.time
    assert log.decision(f"{record.id}-1") == rows[1]
    assert log.decision(f"{record.id}-9") is None
    assert log.decision("nonsense") is None


def test_record_without_a_base_rate_is_read(log):
    id = log.commit(batch()).id
    found = next(log._documents.find("batches", {"id": id}))
    del found["base_rate"]
    without_guard(log, "batches")._documents.delete("batches", {"id": id})
    log._documents.insert("batches", [found])
    assert log.batch(id).base_rate is None


def test_a_batch_reads_alike_wherever_its_decisions_are(log, monkeypatch):
    small = log.commit(batch(5))
    monkeypatch.setattr(codec, "MAX_INLINE", 2)
    medium = log.commit(batch(5))
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    big = log.commit(batch(5))
    assert [r.stored for r in (small, medium, big)] == ["inline", "documents", "parquet"]
    one, *others = (
        [
            {k: v for k, v in row.items() if k not in ("id", "batch", "time")}
            for row in log.read(r).to_pylist()
        ]
        for r in (small, medium, big)
    )
    assert [one, one] == others
    for record in (small, medium, big):
        assert log.decision(f"{record.id}-3")["client_id"] == "c3"
    assert log.read(big, small)["id"].to_pylist() == log.read(small, big)["id"].to_pylist()
    ids = {f"{record.id}-3" for record in (small, medium, big)}
    assert {row["id"] for row in log.decisions_of("c3", 9)} == ids
    assert {summary.id for summary in log.summaries_of(["c3"])} == ids
    assert set(log.summaries(ids)) == ids


def test_lost_decision_file_is_reported(log, monkeypatch):
    kept = log.commit(batch(5))
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    lost = log.commit(batch(5))
    log._blobs.delete(codec.parquet_name(lost.id))
    asks = (
        lambda: log.read(kept, lost),
        lambda: log.decision(f"{lost.id}-3"),
        lambda: log.summaries([f"{lost.id}-3"]),
        lambda: log.decisions_of("c3", 5),
    )
    for ask in asks:
        with pytest.raises(BatchLost, match=lost.id):
            ask()
    assert log.read(kept).num_rows == 5


def test_each_of_several_writers_has_a_chain_without_gaps(stores):
    def write():
        log = open_log(stores)
        for _ in range(5):
            log.commit(batch(1))

    at_once(4, write)
    log = open_log(stores)
    records = log.batches()
    places = {(chain, place) for chain in range(1, 5) for place in range(1, 6)}
    assert {chain_and_place(record.seq) for record in records} == places
    assert [r.time for r in records] == sorted(r.time for r in records)
    assert log.batches(after=START.past(records[:18])) == records[18:]
    assert log.read(*records).num_rows == 20


def test_a_position_misses_nothing_whatever_the_clocks_say(log):
    """A batch that comes later is read, though its writer's clock is a day behind."""
    late = open_log_like(log)
    first = log.commit(batch(1))
    position = START.past(log.batches())
    behind = late.commit(batch(1, time=first.time - timedelta(days=1)))
    last = log.commit(batch(1))
    assert log.batches(after=position) == [behind, last]
    assert log.batches(after=position.past([behind])) == [last]
    assert log.batches(after=position.past([last])) == [behind]
    assert log.batches(after=position, limit=1) == [behind]
    assert log.batches(after=position.past([behind, last])) == []


def test_a_position_at_a_time_is_before_all_that_is_later(log):
    """The times of a chain need not rise: big files commit late, and clocks are set back."""
    now = datetime.now(UTC)
    times = [now + timedelta(hours=hours) for hours in (-9, 1, 2, 0, 3)]
    records = [log.commit(batch(1, time=time)) for time in times]
    other = open_log_like(log).commit(batch(1, time=now - timedelta(hours=1)))
    position = log.position_at(now)
    assert position.covers(records[0])
    assert position.covers(other)
    assert {r.id for r in log.batches(after=position)} == {r.id for r in records[1:]}
    assert log.batches(after=log.position_at(times[-1])) == []


def test_batches_before_one_keep_to_the_period(log):
    start = datetime.now(UTC).replace(microsecond=0)
    hours = [start + timedelta(hours=hour) for hour in range(6)]
    records = [log.commit(batch(1, time=time)) for time in hours]
    twin = log.commit(batch(1, time=hours[5]))
    assert list(log.latest_batches(before=twin, until=hours[2])) == records[1::-1]
    assert list(log.latest_batches(before=twin, since=hours[4])) == [records[5], records[4]]
    assert list(log.latest_batches(before=records[3], since=hours[1], until=hours[5])) == [
        records[2],
        records[1],
    ]


def test_many_clients_of_one_batch_are_found_once_each(log, monkeypatch):
    monkeypatch.setattr("credit_risk.decision_log.events.AT_ONCE", 1)
    record = log.commit(batch(3))
    found = [summary.id for summary in log.summaries_of(["c0", "c2", "nobody"])]
    assert found == [f"{record.id}-0", f"{record.id}-2"]


def test_batches_of_a_group_whose_flush_fails_are_stored_once(settings, monkeypatch):
    log = open_log(settings)
    log.commit(batch(1))
    pending = [commit._pending(batch(1)) for _ in range(2)]
    monkeypatch.setattr(log._documents, "flush", fail_to_begin_a_thread)
    log._writer._write_all(pending)
    assert [str(p.result) for p in pending] == ["can't start new thread"] * 2
    assert len(log.batches()) == 3


def fail_to_begin_a_thread(**_):
    raise RuntimeError("can't start new thread")


def test_used_key_in_a_group_fails_alone(settings):
    log = open_log(settings)
    first = log.commit(batch(1, idempotency_key="k"))
    pending = [commit._pending(batch(1, idempotency_key=key)) for key in ("a", "k", "b")]
    log._writer._write_all(pending)
    assert isinstance(pending[1].result, AlreadyCommitted)
    assert log.batches() == [first, pending[0].result, pending[2].result]
    assert verify(log).batches == 3


def test_a_chain_that_nobody_writes_to_is_closed_and_its_writer_begins_another(log):
    first = log.commit(batch(1))
    other = open_log_like(log)
    for _ in range(3):
        other.sweep()
    second = log.commit(batch(1))
    assert [chain_and_place(r.seq)[0] for r in (first, second)] == [1, 2]
    assert log.batches() == other.batches() == [first, second]
    assert other.batches(after=START.past([first])) == [second]
    assert verify(log).batches == 2


def test_a_long_log_is_read_page_by_page(log, monkeypatch):
    monkeypatch.setattr(sqlite, "PAGE", 2)
    records = [log.commit(batch(1)) for _ in range(5)]
    assert log.batches() == records
    assert log.batches(after=START.past(records[:1])) == records[1:]
    assert log.batches(limit=3) == records[:3]
    newest_first = records[::-1]
    assert list(log.latest_batches(limit=4)) == newest_first[:4]
    assert list(log.latest_batches(before=records[2])) == newest_first[3:]
    assert list(log.latest_batches(limit=1, before=records[2])) == [records[1]]
    latest = log.latest_batches()
    assert [next(latest) for _ in range(3)] == newest_first[:3]
    log.commit(batch(1))  # comes between two pages
    assert list(latest) == newest_first[3:]
    assert log.read(*log.batches()).num_rows == 6


def test_a_batch_whose_answer_fails_is_not_committed(log, form):
    def fail():
        raise OSError("no room for the answer")

    with pytest.raises(OSError, match="no room"):
        log.commit(batch(2), fail)
    assert log.batches() == []
    assert log.sweep(IN_AN_HOUR) == 0


@pytest.fixture
def synced(monkeypatch):
    """The files that the disk was made to take, as they come."""
    taken: list[str] = []
    sync = "fsync" if sys.platform == "darwin" else "fdatasync"
    monkeypatch.setattr(
        sqlite.os, sync, lambda file: taken.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    return taken


def test_sqlite_syncs_once_before_commit_returns(settings, synced):
    log = open_log(settings)
    log.commit(batch(1))
    assert synced == [f"{settings.var_dir}/decisions.db-wal"]
    log.append_event("approval", "1", by="Ada")
    assert len(synced) == 2


def test_sqlite_delays_the_sync_of_one_client_only_briefly(settings, synced, monkeypatch):
    asked, over = [], threading.Event()

    def sleep(seconds):
        asked.append(seconds)
        over.wait(60)

    monkeypatch.setattr(sqlite, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    log = open_log(settings.model_copy(update={"decision_log_flush_ms": 200}))
    log.commit(batch(1))
    log.commit(batch(1))
    assert synced == []
    log.commit(batch(3))  # a file does not wait
    assert len(synced) == 1
    over.set()
    wait_for(lambda: len(synced) == 2, 10, "the sync of the two")
    assert asked[0] == 0.2


def test_failed_disk_write_is_reported(settings, monkeypatch):
    def fail(_):
        raise OSError("input/output error")

    log = open_log(settings)
    monkeypatch.setattr(sqlite.os, "fsync" if sys.platform == "darwin" else "fdatasync", fail)
    with pytest.raises(LogUnavailable, match="input/output error"):
        log.commit(batch(1))
    soon = open_log(settings.model_copy(update={"decision_log_flush_ms": 1}))
    soon.commit(batch(1))

    def told():
        try:
            soon.commit(batch(1))
        except LogUnavailable as error:
            return "input/output error" in str(error)

    wait_for(told, 10, "the failure of the one before")


def test_previews_are_kept_apart(log):
    log.commit(batch(2, kind="preview"))
    record = log.commit(batch(1))
    assert log.batches() == [record]
    assert log.read(*log.batches()).num_rows == 1


def test_an_idempotency_key_is_used_once(log):
    record = log.commit(batch(1, idempotency_key="k"))
    with pytest.raises(AlreadyCommitted) as raised:
        log.commit(batch(1, idempotency_key="k"))
    assert raised.value.record == record
    assert log.batches() == [record]


def test_concurrent_batches_with_one_key_commit_once(stores):
    results = []

    def write():
        log = open_log(stores)
        try:
            results.append(log.commit(batch(2, idempotency_key="k")).id)
        except AlreadyCommitted as error:
            results.append(error.record.id)

    at_once(3, write)
    log = open_log(stores)
    assert len(results) == 3
    assert len(set(results)) == 1
    assert [b.id for b in log.batches()] == [results[0]]
    assert log.sweep(IN_AN_HOUR) == 0  # what the others wrote they took away again


def test_uncommitted_batch_is_invisible_and_swept(log, monkeypatch, form):
    kept = log.commit(batch(2))
    dead = batch(2)
    with monkeypatch.context() as m:
        m.setattr(Chain, "store", die)
        m.setattr(log._documents, "together", nullcontext)  # as a writer that is killed in MongoDB
        with pytest.raises(LogUnavailable):
            log.commit(dead)
    assert log.batches() == [kept]
    assert log.decision(dead.decision_id(0)) is None
    assert log.read(*log.batches()).num_rows == 2
    assert log.sweep() == 0  # its writer may still be at it
    assert log.sweep(IN_AN_HOUR) == (0 if form == "inline" else 1)
    assert log.sweep(IN_AN_HOUR) == 0
    assert log.read(kept).num_rows == 2


def test_preview_is_gone_after_a_day(log):
    now = datetime.now(UTC)
    old = log.commit(batch(2, kind="preview", time=now - timedelta(days=30)))
    fresh = log.commit(batch(2, kind="preview", time=now - timedelta(hours=23)))
    decided = log.commit(batch(2, time=now - timedelta(days=30)))
    yesterday = log.commit(batch(2, kind="preview", time=now - timedelta(hours=25)))
    for _ in range(2):
        assert log.sweep() == 0
        assert log.decision(f"{old.id}-0") is None
        assert (log.read(old).num_rows, log.read(yesterday).num_rows) == (0, 0)
        assert log.read(fresh, decided).num_rows == 4
    assert log.batch(old.id) is None
    assert log.batch(fresh.id) == fresh
    assert log.batches() == [decided]


def test_a_caller_sees_their_own_batches_and_no_others(log, monkeypatch):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)  # so that the bigger ones are files
    one, other = log.of("key: one"), log.of("key: other")
    mine = [log.commit(batch(n, caller="key: one")) for n in (2, 3)]
    theirs = [
        log.commit(batch(n, caller=caller))
        for n in (2, 3)
        for caller in ("key: other", "open", "user: one")
    ]
    since, until = mine[0].time, theirs[-1].time + timedelta(seconds=1)
    assert [record.caller for record in mine] == ["key: one"] * 2
    for record in mine:
        assert one.batch(record.id) == record
        assert one.decision(f"{record.id}-1")["client_id"] == "c1"
        assert other.batch(record.id) is None
        assert other.decision(f"{record.id}-1") is None
    assert one.batches() == mine == one.between(since, until) == list(one.latest_batches())[::-1]
    everybody = [*mine, *theirs]
    assert one.records([record.id for record in everybody]) == mine
    assert set(one.summaries([f"{record.id}-0" for record in everybody])) == {
        f"{record.id}-0" for record in mine
    }
    assert {summary.id for summary in one.summaries_of(["c1"])} == {
        f"{record.id}-1" for record in mine
    }
    assert {row["batch"] for row in one.decisions_of("c1", 2)} == {record.id for record in mine}
    assert log.batches() == everybody
    assert len(log.decisions_of("c1", 50)) == len(everybody)


def test_a_branch_sees_its_own_batches_and_no_others(log, form):
    north, south = log.of(branch="north"), log.of(branch="south")
    mine = [log.commit(batch(3, caller=f"user: {name}", branch="north")) for name in "ab"]
    theirs = [log.commit(batch(3, branch=branch)) for branch in ("south", "nor", "North", None)]
    preview = log.commit(batch(2, kind="preview", branch="north"))
    assert [record.branch for record in mine] == ["north", "north"]
    assert [record.branch for record in theirs] == ["south", "nor", "North", None]
    for record in mine:
        assert north.batch(record.id) == record
        assert north.decision(f"{record.id}-1")["client_id"] == "c1"
        assert south.batch(record.id) is None
        assert south.decision(f"{record.id}-1") is None
    assert north.batch(preview.id) == preview
    assert south.batch(preview.id) is None
    since, until = mine[0].time, theirs[-1].time + timedelta(seconds=1)
    assert north.batches() == mine == north.between(since, until)
    assert list(north.latest_batches())[::-1] == mine
    ids = [record.id for record in (*mine, *theirs)]
    assert north.records(ids) == mine
    assert set(north.summaries([f"{id}-0" for id in ids])) == {f"{r.id}-0" for r in mine}
    assert {s.id for s in north.summaries_of(["c1"])} == {f"{r.id}-1" for r in mine}
    assert {row["batch"] for row in north.decisions_of("c1", 2)} == {r.id for r in mine}
    assert log.of("user: a", branch="north").batches() == mine[:1]
    assert log.of("user: a", branch="south").batches() == []
    assert len(log.decisions_of("c1", 50)) == len(ids)


def test_record_has_no_field_for_a_branch_where_there_is_none(log):
    log.commit(batch())
    log.commit(batch(branch="north"))
    without, with_branch = log._documents.find("batches", {})
    assert "branch" not in without
    assert with_branch["branch"] == "north"


def test_an_idempotency_key_is_its_callers_own(log):
    first = log.commit(batch(idempotency_key="invoice-1", caller="key: one"))
    second = log.commit(batch(idempotency_key="invoice-1", caller="key: other"))
    assert first.id != second.id
    for caller, record in (("key: one", first), ("key: other", second)):
        with pytest.raises(AlreadyCommitted) as again:
            log.commit(batch(idempotency_key="invoice-1", caller=caller))
        assert again.value.record == record


def test_batch_without_a_caller_is_hidden_from_keys(log):
    log.commit(batch())
    (document,) = log._documents.find("batches", {})
    del document["caller"]
    log._documents.insert("batches", [document | {"_id": 1, "id": "old", "idempotency_key": "k"}])
    log = open_log_like(log)  # which finds out that there are old batches
    assert log.batch("old").caller is None
    assert log.of("key: one").batch("old") is None
    assert log.of("None").batches() == []
    with pytest.raises(AlreadyCommitted):  # nobody had to say who they were
        log.commit(batch(idempotency_key="k"))


def test_sqlite_opens_while_another_process_creates_it(settings):
    path = settings.decision_log.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        assert open_log(settings).commit(batch(1)).n_decided == 1
        timer.join()


def test_sqlite_file_of_an_earlier_version_is_opened_by_many_at_once(settings, tmp_path):
    for turn in range(10):
        path = tmp_path / f"{turn}.db"
        with closing(sqlite3.connect(path)) as earlier:
            earlier.execute("PRAGMA journal_mode=WAL")
            earlier.execute("CREATE TABLE numbers_given (name TEXT PRIMARY KEY, number INTEGER)")
        mine = settings.model_copy(update={"decision_log": f"sqlite:///{path}"})
        at_once(8, lambda mine=mine: open_log(mine).commit(batch(1)))
        assert len(open_log(mine).batches()) == 8


def test_sqlite_answers_frequent_queries_from_an_index(settings):
    log = open_log(settings)
    records = [log.commit(batch(2, idempotency_key=f"key {n}")) for n in range(3)]
    ids = [f"{record.id}-1" for record in records]
    asked: list[str] = []
    log._documents._local.connection.set_trace_callback(asked.append)
    assert log.read(records[0]).num_rows == 2
    assert log.read(*records).num_rows == 6
    assert log.batch(records[1].id) == records[1]
    assert log.decision(ids[0])["client_id"] == "c1"
    assert (
        len(log.summaries(ids))
        == len(log.summaries_of(["c1"]))
        == len(log.decisions_of("c1", 5))
        == 3
    )
    assert log.between(records[0].time, records[2].time) == records[:2]
    assert log.batches(after=START.past(records[:2])) == records[2:]
    assert list(log.latest_batches(before=records[2])) == records[1::-1]
    log._writer.discard(records[2].id)
    with pytest.raises(AlreadyCommitted):
        log.commit(batch(idempotency_key="key 0"))
    questions = {q for q in asked if q.startswith(("SELECT", "DELETE"))}
    plans = [
        log._documents._local.connection.execute(f"EXPLAIN QUERY PLAN {q}").fetchall()
        for q in questions
    ]
    assert len(plans) >= 10
    assert [
        step
        for plan in plans
        for *_, step in plan
        if step.startswith(("SCAN decisions", "SCAN batches")) and "USING INDEX" not in step
    ] == []


def test_sqlite_writes_decisions_and_their_batch_atomically(settings, monkeypatch):
    monkeypatch.setattr(codec, "MAX_INLINE", 0)
    log = open_log(settings)
    with monkeypatch.context() as m:
        m.setattr(Chain, "store", die)
        with pytest.raises(LogUnavailable):
            log.commit(batch(2))
    assert list(log._documents.find("decisions", {})) == []
    record = log.commit(batch(2))
    assert log.read(record).num_rows == 2


def test_a_batch_of_rejected_rows_only_is_counted(log):
    applications = Validator().rows([{"duration": "x"}])
    empty = np.empty(0)
    record = log.commit(Batch(applications, Decisions(empty, empty > 0, empty), "7", "abc", 1 / 6))
    assert (record.n_decided, record.n_rejected) == (0, 1)
    assert log.read(record).num_rows == 0


def test_events_are_numbered_and_never_changed(log):
    log.append_event("approval", "1", by="Ada")
    log.append_event("override", "x-1", by="Bo")
    log.append_event("approval", "2", by="Ada")
    assert [e["_id"] for e in log.events()] == [1, 2, 3]
    assert [e["key"] for e in log.events("approval")] == ["1", "2"]
    assert [e["by"] for e in log.events(key="x-1")] == ["Bo"]
    assert [e["_id"] for e in log.events(after=2)] == [3]


def test_reports_are_stored_as_valid_json(log):
    log.put_report(
        "drift", {"a.b": float("nan"), "$x": np.float64(1.5), "n": [np.int64(3), (1, None)]}
    )
    log.put_report("drift", {"second": True})
    log.put_report("other", {})
    bodies = [r["body"] for r in log.reports("drift")]
    assert bodies == [{"second": True}, {"a_b": None, "_x": 1.5, "n": [3, {"values": [1, None]}]}]
    assert len(log.reports("drift", limit=1)) == 1
    json.dumps(log.reports("drift"), allow_nan=False)


def test_plain_knows_every_kind_of_value():
    at = datetime(2026, 1, 2, tzinfo=UTC)
    values = {"t": at, "i": 2**70, "o": object, "a": np.array([1.0, np.inf])}
    assert storable(values) == {
        "t": "2026-01-02T00:00:00+00:00",
        "i": float(2**70),
        "o": str(object),
        "a": [1.0, None],
    }


@pytest.mark.parametrize(
    "url", ["mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200", "sqlite:////proc/no/x.db"]
)
def test_unreachable_log_is_reported(settings, url):
    log = open_log(settings.model_copy(update={"decision_log": url}))
    with pytest.raises(LogUnavailable):
        log.ping()
    with pytest.raises(LogUnavailable):
        log.commit(batch(1))


@pytest.mark.parametrize(
    ("options", "seconds"), [("", 3), ("?tls=false&serverselectiontimeoutms=200", 0.2)]
)
def test_mongodb_address_sets_its_timeout(options, seconds):
    found = open_documents(f"mongodb://127.0.0.1:1/x{options}")
    assert found._client.options.server_selection_timeout == seconds


@pytest.mark.parametrize("collection", ["batches", "chains", "events", "approvals"])
@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE {} SET body = '{{}}'",
        "DELETE FROM {}",
        "REPLACE INTO {} SELECT _id, '{{}}' FROM {}",
    ],
)
def test_sqlite_refuses_to_change_or_remove_records(settings, tmp_path, collection, edit):
    log = open_log(settings)
    log.commit(batch(1))
    log.append_event("override", "x-1", by="Ann")
    log.append_approval("approval", "1", by="Ada")
    before = (log.batches(), log.events(), log.approvals())
    with (
        closing(sqlite3.connect(tmp_path / "decisions.db")) as other,
        pytest.raises(sqlite3.IntegrityError, match="never changed or removed"),
    ):
        other.execute(edit.format(collection, collection))
    assert (log.batches(), log.events(), log.approvals()) == before


def test_replaced_log_refuses_further_writes(settings, tmp_path):
    log = open_log(settings)
    kept = log.commit(batch(1))
    with (
        closing(sqlite3.connect(tmp_path / "decisions.db")) as old,
        closing(sqlite3.connect(tmp_path / "new")) as new,
    ):
        old.backup(new)
    for end in ("-wal", "-shm"):
        (tmp_path / f"decisions.db{end}").unlink()
    (tmp_path / "new").replace(tmp_path / "decisions.db")
    for call in (log.ping, lambda: log.commit(batch(1))):
        with pytest.raises(LogUnavailable, match="was replaced"):
            call()
    again = open_log(settings)
    assert again.batches() == [kept]
    again.commit(batch(1))
    assert len(again.batches()) == 2


@pytest.mark.parametrize(
    "row", ["9" * 18, "9" * 19, "9" * 5000, "-1", "1.0", "", "x", "³", "٣٣", "00", "٠"]
)
def test_missing_row_is_not_found(log, form, row):
    assert log.decision(f"{log.commit(batch(2)).id}-{row}") is None


def test_of_conflicting_events_only_one_is_written(stores):
    written = []

    def write():
        log = open_log(stores)

        with suppress(Conflict):
            written.append(log.append_event("override", "x-1", 0, by="Ann"))

    at_once(6, write)
    assert open_log(stores).events() == written
    assert len(written) == 1


def test_a_log_of_another_kind_is_refused(settings):
    with pytest.raises(ValueError, match="mongodb:// or sqlite:///"):
        open_log(settings.model_copy(update={"decision_log": "postgres://x"}))
