"""Converts batches and decisions to documents and Parquet files, as they are stored, and back."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ulid import ULID

from credit_risk.decision_log.batch import (
    PART_ROWS,
    Batch,
    BatchRecord,
    DecisionSummary,
    Form,
)
from credit_risk.decision_log.chains.hashes import document_hash, salt
from credit_risk.schema.attributes import GREEN, RED
from credit_risk.storage.documents import UNIQUE_KEY, Document

# The most decisions of a batch that its record carries: one document is stored as a whole or not at
# all, and is its own commit mark.
MAX_INLINE = 100
# The most decisions of a batch that are stored as documents, one each; a bigger batch is one
# Parquet file (a million documents take half a minute, the file a third of a second).
MAX_DOCUMENTS = 10_000
# What a decision's own document has of its batch.
_OF_BATCH = ("_id", "batch", "time", "model_version")


def form_of(batch: Batch) -> Form:
    """Return where a batch's decisions are stored."""
    n = len(batch.applications)
    if batch.kind == "preview":
        return "inline"
    if n > MAX_DOCUMENTS:
        return "parquet"
    return "documents" if n > MAX_INLINE else "inline"


def mark(batch: Batch, decisions_hash: str, clients_hash: str | None = None) -> Document:
    """Return the record of a batch, without its number, its decisions and its place in a chain.

    `clients_hash` is that of the index of clients, where the batch has one.
    """
    reasons = [
        {"column": column, "reason": reason, "n": n}
        for (column, reason), n in batch.applications.reasons.items()
    ]
    record: Document = {
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
        "stored": form_of(batch),
        "decisions_hash": decisions_hash,
        "dataset": batch.applications.dataset.name,
        "definition": batch.applications.dataset.digest,
    }
    # Left out where there is none, so that earlier records' hashes stay what they are.
    if batch.branch is not None:
        record["branch"] = batch.branch
    if clients_hash is not None:
        record["clients_hash"] = clients_hash
    if batch.idempotency_key is not None and batch.kind != "preview":
        record[UNIQUE_KEY] = f"{batch.caller}\n{batch.idempotency_key}"
    return record


def record(document: Document) -> BatchRecord:
    """Return the record of a batch from its document."""
    fields = {name: document[name] for name in _RECORD_FIELDS if name in document}
    seq = 0 if document["kind"] == "preview" else document["_id"]
    return BatchRecord(seq=seq, **fields | {"time": datetime.fromisoformat(document["time"])})


_RECORD_FIELDS = [f.name for f in dataclasses.fields(BatchRecord) if f.name != "seq"]


def decisions(batch: Batch) -> list[Document]:
    """Return a batch's decisions, each with a salt and its hash.

    It goes cell by cell: for so few rows, Arrow takes longer.
    """
    a, d = batch.applications, batch.decided
    warnings = a.row_warnings

    made: list[Document] = []
    for i, row in enumerate(a.rows.tolist()):
        inputs = {
            attribute.name: attribute.value(code)
            for attribute, code in zip(a.dataset.attributes, a.codes[i].tolist(), strict=True)
        }
        decision: Document = {
            "row": row,
            "client_id": a.client_id[i],
            "label": a.label[i],
            "inputs": inputs,
            "risk": float(d.risk[i]),
            "prediction": RED if d.red[i] else GREEN,
            "confidence": float(d.confidence[i]),
            "warnings": warnings.get(i, []),
            "salt": salt(),
        }
        made.append(decision | {"hash": document_hash(decision)})
    return made


def documents(record: Document, decisions: Iterable[Document]) -> list[Document]:
    """Return the decisions in a batch's record as they are where each has a document of its own."""
    id, time, version = record["id"], record["time"], record["model_version"]
    return [
        {"_id": f"{id}-{d['row']}", "batch": id, "time": time, "model_version": version, **d}
        for d in decisions
    ]


def bare(document: Document) -> Document:
    """Return a decision's own document as it would be in its batch's record."""
    return {name: value for name, value in document.items() if name not in _OF_BATCH}


def is_erased(decision: Document) -> bool:
    """Return whether a decision's content was erased."""
    return "inputs" not in decision


def rows(documents: Iterable[Document]) -> list[Document]:
    """Return decisions' documents as rows of a table, without those that were erased."""
    return [_flat(document) for document in documents if not is_erased(document)]


def _flat(document: Document) -> Document:
    left_out = ("_id", "inputs", "time", "salt", "hash")
    row: Document = {name: value for name, value in document.items() if name not in left_out}
    row.update(document["inputs"])
    row["id"] = document["_id"]
    row["time"] = datetime.fromisoformat(document["time"])
    return row


def summaries(
    documents: Iterable[Document], records: Mapping[str, BatchRecord]
) -> Iterator[DecisionSummary]:
    """Yield summaries of the decisions whose batch is among these records."""
    for d in documents:
        if (batch := records.get(d["batch"])) and not is_erased(d):
            when = datetime.fromisoformat(d["time"])
            yield DecisionSummary(d["_id"], when, d["client_id"], d["prediction"], batch.kind)


def parquet(batch: Batch) -> bytes:
    """Return a batch's decisions as a Parquet file."""
    # A dictionary only pays off where values are repeated. The one statistic that is used is that
    # of `row`, by which one decision is found without reading the others.
    mostly_distinct = ("id", "row", "client_id", "risk", "confidence")
    repetitive = [name for name in batch.table.column_names if name not in mostly_distinct]
    ordered = {"id": "DELTA_BYTE_ARRAY", "row": "DELTA_BINARY_PACKED"}

    sink = pa.BufferOutputStream()
    pq.write_table(
        batch.table,
        sink,
        compression="zstd",
        row_group_size=PART_ROWS,
        use_dictionary=repetitive,
        column_encoding=ordered,
        write_statistics=["row"],
    )
    return bytes(sink.getvalue().to_pybytes())


def parquet_name(id: str) -> str:
    """Return the name of a batch's file."""
    return f"decisions/{ULID.from_str(id).datetime:%Y/%m/%d}/{id}.parquet"


def text(time: datetime) -> str:
    """Return a time as it is stored, so that texts sort by time."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def times(since: datetime | None, until: datetime | None, field: str = "time") -> dict[str, Any]:
    """Return the condition that finds the times from `since` to before `until`."""
    ends = {"$gte": since, "$lt": until}
    texts = {operator: text(end) for operator, end in ends.items() if end}
    return {field: texts} if texts else {}


def ids_between(first: str, last: str) -> dict[str, str]:
    """Return the condition that finds the ids of decisions from the first batch to the last."""
    return {"$gte": f"{first}-", "$lt": f"{last}."}  # "." comes after "-"


def storable(value: Any) -> Any:
    """Return a value in the types that both JSON and MongoDB have."""
    if isinstance(value, Mapping):
        return {
            str(key).replace(".", "_").replace("$", "_"): storable(item)
            for key, item in value.items()
        }
    if isinstance(value, np.ndarray):
        return storable(value.tolist())
    if isinstance(value, list | tuple | set):
        items = [storable(item) for item in value]
        return [{"values": item} if isinstance(item, list) else item for item in items]
    if isinstance(value, np.generic):
        return storable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
