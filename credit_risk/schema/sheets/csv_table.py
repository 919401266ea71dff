"""Reads an uploaded CSV as columns of text.

pyarrow does the reading. This module adds what a person needs to know: which line a row stands on,
which rows have too many values, and whether a quote is never closed. Blank lines, and lines of
separators only, do not count as rows.
"""

import csv
import io
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from credit_risk.schema.faults import MalformedFile, shown
from credit_risk.schema.sheets.quotes import is_well_quoted, quotes_in
from credit_risk.schema.spelling.encoding import utf8
from credit_risk.schema.spelling.notes import renamed_columns
from credit_risk.schema.spelling.words import named

if TYPE_CHECKING:
    from credit_risk.schema.sheets.formats import Formats, Reading

MAX_COLUMNS = 1000
MAX_HEADER = 1_000_000  # bytes
# Rows with more or fewer values than the header. Each is examined by itself; this many take a
# second.
MAX_RAGGED = 100_000

# The default limit of the csv module, 128 kB a value, would fail where the line of a row is sought.
csv.field_size_limit(sys.maxsize)

# Bytes per block that is read, and so per chunk of the table.
_BLOCK = 4 << 20
_REPETITIVE = pa.dictionary(pa.int32(), pa.string())
# A first line that names the separator for Excel; some programs write it.
_SEPARATOR_LINE = re.compile(rb'"?sep=[,;\t]"?[,;\t ]*[\r\n]+', re.IGNORECASE)
# Bytes in which the first row is searched.
_FIRST_ROW = 1 << 16
# The two halves of a number that the separator split after the thousands.
_THOUSANDS, _REST = r"^\s*-?[0-9]{1,3}\s*$", r"^\s*[0-9]{3}(\.[0-9]*)?\s*$"

Data = bytes | memoryview


