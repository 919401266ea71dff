"""The benchmark of the search runs, and ours is about as accurate as the baseline."""

import re

import pytest

from benchmarks.search import main


@pytest.mark.slow
def test_search_benchmark_prints_baseline_and_ours(capsys):
    assert main(["--folds", "2"]) == 0
    nested, rounds = capsys.readouterr().out.splitlines()[2:]
    baseline, ours = (float(value) for value in re.findall(r"AUC ([0-9.]+)", nested))
    assert ours > baseline - 0.03
    assert float(rounds.split("|")[-2]) > 5
