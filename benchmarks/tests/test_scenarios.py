"""Every scenario runs, as small as it goes, and its lines are complete."""

import pytest

from benchmarks.bars import read_bars
from benchmarks.scenarios import QUICK, SCENARIOS, SMOKE, Place, Sizes

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]
# Those that a test of their own runs.
ELSEWHERE = {"command", "scoring", "search", "verification", "writers"}


@pytest.fixture(scope="module")
def place():
    with Place.opened() as place:
        yield place


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name not in ELSEWHERE], ids=lambda s: s.name
)
def test_scenario_runs_and_measures(place, scenario, all_code):
    lines = list(scenario.measure(place, SMOKE))
    assert lines
    for line in lines:
        assert line.left_out or all(figure > 0 for figure in line.ours)
        assert line.peer is None or all(figure > 0 for figure in line.peer.rounds)


def test_the_quick_benchmark_is_held_to_bars_at_sizes_that_it_has():
    text = " ".join(bar.scenario for bar in read_bars("quick"))
    assert f"{QUICK.rows[0]:,} rows" in text
    full = " ".join(bar.scenario for bar in read_bars("full"))
    assert f"{Sizes().rows[-1]:,} rows" in full
