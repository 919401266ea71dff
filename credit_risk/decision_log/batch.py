"""A batch: the decisions on one request or file, and its record in the decision log."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import GREEN, RED
from credit_risk.schema.codec import arrow_type, decode
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.decisions import Decisions
from credit_risk.storage.documents import LogUnavailable

# Rows per part that a bigger batch is worked on in: few enough to stay in the processor's caches.
PART_ROWS = 32_768
# How long a preview can be looked at. It is not recorded as a decision, so there is no reason to
# keep its client's data for longer.
PREVIEWS_KEPT = timedelta(days=1)
OPEN = "open"  # the caller where nobody has to identify themselves
# What a batch was scored for: decisions on applications; a portfolio, whose clients have their
# loans already and apply for nothing; or a look, which is not recorded as anything.
Kind = Literal["decision", "portfolio", "preview"]
ONLY_DECISIONS: tuple[Kind, ...] = ("decision",)
COMMITTED: tuple[Kind, ...] = ("decision", "portfolio")
# Where a batch's decisions are: in its record, in documents of their own, or in a file.
Form = Literal["inline", "documents", "parquet"]

# The columns of a decision before its attributes, and those behind them.
BEFORE = pa.schema(
    [
        ("id", pa.string()),
        ("batch", pa.string()),
        ("row", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("client_id", pa.string()),
        ("label", pa.string()),
    ]
)
BEHIND = pa.schema(
    [
        ("risk", pa.float64()),
        ("prediction", pa.string()),
        ("confidence", pa.float64()),
        ("warnings", pa.list_(pa.string())),
        ("model_version", pa.string()),
    ]
)


def decision_schema(dataset: Dataset, columns: Sequence[str] = ()) -> pa.Schema:
    """Return the columns of a table of decisions: those named, in that order, or all."""
    attributes = [pa.field(a.name, arrow_type(a)) for a in dataset.attributes]
    schema = pa.schema([*BEFORE, *attributes, *BEHIND])
    return pa.schema([schema.field(name) for name in columns]) if columns else schema


def summary_schema(*columns: str) -> pa.Schema:
    """Return columns of a table of decisions that are no attributes, so that all decisions have."""
    schema = pa.schema([*BEFORE, *BEHIND])
    return pa.schema([schema.field(name) for name in columns])


@dataclass(frozen=True)
class Batch:
    """The decisions on one request or file, ready to be committed.

    `decided` is parallel to `applications`. `threshold` and `base_rate` are those of the scorer:
    the risk from which it refuses, and the share of bad clients that its risks are meant for.
    `caller` is who sent the batch, `branch` the branch that their token names.
    """

    applications: Applications
    decided: Decisions
    model_version: str
    digest: str
    threshold: float
    base_rate: float | None = None
    kind: Kind = "decision"
    source: str | None = None
    sha256: str | None = None
    idempotency_key: str | None = None
    caller: str = OPEN
    branch: str | None = None
    id: str = field(default_factory=lambda: str(ULID()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def decision_id(self, row: int) -> str:
        """Return the id of the decision on a data row of the source."""
        return f"{self.id}-{row}"

    @cached_property
    def table(self) -> pa.Table:
        """The decisions with the columns of `decision_schema`.

        Columns with few distinct values are dictionary-encoded.
        """
        starts = range(0, max(1, len(self.applications)), PART_ROWS)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return pa.concat_tables(pool.map(lambda start: _decision_table(self, start), starts))


@dataclass(frozen=True)
class BatchRecord:
    """The record of a batch, without its decisions.

    `seq` is its number, which holds its chain and its place there (`decision_log.chains`); 0 where
    it is a preview. `base_rate` and `caller` are None in records from before they were stored,
    `branch` is None where the caller has none. `dataset` and `definition` are the name and the
    digest of the definition that its applications are of, None before there were definitions.
    `clients_hash` is the SHA-256 of the index of clients, where the batch has one.
    """

    seq: int
    id: str
    time: datetime
    kind: Kind
    model_version: str
    digest: str
    threshold: float
    source: str | None
    sha256: str | None
    idempotency_key: str | None
    n_decided: int
    n_rejected: int
    n_red: int
    reasons: list[dict[str, Any]] = field(hash=False)
    stored: Form
    base_rate: float | None = None
    caller: str | None = None
    branch: str | None = None
    clients_hash: str | None = None
    dataset: str | None = None
    definition: str | None = None


class AlreadyCommitted(ValueError):
    """The caller's idempotency key is in the log already; `record` is the mark of its batch."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(
            f"idempotency key {record.idempotency_key!r} was used for batch {record.id}"
        )
        self.record = record


class BatchLost(LogUnavailable):
    """The file with a batch's decisions has disappeared from the bucket."""


class DecisionSummary(NamedTuple):
    """The essentials of a decision: what was decided on whom, and when."""

    id: str
    time: datetime
    client_id: str | None
    prediction: str
    kind: Kind


def key_of_part(run: str, part: str) -> str:
    """Return the idempotency key of a part of a portfolio."""
    return f"{run}/{part}"


def run_of(record: BatchRecord) -> str:
    """Return the run that scored a batch; a batch without a key is a run of its own."""
    return (record.idempotency_key or record.id).partition("/")[0]


def _decision_table(batch: Batch, start: int) -> pa.Table:
    """Return a part of a batch's decisions."""
    d, rows = batch.decided, slice(start, start + PART_ROWS)
    a = batch.applications.part(start, start + PART_ROWS)
    n = len(a)

    attributes = zip(a.dataset.names, decode(a.codes, a.dataset).columns, strict=True)
    predictions = pa.DictionaryArray.from_arrays(
        pa.array(d.red[rows].astype(np.int8)), pa.array([GREEN, RED])
    )
    columns: dict[str, Any] = {
        "id": pc.binary_join_element_wise(batch.id, pa.array(a.rows).cast(pa.string()), "-"),
        "batch": _repeated(batch.id, n),
        "row": a.rows,
        "time": pa.repeat(pa.scalar(batch.time, pa.timestamp("us", "UTC")), n),
        "client_id": pa.array(a.client_id, pa.string()),
        "label": pa.array(a.label, pa.string()),
        **dict(attributes),
        "risk": d.risk[rows],
        "prediction": predictions,
        "confidence": d.confidence[rows],
        "warnings": a.warning_lists(),
        "model_version": _repeated(batch.model_version, n),
    }
    return pa.table(columns)


def _repeated(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int8)), pa.array([text]))
