"""The page of the report flow on a full window, beside Evidently alone on the same decisions.

Ours reads the window from the log, judges it, and has the page and the figures made; Evidently's
own report, by its defaults and with its page, gets the decisions as a frame.
"""

import tempfile
from collections.abc import Iterator

from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from benchmarks.clients import DATASET
from benchmarks.drift import World, chunks, features_of
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.scenarios import Place, Sizes
from benchmarks.watching.refresh import EVIDENTLY
from credit_risk.decision_log.log import open_log
from credit_risk.settings import Settings
from monitoring.drift.window import read_window
from monitoring.reports.flow import report

DECISIONS = 10_000


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the line of a report."""
    world, folder = World.trained(), place.folder("report")
    settings = Settings(
        _env_file=None,
        dataset=DATASET.name,
        decision_log=f"sqlite:///{folder}/decisions.db",
        bucket=str(folder / "bucket"),
    )
    log, n = open_log(settings), min(DECISIONS, max(sizes.decisions))
    for clients in chunks(world, n):
        world.decide(log, clients)

    version, reference = "1", world.reference
    decisions = read_window(log, settings, DATASET, version, reference).newest
    features, measured = features_of(reference)
    counted = [feature for feature in features if feature not in measured]
    about = DataDefinition(numerical_columns=measured, categorical_columns=counted)

    def ours() -> None:
        window = read_window(log, settings, DATASET, version, reference)
        made = report.fn(window, world.scorer.threshold)
        if "<body>" not in made.page:
            raise RuntimeError("there is no page")

    def alone() -> None:
        current = Dataset.from_pandas(decisions[features], data_definition=about)
        base = Dataset.from_pandas(reference[features], data_definition=about)
        snapshot = Report([DataDriftPreset()]).run(current, base)
        with tempfile.NamedTemporaryFile(suffix=".html") as page:
            snapshot.save_html(page.name)

    sides = {OURS: seconds_of(ours), EVIDENTLY: seconds_of(alone)}
    for side in sides.values():  # the first of each imports, and does not count
        side()
    yield from lines_of(
        f"report on {len(decisions):,} decisions", "s", alternate(sides, sizes.rounds)
    )
