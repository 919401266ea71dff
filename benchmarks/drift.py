"""Drift: false alarms and power, and the time of an exporter's refresh with few and many decisions.

    make bench

Beside ours stands Evidently: its default tests on the same windows, and one Report with
DataDriftPreset over all of the decisions, which is what the exporter would have to make without
counts. The log is a real one (SQLite and a folder), and so is the registry (MLflow on SQLite).
Beside a start stands what it takes Arrow and DuckDB to read the same columns of the same files.
Compare the ratios: seconds depend on the machine.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.model_selection import StratifiedKFold

from benchmarks.alarms import SIZES, baseline_false_alarms, false_alarms, power
from benchmarks.clients import DATASET, labelled_clients
from benchmarks.progress import say
from benchmarks.servers import appoint, mlflow_server
from credit_risk.decision_log.batch import Batch, decision_schema
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.registry.logged import log_scorer
from credit_risk.registry.registry import REFERENCE_FILE, Registry
from credit_risk.schema.attributes import LABEL
from credit_risk.schema.codec import encode
from credit_risk.schema.validation import Validator
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from credit_risk.training_data.data import split
from monitoring.drift.bins import RISK, FeatureBins
from monitoring.drift.drift import Drift
from monitoring.drift.window import Window
from monitoring.exporter.collector import Collector, evidently
from monitoring.exporter.log_counters import LogCounters
from monitoring.log_feed import LogFeed
from monitoring.performance.loan_book import LoanBook
from tools.dashboards.demo_traffic import balances_fall, with_unknown_word

FEW = 10_000
FILE = 50_000
NEW = 100
REFRESHES = 5


@dataclass(frozen=True)
class World:
    """A trained version with its reference, and clients whom it never saw."""

    scorer: CreditScorer
    reference: pd.DataFrame
    strangers: pd.DataFrame

    @classmethod
    def trained(cls) -> "World":
        """Return what the training flow would make of the data, without a search."""
        train, test = split(labelled_clients(), DATASET)
        codes, labels = encode(train, DATASET), train[LABEL].to_numpy(str)

        risk = np.empty(len(train))
        folds = StratifiedKFold(10, shuffle=True, random_state=0)
        for fitted, held_out in folds.split(codes, labels):
            risk[held_out] = CreditScorer().fit(codes[fitted], labels[fitted]).risk(codes[held_out])

        scorer = CreditScorer().fit(codes, labels)
        names = list(DATASET.names)
        return cls(scorer, train[[*names, LABEL]].assign(risk=risk), test[names])

    def draw(self, n: int, *, drifted: bool = False, seed: int = 0) -> pd.DataFrame:
        """Return n clients; `drifted` ones ask for more and have less on their accounts."""
        random = np.random.default_rng(seed)
        # Everybody comes equally often, in random order, so that chance plays no part.
        order = random.permutation(np.arange(n) % len(self.strangers))
        drawn = self.strangers.iloc[order].reset_index(drop=True)
        return balances_fall(drawn, self.reference, DATASET, random) if drifted else drawn

    def decide(self, log: DecisionLog, clients: pd.DataFrame) -> None:
        """Score clients as the Risk-O-Meter does, and commit them."""
        applications = Validator(DATASET, self.scorer.domain).rows(clients.to_dict("records"))
        decided = self.scorer.decide(applications.codes)
        threshold = self.scorer.threshold
        log.commit(Batch(applications, decided, "1", "digest", threshold, source="clients.csv"))

    def register(self, folder: Path, address: str) -> None:
        """Register the scorer as version 1 in an MLflow server; `folder` takes its files."""
        mlflow.set_tracking_uri(address)
        with mlflow.start_run(experiment_id=mlflow.create_experiment("benchmark")) as run:
            self.reference.to_parquet(folder / REFERENCE_FILE, index=False)
            mlflow.log_artifact(str(folder / REFERENCE_FILE))
            uri = log_scorer(self.scorer, self.reference[list(DATASET.names)].head(2))
        Registry(address).register(run.info.run_id, uri)


class Seconds(NamedTuple):
    """How long something took, and how long it kept a processor busy.

    Other work on the machine lengthens only the former.
    """

    passed: float
    busy: float

    def __str__(self) -> str:
        return f"{self.passed:.2f} s ({self.busy:.2f} s busy)"


def timed(work: Callable[[], object]) -> Seconds:
    """Return how long a piece of work takes."""
    passed, busy = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - passed, time.process_time() - busy)


class Story:
    """A log with decisions, and an exporter's child that has read it."""

    def __init__(
        self, world: World, registry: str, folder: Path, chunks: Iterator[pd.DataFrame]
    ) -> None:
        self._world = world
        self._settings = Settings(
            _env_file=None,
            dataset=DATASET.name,
            decision_log=f"sqlite:///{folder}/decisions.db",
            bucket=str(folder / "bucket"),
            mlflow_tracking_uri=registry,
        )
        self.log = open_log(self._settings)
        for clients in chunks:
            world.decide(self.log, clients)

        self.files = [str(path) for path in sorted((folder / "bucket").rglob("*.parquet"))]
        self._versions = Registry(registry, self._settings.model_name)
        appoint(self._versions, self.log)
        self.started = timed(self.start)

    def start(self) -> None:
        """Start anew, and refresh until all is read: a big log enters the loan book bit by bit."""
        self._collector = Collector(self.log, self._versions, self._settings, evidently)
        decided = any(record.n_decided for record in self.log.batches())
        while not self._collector.refresh().quality.vintages and decided:
            pass

    def count(self) -> None:
        """Do what a start does with the log alone, without MLflow, Evidently and the ratings."""
        now = datetime.now(UTC)
        feed, counters = LogFeed(self.log), LogCounters()
        window = Window(self._settings, DATASET, "1", self._world.reference)
        book = LoanBook(DATASET, self._settings.vintage_months)
        feed.add(counters)
        book.follow(feed, now)
        feed.begin()
        feed.advance(counters)
        window.advance(feed, now)
        while not book.advance(feed, now):
            pass

    @property
    def drift(self) -> Drift:
        """The verdict of the last refresh."""
        assert self._collector.figures.drift is not None
        return self._collector.figures.drift

    def refresh(self, seed: int, *, drifted: bool = False) -> "Seconds":
        """Return how long a refresh with some new decisions takes."""
        self._world.decide(self.log, self._world.draw(NEW, drifted=drifted, seed=seed))
        return timed(self._collector.refresh)

    def decisions(self) -> pd.DataFrame:
        """Return all decisions of the window."""
        schema = decision_schema(DATASET, (*DATASET.names, RISK))
        table = self.log.read(*self.log.batches(), schema=schema)
        frame: pd.DataFrame = table.to_pandas()
        return frame


