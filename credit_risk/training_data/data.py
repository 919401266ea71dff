"""The training data: reading and checking them, splitting them, identifying clients.

Any CSV with the columns of a data set's definition will do, from a path or a bucket.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import BAD, GOOD, LABEL
from credit_risk.schema.codec import decode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import InvalidApplications, InvalidValue, MalformedFile, RowError
from credit_risk.schema.sheets.csv_table import CsvTable
from credit_risk.schema.sheets.formats import Formats
from credit_risk.schema.validation import Validator
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import BlobMissing

SPLIT_SEED = 0
TEST_SHARE = 0.2

# Fewest clients of each class. Each of ten folds of the training part needs one of either class,
# and a figure over fewer clients means nothing.
MIN_PER_CLASS = 20


def read_training(
    source: str | Path, dataset: Dataset, report: Callable[[str], object] | None = None
) -> pd.DataFrame:
    """Return the labelled clients of a CSV.

    Parameters
    ----------
    source : str or Path
        A path, or `gs://BUCKET/NAME`. `Validator.csv` describes the forms that a CSV may have.
        Columns that are not part of an application are left out.
    dataset : Dataset
        What an application is.
    report : callable, optional
        Called with a sentence for each value form that was converted, and each column left out.

    Returns
    -------
    DataFrame of shape (n, n_attributes + 1)
        The attributes in the definition's order, then `class`, as text, int64 and float64; `NaN`
        where a value is absent.

    Raises
    ------
    FileNotFoundError
        When there is no such file, in the folder or in the bucket.
    InvalidApplications
        When any row is not valid or has no class, or a class has fewer than 20 clients. The message
        names the file, line and column, and what would be valid.
    """
    source = str(source)
    return parse_training(_read(source), source, dataset, report)


def parse_training(
    data: bytes, source: str, dataset: Dataset, report: Callable[[str], object] | None = None
) -> pd.DataFrame:
    """Return the labelled clients of a CSV in memory; see `read_training`.

    Parameters
    ----------
    data : bytes
        The CSV.
    source : str
        Its name in messages.
    dataset : Dataset
        What an application is.
    report : callable, optional
        See `read_training`.
    """
    try:
        applications = Validator(dataset, labelled=True).csv(data)
    except MalformedFile as error:
        raise InvalidApplications([RowError(None, None, None, str(error))], source) from None

    if faults := applications.faults or _label_faults(applications, data, dataset):
        raise InvalidApplications(faults, source, applications.reasons)

    if report is not None:
        for warning in applications.warnings:
            report(f"{source}: {warning}")

    columns = [
        c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c
        for c in decode(applications.codes, dataset).columns
    ]
    frame: pd.DataFrame = pa.table(columns, names=list(dataset.names)).to_pandas()
    frame[LABEL] = applications.label

    return frame


def split(
    frame: pd.DataFrame, dataset: Dataset, seed: int = SPLIT_SEED
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (train, test), where test is a fifth of the clients of each class, drawn at random.

    Rows with equal inputs are one client, whatever their class, and go to the same part. Both parts
    keep the order and the index of `frame`; the same frame and seed give the same split.
    """
    clients = client_numbers(frame, dataset)
    first = first_rows(clients)
    labels = frame[LABEL].to_numpy()[first]

    _, drawn = train_test_split(first, test_size=TEST_SHARE, stratify=labels, random_state=seed)
    in_test = np.isin(clients, clients[drawn])

    return frame[~in_test], frame[in_test]


def client_numbers(frame: pd.DataFrame, dataset: Dataset) -> NDArray[np.intp]:
    """Return a client number for each row, shape (n,).

    Rows have the same number if all their attributes are equal, including absent ones.
    """
    numbers = frame.groupby(list(dataset.names), sort=False, dropna=False).ngroup()
    return np.asarray(numbers, dtype=np.intp)


def first_rows(clients: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the position of each client's first row, ascending."""
    return np.sort(np.unique(clients, return_index=True)[1])


def n_repeated(frame: pd.DataFrame, dataset: Dataset) -> int:
    """Return how many rows have the inputs of an earlier row."""
    return len(frame) - len(first_rows(client_numbers(frame, dataset)))


def data_hash(frame: pd.DataFrame, dataset: Dataset) -> str:
    """Return the SHA-256 of the rows, in their order, as a plain CSV.

    The CSV holds the attributes and `class`. The index, the order of the columns and any further
    columns do not matter.
    """
    text = frame[[*dataset.names, LABEL]].to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _read(source: str) -> bytes:
    if source.startswith("gs://"):
        bucket, _, name = source.rpartition("/")
        try:
            return open_blobs(bucket).get(name)
        except BlobMissing:
            raise FileNotFoundError(f"there is nothing at {source}") from None

    return Path(source).read_bytes()


def _label_faults(applications: Applications, data: bytes, dataset: Dataset) -> list[RowError]:
    """Return what is wrong with the classes of applications that are valid otherwise."""
    target = dataset.target
    classes = [*target.good, *target.bad]
    if not any(applications.label):
        text = (
            f"column {target.column!r} is missing or empty; "
            f"a model learns from clients known to be {GOOD} or {BAD}"
        )
        return [RowError(None, LABEL, None, text, classes)]

    labelled = zip(applications.rows, applications.label, strict=True)
    rows = [int(row) for row, label in labelled if label is None]
    if rows:
        lines = CsvTable(data, dataset.headers, formats=Formats(dataset)).lines(rows)
        either = " or ".join(classes)
        text = f"{target.column} has no value; write {either}, or leave the client out"
        error = InvalidValue("missing", text, classes)
        return [RowError.of(row, LABEL, None, error, f"line {lines[row]}") for row in rows]

    frame = pd.DataFrame(applications.codes, columns=list(dataset.names))
    clients = client_numbers(frame, dataset)
    labels = [applications.label[row] for row in first_rows(clients)]

    faults = []
    for label in (GOOD, BAD):
        n = labels.count(label)
        if n < MIN_PER_CLASS:
            text = (
                f"{LABEL} is {label!r} for {n} clients only; "
                f"add some, at least {MIN_PER_CLASS} of each are needed "
                "(rows with equal inputs count once)"
            )
            faults.append(RowError(None, LABEL, None, text))

    return faults
