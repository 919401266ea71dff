"""A CSV that somebody uploads, as columns of text.

pyarrow reads it; what this adds is what a person needs to know: which line a row stands on, which rows have too many
values, a quote that is never closed. Blank lines, and lines of nothing but separators, are no rows.
"""

import csv
import io
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from credit_risk.schema.faults import Unreadable, shown
from credit_risk.schema.spelling.words import named

MAX_COLUMNS = 1000
MAX_HEADER = 1_000_000  # bytes
# Each row of more or fewer values than the header is looked at by itself: so many take a second.
MAX_RAGGED = 100_000

# The module's own limit, 128 kB a value, would fail where the line of a row is looked for.
csv.field_size_limit(sys.maxsize)

# So many bytes are read at a time, which makes so many rows a chunk of the table.
_BLOCK = 4 << 20
# So many are searched at a time.
_SEARCHED = 1 << 20
_SAID = 20
_WORDS = pa.dictionary(pa.int32(), pa.string())
# With it Excel is told the separator, and some programs write it.
_SEPARATOR_LINE = re.compile(rb'"?sep=[,;\t]"?[,;\t ]*[\r\n]+', re.IGNORECASE)
# In so many bytes the first row is looked for.
_FIRST_ROW = 1 << 16
# A number whose thousands and rest were parted by the separator.
_THOUSANDS, _REST = r"^\s*-?[0-9]{1,3}\s*$", r"^\s*[0-9]{3}(\.[0-9]*)?\s*$"

Data = bytes | memoryview


def _utf8(data: Data) -> memoryview:
    """Return a body as UTF-8 without a byte order mark, or say why that cannot be."""
    # A view's parts are no copies: a body may have 200 MB.
    data = memoryview(data)
    if not re.search(rb"\S", data):
        raise Unreadable("the file is empty")
    start = bytes(data[:4])
    if start in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise Unreadable("this is an Excel workbook or a zip archive; save the sheet as CSV (UTF-8) and upload that")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = memoryview(str(data, "utf-16").encode())
        except UnicodeError:
            raise Unreadable("the file says it is UTF-16 but is not; save it as CSV (UTF-8)") from None
    if bytes(data[:3]) == b"\xef\xbb\xbf":
        data = data[3:]
    if not _is_text(data):
        try:
            str(data, "utf-8")
        except UnicodeDecodeError as error:
            line = _line_at(data, error.start)
            raise Unreadable(f"line {line} is not UTF-8 text; save the file as CSV (UTF-8)") from None
    if not re.search(rb"\S", data):
        raise Unreadable("the file is empty")
    if not _numbers(data).min():
        line = _line_at(data, _found(rb"\0", data))
        raise Unreadable(f"line {line} holds a NUL byte; this is no CSV")
    return data if bytes(data[-1:]) in (b"\n", b"\r") else memoryview(b"".join((data, b"\n")))


