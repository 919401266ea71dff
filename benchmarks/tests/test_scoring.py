"""The benchmark of scoring runs, and ours is the faster way in each of its rows."""

import pytest

from benchmarks.scoring import main


@pytest.mark.slow
def test_scoring_benchmark_prints_baseline_and_ours(capsys):
    assert main(["--rows", "50000"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 6
    assert all(float(row.split("|")[-2]) > 1 for row in rows)
