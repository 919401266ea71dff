"""The files of a portfolio, and the parts that they are read in.

A part of a CSV is a range of bytes that ends with a row; a part of a Parquet file is a range of
rows. So each part is read by itself, on whichever machine.
"""

import codecs
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from credit_risk.schema.applications import Applications
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import MalformedFile
from credit_risk.schema.sheets.csv_table import MAX_HEADER, CsvTable, rows_start
from credit_risk.schema.spelling.words import named
from credit_risk.schema.validation import Validator
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import BlobMissing, checked
from model_deployment.portfolio.errors import NotScored

SUFFIXES = (".csv", ".parquet")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK = 16 << 20  # bytes of a CSV that are searched at a time
_MOST_LINES = 20  # of a row, on average; more only where a quote is never closed


class File(NamedTuple):
    """A file of the portfolio: its name below the input's folder, and the version of its bytes."""

    name: str
    version: str


@dataclass(frozen=True)
class Part:
    """A part of a file.

    Attributes
    ----------
    name : str
        What is written for it begins with this.
    file : str
        The file's name.
    start, stop : int
        Its bytes in a CSV, its rows in a Parquet file, from 0.
    line : int
        The line of the CSV, or the row of the Parquet file, on which it starts, from 1.
    version : str
        The version of the file's bytes.
    """

    name: str
    file: str
    start: int
    stop: int
    line: int
    version: str


