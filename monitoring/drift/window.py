"""The window: the recent decisions that the exporter and the report compare with the serving version's reference.

Of all of them the counts are kept up to date, batch by batch as they come and go; the newest ones are kept in full too,
for Evidently.
"""

from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import decision_schema
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import GREEN, LABEL, NAMES
from credit_risk.settings import Settings
from monitoring.challenger import Challenger
from monitoring.drift.bins import RISK, Cells
from monitoring.drift.drift import Drift, Tester, judge
from monitoring.drift.sliding_counts import Rows, Tally
from monitoring.log_reader import PAGE, parts, read_kept

VERSION = "model_version"
COLUMNS = (*NAMES, "label", RISK, "confidence", "prediction", VERSION, "batch", "time")


class Window:
    """Recent decisions; previews are none. Those of the last hours, or the latest ones where these are too few.

    Applications do not depend on the model, so all count; two versions' risks differ without any drift, so that only
    the serving version's count.

    Parameters
    ----------
    log : DecisionLog
        Where the decisions are.
    settings : Settings
        How far the window reaches.
    version : str, optional
        The version that decides.
    reference : DataFrame, optional
        What that was trained on.
    challenger : Challenger, optional
        Who scores the same decisions in shadow.
    """

    def __init__(
        self,
        log: DecisionLog,
        settings: Settings,
        version: str | None = None,
        reference: pd.DataFrame | None = None,
        challenger: Challenger | None = None,
    ) -> None:
        self.version = version
        self.challenger = challenger
        self.reference = pd.DataFrame() if reference is None else reference
        self.minimum = settings.drift_min_rows
        self.threshold: float | None = None  # of the serving version, once it has decided
        self.cells = Cells(self.reference)
        self._log = log
        self._reach = timedelta(hours=settings.drift_window_hours)
        self._latest = max(settings.drift_window_rows, self.minimum)
        self._shown = max(settings.drift_evidently_rows, self.minimum)
        self._tally = Tally(self.cells)
        self._newest = decision_schema(COLUMNS).empty_table()
        self._cursor: int | None = None
        self._changed = False

    def __len__(self) -> int:
        return len(self._tally.window)

    @property
    def enough(self) -> bool:
        """Whether drift can be computed."""
        return len(self) >= self.minimum

    @property
    def start(self) -> datetime | None:
        """When the oldest decision was made."""
        return datetime.fromtimestamp(float(self._tally.window["time"][0]), UTC) if len(self) else None

    @property
    def end(self) -> datetime | None:
        """When the newest decision was made."""
        return datetime.fromtimestamp(float(self._tally.window["time"][-1]), UTC) if len(self) else None

    @property
    def rows(self) -> Rows:
        """The decisions as they are tallied."""
        return self._tally.window

    def advance(self, now: datetime) -> bool:
        """Take in what is new in the log, drop what is too old, and return whether anything changed.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was read by then stays, and the next call reads on.
        """
        since = now - self._reach
        self._read(since)
        n = int(np.count_nonzero(self._tally.kept["time"] >= since.timestamp()))
        if n < self.minimum:
            n = min(self._latest, len(self._tally.kept))
        self._changed |= self._tally.move(n) != 0
        self._tally.forget(self._latest)
        changed, self._changed = self._changed, False
        if changed:
            self.__dict__.pop("newest", None)
        return changed

    def judge(self) -> Drift:
        """Return the verdict on all of the window."""
        return judge(self.cells, self._tally.counts, self.minimum)

    def judge_newest(self, tester: Tester | None = None) -> Drift:
        """Return the verdict on the newest decisions alone; `tester` computes the p-values (see `drift.compare`)."""
        rows = self._tally.window["cells"][len(self) - len(self.newest) :]
        p_values = None if tester is None else lambda features: tester(self.reference, self.newest, features)
        return judge(self.cells, self.cells.count(rows), self.minimum, p_values)

    def missing(self) -> dict[str, int]:
        """Return how many values of each attribute are missing."""
        found = self.cells.missing(self._tally.counts)
        return {name: found[name] for name in NAMES}

    def outside(self) -> dict[str, int]:
        """Return how many values of each number lie outside the range that the serving version saw in training."""
        return self.cells.outside(self._tally.counts)

    @cached_property
    def newest(self) -> pd.DataFrame:
        """The newest decisions in full, the newest last, as many as Evidently is given.

        The 20 attributes, `class` where the upload had it, `risk` where the serving version scored, `model_version`,
        `batch`, `time`.
        """
        table = self._newest.slice(max(0, self._newest.num_rows - len(self)))
        frame: pd.DataFrame = table.to_pandas().rename(columns={"label": LABEL})
        return frame.assign(**{RISK: frame[RISK].where(frame[VERSION] == self.version)})

    def labelled(self) -> pd.DataFrame:
        """Return those of the newest decisions that the serving version made and whose `class` is known."""
        newest = self.newest
        return newest[(newest[VERSION] == self.version) & newest[LABEL].notna()]

    def _read(self, since: datetime) -> None:
        """Take in what came into the log, at first what the window may reach back to."""
        if self._cursor is None:
            self._cursor = self._before(since)
        while batches := self._log.batches(after=self._cursor, limit=PAGE):
            for some in parts(batches):
                self._take(read_kept(self._log, some, COLUMNS))
                self._cursor = some[-1].seq
                self.threshold = next((r.threshold for r in some if r.model_version == self.version), self.threshold)

    def _before(self, since: datetime) -> int:
        """Return the number of the newest batch that the window does not reach back to."""
        n = 0
        for record in self._log.latest_batches():
            if record.time < since and n >= self._latest:
                return record.seq
            n += record.n_decided
        return 0

    def _take(self, decisions: pa.Table) -> None:
        self._changed |= decisions.num_rows > 0
        mine = pc.fill_null(pc.equal(decisions[VERSION], self.version or ""), False)
        risk = pc.if_else(mine, decisions[RISK], None)
        scored = decisions.set_column(decisions.column_names.index(RISK), RISK, risk)
        self._tally.append(
            self.cells.place(scored),
            time=pc.divide(decisions["time"].cast(pa.int64()).cast(pa.float64()), 1e6).to_numpy(),
            risk=risk.to_numpy(),
            confidence=decisions["confidence"].to_numpy(),
            green=pc.equal(decisions["prediction"], GREEN).to_numpy(),
            shadow=self.challenger.risk(decisions) if self.challenger else np.full(decisions.num_rows, np.nan),
        )
        joined = pa.concat_tables([self._newest, decisions.slice(max(0, decisions.num_rows - self._shown))])
        # Taken and not sliced: a slice would keep all that it was cut from.
        last = np.arange(max(0, joined.num_rows - self._shown), joined.num_rows)
        self._newest = joined.take(last).combine_chunks()


def read_window(
    log: DecisionLog,
    settings: Settings,
    version: str | None = None,
    reference: pd.DataFrame | None = None,
    now: datetime | None = None,
) -> Window:
    """Return the window as of now.

    Raises
    ------
    LogUnavailable
        When the decision log is.
    """
    window = Window(log, settings, version, reference)
    window.advance(now or datetime.now(UTC))
    return window