class CsvTable:
    """A CSV as text columns; see `Sheet` for what it has beside the separator.

    Parameters
    ----------
    data : bytes or memoryview
        The file.
    known : mapping
        Names that columns may have (see `named`), by which the separator is recognised.
    repetitive : collection of str
        Columns with few distinct values, which are returned dictionary-encoded.
    lines_above : int
        How many more lines the file has above these rows, where they are a part of it.
    formats : Formats, optional
        Recognizes files in other words; without it, a file has the contract's names.

    Attributes
    ----------
    separator : str
        The character between values.
    reading : Reading or None
        How to read the file, if it is in other words.

    Raises
    ------
    MalformedFile
        When the bytes are not a CSV.
    """

    unit = "line"  # that `lines` counts

    def __init__(
        self,
        data: Data,
        known: Mapping[str, str],
        repetitive: Collection[str] = (),
        lines_above: int = 0,
        formats: "Formats | None" = None,
    ) -> None:
        text = utf8(data)
        start = _found(rb"[^\r\n]", text)
        self._lines_above = lines_above + _line_ends(bytes(text[:start]))
        self.notes: list[str] = []
        self._data = self._without_separator_line(text[start:])

        self._header_end = _found(rb"[\r\n]", self._data)
        self.reading: Reading | None = None
        self.separator, self.header = self._read_header(known, formats)
        # Lines that name the columns: 1 or 0.
        self._named = int(self._header_end > 0)

        quotes = quotes_in(self._data)
        self._check_quotes(quotes)
        # Many programs put only the names in quotes; then each line is a row, which is faster to
        # read.
        self._quoted = bool(len(quotes)) and bool(quotes[-1] > self._header_end)

        self._repetitive = repetitive
        table, odd = self._read_fitted() or self._read(self.header)
        self._number_rows(table, odd)

    def _read_header(
        self, known: Mapping[str, str], formats: "Formats | None"
    ) -> tuple[str, list[str]]:
        """Return the separator and the column names."""
        end = self._header_end
        if end > MAX_HEADER:
            raise MalformedFile(
                f"the first line must name the columns, at most {MAX_COLUMNS:,}; "
                f"this one has {end:,} bytes"
            )

        line = str(self._data[:end], "utf-8")
        separator, written = _header(line, known)
        if len(written) > MAX_COLUMNS:
            raise MalformedFile(
                f"the header has {len(written)} columns; at most {MAX_COLUMNS} are read"
            )

        header = named(written, known)
        if formats is not None and (reading := formats.of_line(line, header)) is not None:
            return self._in_other_words(reading)

        pairs = zip(written, header, strict=True)
        self.notes += renamed_columns([pair for pair in pairs if pair[0] not in (pair[1], *known)])
        return separator, header

    def _in_other_words(self, reading: "Reading") -> tuple[str, list[str]]:
        """Return the separator and the column names of a file in another format."""
        self.reading = reading
        self.notes += reading.notes()
        if reading.separator == " ":  # lines of which may end in spaces
            self._data = memoryview(re.sub(rb" +(?=[\r\n])", b"", self._data))
        self._header_end = _found(rb"[\r\n]", self._data) if reading.written else 0
        return reading.separator, list(reading.header)

    def _number_rows(self, table: pa.Table, odd: list[Any]) -> None:
        """Set the table, the numbers of its rows, and the ragged rows, all without blank ones."""
        # pyarrow counts the rows that it skips from 1, including the header.
        first = 1 + self._named
        odd_numbers = [row.number - first for row in odd]
        numbers = np.delete(np.arange(table.num_rows + len(odd)), odd_numbers)
        empty = _empty_rows(table)
        ragged = {row.number - first: row for row in odd if not self._is_blank(row)}
        blank = [number for number in odd_numbers if number not in ragged]
        gone = np.sort(np.concatenate([numbers[empty], blank]))

        self.table = table.filter(pa.array(~empty)) if empty.any() else table
        self.numbers = (numbers - np.searchsorted(gone, numbers))[~empty]
        self.ragged: list[tuple[int, str]] = []
        for number, row in ragged.items():
            message = f"{row.actual_columns} values, but the header has {len(self.header)} columns"
            self.ragged.append((number - int(np.searchsorted(gone, number)), message))

        self.n_rows = len(self.numbers) + len(self.ragged)
        self._none_gone = not len(gone)

    def _without_separator_line(self, data: memoryview) -> memoryview:
        line = _SEPARATOR_LINE.match(data)
        if line is None:
            return data
        if line.end() == len(data):
            raise MalformedFile("the file is empty")
        self._lines_above += _line_ends(line[0])
        self.notes.append(f"first line {shown(line[0].decode().strip())} skipped")
        return data[line.end() :]

    def lines(self, numbers: Collection[int]) -> dict[int, int]:
        """Return the line of the file, from 1, on which each of these rows starts."""
        first = 1 + self._named + self._lines_above
        found = {number: number + first for number in numbers}

        if found and not self._has_one_line_per_row():
            last = max(numbers)
            for number, line in enumerate(self._row_lines(strict=False), start=-self._named):
                if number in found:
                    found[number] = line
                if number >= last:
                    break
        return found

    def _has_one_line_per_row(self) -> bool:
        return self._none_gone and not self._quoted and not re.search(rb"[\r\n]\n", self._data)

    def _row_lines(self, *, strict: bool) -> Iterator[int]:
        """Yield the line on which each row that is not blank starts, first the header's if any."""
        text = str(self._data, "utf-8")
        if strict:  # spaces after a quoted value are allowed
            text = re.sub(f'" +(?=[{self.separator}\\r\\n])', '"', text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator, strict=strict)

        line = 1
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line + self._lines_above
            line = reader.line_num + 1

    def _check_quotes(self, quotes: NDArray[np.int64]) -> None:
        """Refuse a quote that is never closed.

        pyarrow would read all rows after it as one value.
        """
        if is_well_quoted(self._data, quotes, self.separator):
            return

        line = 0
        try:
            for line in self._row_lines(strict=True):  # noqa: B007
                pass
        except csv.Error as error:
            raise MalformedFile(
                f"a quote below line {line} is never closed or stands within a value ({error})"
            ) from None

    def _read_fitted(self) -> tuple[pa.Table, list[Any]] | None:
        """Read a file in which only a separator at the end sets rows and header apart.

        That is: all rows have empty values after those of the header, or lack those for which the
        header has no names. Returns None where that is not true of all rows, or where they could
        mean something else: such rows have more or fewer values than the header.
        """
        header, first, width = self.header, self._first_row(), len(self.header)
        if width < len(first) <= MAX_COLUMNS and not any(cell.strip() for cell in first[width:]):
            fitted = [*header, *[""] * (len(first) - width)]
            note = "a separator behind the last value of each row left out"
        elif first and len(first) < width and not any(header[len(first) :]):
            fitted = header[: len(first)]
            note = "a separator behind the last column's name left out"
        else:
            return None

        try:
            table, odd = self._read(fitted)
        except MalformedFile:
            return None

        beyond, table = table.columns[width:], table.select(range(min(width, len(fitted))))
        if not all(map(self._is_blank, odd)) or not all(map(_is_empty, beyond)):
            return None
        if beyond and self._splits_numbers(table):
            return None

        self.header = fitted[:width]
        self.notes.append(note)
        return table, odd

    def _first_row(self) -> list[str]:
        """Return the values of the first row that is not blank, if it is within reach."""
        text = str(self._data[self._header_end : self._header_end + _FIRST_ROW], "utf-8", "ignore")
        with suppress(csv.Error):
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=self.separator):
                if any(cell.strip() for cell in row):
                    return row
        return []

    def _is_blank(self, row: Any) -> bool:
        return not row.text.strip(f'{self.separator}" \t\r\n')

    def _splits_numbers(self, table: pa.Table) -> bool:
        """Return whether the separator may have split numbers after the thousands, as in 1,640."""
        if self.separator != ",":
            return False
        return any(
            _is_like(_THOUSANDS, one) and _is_like(_REST, other)
            for one, other in pairwise(table.columns)
        )

    def _read(self, header: list[str]) -> tuple[pa.Table, list[Any]]:
        """Return the rows with as many values as the header, and the others."""
        table, odd = self._read_once(header, use_threads=True)
        if odd:  # only a single-threaded read tells where they stand
            table, odd = self._read_once(header, use_threads=False)
        return table, odd

    def _read_once(self, header: list[str], *, use_threads: bool) -> tuple[pa.Table, list[Any]]:
        names = [f"c{i}" for i in range(len(header))]
        types = [_REPETITIVE if name in self._repetitive else pa.string() for name in header]
        ragged: list[Any] = []

        def skip(row: Any) -> str:
            ragged.append(row)
            return "skip" if len(ragged) <= MAX_RAGGED else "error"

        reading = pa.csv.ReadOptions(
            use_threads=use_threads, column_names=names, skip_rows=self._named, block_size=_BLOCK
        )
        parsing = pa.csv.ParseOptions(
            delimiter=self.separator, newlines_in_values=self._quoted, invalid_row_handler=skip
        )
        # No text stands for null, and the file is known to be UTF-8: cells need no check for that.
        converting = pa.csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            strings_can_be_null=False,
            null_values=[],
            check_utf8=False,
        )

        try:
            table = pa.csv.read_csv(pa.BufferReader(self._data), reading, parsing, converting)
        except pa.ArrowInvalid as error:
            if len(ragged) > MAX_RAGGED:
                raise MalformedFile(
                    f"more than {MAX_RAGGED:,} rows have more or fewer values than the header "
                    "has columns; are they separated in another way?"
                ) from None
            raise MalformedFile(f"this is not a CSV: {shown(str(error))}") from None
        return table, ragged