class Source:
    """The files at an address: one file, or all CSV and Parquet files of a folder.

    Parameters
    ----------
    address : str
        A path, or `gs://BUCKET/PATH`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        folder, name = _split(address)
        self._blobs = open_blobs(folder)
        self._names = [name] if name else None

    def files(self) -> list[File]:
        """Return the files by name.

        Raises
        ------
        NotScored
            When there is none.
        """
        names = self._names
        if names is None:
            found = self._blobs.names()
            names = [name for name in found if name.lower().endswith(SUFFIXES)]
        if not names:
            raise NotScored(f"{self._address} has no CSV or Parquet file (.csv, .parquet)")
        return [File(name, self._version(name)) for name in names]

    def parts(self, file: File, rows: int) -> Iterator[Part]:
        """Yield the parts of a file, of about so many rows each; none where it has no rows.

        Raises
        ------
        MalformedFile
            When it is not a file of clients.
        """
        name, version = file
        ends = self._csv_ends if is_csv(name) else self._parquet_ends
        start, line = None, 0
        for number, (stop, next_line) in enumerate(ends(name, rows), start=-1):
            if start is not None:
                yield Part(f"{name}-{number:05d}", name, start, stop, line, version)
            start, line = stop, next_line

    def read(
        self, part: Part, validator: Validator, extra: Sequence[str] | None = None
    ) -> tuple[Applications, str | None]:
        """Return the applications of a part, and the SHA-256 of its bytes if it is of a CSV.

        Parameters
        ----------
        part : Part
        validator : Validator
        extra : sequence of str, optional
            The columns that are read beside those of an application; all when not given.

        Raises
        ------
        MalformedFile
            When it is not a part of a file of clients.
        NotScored
            When the file is not as it was when the run was planned.
        """
        self._check(part)
        if is_csv(part.file):
            applications, sha256 = self._csv(part, validator)
        else:
            applications, sha256 = self._parquet(part, validator, extra), None
        self._check(part)
        return applications, sha256

    def _check(self, part: Part) -> None:
        if self._version(part.file) != part.version:
            raise NotScored(
                f"{part.file} has changed since the run began: put it back, or give another folder "
                "as OUTPUT"
            )

    def _version(self, name: str) -> str:
        try:
            if str(checked(name)) != name:
                raise NotScored(f"{name!r} is not a name that can be read: rename it")
            return self._blobs.version(name)
        except BlobMissing:
            raise NotScored(f"there is no {name} in {self._address}") from None

    def columns(self, file: str, dataset: Dataset) -> list[str]:
        """Return the names of a file's columns, those of an application as the contract has them.

        Raises
        ------
        MalformedFile
            When it has no header.
        """
        if is_csv(file):
            return CsvTable(self._csv_start(file), dataset.headers).header
        with self._blobs.open(file) as opened:
            return [meant for _, meant in _flat(_parquet_file(opened).schema_arrow, dataset)]

    def _csv_start(self, file: str) -> bytes:
        """Return what stands above the rows of a CSV, its last line the header."""
        with self._blobs.open(file) as opened:
            start = opened.read(MAX_HEADER)
        if start.startswith(_UTF_16):
            raise MalformedFile("the file is UTF-16; save it as CSV (UTF-8), or as Parquet")
        return start[: rows_start(start)]

    def _csv_ends(self, file: str, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the places between the parts of a CSV, and the lines on which they are."""
        above = self._csv_start(file)
        place, line = len(above), 1 + above.count(b"\n")
        yield place, line

        n_rows, n_lines, last = 0, 0, place
        quoted = False
        text = codecs.getincrementaldecoder("utf-8")()
        with self._blobs.open(file) as opened:
            opened.seek(place)
            while block := opened.read(_BLOCK):
                codes = np.frombuffer(block, np.uint8)
                line_ends = np.flatnonzero(codes == ord("\n"))
                _check_text(text, block, line)
                row_ends, quoted = _row_ends(codes, line_ends, quoted)
                while len(row_ends) and n_rows + len(row_ends) >= rows:
                    end = int(row_ends[rows - n_rows - 1])
                    last = place + end + 1
                    yield last, line + int(np.searchsorted(line_ends, end)) + 1
                    row_ends, n_rows = row_ends[rows - n_rows :], 0
                    n_lines = -int(np.searchsorted(line_ends, end))
                n_rows += len(row_ends)
                n_lines += len(line_ends)
                if n_lines > _MOST_LINES * rows:
                    raise MalformedFile(
                        f"a quote above line {line + len(line_ends):,} is never closed or stands "
                        "within a value; save the file as Parquet"
                    )
                place, line = place + len(block), line + len(line_ends)
        if place > last:
            yield place, line

    def _csv(self, part: Part, validator: Validator) -> tuple[Applications, str | None]:
        above = self._csv_start(part.file)
        with self._blobs.open(part.file) as opened:
            opened.seek(part.start)
            rows = opened.read(part.stop - part.start)
        lines_above = part.line - 1 - above.count(b"\n")
        return validator.csv(above + rows, lines_above), hashlib.sha256(rows).hexdigest()

    def _parquet_ends(self, file: str, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the places between the parts of a Parquet file: whole row groups where it can."""
        with self._blobs.open(file) as opened:
            about = _parquet_file(opened).metadata
            groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]

        yield 0, 1
        last = place = 0
        for n in groups:
            if last < place and place + n - last > rows:
                last = place
                yield last, last + 1
            place += n
            while place - last > rows:
                last += rows
                yield last, last + 1
        if last < place:
            yield place, place + 1

    def _parquet(
        self, part: Part, validator: Validator, extra: Sequence[str] | None
    ) -> Applications:
        with self._blobs.open(part.file) as opened:
            file = _parquet_file(opened)
            dataset = validator.dataset
            flat = _flat(file.schema_arrow, dataset)
            kept = {meant for _, meant in flat}
            if extra is not None:
                kept = {*dataset.columns, *extra}
            names = [name for name, meant in flat if meant in kept]

            groups, first, n = _groups(file.metadata, part)
            start, stop = part.start - first, part.stop - first
            if n < 2 * (stop - start):
                table = file.read_row_groups(groups, columns=names).slice(start, stop - start)
            else:  # of a row group that is much bigger than the part, not all is held
                table = _rows(file.iter_batches(row_groups=groups, columns=names), start, stop)
        return validator.table(table, part.start)


def is_csv(file: str) -> bool:
    """Return whether a file is a CSV, by its name."""
    return file.lower().endswith(".csv")


def _split(address: str) -> tuple[str, str]:
    """Return the folder of an address, and the file's name in it; empty for a folder."""
    if not address.lower().endswith(SUFFIXES) or Path(address).is_dir():
        return address, ""
    folder, slash, name = address.rpartition("/")
    folder = folder or slash or "."
    # Spark and Dask write folders of such a name. In a bucket only the blobs below it tell.
    if address.startswith("gs://") and not _exists(folder, name) and open_blobs(address).names():
        return address, ""
    return folder, name


def _exists(folder: str, name: str) -> bool:
    try:
        return bool(open_blobs(folder).version(name))
    except BlobMissing:
        return False


def _row_ends(codes: pa.Array, line_ends: pa.Array, quoted: bool) -> tuple[pa.Array, bool]:
    """Return the line ends that are not within quotes, and whether the block ends within them."""
    quotes = np.flatnonzero(codes == ord('"'))
    if not len(quotes) and not quoted:
        return line_ends, False
    n_before = np.searchsorted(quotes, line_ends) + quoted
    return line_ends[n_before % 2 == 0], bool((len(quotes) + quoted) % 2)


def _parquet_file(opened: object) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(opened)
    except (pa.ArrowException, OSError) as error:
        raise MalformedFile(f"this is not a Parquet file ({error})") from None


def _flat(schema: pa.Schema, dataset: Dataset) -> list[tuple[str, str]]:
    """Return the columns that hold texts, numbers, dates or truth values: as named, as meant."""
    names = [field.name for field in schema if _is_flat(field.type)]
    meant = named([name.strip() for name in names], dataset.headers)
    return list(zip(names, meant, strict=True))


def _is_flat(type: pa.DataType) -> bool:
    if isinstance(type, pa.BaseExtensionType) or pa.types.is_nested(type):
        return False
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return not any(is_it(type) for is_it in (*binary, pa.types.is_binary_view))


def _check_text(text: codecs.IncrementalDecoder, block: bytes, line: int) -> None:
    """Refuse a block of a CSV, which begins on a line, that is not UTF-8 text."""
    try:
        text.decode(block)
    except UnicodeDecodeError as error:
        bad = line + block[: error.start].count(b"\n")
        raise MalformedFile(
            f"line {bad:,} is not UTF-8 text; save the file as CSV (UTF-8), or as Parquet"
        ) from None
    if (place := block.find(b"\0")) >= 0:
        bad = line + block[:place].count(b"\n")
        raise MalformedFile(f"line {bad:,} holds a NUL byte; this is not a CSV")


def _rows(batches: Iterable[pa.RecordBatch], start: int, stop: int) -> pa.Table:
    """Return the rows of batches from one to before another, reading no more than these take."""
    kept, place = [], 0
    for batch in batches:
        if place + len(batch) > start:
            kept.append(batch.slice(max(start - place, 0), stop - max(start, place)))
        place += len(batch)
        if place >= stop:
            break
    return pa.Table.from_batches(kept)


def _groups(about: pq.FileMetaData, part: Part) -> tuple[list[int], int, int]:
    """Return the row groups that hold a part, the row that they start with, and how many rows."""
    ends = np.cumsum([about.row_group(i).num_rows for i in range(about.num_row_groups)])
    first = int(np.searchsorted(ends, part.start, side="right"))
    last = int(np.searchsorted(ends, part.stop - 1, side="right"))
    start = int(ends[first - 1]) if first else 0
    return list(range(first, last + 1)), start, int(ends[last]) - start
