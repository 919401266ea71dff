"""Sides are measured in turn, and figures follow from pairs of the same round."""

import pytest

from benchmarks.harness import OURS, Figure, Line, Side, alternate, lines_of


def test_sides_take_turns_and_every_second_round_goes_the_other_way():
    order = []

    def side(name):
        def measure():
            order.append(name)
            return len(order)

        return measure

    taken = alternate({name: side(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abccbaabc"
    assert taken == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_a_figure_is_the_median_and_half_the_interquartile_range():
    assert Figure.of([5, 1, 2, 3, 9]) == (3, 1.5)
    assert Figure.of([4]) == (4, 0)
    assert Figure.of([4, 4, 90, 4, 4]) == (4, 0)  # one round was disturbed


@pytest.mark.parametrize(
    ("unit", "ratio", "over_floor"), [("/s", (4, 2), (0.5, 0.25)), ("s", (0.25, 0.1), (2, 4 / 3))]
)
def test_ratios_are_of_pairs_and_more_is_better_whatever_the_unit(unit, ratio, over_floor):
    line = Line("what", unit, (8, 8, 8), Side("other", (4, 2, 1)), Side("least", (4, 2, 6)))
    pairs = {"/s": [2, 4, 8], "s": [1 / 2, 1 / 4, 1 / 8]}[unit]
    floors = {"/s": [1 / 2, 1 / 4, 6 / 8], "s": [2, 4, 8 / 6]}[unit]
    assert line.ratio == pytest.approx(Figure.of(pairs))
    assert line.over_floor == pytest.approx(Figure.of(floors))
    assert line.ratio.median == ratio[0]
    assert line.over_floor.median == over_floor[0]


def test_what_disturbs_both_sides_of_a_round_falls_out_of_the_ratio():
    line = Line("what", "s", (1, 5, 1), Side("other", (2, 10, 2)))
    assert line.figure.spread == 1
    assert line.ratio == (2, 0)


def test_each_peer_has_a_line_and_the_best_floor_is_in_the_first():
    taken = {OURS: [3, 3], "a": [6, 6], "b": [9, 9], "slow": [2, 2], "fast": [1, 1]}
    first, second = lines_of("what", "s", taken, ["slow", "fast"])
    assert (first.peer.name, second.peer.name) == ("a", "b")
    assert first.floor == Side("fast", (1, 1))
    assert second.floor is None
    (alone,) = lines_of("what", "/s", {OURS: [3], "slow": [2], "fast": [4]}, ["slow", "fast"])
    assert alone.peer is None
    assert alone.floor.name == "fast"
