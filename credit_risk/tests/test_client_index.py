"""The index of clients beside a file: it says where to look, and the file says who is there."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import Batch, BatchLost, summary_schema
from credit_risk.decision_log.files import client_index
from credit_risk.decision_log.files.client_index import index_name
from credit_risk.decision_log.log import FOUND, open_log
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.decision_log.proof.verify import verify
from credit_risk.storage.backends import open_blobs, open_documents
from tests.support.batches import IN_AN_HOUR, batch
from tests.support.blobs import WatchedBlobs
from tests.support.german_credit import DecisionLog

BEFORE = Path(__file__).parents[2] / "tests" / "fixtures" / "7adcd5d"
NOW = datetime.now(UTC)
# Two texts with the same CRC-32.
TWINS = ("plumless", "buckeroo")


@pytest.fixture
def files(monkeypatch):
    """Have a batch of more than two decisions be one file, in parts of ten rows."""
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    monkeypatch.setattr(codec, "PART_ROWS", 10)
    monkeypatch.setattr(client_index, "_GROUP", 10)


def of_clients(ids, **more) -> Batch:
    """Return a batch of clients with these ids."""
    made = batch(len(ids), **more)
    made.applications.client_id = list(ids)
    return made


def watched(log: DecisionLog) -> tuple[DecisionLog, WatchedBlobs]:
    """Return the log with a bucket that notes what is read of it."""
    blobs = WatchedBlobs(log.storage.blobs)
    return DecisionLog(log.storage.documents, blobs), blobs


def ids_of(log, client, limit=50):
    return [row["id"] for row in log.decisions_of(client, limit)]


def test_a_client_is_found_wherever_batches_keep_their_decisions(log, monkeypatch, files):
    inline = log.commit(batch(2, time=NOW - timedelta(days=4)))
    monkeypatch.setattr(codec, "MAX_INLINE", 1)
    documents = log.commit(batch(2, time=NOW - timedelta(days=3)))
    portfolio = log.commit(batch(25, time=NOW - timedelta(days=2), kind="portfolio"))
    file = log.commit(batch(3, time=NOW - timedelta(days=1)))
    log.commit(batch(3, kind="preview"))
    batches = [file, portfolio, documents, inline]
    assert [one.stored for one in batches] == ["parquet", "parquet", "documents", "inline"]

    found = log.decisions_of("c1", 50)
    assert [row["id"] for row in found] == [f"{one.id}-1" for one in batches]
    assert all(tuple(row) == FOUND for row in found)
    assert ids_of(log, "c24") == [f"{portfolio.id}-24"]
    assert ids_of(log, "c1", 2) == [f"{file.id}-1", f"{portfolio.id}-1"]
    # An outcome is that of a decision on an application.
    summaries = log.summaries_of(["c1", "c2"])
    assert {one.id for one in summaries if one.client_id == "c1"} == {
        f"{one.id}-1" for one in (file, documents, inline)
    }
    assert {one.kind for one in summaries} == {"decision"}


def test_only_the_parts_with_the_client_are_read(settings, files):
    log, blobs = watched(open_log(settings))
    record = log.commit(batch(2000))
    decisions, index = codec.parquet_name(record.id), index_name(record.id)

    assert ids_of(log, "c1234") == [f"{record.id}-1234"]
    assert [name for name, _ in blobs.opened] == [index, decisions]
    # Behind the directory of its 200 parts two things are read of one part, the ids and the rest.
    *directory, ids, rest = blobs.opened[1][1].sizes
    assert len(directory) <= 2
    assert ids + rest < (len(log.storage.blobs.get(decisions)) - sum(directory)) / 50

    blobs.opened.clear()
    assert ids_of(log, "nobody") == []
    assert [name for name, _ in blobs.opened] == [index], "nothing is looked for in the file"


def test_older_files_are_not_read_when_newer_ones_have_enough(settings, files):
    log, blobs = watched(open_log(settings))
    records = [log.commit(batch(3, time=NOW - timedelta(days=n))) for n in range(5)]
    assert ids_of(log, "c1", 2) == [f"{record.id}-1" for record in records[:2]]
    assert {name for name, _ in blobs.opened if name.startswith("clients/")} == {
        index_name(record.id) for record in records[:2]
    }


def test_clients_with_the_same_checksum_are_told_apart(log, files):
    one, other = TWINS
    assert crc32(one.encode()) == crc32(other.encode())
    record = log.commit(of_clients([one, other, *"abcdefghijk"]))
    assert ids_of(log, one) == [f"{record.id}-0"]
    assert ids_of(log, other) == [f"{record.id}-1"]
    only = log.commit(of_clients([one, "x", "y"]))
    assert only.clients_hash
    assert ids_of(log, other) == [f"{record.id}-1"]


@pytest.mark.parametrize("id", ["c1", "c11", "C1", "c1 ", "ć1", "1" * 64, "0001", "1"])
def test_similar_ids_are_told_apart(log, files, id):
    ids = ["c1", "c11", "C1", "c1 ", "ć1", "1" * 64, "0001", "1"]
    record = log.commit(of_clients(ids))
    assert ids_of(log, id) == [f"{record.id}-{ids.index(id)}"]


def test_a_client_who_is_in_a_file_twice_is_found_twice(log, files):
    record = log.commit(of_clients(["a", *map(str, range(30)), "a"]))
    assert ids_of(log, "a") == [f"{record.id}-31", f"{record.id}-0"]
    assert [one.id for one in log.summaries_of(["a"])] == [f"{record.id}-0", f"{record.id}-31"]


def test_clients_without_an_id_are_in_no_index(log, files):
    nobody = log.commit(of_clients([None] * 3))
    assert nobody.clients_hash is None
    assert log.storage.blobs.names("clients/") == []
    some = log.commit(of_clients([None, "a", None, "b"]))
    assert log.storage.blobs.names("clients/") == [index_name(some.id)]
    assert ids_of(log, "b") == [f"{some.id}-3"]
    assert ids_of(log, "") == []
    verify(log)


def test_a_file_of_an_earlier_version_is_searched_without_an_index(tmp_path):
    shutil.copytree(BEFORE, tmp_path / "var")
    where = tmp_path / "var"
    documents = open_documents(f"sqlite:///{where}/decisions.db")
    log, blobs = watched(DecisionLog(documents, open_blobs(str(where / "bucket"))))
    (record,) = (one for one in log.batches() if one.stored == "parquet")
    assert record.clients_hash is None
    rows = log.read(record, schema=summary_schema("id", "client_id")).to_pylist()
    blobs.opened.clear()
    assert ids_of(log, rows[7]["client_id"])[0] == rows[7]["id"]
    assert [name for name, _ in blobs.opened] == [codec.parquet_name(record.id)]
    assert log.decision(rows[7]["id"])["client_id"] == rows[7]["client_id"]


def test_a_lost_index_hides_nobody_and_is_reported(log, files):
    record = log.commit(batch(3))
    log.storage.blobs.delete(index_name(record.id))
    assert ids_of(log, "c2") == [f"{record.id}-2"]
    with pytest.raises(BatchLost, match=index_name(record.id)):
        verify(log)


def test_a_changed_index_is_reported(log, files):
    record = log.commit(batch(3))
    other = client_index.client_index(of_clients(["x", "y", "z"]).applications)
    log.storage.blobs.put(index_name(record.id), other, overwrite=True)
    with pytest.raises(LogDamaged, match=f"index of clients of batch {record.id} was changed"):
        verify(log)


def test_an_index_that_no_record_names_is_not_read(log, files):
    """Otherwise it could hide the clients of an earlier version's file."""
    record = log.commit(of_clients([None, None, None]))
    forged = client_index.client_index(batch(3).applications)
    log.storage.blobs.put(index_name(record.id), forged)
    reading, blobs = watched(log)
    assert ids_of(reading, "c1") == []
    assert [name for name, _ in blobs.opened] == [codec.parquet_name(record.id)]


def test_the_sweep_removes_the_index_with_its_file(log, files, monkeypatch):
    kept = log.commit(batch(3))

    def die(*_):
        raise BatchLost("died here")

    monkeypatch.setattr(log._writer, "_append", die)
    with pytest.raises(BatchLost):
        log.commit(batch(3))
    assert len(log.storage.blobs.names("clients/")) == 2
    assert log.sweep(IN_AN_HOUR) == 1
    assert log.storage.blobs.names() == [index_name(kept.id), codec.parquet_name(kept.id)]


def test_a_batch_that_is_not_committed_leaves_no_index(log, files):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        log.commit(batch(3), ready=fail)
    assert log.storage.blobs.names() == []
