"""A CSV of outcomes, and the faults in it that can be found without the decision log."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.faults import (
    FIRSTS,
    MAX_FAULTS,
    Allowed,
    InvalidValue,
    MalformedFile,
    RowError,
    chosen,
    shown,
)
from credit_risk.schema.sheets.csv_table import CsvTable, Data
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.dates import DateForm, day_of, why_not
from credit_risk.schema.spelling.notes import Notes, form_of
from credit_risk.schema.spelling.words import normalised, only

DECISION_ID = "decision_id"
OUTCOME = "outcome"
DATE = "date"
COLUMNS = (DECISION_ID, CLIENT_ID, OUTCOME, DATE)

REPAID = "repaid"
DEFAULTED = "defaulted"
WORDS = (REPAID, DEFAULTED)

# Importing a row takes about 2 kB of memory and some 40 microseconds.
MAX_ROWS = 250_000
_REMEMBERED = 10_000  # distinct dates, or invalid outcomes, per cache

# A fault: the number of the row, the column, the value, and the error.
Wrong = tuple[int, str, object, InvalidValue]


class OutcomeRow(NamedTuple):
    """A row with an outcome; one of the two ids may be empty."""

    number: int
    decision_id: str
    client_id: str
    outcome: str
    date: date


class OutcomeFile:
    """The rows of a CSV of outcomes.

    Attributes
    ----------
    rows : list of OutcomeRow
        The rows that are complete and valid.
    n_rows, n_open : int
        The number of all rows, and of those that have neither outcome nor date because the loan is
        still open.
    sha256 : str
        The hash of the file.
    warnings : list of str
        What else to tell the sender.

    Raises
    ------
    MalformedFile
        When the file is not a CSV, has none of the columns, or more than `MAX_ROWS` rows.
    """

    def __init__(self, data: Data) -> None:
        self._sheet = sheet = CsvTable(data, only(COLUMNS))
        self.sha256 = hashlib.sha256(data).hexdigest()

        if not set(COLUMNS) & set(sheet.header):
            listed = shown(" ".join(sheet.header))
            raise MalformedFile(
                f"the first line must name the columns {OUTCOME}, {DATE} and {DECISION_ID} or "
                f"{CLIENT_ID}, but it has none of them: {listed}"
            )
        self.n_rows = sheet.n_rows
        if self.n_rows > MAX_ROWS:
            raise MalformedFile(
                f"the file has {self.n_rows:,} rows; send at most {MAX_ROWS:,} at a time"
            )

        ignored = [name for name in sheet.header if name not in COLUMNS]
        self.warnings = list(sheet.notes)
        if ignored:
            listed = ", ".join(map(shown, ignored[:20]))
            self.warnings.append(f"{len(ignored)} columns ignored: {listed}")

        self._whole = _column_faults(sheet)
        self._wrong: list[Wrong] = [
            (n, "", None, InvalidValue("shape", text)) for n, text in sheet.ragged[:MAX_FAULTS]
        ]
        self._reasons = {("", "shape"): len(sheet.ragged)} if sheet.ragged else {}
        self._most_kept = len(self._wrong) + MAX_FAULTS

        self.n_open = 0
        notes = Notes()
        self.rows: list[OutcomeRow] = [] if self._whole else list(self._read(notes))
        self.warnings += notes.warnings()

    def faults(
        self, wrong: Iterable[Wrong] = ()
    ) -> tuple[list[RowError], dict[tuple[str, str], int]]:
        """Return the faults to report, and the number of all faults for each (column, reason).

        Parameters
        ----------
        wrong : iterable
            Faults that were found elsewhere: number of the row, column, value, error.
        """
        if self._whole:
            return self._whole, {(fault.column or "", "column"): 1 for fault in self._whole}

        elsewhere = list(wrong)
        reasons = dict(self._reasons)
        for _, column, _, error in elsewhere:
            reasons[column, error.reason] = reasons.get((column, error.reason), 0) + 1

        found = sorted([*self._wrong, *elsewhere], key=_place)
        reported = chosen(found, lambda w: (w[1], w[3].reason))
        lines = self.lines({number for number, *_ in reported})
        faults = [
            RowError.of(number, column or None, value, error, f"line {lines[number]}")
            for number, column, value, error in reported
        ]
        return faults, reasons

    def lines(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return the line of the file on which each of these rows stands."""
        return self._sheet.lines(numbers)

    def _read(self, notes: Notes) -> Iterable[OutcomeRow]:
        header, table = self._sheet.header, self._sheet.table
        empty = [""] * table.num_rows
        columns = [
            table.column(header.index(name)).to_pylist() if name in header else empty
            for name in COLUMNS
        ]

        today = datetime.now(UTC).date()
        # Most files have few different dates, and few different faults, in many rows.
        dates: dict[str, tuple[date | InvalidValue, DateForm]] = {}
        unknown: dict[str, InvalidValue] = {}

        for number, *cells in zip(self._sheet.numbers.tolist(), *columns, strict=True):
            id, client, outcome, day = map(partial(_normalised_cell, notes), COLUMNS, cells)
            if not outcome and not day:
                self.n_open += 1
                continue

            if day not in dates:
                _make_room(dates)
                dates[day] = _date(day, today)
            if outcome not in WORDS and outcome not in unknown:
                _make_room(unknown)
                unknown[outcome] = _invalid_outcome(outcome)

            parsed, form = dates[day]
            if form:
                notes.add(form, DATE, day)

            errors: list[tuple[str, str, InvalidValue | None]] = [
                (DECISION_ID, id, None if id or client else _NO_ID),
                (OUTCOME, outcome, unknown.get(outcome)),
                (DATE, day, parsed if isinstance(parsed, InvalidValue) else None),
            ]
            bad = [
                (number, column, value or None, error) for column, value, error in errors if error
            ]
            self._note(bad)
            if not bad and not isinstance(parsed, InvalidValue):
                yield OutcomeRow(number, id, client, outcome, parsed)

    def _note(self, bad: Sequence[Wrong]) -> None:
        """Count the faults of a row, and keep the first thousand and the first of each kind."""
        for wrong in bad:
            kind = wrong[1], wrong[3].reason
            self._reasons[kind] = self._reasons.get(kind, 0) + 1
            if len(self._wrong) < self._most_kept or self._reasons[kind] <= FIRSTS:
                self._wrong.append(wrong)


