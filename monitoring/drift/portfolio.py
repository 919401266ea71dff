"""The newest portfolio: a bank's clients, scored at night, compared with the reference.

These clients have their loans already, and millions of them come at once: among the applications
they would hide every drift. So a portfolio has figures of its own, and enters no others.

All batches of a run are one portfolio. Only counts are kept, so that its size costs time and no
memory: a batch is read, counted and let go, a few of them a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord, Kind, decision_schema, run_of
from credit_risk.decision_log.log import DecisionLog
from monitoring.drift.bins import RISK, FeatureBins
from monitoring.drift.drift import Drift, judge
from monitoring.log_reader import read_kept

PORTFOLIOS: tuple[Kind, ...] = ("portfolio",)
# Decisions per call: 50 million of them must not keep today's applications waiting.
AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class PortfolioFigures:
    """The figures of a portfolio.

    Attributes
    ----------
    n_decided, n_rejected : int
        Rows that were scored, and rows that were rejected.
    red : float or None
        The share of red ones among the scored; None where there are none.
    risk : float or None
        Their mean risk; None where there are none, or their files are lost.
    time : datetime
        When the newest of its batches was scored.
    drift : Drift
        The verdict on its clients. The risk is judged only where the serving version gave it.
    """

    n_decided: int
    n_rejected: int
    red: float | None
    risk: float | None
    time: datetime
    drift: Drift

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return vars(self) | {"drift": self.drift.as_dict()}


class Portfolio:
    """Follows the portfolio whose run began last; the log feed hands it records only."""

    schema = pa.schema([])

    def __init__(self) -> None:
        self._runs: set[str] = set()
        self._run: str | None = None
        self._records: list[BatchRecord] = []
        self._cells: FeatureBins | None = None
        self._version: str | None = None
        self._start_over()

    def wants(self, record: BatchRecord) -> bool:
        """Return whether the feed has to read a batch's decisions: never, `advance` does."""
        return False

    def ingest(self, records: Sequence[BatchRecord], decisions: pa.Table) -> None:
        """Note the batches of the newest portfolio; those of earlier ones are passed over."""
        for record in records:
            run = run_of(record)
            if run not in self._runs:
                self._runs.add(run)
                self._run, self._records = run, []
                self._start_over()
            if run == self._run:
                self._records.append(record)

    def compare_with(self, cells: FeatureBins, version: str | None) -> None:
        """Compare with what another version was trained on: what was counted is counted again."""
        self._cells, self._version = cells, version
        self._start_over()

    def advance(self, log: DecisionLog) -> PortfolioFigures | None:
        """Read on; return the figures when all is read and something is new.

        Raises
        ------
        LogUnavailable
            When the decision log is. What was read by then stays, and the next call reads on.
        """
        if self._cells is None or self._n_read == len(self._records):
            return None

        n = 0
        while n < AT_A_TIME and self._n_read < len(self._records):
            n += self._read(log, self._records[self._n_read], self._cells)
            self._n_read += 1

        return self._figures(self._cells) if self._n_read == len(self._records) else None

    def _read(self, log: DecisionLog, record: BatchRecord, cells: FeatureBins) -> int:
        """Count the decisions of a batch, and return how many there were."""
        if not record.n_decided:
            return 0

        decisions = read_kept(log, [record], decision_schema(cells.dataset, cells.features))
        self._risk += pc.sum(decisions[RISK], min_count=0).as_py()
        self._n_counted += decisions.num_rows
        if record.model_version != self._version:
            unknown = pa.nulls(decisions.num_rows, pa.float64())
            decisions = decisions.set_column(decisions.column_names.index(RISK), RISK, unknown)
        self._counts += cells.count(cells.place(decisions))
        return int(decisions.num_rows)

    def _figures(self, cells: FeatureBins) -> PortfolioFigures:
        n_decided = sum(record.n_decided for record in self._records)
        n_red = sum(record.n_red for record in self._records)
        return PortfolioFigures(
            n_decided,
            sum(record.n_rejected for record in self._records),
            n_red / n_decided if n_decided else None,
            self._risk / self._n_counted if self._n_counted else None,
            max(record.time for record in self._records),
            judge(cells, self._counts),
        )

    def _start_over(self) -> None:
        self._n_read = self._n_counted = 0
        self._risk = 0.0
        self._counts = np.zeros(self._cells.size if self._cells else 0, np.int64)
