"""A log that is whole is said to be; in one that was changed, the first change is named."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import orjson
import pytest

from credit_risk.__main__ import main
from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import BatchLost
from credit_risk.decision_log.chains.hashes import document_hash, joint_hash, record_hash
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.decision_log.proof import anchors
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.decision_log.proof.seal import seal
from credit_risk.decision_log.proof.verify import verify
from credit_risk.storage.blobs import BlobExists
from tests.support.batches import batch, without_guard
from tests.support.german_credit import GERMAN_CREDIT

INLINE, DOCUMENTS, PARQUET = range(3)


@pytest.fixture
def filled(log, monkeypatch):
    """A log with a batch of each form, events and approvals."""
    log.commit(batch(3))
    monkeypatch.setattr(codec, "MAX_INLINE", 2)
    log.commit(batch(3, risk=0.9))
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    log.commit(batch(3))
    monkeypatch.undo()
    log.commit(batch(1, kind="preview"))
    for n in range(3):
        log.append_event("override", f"x-{n}", by="mallory", prediction="red")
    log.append_approval("opened", "", earlier=[{"kind": "approval"}])
    log.append_approval("approval", "1")
    return log


def edited(log: DecisionLog, collection: str, document: dict) -> None:
    """Replace a document, as somebody does who has the database."""
    without_guard(log, collection)._documents.delete(collection, {"_id": document["_id"]})
    log._documents.insert(collection, [document])


def documents(log: DecisionLog, collection: str) -> list[dict]:
    return list(log._documents.find(collection, {}))


def rehashed(record: dict, previous: str) -> dict:
    """Return a record with every hash in it computed anew, after the one before."""
    for decision in record.get("decisions", []):
        decision["hash"] = document_hash(decision)
    if "decisions" in record:
        record["decisions_hash"] = joint_hash(d["hash"] for d in record["decisions"])
    record["previous"] = previous
    return record | {"hash": record_hash(record)}


def test_verify_counts_a_complete_log(filled):
    found = verify(filled)
    assert (found.batches, found.decisions, found.approvals) == (3, 9, 2)
    assert found.summary == (
        "the decision log is whole: 9 decisions in 3 batches, 2 approvals, 0 anchors"
    )


def test_verify_accepts_an_empty_log(log):
    found = verify(log)
    assert (found.batches, found.decisions, found.approvals) == (0, 0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("risk", 0.01), ("prediction", "red"), ("client_id", "other"), ("label", "bad")],
)
def test_changed_decision_in_its_batch_is_named(filled, field, value):
    record = documents(filled, "batches")[INLINE]
    record["decisions"][1][field] = value
    edited(filled, "batches", record)
    with pytest.raises(LogDamaged, match=f"decision {record['id']}-1 was changed"):
        verify(filled)


def test_changed_input_in_a_document_of_its_own_is_named(filled):
    decision = documents(filled, "decisions")[1]
    decision["inputs"]["credit_amount"] = 1
    edited(filled, "decisions", decision)
    with pytest.raises(LogDamaged, match=f"decision {decision['_id']} was changed"):
        verify(filled)


@pytest.mark.parametrize("field", ["time", "model_version"])
def test_document_that_contradicts_its_batch_is_named(filled, field):
    decision = documents(filled, "decisions")[1]
    edited(filled, "decisions", decision | {field: "2020-01-01T00:00:00.000000+00:00"})
    with pytest.raises(LogDamaged, match=f"decision {decision['_id']} was changed"):
        verify(filled)


def test_missing_document_is_found(filled):
    decision = documents(filled, "decisions")[2]
    filled._documents.delete("decisions", {"_id": decision["_id"]})
    with pytest.raises(LogDamaged, match=f"batch {decision['batch']} has 2 decisions"):
        verify(filled)


def test_changed_file_is_named(filled):
    id = documents(filled, "batches")[PARQUET]["id"]
    name = codec.parquet_name(id)
    content = bytearray(filled._blobs.get(name))
    content[len(content) // 2] ^= 1
    filled._blobs.put(name, bytes(content), overwrite=True)
    with pytest.raises(LogDamaged, match=f"the file of batch {id} was changed"):
        verify(filled)


def test_lost_file_is_named(filled):
    for name in filled._blobs.names():
        filled._blobs.delete(name)
    with pytest.raises(BatchLost):
        verify(filled)


@pytest.mark.parametrize(
    "field", ["caller", "branch", "threshold", "digest", "n_red", "time", "source"]
)
def test_changed_record_is_named(filled, field):
    record = documents(filled, "batches")[1]
    edited(filled, "batches", record | {field: "0"})
    with pytest.raises(LogDamaged, match=f"record 2 of chain 1 was changed .batch {record['id']}"):
        verify(filled)


def test_branch_that_was_taken_from_a_record_is_missed(filled):
    filled.commit(batch(2, branch="north"))
    record = documents(filled, "batches")[-1]
    assert record.pop("branch") == "north"
    assert verify(filled).batches == 4
    edited(filled, "batches", record)
    with pytest.raises(LogDamaged, match="was changed"):
        verify(filled)


def test_deleted_record_is_named(filled):
    record = documents(filled, "batches")[1]
    without_guard(filled, "batches")._documents.delete("batches", {"_id": record["_id"]})
    with pytest.raises(LogDamaged, match="record 2 of chain 1 is missing"):
        verify(filled)


def test_replaced_record_with_a_hash_of_its_own_is_named(filled):
    first, second, _ = documents(filled, "batches")
    edited(filled, "batches", rehashed(second | {"caller": "alice"}, first["hash"]))
    with pytest.raises(LogDamaged, match="record 3 of chain 1 does not follow the one before"):
        verify(filled)


def test_record_inserted_into_a_closed_chain_is_named(filled):
    for _ in range(2):
        filled.sweep()
    *_, closing = documents(filled, "batches")
    forged = documents(filled, "batches")[INLINE]
    forged |= {"_id": closing["_id"] + 1, "id": "forged"}
    filled._documents.insert("batches", [rehashed(forged, closing["hash"])])
    with pytest.raises(LogDamaged, match="record 5 of chain 1 was added after"):
        verify(filled)


@pytest.mark.parametrize("hash", [{}, {"hash": "nonsense"}])
def test_record_among_the_old_ones_is_found_after_the_seal(filled, hash):
    """Chain 0 is what an earlier version wrote; a forged record of it has no valid hash."""
    old = documents(filled, "batches")[INLINE]
    for name in ("hash", "previous", "decisions", "decisions_hash"):
        del old[name]
    old |= {"stored": "documents", "n_decided": 0, "n_red": 0}
    filled._documents.insert("batches", [old | {"_id": 1, "id": "old"}])
    seal(filled)
    verify(filled)
    filled._documents.insert("batches", [old | {"_id": 2, "id": "forged"} | hash])
    with pytest.raises(LogDamaged, match="batch 2 was added"):
        verify(filled)


def test_what_others_write_during_a_verification_is_no_damage(filled, monkeypatch):
    """Whatever is read, others begin a chain, append an event and erase in between."""
    find = type(filled._documents).find
    other = DecisionLog(filled.storage.documents, filled.storage.blobs, GERMAN_CREDIT)
    writing, left = [], list(range(30))

    def busy(documents, *arguments, **options):
        found = list(find(documents, *arguments, **options))
        if left and not writing:
            left.pop()
            writing.append(True)
            DecisionLog(other.storage.documents, other.storage.blobs, GERMAN_CREDIT).commit(
                batch(1)
            )
            other.append_event("override", "x-9")
            writing.clear()
        return iter(found)

    monkeypatch.setattr(type(filled._documents), "find", busy)
    verify(filled)


def test_record_of_a_chain_that_nobody_registered_is_named(filled):
    forged = documents(filled, "batches")[INLINE]
    forged |= {"_id": 2 * 2**32 + 1, "id": "forged"}
    filled._documents.insert("batches", [rehashed(forged, "")])
    with pytest.raises(LogDamaged, match="the registration of chain 2 is missing"):
        verify(filled)


@pytest.mark.parametrize(("collection", "what"), [("events", "event"), ("approvals", "approval")])
def test_changed_event_is_named(filled, collection, what):
    edited(filled, collection, documents(filled, collection)[0] | {"by": "alice"})
    with pytest.raises(LogDamaged, match=f"{what} 1 was changed"):
        verify(filled)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_deleted_event_is_named_and_its_number_is_not_given_again(filled, number):
    without_guard(filled, "events")._documents.delete("events", {"_id": number})
    with pytest.raises(LogDamaged, match=f"event {number} is missing"):
        verify(filled)
    assert filled.append_event("override", "x-9")["_id"] == 4
    with pytest.raises(LogDamaged, match=f"event {number} is missing"):
        verify(filled)


@pytest.mark.parametrize("edit", ["changed", "missing"])
def test_changed_outcome_is_found(filled, edit):
    decision = f"{documents(filled, 'batches')[INLINE]['id']}-1"
    today = datetime.now(UTC).date().isoformat()
    for outcome in ("repaid", "defaulted"):
        ingest(filled, f"decision_id,outcome,date\n{decision},{outcome},{today}\n".encode())
    verify(filled)
    first = documents(filled, "outcomes")[0]
    filled._documents.delete("outcomes", {"_id": first["_id"]})
    if edit == "changed":
        filled._documents.insert("outcomes", [first | {"date": "2020-01-01"}])
    with pytest.raises(LogDamaged, match="came with event 4 was changed or is missing"):
        verify(filled)


def test_forged_approval_is_found(filled):
    """An approval that did not come by the log has no hash that fits."""
    forged = {"kind": "approval", "key": "9", "by": "Head of Model Risk", "time": "2026-01-01"}
    filled._documents.insert("approvals", [{"_id": 3, **forged}])
    with pytest.raises(LogDamaged, match="approval 3 has no hash"):
        verify(filled)


def recomputed(log: DecisionLog) -> None:
    """Change the first batch, and compute everything after it anew."""
    previous = documents(log, "chains")[0]["hash"]
    for record in documents(log, "batches"):
        if "decisions" in record and previous == documents(log, "chains")[0]["hash"]:
            record["decisions"][0]["risk"] = 0.01
        changed = rehashed(record, previous)
        without_guard(log, "batches")._documents.delete("batches", {"_id": record["_id"]})
        log._documents.insert("batches", [changed])
        previous = changed["hash"]


def test_chain_computed_anew_is_found_by_its_anchor(filled):
    anchors.write(filled, verify(filled).heads)
    assert verify(filled).anchors == 1
    recomputed(filled)
    with pytest.raises(LogDamaged, match=r"record 3 of chain 1 is not the one that anchors/"):
        verify(filled)


def test_chain_computed_anew_fits_without_an_anchor(filled):
    """Which is why there are anchors."""
    recomputed(filled)
    verify(filled)


def test_cut_end_is_found_by_its_anchor(filled):
    anchors.write(filled, verify(filled).heads)
    last = documents(filled, "batches")[-1]
    without_guard(filled, "batches")._documents.delete("batches", {"_id": last["_id"]})
    with pytest.raises(LogDamaged, match="record 3 of chain 1 is missing, which anchors/"):
        verify(filled)


def test_events_computed_anew_are_found_by_their_anchor(filled):
    anchors.write(filled, verify(filled).heads)
    previous = ""
    for event in documents(filled, "events"):
        changed = event | {"by": "alice", "previous": previous}
        changed["hash"] = previous = document_hash(changed)
        edited(filled, "events", changed)
    with pytest.raises(LogDamaged, match="event 3 is not the one that anchors/"):
        verify(filled)


def test_an_anchor_holds_only_what_is_new_and_names_the_one_before(filled):
    for _ in range(2):
        anchors.write(filled, verify(filled).heads)
        filled.append_event("override", "x-9")
    first, second = [orjson.loads(filled._blobs.get(n)) for n in filled._blobs.names("anchors/")]
    assert set(first["heads"]["batches"]) == {str(2**32 + 3)}
    assert second["heads"]["batches"] == {}
    assert set(second["heads"]["events"]) == {"4"}
    assert first["previous"] == ""
    filled._blobs.put("anchors/00000002.json", b"{}", overwrite=True)
    with pytest.raises(LogDamaged, match="is not an anchor, or was changed"):
        verify(filled)
    filled._blobs.put("anchors/00000002.json", orjson.dumps(second), overwrite=True)
    filled._blobs.delete("anchors/00000001.json")
    with pytest.raises(LogDamaged, match="the anchor before anchors/00000002"):
        verify(filled)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"time": 7}', b'{"time": "soon"}'])
def test_forged_anchor_is_named_and_stops_no_backup(filled, content):
    anchors.write(filled, verify(filled).heads)
    for name in ("anchors/00000002.json", "anchors/newest.json"):
        filled._blobs.put(name, content)
        assert not anchors.is_recent(name, content)
        with pytest.raises(LogDamaged, match=f"{re.escape(name)} is not an anchor"):
            verify(filled)
        filled._blobs.delete(name)


def test_of_two_anchors_at_once_one_is_refused(filled, monkeypatch):
    heads = verify(filled).heads
    before = list(anchors._stored(filled.storage.blobs))
    anchors.write(filled, heads)
    monkeypatch.setattr(anchors, "_stored", lambda _: iter(before))
    with pytest.raises(BlobExists):
        anchors.write(filled, heads)
    monkeypatch.undo()
    assert verify(filled).anchors == 1


@pytest.mark.parametrize("collection", ["events", "approvals"])
@pytest.mark.parametrize("sealed", [False, True])
def test_entry_without_its_hash_is_named(filled, collection, sealed):
    """Without its hash, an entry must not pass for one of an earlier version."""
    if sealed:
        seal(filled)
    anchors.write(filled, verify(filled).heads)
    first, second, *_ = documents(filled, collection)
    for entry in (first, second | {"by": "Mallory"}):
        del entry["hash"]
        edited(filled, collection, entry)
    with pytest.raises(LogDamaged, match=f"{collection[:-1]} 1 has no hash"):
        verify(filled)
    for entry in (first, second):
        del entry["previous"]
        edited(filled, collection, entry)
    with pytest.raises(LogDamaged):
        verify(filled)


def test_decisions_added_to_a_record_are_found(filled):
    """Readers look for clients in records, too."""
    forged = documents(filled, "batches")[INLINE]["decisions"]
    for place, record in enumerate(documents(filled, "batches")[DOCUMENTS:], start=2):
        edited(filled, "batches", record | {"decisions": forged})
        with pytest.raises(LogDamaged, match=f"decisions were added to record {place} of chain 1"):
            verify(filled)
        assert len(filled.decisions_of("c0", 9)) == len(filled.summaries_of(["c0"])) == 3
        edited(filled, "batches", record)


def test_decision_put_beside_a_batch_is_not_shown(filled):
    record = documents(filled, "batches")[INLINE]
    forged = codec.documents(record, [record["decisions"][0] | {"row": 77}])
    filled._documents.insert("decisions", forged)
    verify(filled)
    assert len(filled.decisions_of("c0", 9)) == len(filled.summaries_of(["c0"])) == 3
    assert filled.decision(f"{record['id']}-77") is None


@pytest.mark.parametrize("missing", ["decisions", "n_decided", "kind", "stored"])
def test_record_without_a_field_is_named(filled, missing):
    record = documents(filled, "batches")[INLINE]
    del record[missing]
    edited(filled, "batches", rehashed(record, record["previous"]))
    with pytest.raises(LogDamaged, match="record 1 of chain 1"):
        verify(filled)


def test_one_erasure_covers_one_decision(filled):
    record = documents(filled, "batches")[INLINE]
    filled.append_event("erasure", f"{record['id']}-1", by="Ann")
    record["decisions"] = [{"row": 1, "hash": d["hash"]} for d in record["decisions"]]
    edited(filled, "batches", record)
    with pytest.raises(LogDamaged, match=f"{record['id']}-1 is there twice, or in another place"):
        verify(filled)


def test_erased_decision_leaves_the_proof_of_the_others(settings):
    """A decision may be emptied when an event says so, and then only that one."""
    log = open_log(settings)
    record = log.commit(batch(3))
    statement = (
        "UPDATE batches SET body = json_replace(body, '$.decisions[1]', json_object("
        "'row', json_extract(body, '$.decisions[1].row'), "
        "'hash', json_extract(body, '$.decisions[1].hash'))) WHERE _id = ?"
    )
    path = settings.decision_log.removeprefix("sqlite:///")

    def execute(text):
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(text, [record.seq])

    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        execute(statement)
    log.append_event("erasure", f"{record.id}-1", by="Ann", reason="article 17")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        execute(statement.replace("[1]", "[2]"))
    execute(statement)

    verify(log)
    assert log.decision(f"{record.id}-1") is None
    assert log.decision(f"{record.id}-2")["client_id"] == "c2"
    assert log.read(record)["client_id"].to_pylist() == ["c0", "c2"]
    assert log.decisions_of("c1", 9) == []


def test_decision_emptied_without_an_event_is_named(filled):
    record = documents(filled, "batches")[INLINE]
    decision = record["decisions"][1]
    record["decisions"][1] = {"row": decision["row"], "hash": decision["hash"]}
    edited(filled, "batches", record)
    with pytest.raises(LogDamaged, match=f"{record['id']}-1 was emptied, and no event says so"):
        verify(filled)


def test_verify_command_prints_the_result(settings, monkeypatch, capsys):
    for name in ("decision_log", "bucket"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    assert main(["verify"]) == 0
    assert "is whole: 0 decisions" in capsys.readouterr().out
    monkeypatch.setenv("DECISION_LOG", "nothing://")
    assert main(["verify"]) == 1
    assert capsys.readouterr().err.startswith("verify: the decision log's address")
