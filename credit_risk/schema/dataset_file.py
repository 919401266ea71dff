"""Reads a data set's definition from its file."""

import os
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from credit_risk.schema.dataset import Dataset

FILE = "dataset.toml"
DEFAULT = "german_credit"
# The folder of the data sets that come with the project.
FOLDER = Path(__file__).parents[2] / "data"


class InvalidDataset(ValueError):
    """There is no such data set, or its definition is not valid; the message says what to do."""


def dataset_path(chosen: str) -> Path:
    """Return the path of a definition.

    Parameters
    ----------
    chosen : str
        What the setting DATASET says: the name of a folder in `data/`, or a path to a definition or
        to its folder.

    Raises
    ------
    InvalidDataset
        When there is none.
    """
    for path in (Path(chosen), Path(chosen) / FILE, FOLDER / chosen / FILE):
        with suppress(OSError, ValueError):  # too long for a path, or with a NUL
            if path.is_file():
                return path

    known = ", ".join(sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}")))
    raise InvalidDataset(
        f"DATASET={chosen}: there is no definition here, and none in data/, which has {known}; "
        "make dataset FILE=clients.csv TARGET=COLUMN BAD=VALUE writes a first one"
    )


@cache
def load_dataset(chosen: str = DEFAULT) -> Dataset:
    """Return the data set that the setting DATASET chooses; see `dataset_path`.

    Raises
    ------
    InvalidDataset
        When there is none, or its definition is not valid.
    """
    path = dataset_path(chosen)
    try:
        return Dataset.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{path} is not a TOML file: {error}") from None
    except ValidationError as error:
        raise InvalidDataset(f"{path}: {_faults(error)}") from None


def training_file(chosen: str = DEFAULT) -> Path:
    """Return the training data that a data set comes with, from the working directory.

    Raises
    ------
    InvalidDataset
        When its definition names none.
    """
    path = dataset_path(chosen)
    file = load_dataset(chosen).file
    if not file:
        raise InvalidDataset(f"{path} names no `file`; set DATA to the training data")
    return Path(os.path.relpath(path.parent / file))


def read_sample(chosen: str = DEFAULT) -> bytes:
    """Return the file of clients to try that a data set comes with; empty where it has none.

    Raises
    ------
    InvalidDataset
        When the definition names one that cannot be read.
    """
    name, path = load_dataset(chosen).sample, dataset_path(chosen)
    try:
        return (path.parent / name).read_bytes() if name else b""
    except OSError as error:
        raise InvalidDataset(f"{path} names a sample that cannot be read: {error}") from None


def _faults(error: ValidationError) -> str:
    """Return what is wrong, on one line."""
    found = []
    for fault in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        found.append(f"{place}: {message}" if place else message)
    return "; ".join(found)
