"""A batch: what one request or file came to, and the mark that it leaves in the decision log."""

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
from credit_risk.schema.attributes import ATTRIBUTES, GREEN, RED
from credit_risk.schema.codec import decode
from credit_risk.scoring.model import Decided
from credit_risk.storage.documents import LogUnavailable

# A bigger batch is worked on in parts of so many rows: few enough to stay in the processor's caches.
PART_ROWS = 32_768
# So long a preview can be looked at: nothing rests on it, and nobody needs its client's data.
PREVIEWS_KEPT = timedelta(days=1)
OPEN = "open"  # the caller where nobody has to say who they are
Kind = Literal["decision", "preview"]

DECISION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("batch", pa.string()),
        ("row", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("client_id", pa.string()),
        ("label", pa.string()),
        *((a.name, pa.string() if a.kind == "category" else pa.int64()) for a in ATTRIBUTES),
        ("risk", pa.float64()),
        ("prediction", pa.string()),
        ("confidence", pa.float64()),
        ("warnings", pa.list_(pa.string())),
        ("model_version", pa.string()),
    ]
)


def decision_schema(columns: Sequence[str] = ()) -> pa.Schema:
    """Return some of the columns of `DECISION_SCHEMA`, in the order given; all where none are."""
    return pa.schema([DECISION_SCHEMA.field(name) for name in columns]) if columns else DECISION_SCHEMA


@dataclass(frozen=True)
class Batch:
    """What one request or file came to, ready to be committed; `decided` is parallel to `applications`.

    `threshold` and `base_rate` are those of the scorer: from which risk it refuses, and for which share of bad clients
    its risks are meant. `caller` is who sent it.
    """

    applications: Applications
    decided: Decided
    model_version: str
    digest: str
    threshold: float
    base_rate: float | None = None
    kind: Kind = "decision"
    source: str | None = None
    sha256: str | None = None
    idempotency_key: str | None = None
    caller: str = OPEN
    id: str = field(default_factory=lambda: str(ULID()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def decision_id(self, row: int) -> str:
        """Return the id of the decision on a data row of the source."""
        return f"{self.id}-{row}"

    @cached_property
    def table(self) -> pa.Table:
        """The decisions with the columns of `DECISION_SCHEMA`; those of few words are dictionary-encoded."""
        starts = range(0, max(1, len(self.applications)), PART_ROWS)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return pa.concat_tables(pool.map(lambda start: _decision_table(self, start), starts))


@dataclass(frozen=True)
class BatchRecord:
    """The commit mark of a batch; `seq` is its place in the log, from 1, without gaps.

    `base_rate` and `caller` are None in records of before they were kept.
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
    stored: Literal["documents", "parquet"]
    base_rate: float | None = None
    caller: str | None = None


class AlreadyCommitted(ValueError):
    """A batch of the same caller with this idempotency key is in the log; `record` is its mark."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(f"idempotency key {record.idempotency_key!r} was used for batch {record.id}")
        self.record = record


class BatchLost(LogUnavailable):
    """The file with a batch's decisions is gone from the bucket."""


class Brief(NamedTuple):
    """A decision in short: what was decided on whom, and when."""

    id: str
    time: datetime
    client_id: str | None
    prediction: str
    kind: Kind


def _decision_table(batch: Batch, start: int) -> pa.Table:
    """Return a part of a batch's decisions."""
    d, rows = batch.decided, slice(start, start + PART_ROWS)
    a = batch.applications.part(start, start + PART_ROWS)
    n = len(a)
    columns: dict[str, Any] = {
        "id": pc.binary_join_element_wise(batch.id, pa.array(a.rows).cast(pa.string()), "-"),
        "batch": _one_word(batch.id, n),
        "row": a.rows,
        "time": pa.repeat(pa.scalar(batch.time, pa.timestamp("us", "UTC")), n),
        "client_id": pa.array(a.client_id, pa.string()),
        "label": pa.array(a.label, pa.string()),
        **dict(zip((c.name for c in ATTRIBUTES), decode(a.codes).columns, strict=True)),
        "risk": d.risk[rows],
        "prediction": pa.DictionaryArray.from_arrays(pa.array(d.red[rows].astype(np.int8)), pa.array([GREEN, RED])),
        "confidence": d.confidence[rows],
        "warnings": a.warning_lists(),
        "model_version": _one_word(batch.model_version, n),
    }
    return pa.table(columns)


def _one_word(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int8)), pa.array([word]))
