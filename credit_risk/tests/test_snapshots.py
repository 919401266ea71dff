"""Snapshots: of clients with matured outcomes, each in one part for ever, written once."""

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from credit_risk.__main__ import main
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest
from credit_risk.decision_log.overrides import override
from credit_risk.schema.attributes import LABEL
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.storage.backends import open_blobs
from credit_risk.training_data import snapshots
from credit_risk.training_data.outcome_maturation import matured
from credit_risk.training_data.snapshots import (
    NoSuchSnapshot,
    decision_ids,
    latest_snapshot,
    make,
    pick,
)
from tests.support.batches import at_once
from tests.support.german_credit import (
    NAMES,
    Validator,
    data_hash,
    read_snapshot,
    read_training,
    split,
)
from tests.support.outcomes import text

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
DATA = "data/credit-g.csv"


@pytest.fixture(scope="module")
def base():
    return read_training(DATA)


@pytest.fixture
def blobs(stores):
    return open_blobs(stores.bucket)


def decide(log, time, clients: pd.DataFrame, risk: float = 0.1) -> list[str]:
    """Decide on clients as of then and return the decisions' ids."""
    applications = Validator().rows(clients.drop(columns=LABEL).to_dict("records"))
    risks = np.full(len(applications), risk)
    decided = Decisions(risks, risks >= 1 / 6, confidence(risks))
    record = log.commit(Batch(applications, decided, "7", "abc", 1 / 6, time=time))
    return [f"{record.id}-{i}" for i in range(record.n_decided)]


def lent(base, *terms: int, seed: int = 0) -> pd.DataFrame:
    """Return clients like those of the base data, none equal, with loans of the given months."""
    drawn = base.sample(len(terms), random_state=seed, replace=True)
    return drawn.assign(
        duration=list(terms), credit_amount=drawn["credit_amount"] + 20_000 + np.arange(len(terms))
    )


def tell(log, ids, outcome: str, day: str = "2026-07-01"):
    return ingest(log, text(*((id, outcome, day) for id in ids)))


@pytest.fixture
def history(log, base):
    """Twenty accepted clients of long ago, all with outcomes, 5 of them bad; the ids."""
    ids = decide(log, datetime(2024, 1, 10, tzinfo=UTC), lent(base, *[12] * 20))
    tell(log, ids[:15], "repaid")
    tell(log, ids[15:], "defaulted")
    return ids


def ids_of(found):
    return found.rows["id"].to_pylist()


def test_a_client_counts_once_the_months_and_the_term_have_passed(log, base):
    short, long = decide(log, datetime(2025, 6, 30, 23, tzinfo=UTC), lent(base, 6, 24))
    younger, _ = decide(log, datetime(2025, 7, 1, tzinfo=UTC), lent(base, 6, 6))
    tell(log, [short], "repaid")
    tell(log, [long, younger], "defaulted")
    # A year after June 2025 is July 2026; the long loan's default is known, and waits for June
    # 2027.
    assert ids_of(matured(log, 12, NOW)) == [short]
    assert ids_of(matured(log, 12, NOW - timedelta(days=20))) == []
    assert ids_of(matured(log, 11, NOW)) == [short]
    assert ids_of(matured(log, 24, NOW)) == []
    assert long in ids_of(matured(log, 12, datetime(2027, 7, 1, tzinfo=UTC)))
    assert younger not in ids_of(matured(log, 12, datetime(2026, 8, 1, tzinfo=UTC))), (
        "the other of its cohort is open"
    )


def test_a_default_and_a_repayment_enter_on_the_same_day(log, base):
    ids = decide(log, datetime(2025, 3, 1, tzinfo=UTC), lent(base, *[18] * 10))
    tell(log, ids[:3], "defaulted", "2025-04-01")
    for month in range(4, 13):
        assert ids_of(matured(log, 12, datetime(2025, month, 2, tzinfo=UTC))) == []
    tell(log, ids[3:], "repaid", "2026-07-01")
    assert ids_of(matured(log, 12, datetime(2026, 9, 30, tzinfo=UTC))) == []
    assert len(ids_of(matured(log, 12, datetime(2026, 10, 1, tzinfo=UTC)))) == 10


def test_a_cohort_waits_for_most_of_its_outcomes_but_not_for_ever(log, base):
    ids = decide(log, datetime(2025, 6, 2, tzinfo=UTC), lent(base, *[12] * 20))
    tell(log, ids[:17], "defaulted")
    (cohort,) = matured(log, 12, NOW).cohorts
    assert (cohort.due, cohort.n, cohort.n_open, cohort.n_bad, cohort.taken) == (
        "2026-07",
        20,
        3,
        17,
        False,
    )
    assert (
        cohort.summary
        == "due 2026-07: 20 clients, 17 defaulted, 3 still open; it waits for their outcomes"
    )
    assert len(ids_of(matured(log, 12, datetime(2026, 9, 30, tzinfo=UTC)))) == 0
    assert len(ids_of(matured(log, 12, datetime(2026, 10, 1, tzinfo=UTC)))) == 17
    tell(log, ids[17:18], "repaid")
    assert len(ids_of(matured(log, 12, NOW))) == 18


