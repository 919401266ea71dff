"""The result of a batch: the same table in every form.

`make score`, the API's CSV, the page's CSV and its workbook have the same columns in the same
order.
"""

import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from credit_risk.decision_log.batch import PART_ROWS, Batch
from credit_risk.decision_log.tables import attribute_names
from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.formulas import escape_formulas
from credit_risk.schema.sheets.arrow_table import unmistakable
from credit_risk.schema.sheets.names import unique_names

# Columns of an override, by the names of its event's fields.
_OVERRIDE = {
    "override": "prediction",
    "override_by": "by",
    "override_reason": "reason",
    "override_time": "time",
}
# Parts of a CSV that wait in memory to be written.
_MAX_WAITING = 4


@dataclass(frozen=True)
class Result:
    """Decisions on n clients as people get them.

    Attributes
    ----------
    decisions : pa.Table
        As in the log, with the columns that `DecisionLog.read` returns.
    time : datetime
        When they were made.
    dataset : Dataset
        What an application was to the version that decided.
    overrides : mapping of str to mapping
        The last override of a decision, by the decision's id.
    reasons : pa.Array of n texts, optional
        The column is empty without them.
    extra : pa.Table of n rows, optional
        Columns of the file that are not part of an application. They come last and as they were
        sent; one that has the name of a column of ours is renamed.
    """

    decisions: pa.Table
    time: datetime
    dataset: Dataset
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: pa.Array | None = None
    extra: pa.Table | None = None

    @classmethod
    def of(cls, batch: Batch, reasons: pa.Array | None = None) -> "Result":
        """Return the result of a batch that was just decided."""
        sent = batch.applications
        return cls(batch.table, batch.time, sent.dataset, reasons=reasons, extra=sent.extra)

    def table(self) -> pa.Table:
        """Return the whole result. Texts that a spreadsheet would run as formulas are escaped."""
        return self._part(0, len(self.decisions))

    def write_csv(self, sink: IO[bytes]) -> None:
        """Write the result as CSV: UTF-8, commas, a header.

        Parts are formatted by as many threads as there are processors.
        """
        starts = range(0, max(1, len(self.decisions)), PART_ROWS)
        waiting: deque[Future[pa.Buffer]] = deque()

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in starts:
                waiting.append(pool.submit(self._csv_part, start))
                if len(waiting) > _MAX_WAITING:
                    sink.write(waiting.popleft().result())
            for part in waiting:
                sink.write(part.result())

    @cached_property
    def _has_labels(self) -> bool:
        return bool(self.decisions["label"].null_count < len(self.decisions))

    @cached_property
    def _extra_names(self) -> list[str]:
        """The names of the extra columns, each different from all before it."""
        extra = self.extra.column_names if self.extra is not None else ()
        names = pa.array(unique_names(extra, list(self._columns(0, 0))), pa.string())
        return [str(name) for name in escape_formulas(names).to_pylist()]

    def _csv_part(self, start: int) -> pa.Buffer:
        text = pa.BufferOutputStream()
        # In one piece: Arrow's own pieces of 1,024 rows take a fifth more time.
        options = pa.csv.WriteOptions(include_header=start == 0, batch_size=PART_ROWS)
        pa.csv.write_csv(self._written(self._part(start, PART_ROWS)), text, options)
        return text.getvalue()

    def _written(self, part: pa.Table) -> pa.Table:
        """Return a part with numbers that files of this data set can have.

        They are numbers, with a dot, to whatever reads the file. Where files write a comma, a dot
        and three digits could be thousands.
        """
        for attribute in self.dataset.attributes:
            name = attribute.name
            if attribute.decimals and attribute.decimal_mark == "," and name in part.column_names:
                place = part.column_names.index(name)
                part = part.set_column(place, name, unmistakable(part[name]))
        return part

    def _part(self, start: int, n: int) -> pa.Table:
        columns = self._columns(start, n)
        if self.extra is None:
            return pa.table(columns)
        extra = [escape_formulas(column) for column in self.extra.slice(start, n).columns]
        return pa.table([*columns.values(), *extra], names=[*columns, *self._extra_names])

    def _columns(self, start: int, n: int) -> dict[str, Any]:
        """Return our own columns of n decisions."""
        decisions = self.decisions.slice(start, n)
        n = len(decisions)
        reasons = (
            self.reasons.slice(start, n) if self.reasons is not None else pa.nulls(n, pa.string())
        )
        warnings = pc.binary_join(decisions["warnings"], "; ")

        columns: dict[str, Any] = {"prediction": decisions["prediction"]}
        columns |= {name: pc.round(decisions[name], 6) for name in ("risk", "confidence")}
        columns |= self._override_columns(decisions["id"])
        columns[CLIENT_ID] = escape_formulas(decisions[CLIENT_ID])
        columns |= {name: decisions[name] for name in attribute_names(decisions.column_names)}
        if self._has_labels:
            columns[LABEL] = decisions["label"]
        columns["reasons"] = escape_formulas(reasons)
        columns["warnings"] = escape_formulas(warnings)
        columns["model_version"] = decisions["model_version"]
        columns["decision_id"] = decisions["id"]
        columns["decided_at"] = pa.repeat(f"{self.time:%Y-%m-%dT%H:%M:%SZ}", n)
        return columns

    def _override_columns(self, ids: pa.ChunkedArray) -> dict[str, Any]:
        if not self.overrides:
            return dict.fromkeys(_OVERRIDE, pa.nulls(len(ids), pa.string()))

        events = [self.overrides.get(id, {}) for id in ids.to_pylist()]
        found = {}
        for column, name in _OVERRIDE.items():
            values = [event.get(name) for event in events]
            found[column] = escape_formulas(pa.array(values, pa.string()))
        return found
