"""Stored files are tried in a process of their own, which reports only whether they pass."""

import io
import os
import subprocess
import sys
import time

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io

from credit_risk.registry import trial
from credit_risk.registry.trial import read_reference, try_scorer
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.stored import ModelRefused
from tests.support.cases import slow
from tests.support.german_credit import GERMAN_CREDIT, NAMES, read_training


@pytest.fixture(scope="module")
def client_frame():
    return read_training("data/credit-g.csv")


@pytest.fixture(scope="module")
def scorer(client_frame):
    return CreditScorer(num_boost_round=20).fit(client_frame, client_frame["class"])


@pytest.fixture
def in_its_place(monkeypatch):
    """A function that has another program tried out in the place of ours."""

    def put(program):
        monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", program))
        monkeypatch.setattr(trial, "_passed", set())
        monkeypatch.setattr(trial, "_refused", {})

    return put


def test_passed_scorer_is_not_tried_again(scorer, in_its_place):
    data = skops.io.dumps(scorer)
    in_its_place("raise SystemExit(9)")
    with pytest.raises(ModelRefused, match="exit code 9"):
        try_scorer(data)
    trial._refused.clear()
    in_its_place("")
    try_scorer(data)
    trial._COMMAND = ("/nowhere",)
    try_scorer(data)


def test_trial_passes_a_scorer(scorer):
    try_scorer(skops.io.dumps(scorer))


def test_trial_refuses_a_file_that_is_not_a_scorer():
    with pytest.raises(ModelRefused, match="it was refused: it is not one of our scorers"):
        try_scorer(b"junk")


RAW = (
    "import sys, lightgbm as lgb; "
    "lgb.Booster(model_str=sys.stdin.read()).predict([[0.0] * 17], num_threads=1)"
)


@pytest.mark.parametrize(
    ("old", "new", "ends"),
    [
        ("tree_sizes=", "tree_sizes=99999999 ", "that process crashed"),
        *slow(
            ("num_leaves=8", "num_leaves=0", "that process crashed"),
            ("num_leaves=8", "num_leaves=100000000", "that process crashed"),
            ("left_child=1", "left_child=0", "and not done within"),
        ),
    ],
)
def test_trial_contains_what_a_hostile_text_does_to_lightgbm(
    scorer, in_its_place, monkeypatch, old, new, ends
):
    """The text itself, given to LightGBM as it was before it was looked at."""
    text = lgb.Booster(model_str=scorer.model_text_).model_to_string()
    assert old in text
    in_its_place(RAW)
    if "done" in ends:
        monkeypatch.setattr(trial, "SECONDS", 5)
    with pytest.raises(ModelRefused, match=ends):
        try_scorer(text.replace(old, new, 1).encode())


LIMITED = "import sys; sys.path.insert(0, '.'); from credit_risk.registry import trial; "


@pytest.mark.slow
def test_trial_that_takes_all_memory_or_time_is_ended(in_its_place):
    in_its_place(LIMITED + "trial._limit(); bytearray(3 * 10**9)")
    with pytest.raises(ModelRefused, match="that process crashed"):
        try_scorer(b"memory")
    in_its_place(LIMITED + "trial.CPU_SECONDS = 1; trial._limit()\nwhile True: pass")
    with pytest.raises(ModelRefused, match="too much time or memory"):
        try_scorer(b"time")


def test_failed_scorer_is_not_tried_again_at_once(in_its_place, monkeypatch):
    in_its_place("raise SystemExit(9)")
    with pytest.raises(ModelRefused, match="exit code 9"):
        try_scorer(b"x")
    monkeypatch.setattr(trial, "_COMMAND", ("/nowhere",))
    with pytest.raises(ModelRefused, match="exit code 9"):
        try_scorer(b"x")
    later = time.monotonic() + trial.AGAIN_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(FileNotFoundError):
        try_scorer(b"x")


def test_trial_process_gets_no_credentials(in_its_place, monkeypatch):
    monkeypatch.setenv("DECISION_LOG", "mongodb://user:hidden@mongo/db")
    in_its_place("import os, sys; sys.exit(3 if 'hidden' in str(os.environ) else 0)")
    try_scorer(b"x")


@pytest.fixture(scope="module")
def reference(client_frame):
    return client_frame[[*NAMES, LABEL]].assign(risk=np.linspace(0, 1, len(client_frame)))


def parquet(frame):
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()


def test_a_reference_is_read_as_it_was_stored(reference):
    data = parquet(reference.assign(age=np.nan, note="x"))
    expected = pd.read_parquet(io.BytesIO(data)).drop(columns="note")
    pd.testing.assert_frame_equal(read_reference(data, GERMAN_CREDIT), expected)
    found = read_reference(data, GERMAN_CREDIT)
    found["risk"] = 0.5  # which is nobody else's
    pd.testing.assert_frame_equal(read_reference(data, GERMAN_CREDIT), expected)


def refused(data):
    """Return why a reference is refused; in this process, to be quick."""
    with pytest.raises((ValueError, pa.ArrowException)) as error:
        trial._reference(GERMAN_CREDIT.text.encode() + b"\n" + data)
    return str(error.value)


def test_a_reference_of_anything_else_is_refused(reference):
    assert "not one of attributes" in refused(parquet(reference.drop(columns="purpose")))
    assert "not one of attributes" in refused(parquet(reference.drop(columns="risk")))
    assert "yacht" in refused(parquet(reference.assign(purpose="yacht")))
    assert "duration" in refused(parquet(reference.assign(duration=10**9)))
    for wrong in ({"risk": 2.0}, {"risk": np.nan}, {LABEL: "ugly"}):
        assert "neither good nor bad, or a risk is not between 0 and 1" in refused(
            parquet(reference.assign(**wrong))
        )
    assert refused(b"junk")
    assert refused(parquet(reference)[:-500])


def lying(texts, length):
    """Return a Parquet file that is small on disk, gigabytes in memory, and declares less."""
    columns = {
        name: pa.array(["a" * length]) for name in [*NAMES, LABEL, "risk", *map(str, range(texts))]
    }
    out = io.BytesIO()
    pq.write_table(
        pa.table(columns), out, compression="zstd", use_dictionary=False, write_statistics=False
    )
    return out.getvalue()


@pytest.mark.slow
def test_a_reference_that_would_take_all_memory_is_refused():
    data = lying(30, 60_000_000)
    assert len(data) < 1_000_000
    with pytest.raises(ModelRefused, match="the reference was tried out"):
        read_reference(data, GERMAN_CREDIT)
    with pytest.raises(ModelRefused, match="more than"):
        read_reference(b"\0" * (trial.MAX_REFERENCE_BYTES + 1), GERMAN_CREDIT)


def test_trial_works_on_a_platform_without_limits(scorer, tmp_path):
    """As on Windows: there is no module `resource`."""
    (tmp_path / "resource.py").write_text("raise ImportError")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:."}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from credit_risk.registry import trial; trial._limit(); print('on')",
        ],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "on\n", done.stderr
