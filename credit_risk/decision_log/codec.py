"""Converts batches and decisions to documents and Parquet files, as they are stored, and back."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ulid import ULID

from credit_risk.decision_log.batch import (
    DECISION_SCHEMA,
    PART_ROWS,
    Batch,
    BatchRecord,
    DecisionSummary,
)
from credit_risk.schema.attributes import ATTRIBUTES, GREEN, RED
from credit_risk.storage.documents import Document

# The most decisions of a batch that are stored as documents, one each; a bigger batch is one
# Parquet file (a million documents take half a minute, the file a third of a second).
MAX_DOCUMENTS = 10_000


def as_documents(batch: Batch) -> bool:
    """Return whether a batch's decisions are stored as documents, not as one file."""
    return len(batch.applications) <= MAX_DOCUMENTS


def mark(batch: Batch) -> Document:
    """Return the commit mark of a batch, without its number."""
    reasons = [
        {"column": column, "reason": reason, "n": n}
        for (column, reason), n in batch.applications.reasons.items()
    ]
    return {
        "id": batch.id,
        "time": batch.time.isoformat(timespec="microseconds"),
        "kind": batch.kind,
        "model_version": batch.model_version,
        "digest": batch.digest,
        "threshold": batch.threshold,
        "base_rate": batch.base_rate,
        "source": batch.source,
        "sha256": batch.sha256,
        "idempotency_key": batch.idempotency_key,
        "caller": batch.caller,
        "n_decided": len(batch.applications),
        "n_rejected": batch.applications.n_rejected,
        "n_red": int(np.count_nonzero(batch.decided.red)),
        "reasons": reasons,
        "stored": "documents" if as_documents(batch) else "parquet",
    }


def record(document: Document) -> BatchRecord:
    """Return the record of a batch from its commit mark."""
    fields = {name: value for name, value in document.items() if name not in ("_id", "time")}
    return BatchRecord(seq=document["_id"], time=datetime.fromisoformat(document["time"]), **fields)


def documents(batch: Batch) -> list[Document]:
    """Return a batch's decisions as documents.

    It goes cell by cell: for so few rows, Arrow takes longer.
    """
    a, d = batch.applications, batch.decided
    time = batch.time.isoformat(timespec="microseconds")
    warnings = a.row_warnings

    decisions: list[Document] = []
    for i, row in enumerate(a.rows.tolist()):
        inputs = {
            attribute.name: _input(attribute.categories, code)
            for attribute, code in zip(ATTRIBUTES, a.codes[i].tolist(), strict=True)
        }
        decisions.append(
            {
                "_id": batch.decision_id(row),
                "batch": batch.id,
                "row": row,
                "time": time,
                "client_id": a.client_id[i],
                "label": a.label[i],
                "inputs": inputs,
                "risk": float(d.risk[i]),
                "prediction": RED if d.red[i] else GREEN,
                "confidence": float(d.confidence[i]),
                "warnings": warnings.get(i, []),
                "model_version": batch.model_version,
            }
        )
    return decisions


def _input(categories: tuple[str, ...], code: float) -> str | int | None:
    """Return the category or number that a code stands for; None for an absent value."""
    if code != code:
        return None
    return categories[int(code)] if categories else int(code)


def flat(document: Document) -> Document:
    """Return a decision's document as a row of `DECISION_SCHEMA`."""
    row: Document = {
        name: value for name, value in document.items() if name not in ("_id", "inputs", "time")
    }
    row.update(document["inputs"])
    row["id"] = document["_id"]
    row["time"] = datetime.fromisoformat(document["time"])
    return row


def summaries(
    documents: Iterable[Document], records: Mapping[str, BatchRecord]
) -> Iterator[DecisionSummary]:
    """Yield summaries of the decisions whose batch is among these records."""
    for d in documents:
        if batch := records.get(d["batch"]):
            when = datetime.fromisoformat(d["time"])
            yield DecisionSummary(d["_id"], when, d["client_id"], d["prediction"], batch.kind)


def parquet(batch: Batch) -> bytes:
    """Return a batch's decisions as a Parquet file."""
    # A dictionary only pays off where values are repeated. The one statistic that is used is that
    # of `row`, by which `DecisionLog.decision` finds its row.
    mostly_distinct = ("id", "row", "risk", "confidence")
    repetitive = [name for name in DECISION_SCHEMA.names if name not in mostly_distinct]
    ordered = {"id": "DELTA_BYTE_ARRAY", "row": "DELTA_BINARY_PACKED"}

    sink = pa.BufferOutputStream()
    pq.write_table(
        batch.table,
        sink,
        compression="zstd",
        row_group_size=4 * PART_ROWS,
        use_dictionary=repetitive,
        column_encoding=ordered,
        write_statistics=["row"],
    )
    return bytes(sink.getvalue().to_pybytes())


def table(file: pa.BufferReader, schema: pa.Schema, filters: Any = None) -> pa.Table:
    """Return the decisions in a Parquet file, with the columns of a schema."""
    found = pq.read_table(file, columns=schema.names, filters=filters)
    return found.select(schema.names).cast(schema)


def parquet_name(id: str) -> str:
    """Return the name of a batch's file."""
    return f"decisions/{ULID.from_str(id).datetime:%Y/%m/%d}/{id}.parquet"


def times(since: datetime | None, until: datetime | None, field: str = "time") -> dict[str, Any]:
    """Return the condition that finds the times from `since` to before `until`."""
    ends = {"$gte": since, "$lt": until}
    texts = {
        operator: end.astimezone(UTC).isoformat(timespec="microseconds")
        for operator, end in ends.items()
        if end
    }
    return {field: texts} if texts else {}


def ids_between(first: str, last: str) -> dict[str, str]:
    """Return the condition that finds the ids of decisions from the first batch to the last."""
    return {"$gte": f"{first}-", "$lt": f"{last}."}  # "." comes after "-"


def plain(value: Any) -> Any:
    """Return a value in the types that both JSON and MongoDB have."""
    if isinstance(value, Mapping):
        return {
            str(key).replace(".", "_").replace("$", "_"): plain(item) for key, item in value.items()
        }
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set):
        items = [plain(item) for item in value]
        return [{"values": item} if isinstance(item, list) else item for item in items]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
