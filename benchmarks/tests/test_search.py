"""The benchmark of the search runs, and both ways come to the same."""

import re

import pytest

from benchmarks.search import main


@pytest.mark.slow
def test_it_prints_a_table_of_both_ways(capsys):
    assert main(["--folds", "2"]) == 0
    nested, rounds = capsys.readouterr().out.splitlines()[2:]
    usual, ours = (float(value) for value in re.findall(r"AUC ([0-9.]+)", nested))
    assert ours > usual - 0.03
    assert float(rounds.split("|")[-2]) > 5