def _numbers(data: memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _line_at(data: memoryview, place: int) -> int:
    return bytes(data[:place]).count(b"\n") + 1


def _is_text(data: memoryview) -> bool:
    """Whether it is UTF-8; Arrow looks where it stands, `decode` would copy it."""
    ends = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


class Sheet:
    """A CSV as text columns; rows are numbered from 0, blank ones left out.

    Parameters
    ----------
    data : bytes or memoryview
        The file.
    known : collection of str
        Column names, by which the separator is found.
    repetitive : collection of str
        Columns of few words, which come dictionary-encoded.

    Attributes
    ----------
    header : list of str
        The column names, without spaces around them; those that are known by another spelling as they are known.
    separator : str
        What stands between values.
    notes : list of str
        What was taken in another form than is usual.
    table : pyarrow.Table
        The rows that have as many values as the header, as text, untouched.
    numbers : array
        The number of each of the table's rows.
    ragged : list of (int, str)
        The other rows: number, what is wrong.
    n_rows : int
        How many rows there are of both sorts.

    Raises
    ------
    Unreadable
        When the bytes are no CSV.
    """

    def __init__(self, data: Data, known: Collection[str], repetitive: Collection[str] = ()) -> None:
        text = _utf8(data)
        start = _found(rb"[^\r\n]", text)
        self._lines_above = _line_ends(bytes(text[:start]))
        self.notes: list[str] = []
        self._data = self._without_separator_line(text[start:])
        end = _found(rb"[\r\n]", self._data)
        if end > MAX_HEADER:
            raise Unreadable(
                f"the first line must name the columns, at most {MAX_COLUMNS:,}; this one has {end:,} bytes"
            )
        self.separator, written = _header(str(self._data[:end], "utf-8"), known)
        if len(written) > MAX_COLUMNS:
            raise Unreadable(f"the header has {len(written)} columns; at most {MAX_COLUMNS} are read")
        self.header = named(written, known)
        self.notes += renamed([pair for pair in zip(written, self.header, strict=True) if pair[0] != pair[1]])
        self._header_end = end
        self._repetitive = repetitive
        quotes = _quotes(self._data)
        self._check_quotes(quotes)
        # Names alone in quotes are what many programs write; then each line is a row, which is read in less time.
        self._quoted = bool(len(quotes)) and bool(quotes[-1] > end)
        table, odd = self._read_fitted() or self._read(self.header)
        # pyarrow counts the rows that it skips from 1, the header among them.
        odd_numbers = [row.number - 2 for row in odd]
        numbers = np.delete(np.arange(table.num_rows + len(odd)), odd_numbers)
        empty = _empty_rows(table)
        ragged = {row.number - 2: row for row in odd if not self._is_blank(row)}
        gone = np.sort(np.concatenate([numbers[empty], [n for n in odd_numbers if n not in ragged]]))
        self.table = table.filter(pa.array(~empty)) if empty.any() else table
        self.numbers = (numbers - np.searchsorted(gone, numbers))[~empty]
        width = len(self.header)
        self.ragged = [
            (n - int(np.searchsorted(gone, n)), f"{row.actual_columns} values, but the header has {width} columns")
            for n, row in ragged.items()
        ]
        self.n_rows = len(self.numbers) + len(self.ragged)
        self._none_gone = not len(gone)

    def _without_separator_line(self, data: memoryview) -> memoryview:
        line = _SEPARATOR_LINE.match(data)
        if line is None:
            return data
        if line.end() == len(data):
            raise Unreadable("the file is empty")
        self._lines_above += _line_ends(line[0])
        self.notes.append(f"first line {shown(line[0].decode().strip())} skipped")
        return data[line.end() :]

    def lines(self, numbers: Collection[int]) -> dict[int, int]:
        """Return the line of the file, from 1, on which each of these rows starts."""
        found = {number: number + 2 + self._lines_above for number in numbers}
        if found and not self._one_line_a_row():
            last = max(numbers)
            for number, line in enumerate(self._row_lines(strict=False), start=-1):
                if number in found:
                    found[number] = line
                if number >= last:
                    break
        return found

    def _one_line_a_row(self) -> bool:
        return self._none_gone and not self._quoted and not re.search(rb"[\r\n]\n", self._data)

    def _row_lines(self, *, strict: bool) -> Iterator[int]:
        """Yield the line on which each row that is not blank starts, the header's first."""
        text = str(self._data, "utf-8")
        if strict:  # spaces behind a value in quotes are none of its faults
            text = re.sub(f'" +(?=[{self.separator}\\r\\n])', '"', text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator, strict=strict)
        line = 1
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line + self._lines_above
            line = reader.line_num + 1

    def _check_quotes(self, quotes: NDArray[np.int64]) -> None:
        """Refuse a quote that is never closed: the reader would take all rows behind it for one value."""
        if _well_quoted(self._data, quotes, self.separator):
            return
        line = 0
        try:
            for line in self._row_lines(strict=True):  # noqa: B007
                pass
        except csv.Error as error:
            raise Unreadable(f"a quote below line {line} is never closed or stands within a value ({error})") from None

    def _read_fitted(self) -> tuple[pa.Table, list[Any]] | None:
        """Read rows that all have empty values behind those of the header, or lack those that it has no names for.

        Nothing, where not all do or they can mean something else: such rows have more or fewer values than the header.
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
        except Unreadable:
            return None
        beyond, table = table.columns[width:], table.select(range(min(width, len(fitted))))
        if not all(map(self._is_blank, odd)) or not all(map(_is_empty, beyond)) or (beyond and self._is_parted(table)):
            return None
        self.header = fitted[:width]
        self.notes.append(note)
        return table, odd

    def _first_row(self) -> list[str]:
        """Return the values of the first row that is not blank, where it is near."""
        text = str(self._data[self._header_end : self._header_end + _FIRST_ROW], "utf-8", "ignore")
        with suppress(csv.Error):
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=self.separator):
                if any(cell.strip() for cell in row):
                    return row
        return []

    def _is_blank(self, row: Any) -> bool:
        return not row.text.strip(f'{self.separator}" \t\r\n')

    def _is_parted(self, table: pa.Table) -> bool:
        """Return whether a column may hold the thousands of numbers that the next one has the rest of, as in 1,640."""
        if self.separator != ",":
            return False
        return any(_is_like(_THOUSANDS, one) and _is_like(_REST, other) for one, other in pairwise(table.columns))

    def _read(self, header: list[str]) -> tuple[pa.Table, list[Any]]:
        """Return the rows of as many values as the header, and the others."""
        table, odd = self._read_once(header, use_threads=True)
        # Only a single-threaded read tells where they stand.
        return self._read_once(header, use_threads=False) if odd else (table, odd)

    def _read_once(self, header: list[str], *, use_threads: bool) -> tuple[pa.Table, list[Any]]:
        types = [_WORDS if name in self._repetitive else pa.string() for name in header]
        ragged: list[Any] = []

        def skip(row: Any) -> str:
            ragged.append(row)
            return "skip" if len(ragged) <= MAX_RAGGED else "error"

        names = [f"c{i}" for i in range(len(header))]
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(self._data),
                read_options=pa.csv.ReadOptions(
                    use_threads=use_threads, column_names=names, skip_rows=1, block_size=_BLOCK
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=self._quoted, invalid_row_handler=skip
                ),
                # No word stands for nothing, and that it is UTF-8 is known: each cell need not be looked at for that.
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict(zip(names, types, strict=True)),
                    strings_can_be_null=False,
                    null_values=[],
                    check_utf8=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if len(ragged) > MAX_RAGGED:
                raise Unreadable(
                    f"more than {MAX_RAGGED:,} rows have more or fewer values than the header has columns; are they "
                    "separated in another way?"
                ) from None
            raise Unreadable(f"this is no CSV: {shown(str(error))}") from None
        return table, ragged


def _line_ends(text: bytes) -> int:
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _quotes(data: memoryview) -> NDArray[np.int64]:
    """Return where the quotes stand, looked for in parts that stay in the processor's caches."""
    text = _numbers(data)
    parts = range(0, len(text), _SEARCHED)
    return np.concatenate([at + np.flatnonzero(text[at : at + _SEARCHED] == ord('"')) for at in parts])


def _well_quoted(data: memoryview, quotes: NDArray[np.int64], separator: str) -> bool:
    """Return whether each quote, by its place, opens a value, closes it, or stands doubled within one.

    Faster than reading it all, and most files are. That quotes are even in number is not enough: two that are never
    closed make one value of all rows between them.
    """
    if len(quotes) % 2:
        return False
    text = _numbers(data)
    # The last byte is a line end, and what is before the first.
    around = np.concatenate([text[quotes[::2] - 1], text[quotes[1::2] + 1]])
    return bool(np.isin(around, np.frombuffer(f'{separator}\r\n"'.encode(), np.uint8)).all())


def _found(pattern: bytes, data: memoryview) -> int:
    """Return where a pattern is first found; the end, where it is not."""
    match = re.search(pattern, data)
    return match.start() if match else len(data)


def _header(line: str, known: Collection[str]) -> tuple[str, list[str]]:
    """Return the separator that finds most known columns in the first line, and the names it gives."""
    tried = []
    for separator in (",", ";", "\t"):
        try:
            names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
        except (csv.Error, StopIteration):
            continue
        tried.append((sum(name in known for name in named(names[:MAX_COLUMNS], known)), separator, names))
    if not tried:
        raise Unreadable("the first line cannot be read as a header")
    _, separator, names = max(tried, key=lambda t: t[0])
    try:
        next(csv.reader([line], delimiter=separator, strict=line.count('"') % 2 == 1))
    except csv.Error:
        raise Unreadable("the first line has a name that goes on below it, or a quote that is never closed") from None
    return separator, names


def _empty_rows(table: pa.Table) -> NDArray[np.bool_]:
    empty = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        if not empty.any():
            break
        # Most files have no blank row: the first column tells, and the loop ends.
        empty &= np.concatenate([_blank(cells) for cells in column.chunks])
    return empty


def _is_empty(column: pa.ChunkedArray) -> bool:
    return all(_blank(cells).all() for cells in column.chunks)


def _is_like(pattern: str, column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.match_substring_regex(column.cast(pa.string()), pattern)).as_py())


def renamed(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return what to say of columns whose names were spelled in another way: as written, as read."""
    if not names:
        return []
    listed = ", ".join(f"{shown(written)} as {name}" for written, name in names[:_SAID])
    more = f" and {len(names) - _SAID:,} more" if len(names) > _SAID else ""
    return [f"columns read by the contract's names: {listed}{more}"]


def _blank(cells: pa.Array) -> NDArray[np.bool_]:
    words = cells.dictionary if pa.types.is_dictionary(cells.type) else cells
    blank: NDArray[np.bool_] = np.asarray(pc.equal(pc.utf8_trim_whitespace(words), ""))
    if words is cells:
        return blank
    places: NDArray[np.int32] = cells.indices.to_numpy()
    return blank[places]
