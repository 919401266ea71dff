"""The drift verdict: few false alarms, and a refresh that costs the same however long the log."""

import re

import pytest

from benchmarks.alarms import DOUBLED, SIZES, false_alarms, power
from benchmarks.drift import World, main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world() -> World:
    return World.trained()


@pytest.mark.parametrize("n", SIZES)
def test_at_most_a_tenth_of_windows_without_drift_is_flagged(world, n):
    assert false_alarms(world.reference, n, 200) <= 0.10


@pytest.mark.parametrize("n", SIZES)
def test_large_shifts_are_found(world, n):
    found = power(world.reference, n, 40)
    assert all(share >= 0.95 for name, share in found.items() if "standard deviation" in name)
    doubled = [share for name, share in found.items() if "doubled" in name]
    assert len(doubled) == len(DOUBLED)
    assert doubled[-1] >= 0.75  # the most frequent


@pytest.mark.alone
def test_refresh_time_is_constant_and_verdicts_equal_evidentlys(capsys):
    assert main(["--rows", "200000", "--windows", "2"]) == 0
    printed = capsys.readouterr().out
    timed = [line.split("|") for line in printed.splitlines() if "busy" in line]
    refreshes = [cells[3] for cells in timed if " decisions" in cells[1]]
    few, many, drifted = (float(re.findall(r"\(([0-9.]+) s busy\)", cell)[0]) for cell in refreshes)
    assert max(many, drifted) <= 1.5 * few
    assert printed.count("| yes |") == 2
    readers = [cells[1].strip() for cells in timed if " decisions" not in cells[1]]
    assert readers[1:] == [  # below the header
        "exporter: start, all read",
        "exporter: the log alone, read and counted",
        "Arrow reads",
        "DuckDB reads into an Arrow table",
        "DuckDB counts the values of each column",
    ]
    assert "| too few decisions |" in printed