def test_only_clients_accepted_by_the_final_decision_count(log, base):
    ids = decide(log, datetime(2025, 1, 2, tzinfo=UTC), lent(base, 12, 12))
    refused = decide(log, datetime(2025, 1, 3, tzinfo=UTC), lent(base, 12, 12), risk=0.5)
    override(log, refused[0], "green", "Ann", "knows him")
    tell(log, [*ids, refused[0]], "repaid")
    override(log, ids[1], "red", "Ann", "income not proven")
    found = matured(log, 12, NOW)
    assert ids_of(found) == sorted([ids[0], refused[0]])
    assert [c.n for c in found.cohorts] == [2]


def test_a_snapshot_is_base_and_accepted_clients_and_never_written_twice(log, blobs, base, history):
    said = []
    snapshot, new = make(log, blobs, base, DATA, 12, said.append)
    assert new
    assert said == ["2024-01: 20 accepted, 20 of them due, 20 with an outcome"]
    assert latest_snapshot(log) == snapshot
    assert (snapshot.n_base, snapshot.n_funded, snapshot.n_funded_bad) == (1000, 20, 5)
    assert snapshot.base_sha256 == data_hash(base)
    data = blobs.get(snapshot.name)
    assert snapshot.name == f"training-data/{hashlib.sha256(data).hexdigest()}.csv"
    manifest = json.loads(blobs.get(snapshot.name.replace(".csv", ".json")))
    assert manifest["cohorts"] == [
        {"due": "2025-02", "n": 20, "n_open": 0, "n_bad": 5, "taken": True}
    ]
    assert manifest["sha256"] == snapshot.sha256
    assert manifest["cursor"] == 2

    train, test = read_snapshot(blobs, snapshot)
    base_train, base_test = split(base)
    pd.testing.assert_frame_equal(
        train[:800].reset_index(drop=True), base_train.reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(
        test[:200].reset_index(drop=True), base_test.reset_index(drop=True)
    )
    assert len(train) + len(test) == 1020
    assert len(test) == 200 + snapshot.n_funded_test
    labels = pd.concat([train[800:], test[200:]]).sort_index()[LABEL]
    assert dict(zip(sorted(history), labels, strict=True)) == dict(
        zip(history, ["good"] * 15 + ["bad"] * 5, strict=True)
    )
    assert decision_ids(blobs, snapshot.sha256) == set(history)

    before, events = blobs.names("training-data/"), log.last_event()
    assert make(log, blobs, base, DATA, 12) == (snapshot, False)
    assert (blobs.names("training-data/"), log.last_event()) == (before, events)


def test_a_later_snapshot_moves_nobody_between_the_parts(log, blobs, base, history):
    first, _ = make(log, blobs, base, DATA, 12)
    more = decide(log, datetime(2024, 2, 1, tzinfo=UTC), lent(base, *[6] * 300, seed=1))
    tell(log, more, "repaid")
    tell(log, history[:1], "defaulted")  # a correction
    second, new = make(log, blobs, base, DATA, 12)
    assert new
    assert (second.n_funded, second.n_funded_bad) == (320, 6)
    assert len(blobs.names("training-data/")) == 4, "the first stays"

    def part_of(snapshot):
        rows = csv.DictReader(io.StringIO(blobs.get(snapshot.name).decode()))
        return {row["decision_id"] or number: row["part"] for number, row in enumerate(rows)}

    one, other = part_of(first), part_of(second)
    assert {key: other[key] for key in one} == one
    assert 0.15 < second.n_funded_test / second.n_funded < 0.25


def test_client_equal_to_a_base_row_joins_its_part(log, blobs, base):
    base_train, base_test = split(base)
    same = pd.concat([base_train.head(150), base_test.head(150)])
    ids = decide(log, datetime(2018, 1, 10, tzinfo=UTC), same)
    tell(log, ids, "repaid")
    snapshot, _ = make(log, blobs, base, DATA, 12)
    train, test = read_snapshot(blobs, snapshot)
    assert (len(train), len(test)) == (950, 350)
    assert not set(map(tuple, train[list(NAMES)].to_numpy())) & set(
        map(tuple, test[list(NAMES)].to_numpy())
    )


def test_missing_protected_attributes_stay_missing(log, blobs, base):
    ids = decide(
        log,
        datetime(2024, 1, 10, tzinfo=UTC),
        lent(base, 6, 6).drop(columns=["age", "personal_status"]),
    )
    tell(log, ids, "repaid")
    snapshot, _ = make(log, blobs, base, DATA, 12)
    everyone = pd.concat(read_snapshot(blobs, snapshot)).sort_index()
    assert everyone["age"].isna().sum() == everyone["personal_status"].isna().sum() == 2


def test_no_snapshot_is_made_without_matured_outcomes(log, blobs, base):
    decide(log, datetime.now(UTC), lent(base, 12))
    assert make(log, blobs, base, DATA, 12) == (None, False)
    assert log.events() == []
    assert blobs.names() == []


def test_concurrent_runs_make_one_snapshot(log, stores, blobs, base, history):
    at_once(4, lambda: make(open_log(stores), blobs, base, DATA, 12))
    assert len(log.events("training-data")) == 1


def test_of_concurrent_snapshots_the_larger_stands(log, stores, blobs, base, history, monkeypatch):
    write = snapshots._write
    said = []

    def meanwhile(*arguments):
        monkeypatch.setattr(snapshots, "_write", write)
        tell(log, history[:1], "defaulted")
        make(open_log(stores), blobs, base, DATA, 12)
        write(*arguments)

    monkeypatch.setattr(snapshots, "_write", meanwhile)
    snapshot, new = make(log, blobs, base, DATA, 12, said.append)
    assert not new
    assert snapshot.n_funded_bad == 6
    assert said[-1] == "somebody else made a newer one meanwhile, which stands"


def test_setting_selects_the_snapshot(log, blobs, base, history):
    assert pick(log, "latest", data_hash(base)) is None
    snapshot, _ = make(log, blobs, base, DATA, 12)
    assert pick(log, "latest", data_hash(base)) == snapshot
    assert pick(log, snapshot.sha256[:8], "other") == snapshot
    assert pick(log, "none", data_hash(base)) is None
    assert pick(log, "latest", "other") is None, "it was made of other base data"
    with pytest.raises(NoSuchSnapshot, match="TRAINING_SNAPSHOT=abcxyz"):
        pick(log, "abcxyz", "other")


def test_lost_or_changed_snapshot_is_written_again(log, blobs, base, history):
    snapshot, _ = make(log, blobs, base, DATA, 12)
    blobs.put(snapshot.name, blobs.get(snapshot.name).replace(b",good,", b",bad,"), overwrite=True)
    with pytest.raises(NoSuchSnapshot, match="has been changed"):
        read_snapshot(blobs, snapshot)
    assert make(log, blobs, base, DATA, 12)[1]
    blobs.delete(snapshot.name)
    with pytest.raises(NoSuchSnapshot, match="not in the bucket"):
        read_snapshot(blobs, snapshot)
    assert make(log, blobs, base, DATA, 12)[1]
    assert len(read_snapshot(blobs, snapshot)[0]) >= 800


@pytest.fixture
def command(settings, monkeypatch, capsys):
    """A function that runs `python -m credit_risk training-data`: exit code and output."""

    def run(**more):
        environment = {"DECISION_LOG": settings.decision_log, "BUCKET": settings.bucket, **more}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(["training-data"])
        return code, *capsys.readouterr()

    return run


def test_snapshot_command_reports_what_it_did(settings, base, command):
    assert command()[:2] == (1, "no outcome has matured yet: training goes on with DATA alone\n")
    log = open_log(settings)
    tell(log, decide(log, datetime(2024, 1, 10, tzinfo=UTC), lent(base, *[12] * 20)), "repaid")
    code, out, err = command()
    assert code == 0
    assert out.startswith("written: training-data/")
    assert "1,000 clients of the base data and 20 accepted ones (0 defaulted, " in out
    assert "training-data: 2024-01: 20 accepted, 20 of them due, 20 with an outcome\n" in err
    code, out, _ = command()
    assert code == 0
    assert out.startswith("nothing new: training-data/")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"DATA": "nowhere.csv"}, "nowhere.csv"),
        ({"DATA": "Makefile"}, "Makefile: "),
        ({"DECISION_LOG": "sqlite:///Makefile/log.db"}, "Makefile/log.db"),
        ({"DECISION_LOG": "mysql://x"}, "must start with mongodb:// or sqlite:///"),
        ({"OUTCOME_MATURITY_MONTHS": "0"}, "greater than or equal to 1"),
    ],
)
def test_snapshot_command_reports_errors(command, wrong, words):
    code, out, err = command(**wrong)
    assert (code, out) == (2, "")
    assert words in err