def rows_start(start: bytes) -> int:
    """Return the place at which the rows begin in a CSV of which the first bytes are given.

    Raises
    ------
    MalformedFile
        When the header does not end in these bytes.
    """
    above = re.match(rb"(?:\xef\xbb\xbf)?[\r\n]*", start)
    assert above is not None
    line = _SEPARATOR_LINE.match(start, above.end())
    end = re.compile(rb"\r?\n").search(start, line.end() if line else above.end())
    if end is None:
        raise MalformedFile("the first line must name the columns, and end in a line feed")
    return end.end()


def _line_ends(text: bytes) -> int:
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _found(pattern: bytes, data: memoryview) -> int:
    """Return the place at which a pattern is first found; the end where it is not found."""
    match = re.search(pattern, data)
    return match.start() if match else len(data)


def _header(line: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the separator that yields most known columns in the first line, and its names."""
    candidates = []
    contract = set(known.values())
    for separator in (",", ";", "\t"):
        try:
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
        except (csv.Error, StopIteration):
            continue
        n_known = sum(name in contract for name in named(names[:MAX_COLUMNS], known))
        candidates.append((n_known, separator, names))
    if not candidates:
        raise MalformedFile("the first line cannot be read as a header")

    _, separator, names = max(candidates, key=lambda candidate: candidate[0])
    try:
        next(csv.reader([line], delimiter=separator, strict=line.count('"') % 2 == 1))
    except csv.Error:
        raise MalformedFile(
            "the first line has a name that goes on below it, or a quote that is never closed"
        ) from None
    return separator, names


def _empty_rows(table: pa.Table) -> NDArray[np.bool_]:
    empty = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        if not empty.any():
            break
        # Most files have no blank row: the loop ends after the first column.
        empty &= np.concatenate([_blank(cells) for cells in column.chunks])
    return empty


def _is_empty(column: pa.ChunkedArray) -> bool:
    return all(_blank(cells).all() for cells in column.chunks)


def _is_like(pattern: str, column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.match_substring_regex(column.cast(pa.string()), pattern)).as_py())


def _blank(cells: pa.Array) -> NDArray[np.bool_]:
    encoded = pa.types.is_dictionary(cells.type)
    values = cells.dictionary if encoded else cells
    blank: NDArray[np.bool_] = np.asarray(pc.equal(pc.utf8_trim_whitespace(values), ""))
    if not encoded:
        return blank

    places: NDArray[np.int32] = cells.indices.to_numpy()
    return blank[places]
