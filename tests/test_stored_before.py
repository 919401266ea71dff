"""The scorer, log and bucket that commit 7adcd5d stored can still be read.

`fixtures/7adcd5d` was written by that commit's own code: a scorer of 60 trees, and a log of three
batches, one of them a Parquet file in the bucket, with an override and two outcomes.
`expected.json` has what its code answered: the risks of the test clients and of all clients.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import outcomes
from credit_risk.decision_log.overrides import overrides
from credit_risk.decision_log.proof.errors import LogDamaged
from credit_risk.decision_log.proof.seal import seal
from credit_risk.decision_log.proof.verify import verify
from credit_risk.scoring.stored import read
from credit_risk.settings import Settings
from tests.support.batches import batch, without_guard
from tests.support.german_credit import encode, read_training

STORED = Path(__file__).parent / "fixtures" / "7adcd5d"


@pytest.fixture(scope="module")
def expected():
    return json.loads((STORED / "expected.json").read_text())


@pytest.fixture(scope="module")
def scorer():
    return read((STORED / "model.skops").read_bytes())


@pytest.fixture
def log(tmp_path):
    shutil.copytree(STORED, tmp_path / "var")
    where = tmp_path / "var"
    return open_log(
        Settings(
            _env_file=None,
            decision_log=f"sqlite:///{where}/decisions.db",
            bucket=str(where / "bucket"),
        )
    )


def test_an_earlier_scorer_gives_the_same_risks(scorer, expected):
    for file, risks in (("test.csv", "risks"), ("credit-g.csv", "all_risks")):
        clients = read_training(f"data/{file}")
        np.testing.assert_allclose(scorer.risk(encode(clients)), expected[risks], rtol=1e-12)


def test_an_earlier_scorer_gives_the_same_explanations(scorer, expected):
    test = read_training("data/test.csv").head(20)
    assert scorer.sentences(encode(test), "file").to_pylist() == expected["sentences"]


def test_an_earlier_log_verifies(log, expected):
    found = verify(log)
    assert (found.batches, found.decisions) == (3, 60)
    assert [record.id for record in log.batches()] == expected["batches"]
    assert [record.stored for record in log.batches()] == ["documents", "documents", "parquet"]


def test_an_earlier_log_is_sealed_and_verifies_ever_after(log, expected):
    before = log.batches()
    assert "records of an earlier version are not sealed yet" in verify(log).summary
    event = seal(log)
    assert (event["batches"], event["approvals"]) == (3, 0)
    assert seal(log) is None, "it is sealed once"
    assert verify(log).old == 0
    log.commit(batch(2))
    for _ in range(2):
        log.sweep()  # the old chain is closed
    found = verify(log)
    assert (found.batches, found.decisions) == (4, 62)
    assert "not sealed" not in found.summary
    assert log.batches()[:3] == before
    assert log.decision(expected["override"])["id"] == expected["override"]


EDITS = {
    "a decision": "UPDATE decisions SET body = json_set(body, '$.risk', 0.5) WHERE rowid = 1",
    "a record": "UPDATE batches SET body = json_set(body, '$.source', 'x') WHERE _id = 1",
    "an override": "UPDATE events SET body = json_set(body, '$.by', 'alice') WHERE _id = 1",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_change_of_an_earlier_log_after_its_seal_is_found(log, edit):
    seal(log)
    for collection in ("batches", "events"):
        without_guard(log, collection)
    path = log.storage.documents._path
    with closing(sqlite3.connect(path)) as other, other:
        assert other.execute(edit).rowcount == 1
    with pytest.raises(LogDamaged, match="from before records had hashes was changed"):
        verify(log)


def test_earlier_decisions_match_the_earlier_scorer(log, expected):
    decisions = log.read(*log.batches())
    np.testing.assert_allclose(decisions["risk"], expected["risks"][:60], rtol=1e-12)


def test_earlier_overrides_and_outcomes_still_count(log, expected):
    (event,) = overrides(log, expected["override"])
    assert (event["prediction"], event["by"]) == ("green", "Ada")
    assert {id: outcomes(log, id)[-1]["outcome"] for id in expected["outcomes"]} == expected[
        "outcomes"
    ]
