"""The training data: read and checked, split, told apart.

Any CSV with the columns of `credit_risk.schema.attributes` and a `class` will do, from a path or a bucket.
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
from credit_risk.schema.attributes import BAD, GOOD, LABEL, NAMES
from credit_risk.schema.codec import decode
from credit_risk.schema.csv_reader import Sheet
from credit_risk.schema.faults import Fault, Invalid, InvalidApplications, Unreadable
from credit_risk.schema.validation import Validator
from credit_risk.storage.blobs import BlobMissing, open_blobs

SPLIT_SEED = 0
TEST_SHARE = 0.2

# Ten folds of the training part must each hold one of either class, and a figure over fewer says nothing.
MIN_PER_CLASS = 20


def read_training(source: str | Path, say: Callable[[str], object] | None = None) -> pd.DataFrame:
    """Return the labelled clients of a CSV.

    Parameters
    ----------
    source : str or Path
        A path, or `gs://BUCKET/NAME`. What else a CSV may look like, `Validator.csv` says; columns that an application
        does not have are left out.
    say : callable, optional
        Is told in a sentence what was taken in another form than usual, or left out.

    Returns
    -------
    DataFrame of shape (n, 21)
        The 20 attributes in the schema's order, then `class`, as text and int64; `NaN` where a protected attribute
        is absent.

    Raises
    ------
    FileNotFoundError
        When there is no such file, in the folder or in the bucket.
    InvalidApplications
        When any row is not valid or has no class, or a class has fewer than 20 clients. The message names the file,
        line and column, and what would be right.
    """
    source = str(source)
    return parse_training(_read(source), source, say)


def parse_training(data: bytes, source: str, say: Callable[[str], object] | None = None) -> pd.DataFrame:
    """Return the labelled clients of a CSV in memory; `source` is what a message calls it. See `read_training`."""
    try:
        applications = Validator(labelled=True).csv(data)
    except Unreadable as error:
        raise InvalidApplications([Fault(None, None, None, str(error))], source) from None
    if faults := applications.faults or _label_faults(applications, data):
        raise InvalidApplications(faults, source, applications.reasons)
    if say is not None:
        for warning in applications.warnings:
            say(f"{source}: {warning}")
    columns = [c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for c in decode(applications.codes).columns]
    frame: pd.DataFrame = pa.table(columns, names=list(NAMES)).to_pandas()
    frame[LABEL] = applications.label
    return frame


def split(frame: pd.DataFrame, seed: int = SPLIT_SEED) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (train, test): a fifth of the clients of each class, drawn at random, is for the test.

    Rows with equal inputs are one client, whatever their class, and go to one side together. Both parts keep the order
    and the index of `frame`; the same frame and seed give the same split.
    """
    clients = client_numbers(frame)
    first = first_rows(clients)
    _, drawn = train_test_split(first, test_size=TEST_SHARE, stratify=frame[LABEL].to_numpy()[first], random_state=seed)
    in_test = np.isin(clients, clients[drawn])
    return frame[~in_test], frame[in_test]


def client_numbers(frame: pd.DataFrame) -> NDArray[np.intp]:
    """Return a number for each row of shape (n,): equal for rows whose 20 attributes are, absent ones included."""
    numbers = frame.groupby(list(NAMES), sort=False, dropna=False).ngroup()
    return np.asarray(numbers, dtype=np.intp)


def first_rows(clients: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the position of each client's first row, ascending."""
    return np.sort(np.unique(clients, return_index=True)[1])


def n_repeated(frame: pd.DataFrame) -> int:
    """Return how many rows have the inputs of an earlier row."""
    return len(frame) - len(first_rows(client_numbers(frame)))


def data_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of the rows, in their order, as the plain CSV of the 20 attributes and `class`.

    The index, the order of the columns and any further columns do not matter.
    """
    text = frame[[*NAMES, LABEL]].to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _read(source: str) -> bytes:
    if source.startswith("gs://"):
        bucket, _, name = source.rpartition("/")
        try:
            return open_blobs(bucket).get(name)
        except BlobMissing:
            raise FileNotFoundError(f"there is nothing at {source}") from None
    return Path(source).read_bytes()


def _label_faults(applications: Applications, data: bytes) -> list[Fault]:
    """Return what is wrong with the classes of valid applications that are to train a model."""
    if not any(applications.label):
        text = f"column {LABEL!r} is missing or empty; a model learns from clients known to be {GOOD} or {BAD}"
        return [Fault(None, LABEL, None, text, [GOOD, BAD])]
    rows = [int(row) for row, label in zip(applications.rows, applications.label, strict=True) if label is None]
    if rows:
        lines = Sheet(data, (*NAMES, LABEL)).lines(rows)
        text = f"{LABEL} has no value; write {GOOD} or {BAD}, or leave the client out"
        error = Invalid("missing", text, [GOOD, BAD])
        return [Fault.of(row, LABEL, None, error, f"line {lines[row]}") for row in rows]
    clients = client_numbers(pd.DataFrame(applications.codes, columns=list(NAMES)))
    labels = [applications.label[row] for row in first_rows(clients)]
    faults = []
    for label in (GOOD, BAD):
        n = labels.count(label)
        if n < MIN_PER_CLASS:
            text = (
                f"{LABEL} is {label!r} for {n} clients only; add some, at least {MIN_PER_CLASS} of each are needed "
                "(rows with equal inputs count once)"
            )
            faults.append(Fault(None, LABEL, None, text))
    return faults
