"""The benchmark of the writers: what they write is in the log, and all of it runs."""

import csv
from contextlib import nullcontext

import pytest

from benchmarks.log import writing
from benchmarks.log.writer import WARM_UP, Done, Task
from benchmarks.log.writers import rate, together, writers_of
from benchmarks.scenarios import SMOKE, Place
from credit_risk.decision_log.log import open_log
from tests.support.cases import slow
from tools.paths import ROOT


@pytest.mark.parametrize("keyed", [*slow(False), True])
def test_writers_commit_to_one_log(settings, keyed):
    with open("data/credit-g.csv", newline="") as file:
        client = next(csv.DictReader(file))
    del client["class"]
    task = Task(settings.decision_log, settings.bucket, client, keyed, seconds=60, commits=5)
    with writers_of(ROOT, 2) as writers:
        all_done = together(writers, task)

    assert [(done.commits, done.failed) for done in all_done] == [(5, 0), (5, 0)]
    batches = open_log(settings).batches()
    assert len(batches) == 2 * (WARM_UP + 5)
    assert {(batch.n_decided, batch.idempotency_key is not None) for batch in batches} == {
        (1, keyed)
    }


def test_the_rate_is_that_of_all_from_the_first_start_to_the_last_end():
    assert rate([Done(10, 12, commits=30), Done(11, 15, commits=20, failed=1)]) == 10


@pytest.mark.nightly
def test_writers_benchmark_has_a_line_for_each_log_and_says_what_it_left_out(monkeypatch):
    monkeypatch.setattr(writing, "WRITERS", (1, 2))
    for server in ("ferretdb", "mongo_java"):
        monkeypatch.setattr(writing, server, lambda folder: nullcontext(None))
    with Place.opened() as place:
        lines = list(writing.measure(place, SMOKE))
    assert [(line.scenario, line.peer and line.peer.name) for line in lines] == [
        ("SQLite, 1 writer", None),
        ("SQLite, 2 writers", "1 writer"),
        ("SQLite, with a key, 1 writer", None),
        ("SQLite, with a key, 2 writers", "1 writer"),
        ("FerretDB, 1 writer", None),
        ("commands of a commit, FerretDB", None),
        ("mongo-java-server, 1 writer", None),
        ("commands of a commit, mongo-java-server", None),
    ]
    assert [bool(line.left_out) for line in lines] == [False] * 4 + [True] * 4
    assert not any(line.failed for line in lines)
    assert all(line.figure.median > 0 for line in lines[:4])
