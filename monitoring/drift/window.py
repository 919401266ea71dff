"""The window: the recent decisions, compared with the serving version's reference.

The exporter and the report flow both use it. Counts over all of its decisions are kept up to date,
batch by batch as they come and go; the newest decisions are also kept in full, for Evidently.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord, decision_schema
from credit_risk.decision_log.chains.position import START
from credit_risk.decision_log.log import DecisionLog
from credit_risk.metrics.cost import weights
from credit_risk.schema.attributes import GREEN, LABEL
from credit_risk.schema.dataset import Dataset
from credit_risk.settings import Settings
from monitoring.challenger import Challenger
from monitoring.drift.bins import RISK, FeatureBins
from monitoring.drift.drift import Drift, Tester, judge
from monitoring.drift.sliding_counts import Rows, SlidingCounts
from monitoring.log_feed import LogFeed
from monitoring.log_reader import places_in

VERSION = "model_version"
# What is read of a decision beside its attributes.
BESIDE = ("label", RISK, "confidence", "prediction", VERSION, "batch", "time")


class Window:
    """The decisions of the last hours, or the latest ones where those are too few.

    Previews do not count. Applications do not depend on the model, so all of them count; two
    versions' risks differ without any drift, so only the serving version's count.

    Parameters
    ----------
    settings : Settings
        How far the window reaches.
    dataset : Dataset
        That of the version; of the stack, where no version decides.
    version : str, optional
        The version that decides.
    reference : DataFrame, optional
        What it was trained on.
    challenger : Challenger, optional
        The model that scores the same decisions in shadow.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        version: str | None = None,
        reference: pd.DataFrame | None = None,
        challenger: Challenger | None = None,
    ) -> None:
        self.version = version
        self.challenger = challenger
        self.reference = pd.DataFrame() if reference is None else reference
        self.minimum = settings.drift_min_rows
        self.threshold: float | None = None  # of the serving version, once it has decided
        self.cells = FeatureBins(dataset, self.reference)
        self.schema = _schema(dataset, challenger)
        self._reach = timedelta(hours=settings.drift_window_hours)
        self._latest = max(settings.drift_window_rows, self.minimum)
        self._shown = max(settings.drift_evidently_rows, self.minimum)
        self._counts = SlidingCounts(self.cells)
        self._newest = self.schema.empty_table()
        self._changed = False

    def __len__(self) -> int:
        return len(self._counts.window)

    @property
    def enough(self) -> bool:
        """Whether drift can be computed."""
        return len(self) >= self.minimum

    @property
    def start(self) -> datetime | None:
        """When the oldest decision was made."""
        return _time(self.rows[0]) if len(self) else None

    @property
    def end(self) -> datetime | None:
        """When the newest decision was made."""
        return _time(self.rows[-1]) if len(self) else None

    @property
    def rows(self) -> Rows:
        """The decisions as they are tallied."""
        return self._counts.window

    def advance(self, feed: LogFeed, now: datetime) -> bool:
        """Take in what is new in the log, drop what is too old, return whether anything changed.

        The first call starts with the batches that the window may reach back to.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was read by then stays, and the next call reads on.
        """
        if not feed.follows(self):
            first = self.last_before(feed.log.latest_batches(), now)
            feed.add(self, after=feed.log.position_at(first.time) if first else START)

        feed.advance(self)
        return self.move(now)

    def last_before(self, newest_first: Iterable[BatchRecord], now: datetime) -> BatchRecord | None:
        """Return the newest batch that the window does not reach back to; None if there is none."""
        since, n = now - self._reach, 0
        for record in newest_first:
            if record.time < since and n >= self._latest:
                return record

            n += record.n_decided
        return None

    def wants(self, record: BatchRecord) -> bool:
        """Return whether a batch's decisions are needed: always."""
        return True

    def ingest(self, records: Sequence[BatchRecord], decisions: pa.Table) -> None:
        """Take in batches (see `monitoring.log_feed`); `move` is to be called after the last."""
        self._changed |= decisions.num_rows > 0
        for record in records:
            if record.model_version == self.version:
                self.threshold = record.threshold

        mine = pa.array(places_in([self.version or ""], decisions[VERSION]) == 0)
        risk = pc.if_else(mine, decisions[RISK], None)
        shadow = np.full(decisions.num_rows, np.nan)
        if self.challenger:
            shadow = self.challenger.risk(decisions)

        scored = decisions.set_column(decisions.column_names.index(RISK), RISK, risk)
        microseconds = decisions["time"].cast(pa.int64()).cast(pa.float64())
        self._counts.append(
            self.cells.place(scored),
            time=pc.divide(microseconds, 1e6).to_numpy(),
            risk=risk.to_numpy(),
            confidence=decisions["confidence"].to_numpy(),
            green=places_in([GREEN], decisions["prediction"]) == 0,
            shadow=shadow,
            weight=weights(decisions, self.cells.dataset),
        )

        newest = decisions.slice(max(0, decisions.num_rows - self._shown))
        joined = pa.concat_tables([self._newest, newest.cast(self._newest.schema)])
        # Taken and not sliced: a slice would keep all that it was cut from.
        last = np.arange(max(0, joined.num_rows - self._shown), joined.num_rows)
        self._newest = joined.take(last).combine_chunks()

    def move(self, now: datetime) -> bool:
        """Drop what is too old, and return whether anything changed since the last call."""
        since = now - self._reach
        n = int(np.count_nonzero(self._counts.kept["time"] >= since.timestamp()))
        if n < self.minimum:
            n = min(self._latest, len(self._counts.kept))

        self._changed |= self._counts.move(n) != 0
        self._counts.forget(self._latest)

        changed, self._changed = self._changed, False
        if changed:
            self.__dict__.pop("newest", None)
        return changed

    def judge(self) -> Drift:
        """Return the verdict on all of the window."""
        return judge(self.cells, self._counts.counts, self.minimum)

    def judge_newest(self, tester: Tester | None = None) -> Drift:
        """Return the verdict on the newest decisions alone.

        Parameters
        ----------
        tester : callable, optional
            Computes the p-values; see `drift.compare`.
        """
        rows = self.rows["cells"][len(self) - len(self.newest) :]
        counts = self.cells.count(rows)
        if tester is None:
            return judge(self.cells, counts, self.minimum)

        return judge(
            self.cells,
            counts,
            self.minimum,
            lambda features: tester(self.cells.measured, self.reference, self.newest, features),
        )

    def missing(self) -> dict[str, int]:
        """Return how many values of each attribute are missing."""
        found = self.cells.missing(self._counts.counts)
        return {name: found[name] for name in self.cells.dataset.names}

    def outside(self) -> dict[str, int]:
        """Return how many values of each number lie outside their range in the reference."""
        return self.cells.outside(self._counts.counts)

    @cached_property
    def newest(self) -> pd.DataFrame:
        """The newest decisions in full, the newest last, as many as Evidently is given.

        The attributes, `class` where the upload had it, `risk` where the serving version scored,
        `model_version`, `batch`, `time`.
        """
        table = self._newest.slice(max(0, self._newest.num_rows - len(self)))
        frame: pd.DataFrame = table.to_pandas().rename(columns={"label": LABEL})
        return frame.assign(**{RISK: frame[RISK].where(frame[VERSION] == self.version)})

    def labelled(self) -> pd.DataFrame:
        """Return the newest decisions by the serving version whose `class` is known."""
        newest = self.newest
        return newest[(newest[VERSION] == self.version) & newest[LABEL].notna()]


def read_window(
    log: DecisionLog,
    settings: Settings,
    dataset: Dataset,
    version: str | None = None,
    reference: pd.DataFrame | None = None,
    now: datetime | None = None,
) -> Window:
    """Return the window as of now, read from the log.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    """
    window = Window(settings, dataset, version, reference)
    window.advance(LogFeed(log), now or datetime.now(UTC))
    return window


def _schema(dataset: Dataset, challenger: Challenger | None) -> pa.Schema:
    """Return what is read of decisions: the attributes of both models, and what is beside them."""
    fields = list(decision_schema(dataset, (*dataset.names, *BESIDE)))
    if challenger is not None:
        others = [name for name in challenger.dataset.names if name not in dataset.by_name]
        fields += [decision_schema(challenger.dataset).field(name) for name in others]
    return pa.schema(fields)


def _time(row: np.void) -> datetime:
    return datetime.fromtimestamp(float(row["time"]), UTC)
