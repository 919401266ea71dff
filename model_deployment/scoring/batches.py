"""A committed batch as a file to keep: decisions and overrides, inputs, reasons, version and id.

The log holds what the model was asked. Columns of the upload that are no part of an application are not kept there; who
sends the file again gets them back beside the decisions.
"""

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import overrides_of_batch
from credit_risk.registry.registry import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.attributes import CLIENT_ID, LABEL, NAMES
from credit_risk.schema.codec import codes_of
from credit_risk.schema.csv_reader import Data, Sheet
from credit_risk.schema.formulas import harmless
from credit_risk.scoring.model import NotExplainable
from credit_risk.scoring.stored import ModelRefused
from model_deployment.files.export import MAX_EXCEL_ROWS, excel, unlike
from model_deployment.files.formats import Upload
from model_deployment.scoring.errors import AnotherFile, TooManyForExcel
from model_deployment.scoring.live_model import Production

TYPES = {
    "csv": "text/csv",  # Flask adds the charset
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_OVERRIDE = {"override": "prediction", "override_by": "by", "override_reason": "reason", "override_time": "time"}
_KNOWN = (*NAMES, LABEL, CLIENT_ID)


def exported(log: DecisionLog, production: Production, record: BatchRecord, form: str, upload: Upload | None) -> bytes:
    """Return a batch as CSV (UTF-8 with BOM, which spreadsheets need) or as an Excel workbook.

    Parameters
    ----------
    log : DecisionLog
        Holds the decisions and their overrides.
    production : Production
        Gives the version that decided, for its reasons; where that is not to be had, there are none.
    record : BatchRecord
    form : str
        `csv` or `xlsx`.
    upload : Upload, optional
        The file that was decided on, for its other columns.

    Raises
    ------
    AnotherFile
        When the upload is not what the batch was decided on.
    TooManyForExcel
        When a workbook would have too many rows.
    """
    if form == "xlsx" and record.n_decided > MAX_EXCEL_ROWS:
        detail = (
            f"A workbook is made of at most {MAX_EXCEL_ROWS:,} clients; these are {record.n_decided:,}. Take the CSV."
        )
        raise TooManyForExcel(detail)
    table = _table(log, production, record)
    if upload is not None:
        if upload.sha256 != record.sha256:
            raise AnotherFile(f"This is not the file that batch {record.id} was decided on.")
        table = _with_columns_of(upload.csv, table)
    table = table.drop_columns(["row"])
    texts = {name: harmless(table[name]) for name in table.column_names if pa.types.is_string(table[name].type)}
    table = pa.table([texts.get(name, table[name]) for name in table.column_names], table.column_names)
    names = harmless(pa.array(table.column_names)).to_pylist()
    table = table.rename_columns(names)
    return _csv(table) if form == "csv" else excel(table)


def _table(log: DecisionLog, production: Production, record: BatchRecord) -> pa.Table:
    decisions = log.read(record)
    overridden = overrides_of_batch(log, record.id)
    events: list[dict[str, Any]] = [overridden.get(id, {}) for id in decisions["id"].to_pylist()] if overridden else []
    columns: dict[str, Any] = {"row": decisions["row"], "prediction": decisions["prediction"]}
    columns |= {name: pc.round(decisions[name], 6) for name in ("risk", "confidence")}
    for name, field in _OVERRIDE.items():
        columns[name] = pa.array([event.get(field) for event in events] or pa.nulls(len(decisions)), pa.string())
    columns |= {name: decisions[name] for name in (CLIENT_ID, *NAMES)}
    if decisions["label"].null_count < len(decisions):
        columns[LABEL] = decisions["label"]
    columns["reasons"] = _reasons(production, record, decisions)
    columns["warnings"] = pc.binary_join(decisions["warnings"], "; ")
    columns |= {"model_version": decisions["model_version"], "decision_id": decisions["id"]}
    columns["decided_at"] = pc.strftime(decisions["time"], "%Y-%m-%dT%H:%M:%SZ")
    return pa.table(columns)


def _reasons(production: Production, record: BatchRecord, decisions: pa.Table) -> pa.Array:
    try:
        scorer = production.scorer(record.model_version, record.digest)
        return scorer.sentences(codes_of(decisions))
    except (RegistryUnavailable, NoSuchVersion, ModelRefused, NotExplainable) as error:
        return pa.repeat(f"not to be had: {error}", len(decisions))


def _with_columns_of(csv: Data, table: pa.Table) -> pa.Table:
    """Return a batch's table with the columns of the file that are no part of an application."""
    sheet = Sheet(csv, _KNOWN)
    places = pc.index_in(table["row"], value_set=pa.array(sheet.numbers))
    for name, column in zip(sheet.header, sheet.table.columns, strict=True):
        if name not in _KNOWN:
            table = table.append_column(unlike(name, table.column_names), column.take(places))
    return table


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    sink.write(b"\xef\xbb\xbf")
    pa.csv.write_csv(table, sink)
    return sink.getvalue()
