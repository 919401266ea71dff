"""A bar that is missed by more than the spread is an error; the table says of any that it is."""

import pytest

from benchmarks.bars import Bar, read_bars, shortfalls
from benchmarks.harness import Line, Side


def line(*ours, scenario="one client"):
    return Line(scenario, "/s", ours, Side("peer", (1,) * len(ours)), Side("floor", (90,) * 3))


@pytest.mark.parametrize(
    ("ours", "verdict", "wrong"),
    [
        ((7, 7, 7), "met", 0),
        ((9, 8, 7), "met", 0),
        ((6, 6.5, 8), "missed, within the spread", 0),
        ((6, 6.1, 6.2), "missed", 1),
    ],
)
def test_a_ratio_is_held_to_its_bar_by_its_spread(ours, verdict, wrong):
    bar = Bar("one client", "peer", "ratio", 7)
    assert bar.verdict(line(*ours)) == verdict
    assert len(shortfalls([line(*ours)], [bar])) == wrong


@pytest.mark.parametrize(("kind", "limit"), [("floor", 15), ("most", 6)])
@pytest.mark.parametrize(("change", "verdict"), [(0, "met"), (-0.5, "missed")])
def test_a_multiple_of_the_floor_and_a_figure_have_an_upper_bar(kind, limit, change, verdict):
    bar = Bar("one client", "", kind, limit + change)
    assert bar.verdict(line(6, 6, 6)) == verdict


def test_a_bar_belongs_to_the_line_of_its_peer():
    other = Line("one client", "/s", (3.0,), Side("other", (1.0,)))
    bar = Bar("one client", "other", "ratio", 2)
    assert not bar.is_of(line(1, 1, 1))
    assert shortfalls([line(1, 1, 1), other], [bar]) == []


def test_a_bar_without_a_line_and_a_failed_scenario_are_errors_and_one_left_out_is_not():
    bar = Bar("one client", "peer", "ratio", 7)
    assert shortfalls([], [bar]) == [
        "one client, beside peer: nothing was measured that the bar is for"
    ]
    assert shortfalls([Line("one client", left_out="there is no program here")], [bar]) == []
    failed = Line("page", left_out="it failed: ValueError", failed=True)
    assert shortfalls([failed], []) == ["page: it failed: ValueError"]


def test_a_bar_that_the_line_has_no_figure_for_is_refused():
    with pytest.raises(ValueError, match="no floor"):
        Bar("one client", "", "floor", 2).verdict(Line("one client", "s", (1.0,)))


def test_the_file_has_bars_for_both_benchmarks():
    for part in ("full", "quick"):
        bars = read_bars(part)
        assert len(bars) == len({(bar.scenario, bar.peer, bar.kind) for bar in bars}) > 5
    assert read_bars("smoke") == []


@pytest.mark.parametrize("line", ["", "least = 3", "ratio = 3\nunit = 's'"])
def test_a_bar_that_is_not_understood_is_refused(tmp_path, line):
    source = tmp_path / "bars.toml"
    source.write_text(f"[[quick]]\nscenario = 'one client'\n{line}\n")
    with pytest.raises(ValueError, match="one client"):
        read_bars("quick", source)
