"""Results: the same after JSON, as a table, within a page, as a chart, and as an exit code."""

import pytest

from benchmarks.__main__ import main, measured
from benchmarks.bars import Bar
from benchmarks.chart import draw, shown
from benchmarks.harness import Line, Side
from benchmarks.results import BEGIN, END, Results, write_between_marks
from benchmarks.scenarios import SMOKE, Scenario


@pytest.fixture
def results():
    peer, floor = Side("the usual way", (10.0, 11.0, 12.0)), Side("echo", (5000.0,) * 3)
    lines = [
        Line("one client", "/s", (60.0, 66.0, 72.0), peer, floor, note="AUC 0.8"),
        Line("a file", "s", (4.0, 4.5, 4.2), Side("pandas", (5.0, 5.0, 5.0))),
        Line("memory", "GB", (1.4,)),
        Line("page", left_out="there is no chromium here"),
    ]
    bars = [
        Bar("one client", "the usual way", "ratio", 5),
        Bar("a file", "", "ratio", 8),
        Bar("memory", "", "most", 1.5),
        Bar("page", "", "most", 1),
    ]
    machine = {"size": "full", "cpus": 2, "system": "Linux", "python": "3.11.7"}
    return Results(lines, bars, machine)


def test_results_are_the_same_after_json(results):
    text = results.as_json()
    assert Results.from_json(text) == results
    assert Results.from_json(text).as_json() == text


def test_the_table_says_of_each_line_whether_its_bar_is_met(results):
    rows = results.table().splitlines()
    assert rows[2:] == [
        "| one client (AUC 0.8) | 66/s ± 3 | the usual way: 11/s ± 0.5 | 6 | echo: 5,000/s "
        "| 76 ± 3.5 | ratio at least 5 | met |",
        "| a file | 4.2 s ± 0.12 | pandas: 5 s | 1.2 ± 0.035 |  |  | ratio at least 8 | missed |",
        "| memory | 1.4 GB |  |  |  |  | at most 1.5 | met |",
        "| page | left out: there is no chromium here |  |  |  |  | at most 1 | left out |",
    ]
    assert len({row.count("|") for row in rows}) == 1


def test_the_summary_has_the_median_of_some_lines_beside_their_first_peer():
    lines = [
        Line("memory", "GB", (1.4,)),
        *(
            Line("one client, 1 connection", "/s", (66.0,), Side(name, (rate,)))
            for name, rate in (("the usual way", 11.0), ("another way", 3.0))
        ),
    ]
    assert Results(lines, []).summary().splitlines()[2:] == [
        "| one client, 1 connection | 66/s | the usual way: 11/s |"
    ]


def test_the_table_replaces_what_is_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for _ in range(2):
        write_between_marks(page, "| new |")
    assert page.read_text() == f"before\n\n{BEGIN}\n| new |\n{END}\n\nafter\n"
    page.write_text(f"{END}{BEGIN}")
    with pytest.raises(ValueError, match="no place"):
        write_between_marks(page, "| new |")


def test_the_chart_has_the_ratios_with_a_bar_and_is_the_same_each_time(results, tmp_path):
    assert [line.scenario for line, _ in shown(results)] == ["one client", "a file"]
    files = tmp_path / "a.svg", tmp_path / "b.svg"
    for file in files:
        draw(Results.from_json(results.as_json()), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert b"<svg" in first
    assert b"dc:date" not in first
    with pytest.raises(ValueError, match="no ratio"):
        draw(Results([], []), files[0])


def test_everything_is_written_from_stored_results_and_a_missed_bar_is_an_exit_code(
    results, tmp_path, capsys
):
    stored, page, chart = (tmp_path / name for name in ("in.json", "page.md", "chart.svg"))
    stored.write_text(results.as_json())
    page.write_text(f"{BEGIN}\n{END}\n")
    readme = tmp_path / "readme.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    written = ["--markdown", str(page), "--chart", str(chart), "--json", str(tmp_path / "out.json")]
    written += ["--summary", str(readme)]
    assert main(["--from-json", str(stored), *written]) == 1
    said = capsys.readouterr()
    assert said.out.rstrip() == results.table()
    (wrong,) = said.err.splitlines()
    assert wrong == "a file: missed ratio at least 8 by 6.81, its spread is 0.0347"
    made = "The full benchmark, on 2 processors, Linux, Python 3.11.7."
    assert f"{made}\n\n{results.table()}" in page.read_text()
    assert results.summary() in readme.read_text()
    assert chart.exists()
    assert (tmp_path / "out.json").read_text() == stored.read_text()

    bars = [bar for bar in results.bars if bar.scenario != "a file"]
    good = Results(results.lines, bars, results.machine)
    stored.write_text(good.as_json())
    assert main(["--from-json", str(stored)]) == 0


def broken(place, sizes):
    yield Line("before it broke", "s", (1.0,))
    raise RuntimeError("the server does not answer")


def test_a_scenario_that_fails_is_a_line_and_the_others_are_measured(monkeypatch):
    monkeypatch.setattr("benchmarks.chart.broken", broken, raising=False)
    scenario = Scenario("broken", "benchmarks.chart:broken")
    lines = measured([scenario, scenario], None, SMOKE)
    assert [(line.scenario, line.failed) for line in lines] == [
        ("before it broke", False),
        ("broken", True),
    ] * 2
    assert lines[1].left_out == "it failed: RuntimeError"


def test_docs_are_not_written_of_a_small_benchmark(capsys):
    with pytest.raises(SystemExit):
        main(["--docs", "--smoke"])
    assert "takes the full benchmark" in capsys.readouterr().err


def test_lines_of_a_newer_run_take_the_places_of_the_earlier_ones(results):
    again = Line("a file", "s", (2.0,), Side("pandas", (5.0,)))
    new = Line("a portfolio", "s", (1.0,))
    newer = Results([again, new], results.bars, results.machine)
    merged = results.updated(newer)
    assert [*merged.lines] == [results.lines[0], again, *results.lines[2:], new]
    with pytest.raises(ValueError, match="another machine"):
        results.updated(Results([again], [], {"cpus": 64}))
