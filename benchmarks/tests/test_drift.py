"""The verdict on drift keeps its bars: hardly a false alarm, and a refresh that costs the same however long the log."""

import re

import pytest

from benchmarks.alarms import SIZES, false_alarms, power
from benchmarks.drift import World, main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world() -> World:
    return World.trained()


@pytest.mark.parametrize("n", SIZES)
def test_of_200_windows_without_drift_at_most_a_tenth_flags_a_feature(world, n):
    assert false_alarms(world.reference, n, 200) <= 0.10


@pytest.mark.parametrize("n", SIZES)
def test_half_a_standard_deviation_and_a_quarter_doubled_are_found(world, n):
    found = power(world.reference, n, 40)
    assert all(share >= 0.95 for name, share in found.items() if "standard deviation" in name)
    assert all(share >= 0.75 for name, share in found.items() if name.startswith("checking_status"))


def test_a_refresh_takes_the_same_with_more_decisions_and_says_what_evidently_says(capsys):
    assert main(["--rows", "200000", "--windows", "2"]) == 0
    printed = capsys.readouterr().out
    refreshes = [line.split("|")[3] for line in printed.splitlines() if "busy" in line]
    few, many, drifted = (float(re.findall(r"\(([0-9.]+) s busy\)", cell)[0]) for cell in refreshes)
    assert max(many, drifted) <= 1.5 * few
    assert printed.count("| yes |") == 2
    assert "| too few decisions |" in printed
