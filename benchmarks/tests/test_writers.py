"""The benchmark of the writers: what they write is in the log, and all of it runs."""

import csv

import pytest

from benchmarks.writers import OURS, WARM_UP, Done, Task, main, rate, together, writers_of
from credit_risk.decision_log.log import open_log


@pytest.mark.parametrize("keyed", [False, True])
def test_writers_commit_to_one_log(settings, keyed):
    with open("data/credit-g.csv", newline="") as file:
        client = next(csv.DictReader(file))
    del client["class"]
    task = Task(settings.decision_log, settings.bucket, client, keyed, seconds=60, commits=5)
    with writers_of(OURS, 2) as writers:
        all_done = together(writers, task)

    assert [(done.commits, done.failed) for done in all_done] == [(5, 0), (5, 0)]
    batches = open_log(settings).batches()
    assert len(batches) == 2 * (WARM_UP + 5)
    assert {(batch.n_decided, batch.idempotency_key is not None) for batch in batches} == {
        (1, keyed)
    }


def test_the_rate_is_that_of_all_from_the_first_start_to_the_last_end():
    found = rate([Done(10, 12, commits=30), Done(11, 15, commits=20, failed=1)])
    assert found == (10, 1)
    assert str(found) == "10/s (1 failed)"


def test_writers_benchmark_prints_a_row_for_each_log(capsys):
    few = ["--only", "sqlite", "--writers", "1", "2", "--seconds", "0.2", "--rounds", "1"]
    assert main(few) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| log | code | 1 writer | 2 writers | 2 / 1 |"
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| SQLite", "now"],
        ["| SQLite, with a key", "now"],
    ]
