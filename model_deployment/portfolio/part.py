"""Scores one part of a portfolio: reads it, decides, commits it to the log, writes the output.

What is written says what is done, in this order: rejected rows, the batch in the log, scored rows,
and last the part's figures. A part that was interrupted is done again, and takes the decisions that
are in the log already; one whose figures stand is not touched.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from credit_risk.decision_log.batch import (
    AlreadyCommitted,
    Batch,
    BatchRecord,
    decision_schema,
)
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.tables import attribute_names
from credit_risk.registry.registry import open_registry
from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.schema.codec import codes_of
from credit_risk.schema.faults import MalformedFile
from credit_risk.schema.sheets.names import unique_names
from credit_risk.schema.validation import Validator
from credit_risk.settings import Settings
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import BlobExists, BlobMissing, Blobs
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.plan import SCORES, Run
from model_deployment.portfolio.source import Part, Source

Figures = dict[str, Any]

_ROW_GROUP = 131_072


class PartScorer:
    """Scores parts of a run.

    Parameters
    ----------
    run : Run
    settings : Settings
        Where log and registry are.

    Raises
    ------
    LogUnavailable, RegistryUnavailable, NoSuchVersion, ModelRefused
        When the run's version cannot be loaded.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        self._run = run
        self._labels = settings.labels
        self._log = open_log(settings)
        self._scorer = open_registry(settings).load(run.version, run.digest, keep=True)
        self._dataset = self._scorer.dataset
        self._validator = Validator(self._dataset, self._scorer.domain, listed=True)
        self._source = Source(run.order.input)
        self._output = open_blobs(run.order.output)

    def score(self, part: Part) -> Figures:
        """Score a part, unless that is done, and return its figures.

        Raises
        ------
        NotScored
            When the part is not readable, or was decided from other bytes before.
        LogUnavailable
            When the log or the bucket behind it is; nothing is lost, and the part can be scored
            again.
        """
        if done := figures_of(self._output, [part]):
            return done[part.name]

        began = time.perf_counter()
        applications, sha256 = self._read(part)
        rejected = None
        if applications.rejected is not None and len(applications.rejected):
            rejected = self._file(f"rejected/{part.name}.parquet", applications.rejected)

        record, decisions = self._commit(part, applications, sha256)
        scored = self._file(f"scored/{part.name}.parquet", self._result(applications, decisions))

        figures = {
            "part": part.name,
            "n_rows": applications.n_rows,
            "n_decided": record.n_decided,
            "n_rejected": record.n_rejected,
            "n_red": record.n_red,
            "reasons": record.reasons,
            "batch": record.id,
            "threshold": record.threshold,
            "scores_sha256": _scores_sha256(decisions),
            "scored": scored,
            "rejected": rejected,
            "warnings": applications.warnings,
            "seconds": round(time.perf_counter() - began, 3),
        }
        stored: Figures = json.loads(self._put(_figures_name(part), json.dumps(figures).encode()))
        return stored

    def _read(self, part: Part) -> tuple[Applications, str | None]:
        id = self._run.order.id_column
        try:
            applications, sha256 = self._source.read(part, self._validator, [id] if id else None)
        except (MalformedFile, BlobMissing, pa.ArrowException, OSError) as error:
            raise NotScored(f"{part.file}, line {part.line:,} and below: {error}") from None
        for fault in applications.faults:
            if fault.row is None:
                raise NotScored(f"{part.file}: {fault.message}")
        return applications, sha256

    def _commit(
        self, part: Part, applications: Applications, sha256: str | None
    ) -> tuple[BatchRecord, pa.Table]:
        """Commit the decisions on a part, and return them; those in the log if they are there."""
        run, scorer = self._run, self._scorer
        batch = Batch(
            applications,
            scorer.decide(applications.codes),
            model_version=run.version,
            digest=run.digest,
            threshold=scorer.threshold,
            base_rate=scorer.prior,
            kind=run.order.kind,
            source=part.name,
            sha256=sha256,
            idempotency_key=run.key(part),
            caller=run.caller,
        )
        try:
            return self._log.commit(batch), batch.table
        except AlreadyCommitted as error:
            record = error.record

        # The stack's definition, by which the log reads, may not be the version's any more.
        decisions = self._log.read(record, schema=decision_schema(self._dataset))
        if record.sha256 != sha256 or record.n_decided != len(applications):
            raise NotScored(
                f"{part.name} was scored as batch {record.id} from other rows: {part.file} has "
                "changed, or this program's rules have; give another folder as OUTPUT"
            )
        return record, decisions

    def _result(self, applications: Applications, decisions: pa.Table) -> pa.Table:
        """Return the rows of the output."""
        columns: dict[str, Any] = {}
        id, extra = self._run.order.id_column, applications.extra
        if id:
            columns[id] = self._ids(applications, decisions)
        else:
            columns = {
                name: decisions[name]
                for name in (CLIENT_ID, *attribute_names(decisions.column_names))
            }
            columns[LABEL] = decisions["label"]

        columns |= {name: decisions[name] for name in SCORES}
        if self._run.order.reasons:
            columns["reasons"] = self._scorer.sentences(
                codes_of(decisions, self._dataset), self._labels
            )
        columns["model_version"] = decisions["model_version"]
        columns["decision_id"] = decisions["id"]
        if not id:
            names = unique_names(extra.column_names, list(columns))
            columns |= dict(zip(names, extra.columns, strict=True))
        return pa.table(columns)

    def _ids(self, applications: Applications, decisions: pa.Table) -> pa.ChunkedArray | pa.Array:
        id = self._run.order.id_column
        if id in (CLIENT_ID, *self._dataset.names):
            return decisions[id]
        if not len(applications):
            return pa.nulls(0, pa.string())
        return applications.extra[id]

    def _file(self, name: str, table: pa.Table) -> Figures:
        """Write a file of the output, and return its name, size and SHA-256."""
        file = pa.BufferOutputStream()
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP)
        data = self._put(name, file.getvalue().to_pybytes())
        return {"name": name, "n_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def _put(self, name: str, data: bytes) -> bytes:
        """Write a file of the output, and return its bytes: if it was there, those that it had.

        They were written for the same rows and the same decisions, maybe in another encoding.
        """
        try:
            self._output.put(name, data)
        except BlobExists:
            return self._output.get(name)
        return data


def figures_of(output: Blobs, parts: Sequence[Part]) -> dict[str, Figures]:
    """Return the figures of those of some parts that are done, by the part's name."""
    found: dict[str, Figures] = {}
    for part in parts:
        with suppress(BlobMissing):
            found[part.name] = json.loads(output.get(_figures_name(part)))
    return found


def _figures_name(part: Part) -> str:
    return f"parts/{part.name}.json"


def _scores_sha256(decisions: pa.Table) -> str:
    """Return a hash of which rows were decided and how: the same for every run of one version."""
    digest = hashlib.sha256(decisions["row"].to_numpy().astype("<i8").tobytes())
    digest.update(decisions["risk"].to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()
