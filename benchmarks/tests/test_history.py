"""The history and the probes answer within a second, in a log of ten million decisions."""

import pytest

from benchmarks import history
from tests.support.german_credit import DECISION_SCHEMA


def test_searches_find_the_same_in_few_big_files_and_in_many_small_ones(capsys, monkeypatch):
    monkeypatch.setattr(history, "SHAPES", ((27_000, 100), (13_500, 1)))
    assert history.main(["--rows", "30000"]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line]
    results = {cells[1].strip(): [] for cells in rows if not cells[1].startswith("-")}
    for cells in rows:
        if cells[1].strip() in results:
            results[cells[1].strip()].append(cells[2].strip())
    assert results["a file by its name"] == ["1", "1"]
    assert results["a name that no file has"] == ["0", "0"]
    assert results["a client of every file"] == ["1", "2"]
    assert results["a client of a small batch"] == ["1", "1"]
    assert results["a decision in a file"] == [str(len(DECISION_SCHEMA))] * 2


@pytest.mark.nightly
@pytest.mark.alone
def test_a_log_of_ten_million_decisions_answers_within_a_second():
    taken = history.seconds(10_000_000, *history.SHAPES[0])
    commit = next(iter(taken))
    assert {what: took for what, (took, _) in taken.items() if took >= 1 and what != commit} == {}
    assert taken["a client of every file"][1] == 9
    assert taken["a client of a small batch"][1] == 1
