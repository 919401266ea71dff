"""A committed batch as a file to keep: decisions and overrides, inputs, reasons, version and id.

The log holds what the model was asked. Columns of the upload that are not part of an application
are not kept there; a client that sends the file again gets them back with the decisions.
"""

import io

import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord, decision_schema
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import overrides_of_batch
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.codec import codes_of
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.sheets.csv_table import CsvTable, Data
from credit_risk.schema.sheets.formats import Formats
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.stored import ModelRefused
from model_deployment.files.export import MAX_EXCEL_ROWS, excel, names_in
from model_deployment.files.formats import UploadedFile
from model_deployment.files.result import Result
from model_deployment.scoring.errors import AnotherFile, TooManyForExcel
from model_deployment.scoring.live_model import LiveModel

TYPES = {
    "csv": "text/csv",  # Flask adds the charset
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# By which spreadsheets know UTF-8.
_BOM = b"\xef\xbb\xbf"


def exported(
    log: DecisionLog,
    production: LiveModel,
    record: BatchRecord,
    form: str,
    upload: UploadedFile | None,
) -> bytes:
    """Return the result of a batch with reasons, as CSV with a byte order mark or as a workbook.

    Parameters
    ----------
    log : DecisionLog
        Holds the decisions and their overrides.
    production : LiveModel
        Gives the version that decided, for its reasons; where it is unavailable, there are none.
    record : BatchRecord
    form : str
        `csv` or `xlsx`.
    upload : UploadedFile, optional
        The file that was decided on, for its other columns.

    Raises
    ------
    AnotherFile
        When the upload is not what the batch was decided on.
    TooManyForExcel
        When a workbook would have too many rows.
    """
    if form == "xlsx" and record.n_decided > MAX_EXCEL_ROWS:
        raise TooManyForExcel(
            f"A workbook is made of at most {MAX_EXCEL_ROWS:,} clients; these are "
            f"{record.n_decided:,}. Take the CSV."
        )
    if upload is not None and upload.sha256 != record.sha256:
        raise AnotherFile(f"This is not the file that batch {record.id} was decided on.")

    decisions, dataset = log.read(record), _dataset(log, production, record)
    result = Result(
        decisions,
        record.time,
        dataset,
        overrides_of_batch(log, record.id),
        _reasons(log, production, record, decisions),
        None if upload is None else _other_columns(upload.csv, decisions, dataset),
    )
    if form == "xlsx":
        return excel(result.table())
    sink = io.BytesIO()
    sink.write(_BOM)
    result.write_csv(sink)
    return sink.getvalue()


def _dataset(log: DecisionLog, production: LiveModel, record: BatchRecord) -> Dataset:
    """Return what an application was to the version that decided, or is to the stack."""
    try:
        return production.scorer(record.model_version, record.digest).dataset
    except (RegistryUnavailable, NoSuchVersion, ModelRefused):
        return log.dataset


def _reasons(
    log: DecisionLog, production: LiveModel, record: BatchRecord, decisions: pa.Table
) -> pa.Array:
    try:
        scorer = production.scorer(record.model_version, record.digest)
        dataset = scorer.dataset
        if dataset.digest != log.dataset.digest:
            # By the stack's definition, a value that the version saw may be absent.
            decisions = log.read(record, schema=decision_schema(dataset))
        return scorer.sentences(codes_of(decisions, dataset), production.labels)
    except (RegistryUnavailable, NoSuchVersion, ModelRefused, NotExplainable) as error:
        return pa.repeat(f"unavailable: {error}", len(decisions))


def _other_columns(csv: Data, decisions: pa.Table, dataset: Dataset) -> pa.Table:
    """Return the columns of a file that are not part of an application, for the decided rows."""
    sheet = CsvTable(csv, dataset.headers, formats=Formats(dataset))
    places = pc.index_in(decisions["row"], value_set=pa.array(sheet.numbers))
    others = [place for place, name in enumerate(sheet.header) if name not in dataset.columns]
    columns = [sheet.table.columns[place].take(places) for place in others]
    names = names_in(sheet)
    return pa.table(columns, names=[names[place] for place in others])