def _place(wrong: Wrong) -> tuple[int, int]:
    """Return the row and column by which faults are sorted; those of a whole row come first."""
    number, column, *_ = wrong
    return number, COLUMNS.index(column) if column else -1


def _normalised_cell(notes: Notes, column: str, cell: str) -> str:
    """Return the value of a cell, and make a note where it is written in another form."""
    if column in (OUTCOME, DATE):
        value, form = normalised(cell), form_of(cell)
    else:  # an id, to which quotes may belong
        value, form = ids.parsed(cell)

    if form:
        notes.add(form, column, cell)
    return value


def _make_room(cache: dict[str, Any]) -> None:
    """Empty a cache that is full."""
    if len(cache) >= _REMEMBERED:
        cache.clear()


_NO_ID = InvalidValue("missing", f"the row has neither {DECISION_ID} nor {CLIENT_ID}")


def _invalid_outcome(value: str) -> InvalidValue:
    if not value:
        return InvalidValue("missing", f"{OUTCOME} has no value", list(WORDS))
    message = f"{OUTCOME} {shown(value)} is not one of {', '.join(WORDS)}"
    return InvalidValue("unknown_category", message, list(WORDS))


def _date(text: str, today: date) -> tuple[date | InvalidValue, DateForm]:
    allowed: Allowed = {"format": "date", "maximum": str(today)}
    if not text:
        return InvalidValue("missing", f"{DATE} has no value", allowed), ""

    day, form = day_of(text)
    if day is None:
        return InvalidValue("not_a_date", f"{DATE} {shown(text)} {why_not(text)}", allowed), ""
    if day > today:
        message = f"{DATE} {text} is in the future (today is {today}, UTC)"
        return InvalidValue("future", message, allowed), ""
    return day, form


def _column_faults(sheet: CsvTable) -> list[RowError]:
    header = sheet.header
    faults: list[RowError] = []
    for name in COLUMNS:
        times = header.count(name)
        if times > 1:
            message = f"column {name!r} stands {times} times in the header; keep one"
            faults.append(RowError(None, name, None, message))

    for name in (OUTCOME, DATE):
        if name not in header:
            message = f"column {name!r} is missing; add it to the header and give each row a value"
            faults.append(RowError(None, name, None, message))

    if DECISION_ID not in header and CLIENT_ID not in header:
        message = f"the header has neither {DECISION_ID!r} nor {CLIENT_ID!r}"
        faults.append(RowError(None, DECISION_ID, None, message))

    if not faults and not sheet.n_rows:
        faults.append(RowError(None, None, None, "the file has a header but no outcomes below it"))
    return faults
