"""The decision log in MongoDB and the bucket on a storage server, saved to a tar and restored."""

import io
import tarfile
from datetime import UTC, datetime, timedelta

import bson
import orjson
import pymongo
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.storage.backends import open_blobs
from tests.support.batches import batch
from tools.state.keeper import COLLECTIONS, NotEmpty, load_bucket, load_log, save_bucket, save_log


@pytest.fixture
def log(settings, on_servers):
    log = open_log(on_servers(settings))
    log.commit(batch(3))
    log.append_event("registered", "1", run_id="r", time_taken=1.5, nested={"a": [None, "ü"]})
    log.append_approval("approval", "1")
    return log


@pytest.fixture
def database(mongodb_url):
    with pymongo.MongoClient(mongodb_url) as client:
        yield client.get_default_database().with_options(bson.CodecOptions(RawBSONDocument))


def saved(save, what):
    out = io.BytesIO()
    save(what, out)
    return lambda: io.BytesIO(out.getvalue())


def names(database):
    return set(database.list_collection_names())


def test_a_log_is_restored_as_it_was(log, database):
    before, events, kept = verify(log), log.events(), saved(save_log, database)
    log.commit(batch(2))
    log.append_event("registered", "2")
    load_log(database, kept(), replace=True)
    assert verify(log) == before
    assert log.events() == events
    assert names(database) <= set(COLLECTIONS)
    # The services begin anew, and it goes on.
    log = DecisionLog(log.storage.documents, log.storage.blobs, log.dataset)
    log.commit(batch(1))
    assert verify(log).decisions == before.decisions + 1


def test_a_log_is_restored_where_there_is_none(log, database):
    before, kept = verify(log), saved(save_log, database)
    for name in COLLECTIONS:
        database.drop_collection(name)
    load_log(database, kept(), replace=False)
    assert verify(log) == before


def test_a_saved_log_has_the_format_of_mongorestore(log, database):
    with tarfile.open(fileobj=saved(save_log, database)()) as tar:
        assert tar.getnames() == [f"{name}.bson" for name in COLLECTIONS]
        (record,) = bson.decode_all(tar.extractfile("batches.bson").read())
    assert [d["client_id"] for d in record["decisions"]] == ["c0", "c1", "c2"]


def test_a_log_is_replaced_only_when_confirmed(log, database):
    before, kept = verify(log), saved(save_log, database)
    with pytest.raises(NotEmpty, match="has decisions"):
        load_log(database, kept(), replace=False)
    assert verify(log) == before


def test_a_truncated_tar_changes_nothing(log, database):
    before, kept = verify(log), saved(save_log, database)().getvalue()
    with pytest.raises((tarfile.TarError, bson.errors.InvalidBSON)):
        load_log(database, io.BytesIO(kept[:-12_000]), replace=True)
    assert verify(log) == before


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_failure_while_collections_are_renamed_changes_nothing(log, database, monkeypatch, nth):
    kept = saved(save_log, database)
    log.commit(batch(2))
    before, calls, rename = verify(log), [], pymongo.collection.Collection.rename

    def fail(collection, name, *more):
        calls.append(name)
        if len(calls) == nth:
            raise PyMongoError("no")
        return rename(collection, name, *more)

    monkeypatch.setattr(pymongo.collection.Collection, "rename", fail)
    with pytest.raises(PyMongoError, match="no"):
        load_log(database, kept(), replace=True)
    assert verify(log) == before


def test_a_bucket_is_restored_as_it_was(gcs_url):
    blobs = open_blobs(gcs_url)
    blobs.put("mlflow/1/model", b"trees")
    blobs.put("reports/latest.html", b"one")
    older, recent = (
        orjson.dumps({"time": (datetime.now(UTC) - age).isoformat()})
        for age in (timedelta(days=1), timedelta(minutes=5))
    )
    blobs.put("anchors/00000001.json", older)
    blobs.put("anchors/00000002.json", recent)  # which the copy of the log may not fit
    kept = saved(save_bucket, blobs)
    blobs.put("reports/latest.html", b"two", overwrite=True)
    blobs.put("later", b"x")
    with pytest.raises(NotEmpty, match="has files"):
        load_bucket(blobs, kept(), replace=False)
    load_bucket(blobs, kept(), replace=True)
    assert {name: blobs.get(name) for name in blobs.names()} == {
        "anchors/00000001.json": older,
        "mlflow/1/model": b"trees",
        "reports/latest.html": b"one",
    }