def chunks(world: World, n: int, *, drifted: bool = False) -> Iterator[pd.DataFrame]:
    """Yield n clients in files of at most 50,000."""
    for start in range(0, n, FILE):
        yield world.draw(min(FILE, n - start), drifted=drifted, seed=start)


def features_of(reference: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the features, and those that are measured on a scale."""
    cells = FeatureBins(DATASET, reference)
    return list(cells.features), [name for name in cells.features if name in cells.measured]


def columns_read() -> list[str]:
    """Return the columns of decisions that the exporter reads."""
    window, book = Window(Settings(_env_file=None), DATASET), LoanBook(DATASET, 1)
    return list(dict.fromkeys((*window.schema.names, *book.schema.names)))


def evidently_seconds(reference: pd.DataFrame, decisions: pd.DataFrame) -> Seconds:
    """Return how long one Report with DataDriftPreset takes, with its defaults."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    features, measured = features_of(reference)
    counted = [feature for feature in features if feature not in measured]
    about = DataDefinition(numerical_columns=measured, categorical_columns=counted)

    def make() -> None:
        current = Dataset.from_pandas(decisions[features], data_definition=about)
        base = Dataset.from_pandas(reference[features], data_definition=about)
        Report([DataDriftPreset()]).run(current, base).dict()

    return timed(make)


def evidently_verdict(reference: pd.DataFrame, decisions: pd.DataFrame) -> set[str]:
    """Return the features that drifted by our rule with Evidently's p-values over all decisions."""
    from monitoring.drift import evidently_adapter
    from monitoring.drift.drift import compare

    return set(compare(DATASET, reference, decisions, tester=evidently_adapter.p_values).drifted)


def starts(story: Story) -> list[str]:
    """Return the table of a start beside other readers of the same columns of the same files."""
    import duckdb

    columns = columns_read()
    names = ", ".join(columns)
    each = [
        f"select {name}, count(*) from read_parquet($files) group by 1"  # noqa: S608 - likewise
        for name in columns
    ]
    database = duckdb.connect()
    files = {"files": story.files}

    readers: dict[str, Callable[[], object]] = {
        "exporter: start, all read": story.start,
        "exporter: the log alone, read and counted": story.count,
        "Arrow reads": lambda: [pq.read_table(file, columns=columns) for file in story.files],
        "DuckDB reads into an Arrow table": lambda: database.sql(
            f"select {names} from read_parquet($files)",  # noqa: S608 - names are ours
            params=files,
        ).to_arrow_table(),
        "DuckDB counts the values of each column": lambda: [
            database.execute(query, files).fetchall() for query in each
        ],
    }
    took: dict[str, list[Seconds]] = {what: [] for what in readers}
    for _ in range(REFRESHES):  # by turns, so that all meet the same noise of the machine
        for what, read in readers.items():
            took[what].append(timed(read))

    seconds = {what: Seconds(*np.median(found, axis=0).tolist()) for what, found in took.items()}
    ours = list(readers)[:2]
    lines = [
        f"| {len(columns)} columns of {len(story.files)} files, by turns | time "
        "| start, busy times as long | log alone, likewise |",
        "|---|---|---|---|",
    ]
    for what, found in seconds.items():
        times = " | ".join(f"{seconds[our].busy / found.busy:.1f}" for our in ours)
        lines.append(f"| {what} | {found} | {times} |")
    return lines


def alarms(world: World, windows: int) -> list[str]:
    """Return the tables of false alarms and of power."""
    lines = [
        f"| {windows} windows without drift: any feature flagged "
        "| Evidently's default tests | ours |",
        "|---|---|---|",
    ]
    found: dict[int, Mapping[str, float]] = {}

    for n in SIZES:
        _say(f"windows of {n:,}...")
        baseline = baseline_false_alarms(world.reference, n, windows)
        ours = false_alarms(world.reference, n, windows)
        lines.append(f"| {n:,} decisions | {baseline:.1%} | {ours:.1%} |")
        found[n] = power(world.reference, n, windows)

    titles = " | ".join(f"windows of {n:,}" for n in SIZES)
    lines += ["", f"| found in | {titles} |", f"|---|{'---|' * len(SIZES)}"]
    for name in found[SIZES[0]]:
        shares = " | ".join(f"{found[n][name]:.0%}" for n in SIZES)
        lines.append(f"| {name} | {shares} |")

    return lines


def speed(world: World, n: int) -> list[str]:
    """Return the tables of a refresh's time and of the verdicts on the three stories."""
    with tempfile.TemporaryDirectory() as name, mlflow_server(folder := Path(name)) as registry:
        world.register(folder, registry)
        _say(f"{n:,} decisions...")

        stories = {
            "few": Story(world, registry, folder / "few", chunks(world, min(FEW, n))),
            "many": Story(world, registry, folder / "many", chunks(world, n)),
            "drifted": Story(world, registry, folder / "drifted", chunks(world, n, drifted=True)),
        }

        took: dict[str, list[Seconds]] = {what: [] for what in stories}
        for seed in range(REFRESHES):  # by turns, so that all meet the same noise of the machine
            for what, story in stories.items():
                took[what].append(story.refresh(seed, drifted=what == "drifted"))

        lines = [
            "| log | start, all read | refresh | Evidently's report on all | times as fast |",
            "|---|---|---|---|---|",
        ]
        verdicts = ["", "| story | ours | Evidently on all decisions | same |", "|---|---|---|---|"]
        for what, story in stories.items():
            _say(f"Evidently on {what}...")
            decisions = story.decisions()
            seconds = Seconds(*np.median(took[what], axis=0).tolist())
            baseline = evidently_seconds(world.reference, decisions)
            drifted = ", drifted" if what == "drifted" else ""
            lines.append(
                f"| {len(decisions):,} decisions{drifted} | {story.started} | {seconds} "
                f"| {baseline} | {baseline.passed / seconds.passed:.1f} |"
            )

            if what != "few":
                ours = set(story.drift.drifted)
                theirs = evidently_verdict(world.reference, decisions)
                named = "balances fall, amounts rise" if drifted else "no drift"
                same = "yes" if ours == theirs else "no"
                verdicts.append(f"| {named} | {_listed(ours)} | {_listed(theirs)} | {same} |")

        _say("starts...")
        beside = ["", *starts(stories["many"])]

        clients = with_unknown_word(world.draw(1000), DATASET)
        broken = Story(world, registry, folder / "broken", iter([clients]))
        words = ", ".join(sorted(set(broken.drift.unjudged.values())))
        verdicts.append(
            f"| a column breaks, all rows are rejected | {words} | no rows, no report | - |"
        )

    return lines + beside + verdicts


def _listed(features: set[str]) -> str:
    return ", ".join(sorted(features)) or "no feature"


def _say(line: str) -> None:
    say(f"{datetime.now(UTC):%H:%M:%S} {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="decisions in the big log (1000000)"
    )
    parser.add_argument(
        "--windows", type=int, default=200, help="replayed windows of each size (200)"
    )
    options = parser.parse_args(arguments)

    # Deprecations that are not ours to mend.
    warnings.filterwarnings("ignore", module=r"evidently\.|litestar\.")

    world = World.trained()
    for lines in (alarms(world, options.windows), [""], speed(world, options.rows)):
        print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
