"""A log that is whole is said to be, and one that lost something is not."""

import pytest

from credit_risk.__main__ import main
from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import BatchLost
from credit_risk.decision_log.verify import Found, LogDamaged, verify
from tests.support.batches import batch


@pytest.fixture
def filled(log, monkeypatch):
    """A log of a small batch of each risk, a preview whose decisions are gone, and one that is a file."""
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


def test_a_whole_log_is_counted(filled):
    assert verify(filled) == Found(batches=3, decisions=9, approvals=2)
    assert verify(filled).words == "the decision log is whole: 9 decisions in 3 batches, 2 approvals"


def test_an_empty_log_is_whole(log):
    assert verify(log) == Found(0, 0, 0)


@pytest.mark.parametrize(("collection", "what"), [("batches", "batch 1"), ("events", "event 1")])
def test_a_number_that_is_missing_is_named(filled, collection, what):
    filled.append_event("note", "2")
    filled._documents.delete(collection, {"_id": 1})
    with pytest.raises(LogDamaged, match=f"{what} is missing"):
        verify(filled)


def test_a_decision_that_is_missing_is_counted(filled):
    second = filled.batches()[1]
    filled._documents.delete("decisions", {"_id": f"{second.id}-1"})
    with pytest.raises(LogDamaged, match=f"batch {second.id} of 2 decisions, 2 of them red, has 1, 1 of them red"):
        verify(filled)


def test_a_file_that_is_gone_is_named(filled):
    for name in filled._blobs.names():
        filled._blobs.delete(name)
    with pytest.raises(BatchLost):
        verify(filled)


def test_the_command_says_it(settings, monkeypatch, capsys):
    for name in ("decision_log", "bucket"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))
    assert main(["verify"]) == 0
    assert "is whole: 0 decisions" in capsys.readouterr().out
    monkeypatch.setenv("DECISION_LOG", "nothing://")
    assert main(["verify"]) == 1
    assert capsys.readouterr().err.startswith("verify: the decision log's address")
