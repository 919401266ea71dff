"""The scorer, log and bucket that commit 7adcd5d stored can still be read.

`fixtures/7adcd5d` was written by that commit's own code: a scorer of 60 trees, and a log of three
batches, one of them a Parquet file in the bucket, with an override and two outcomes.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import outcomes
from credit_risk.decision_log.overrides import overrides
from credit_risk.decision_log.verify import verify
from credit_risk.schema.codec import encode
from credit_risk.scoring.stored import read
from credit_risk.settings import Settings
from credit_risk.training_data.data import read_training

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
    test = read_training("data/test.csv")
    np.testing.assert_allclose(scorer.risk(encode(test)), expected["risks"], rtol=1e-12)


def test_an_earlier_scorer_gives_the_same_explanations(scorer, expected):
    test = read_training("data/test.csv").head(20)
    assert scorer.sentences(encode(test)).to_pylist() == expected["sentences"]


def test_an_earlier_log_verifies(log, expected):
    found = verify(log)
    assert (found.batches, found.decisions) == (3, 60)
    assert [record.id for record in log.batches()] == expected["batches"]
    assert [record.stored for record in log.batches()] == ["documents", "documents", "parquet"]


def test_earlier_decisions_match_the_earlier_scorer(log, expected):
    decisions = log.read(*log.batches())
    np.testing.assert_allclose(decisions["risk"], expected["risks"][:60], rtol=1e-12)


def test_earlier_overrides_and_outcomes_still_count(log, expected):
    (event,) = overrides(log, expected["override"])
    assert (event["prediction"], event["by"]) == ("green", "Ada")
    assert {id: outcomes(log, id)[-1]["outcome"] for id in expected["outcomes"]} == expected[
        "outcomes"
    ]
