"""The exporter beside an Evidently report over all decisions, and beside readers of the same files.

The report is what the exporter would have to make at each refresh without counts; a reader of the
same columns is the floor of its start. The log is a real one, on SQLite and in a folder. How many
false alarms either raises, and what they find, is in `python -m benchmarks.drift`.
"""

from collections.abc import Callable, Iterator
from itertools import count

import duckdb
import pyarrow.parquet as pq

from benchmarks.drift import Story, World, chunks, columns_read, evidently_seconds
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.scenarios import Place, Sizes

EVIDENTLY = "Evidently alone"


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of logs of several sizes."""
    world, folder = World.trained(), place.folder("drift")
    world.register(folder, place.registry)

    for n in sizes.decisions:
        story = Story(world, place.registry, folder / f"log-{n}", chunks(world, n))
        taken = alternate(_refreshes(world, story), sizes.long_rounds)
        yield from lines_of(f"drift refresh, {n:,} decisions in the log", "s", taken)

        sides, readers = {OURS: seconds_of(story.start)}, _readers(story)
        taken = alternate(sides | readers, sizes.long_rounds)
        yield from lines_of(f"drift exporter's start, {n:,} decisions", "s", taken, [*readers])


def _refreshes(world: World, story: Story) -> dict[str, Callable[[], float]]:
    decisions, seeds = story.decisions(), count()
    return {
        OURS: lambda: story.refresh(next(seeds)).passed,
        EVIDENTLY: lambda: evidently_seconds(world.reference, decisions).passed,
    }


def _readers(story: Story) -> dict[str, Callable[[], float]]:
    """Return what reads the same columns of the log's files; a small log has no files."""
    files = story.files
    if not files:
        return {}
    columns = columns_read()
    names = ", ".join(columns)
    query = f"select {names} from read_parquet($files)"  # noqa: S608 - names are ours
    return {
        "Arrow reads": seconds_of(
            lambda: [pq.read_table(file, columns=columns) for file in files],
        ),
        "DuckDB reads": seconds_of(
            lambda: duckdb.execute(query, {"files": files}).to_arrow_table()
        ),
    }
