"""What the decision log asks of MongoDB, on two servers that speak its protocol.

FerretDB's SQLite handler, which the other tests run on, looks through a whole collection for most
questions. mongo-java-server updates one document atomically.
"""

from datetime import UTC, datetime, timedelta

import pymongo
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import AlreadyCommitted
from credit_risk.decision_log.history import search
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest, read_outcomes
from credit_risk.decision_log.overrides import override, overrides_of_batch
from credit_risk.decision_log.proof.verify import verify
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.documents import INDEXES
from credit_risk.storage.mongodb import BY_HAND, MongoDocuments
from tests.support.batches import at_once, batch
from tests.support.german_credit import DecisionLog

WRITERS = 8
EACH = 5


@pytest.fixture
def on_mongo_java(settings, mongo_java_url):
    return settings.model_copy(update={"decision_log": mongo_java_url})


def test_a_batch_is_read_back_and_its_key_refused_twice(on_mongo_java):
    log = open_log(on_mongo_java)
    record = log.commit(batch(3, idempotency_key="k"))
    for _ in range(2):
        with pytest.raises(AlreadyCommitted) as raised:
            log.commit(batch(1, idempotency_key="k"))
        assert raised.value.record == record

    assert log.batches() == [record]
    rows = log.read(record).to_pylist()
    assert [row["client_id"] for row in rows] == ["c0", "c1", "c2"]
    assert log.decision(f"{record.id}-1") == rows[1]
    assert log.decision(f"{record.id}-9") is None


@pytest.mark.parametrize("shared", [True, False], ids=["one log", "a log each"])
def test_writers_at_once_lose_nothing(on_mongo_java, shared):
    ours = open_log(on_mongo_java)
    batches = [batch(1 + n % 3, risk=n / 100) for n in range(WRITERS * EACH)]
    sent = {b.id: b.table.to_pylist() for b in batches}
    records = []

    def write():
        log = ours if shared else open_log(on_mongo_java)
        for _ in range(EACH):
            records.append(log.commit(batches.pop()))

    at_once(WRITERS, write)
    found = ours.batches()
    assert {record.id: record for record in found} == {record.id: record for record in records}
    assert len(found) == len({record.seq for record in found}) == len(sent)
    assert {record.id: ours.read(record).to_pylist() for record in found} == sent
    assert ours.read(*found).num_rows == sum(map(len, sent.values()))


class Noted(pymongo.monitoring.CommandListener):
    """Notes the commands that a client sends."""

    def __init__(self):
        self.commands = []

    def started(self, event):
        if event.command_name not in ("endSessions", "isMaster", "hello", "ping"):
            self.commands.append(dict(event.command))

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def names(self) -> list[str]:
        """Return the commands since the last call, each as `name collection`."""
        said = [f"{next(iter(c))} {next(iter(c.values()))}" for c in self.commands]
        self.commands.clear()
        return said


@pytest.fixture(params=["mongodb_url", "mongo_java_url"])
def noted(request, settings):
    """A log on a server of MongoDB's protocol, and the commands that it sends."""
    listener = Noted()
    documents = MongoDocuments(request.getfixturevalue(request.param))
    address = request.getfixturevalue(request.param)
    with pymongo.MongoClient(address, event_listeners=[listener], tz_aware=True) as client:
        documents._client = client
        documents._database = client.get_default_database()
        yield DecisionLog(documents, open_blobs(settings.bucket)), listener


def test_the_commit_of_one_client_is_one_command(noted):
    log, listener = noted
    for key in (None, "a", "b"):
        log.commit(batch(1, idempotency_key=key))  # the first registers a chain
    listener.names()
    log.commit(batch(1))
    assert listener.names() == ["insert batches"]
    log.commit(batch(100, idempotency_key="c"))
    assert listener.names() == ["insert batches"]
    with pytest.raises(AlreadyCommitted):
        log.commit(batch(1, idempotency_key="c"))
    assert listener.names() == ["insert batches", "find batches"]


def test_every_question_is_answered_by_an_index(noted, monkeypatch):
    log, listener = noted
    monkeypatch.setattr(codec, "MAX_INLINE", 2)
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 4)
    records = [log.commit(batch(n, idempotency_key=f"k{n}")) for n in (1, 2, 3, 4, 5)]
    log.commit(batch(1, kind="preview"))
    now = datetime.now(UTC)
    ids = [f"{record.id}-0" for record in records]
    override(log, ids[0], "red", "Ann", "why")
    ingest(log, f"client_id,outcome,date\nc4,repaid,{now.date()}\n".encode())
    log.append_approval("approval", "1")

    listener.commands.clear()
    records = log.batches()
    assert [r.stored for r in records] == ["inline"] * 2 + ["documents"] * 2 + ["parquet"]
    log.read(*records)
    for record, id in zip(records, ids, strict=True):
        log.batch(record.id)
        log.decision(id)
    list(log.latest_batches(before=records[-1], limit=2))
    log.between(now - timedelta(days=1), now)
    log.position_at(now)
    log.summaries(ids)
    log.summaries_of(["c0", "c1"])
    log.decisions_of("c0", 5)
    for owner in ("key: one", "open"):
        list(log.of(owner).latest_batches(limit=2))
    search(log, "clients.csv")
    overrides_of_batch(log, records[0].id)
    log.events_about("override", ids)
    read_outcomes(log, now - timedelta(days=1), now)
    log.outcomes_of(ids)
    log.sweep()
    verify(log)
    with pytest.raises(AlreadyCommitted):
        log.commit(batch(1, idempotency_key="k1"))

    questions = {
        (kind, command[kind], tuple(query), tuple(command.get("sort", ()))[:1])
        for command in listener.commands
        for kind, query in _questions(command)
    }
    assert len(questions) >= 20
    assert [question for question in questions if not _has_index(*question[1:])] == []


def _questions(command):
    """Yield what a command asks: its kind, and the fields by which it looks for documents."""
    if "delete" in command:
        yield from (("delete", deletion["q"]) for deletion in command["deletes"])
    for kind, name in (("find", "filter"), ("distinct", "query"), ("aggregate", "pipeline")):
        if kind in command:
            yield kind, command[name]


def _has_index(collection, fields, order):
    """Return whether the fields, or the order where there are none, begin an index."""
    indexes = [*INDEXES.get(collection, []), *BY_HAND.get(collection, [])]
    begun = {"_id", *(index[0] for index in indexes)}
    return bool(begun & set(fields)) or (set(order) <= begun and bool(order))
