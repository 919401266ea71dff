"""How fast it is beside the usual ways: all scenarios, each pair measured in turn in one run.

    make bench
    make bench ARGS=--docs                        (and write docs/benchmarks.* and README's summary)
    make bench ARGS="--docs --only client file"   (and keep the other lines that are in docs/)
    make bench QUICK=1

The table goes to standard output, progress to standard error. The exit code is 1 when a line misses
its bar (`benchmarks/bars.toml`) by more than its spread, or a scenario failed. Compare the ratios:
seconds depend on the machine, and other work on it spoils both.
"""

import argparse
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bars import read_bars, shortfalls
from benchmarks.chart import draw
from benchmarks.harness import Line
from benchmarks.progress import say
from benchmarks.results import Results, machine, write_between_marks
from benchmarks.scenarios import QUICK, SCENARIOS, SMOKE, Place, Scenario, Sizes
from tools.paths import ROOT


def measured(scenarios: Iterable[Scenario], place: Place, sizes: Sizes) -> list[Line]:
    """Return the lines of scenarios; one that fails leaves a line that says so."""
    lines = []
    for scenario in scenarios:
        began = time.monotonic()
        say(f"{scenario.name}...")
        try:
            for line in scenario.measure(place, sizes):
                lines.append(line)
                say(f"  {Results([line], []).table().splitlines()[-1]}")
        except Exception as error:  # the others are measured all the same
            traceback.print_exc()
            why = f"it failed: {type(error).__name__}"
            lines.append(Line(scenario.name, left_out=why, failed=True))
        say(f"{scenario.name}: {time.monotonic() - began:.0f} s")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a part of it, in three minutes")
    size.add_argument(
        "--smoke", action="store_true", help="all of it, so small that the figures mean nothing"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[s.name for s in SCENARIOS], metavar="NAME",
        help=f"some scenarios: {', '.join(s.name for s in SCENARIOS)}",
    )  # fmt: skip
    parser.add_argument(
        "--before", type=Path, help="another checkout, such as a worktree, whose writers are a peer"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the table between the marks of a page"
    )
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="put a few lines between the marks of a page"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the chart, as SVG")
    parser.add_argument(
        "--docs",
        action="store_true",
        help="write docs/benchmarks.{json,md,svg} and the summary of the README",
    )
    parser.add_argument(
        "--from-json", type=Path, metavar="FILE", help="measure nothing: take these results"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.docs:
        if options.quick or options.smoke:
            parser.error("--docs takes the full benchmark")
        docs = ROOT / "docs"
        options.json, options.chart = docs / "benchmarks.json", docs / "benchmarks.svg"
        options.markdown, options.summary = docs / "benchmarks.md", ROOT / "README.md"
    # Deprecations that are not ours to mend.
    warnings.filterwarnings("ignore", module=r"evidently\.|litestar\.")

    if options.from_json:
        results = Results.from_json(options.from_json.read_text())
    else:
        results = _run(options)
        if options.docs and options.only:
            results = Results.from_json(options.json.read_text()).updated(results)

    print(results.table())
    if options.json:
        options.json.write_text(results.as_json())
    if options.markdown:
        write_between_marks(options.markdown, f"{results.made()}\n\n{results.table()}")
    if options.summary:
        write_between_marks(options.summary, results.summary())
    if options.chart:
        draw(results, options.chart)

    wrong = shortfalls(results.lines, results.bars)
    for sentence in wrong:
        say(sentence)
    return 1 if wrong else 0


def _run(options: argparse.Namespace) -> Results:
    os.chdir(ROOT)
    sizes = QUICK if options.quick else SMOKE if options.smoke else Sizes()
    sizes = replace(sizes, before=options.before and options.before.resolve())
    chosen = [
        scenario
        for scenario in SCENARIOS
        if scenario.name in (options.only or [scenario.name])
        and (scenario.quick or not options.quick)
    ]

    with Place.opened() as place:
        lines = measured(chosen, place, sizes)
    bars = read_bars(sizes.name)
    if options.only and not options.docs:  # most bars are of scenarios that were not asked for
        bars = [bar for bar in bars if any(map(bar.is_of, lines))]
    return Results(lines, bars, machine(size=sizes.name))


if __name__ == "__main__":
    sys.exit(main())
