"""A log that is whole is said to be, and one that lost something is not."""

import pytest

from credit_risk.__main__ import main
from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import BatchLost
from credit_risk.decision_log.verify import Found, LogDamaged, verify
from tests.support.batches import batch, without_guard


@pytest.fixture
def filled(log, monkeypatch):
    """A log of small batches, a preview whose decisions are gone, and a batch that is a file."""
    log.commit(batch(3))
    log.commit(batch(2, risk=0.9))
    preview = log.commit(batch(1, kind="preview"))
    log._documents.delete("decisions", {"batch": preview.id})
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)
    log.commit(batch(4))
    log.append_event("note", "1")
    log.append_approval("opened", "", earlier=[{"kind": "approval"}])
    log.append_approval("approval", "1")
    return log


def test_verify_counts_a_complete_log(filled):
    assert verify(filled) == Found(batches=3, decisions=9, approvals=2)
    assert (
        verify(filled).summary == "the decision log is whole: 9 decisions in 3 batches, 2 approvals"
    )


def test_verify_accepts_an_empty_log(log):
    assert verify(log) == Found(0, 0, 0)


@pytest.mark.parametrize(("collection", "what"), [("batches", "batch 1"), ("events", "event 1")])
def test_verify_names_a_missing_number(filled, collection, what):
    filled.append_event("note", "2")
    without_guard(filled, collection)._documents.delete(collection, {"_id": 1})
    with pytest.raises(LogDamaged, match=f"{what} is missing"):
        verify(filled)


def test_verify_counts_missing_decisions(filled):
    second = filled.batches()[1]
    filled._documents.delete("decisions", {"_id": f"{second.id}-1"})
    with pytest.raises(
        LogDamaged, match=f"batch {second.id} of 2 decisions, 2 of them red, has 1, 1 of them red"
    ):
        verify(filled)


def test_verify_names_a_lost_file(filled):
    for name in filled._blobs.names():
        filled._blobs.delete(name)
    with pytest.raises(BatchLost):
        verify(filled)


def test_verify_command_prints_the_result(settings, monkeypatch, capsys):
    for name in ("decision_log", "bucket"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    assert main(["verify"]) == 0
    assert "is whole: 0 decisions" in capsys.readouterr().out
    monkeypatch.setenv("DECISION_LOG", "nothing://")
    assert main(["verify"]) == 1
    assert capsys.readouterr().err.startswith("verify: the decision log's address")
