"""A CSV of outcomes, row by row: what can be told without the decision log."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.csv_reader import Data, Sheet
from credit_risk.schema.faults import FIRSTS, MAX_FAULTS, Allowed, Fault, Invalid, Unreadable, chosen, shown
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.dates import DateForm, day_of, why_not
from credit_risk.schema.spelling.notes import Notes, form_of
from credit_risk.schema.spelling.words import plain

DECISION_ID = "decision_id"
OUTCOME = "outcome"
DATE = "date"
COLUMNS = (DECISION_ID, CLIENT_ID, OUTCOME, DATE)

REPAID = "repaid"
DEFAULTED = "defaulted"
WORDS = (REPAID, DEFAULTED)

# A row takes about 2 kB of memory while its file is taken, and some 40 microseconds.
MAX_ROWS = 250_000
_REMEMBERED = 10_000

Wrong = tuple[int, str, object, Invalid]


class OutcomeRow(NamedTuple):
    """A row that says what became of whom; one of the two ids may be empty."""

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
        The complete ones.
    n_rows, n_open : int
        How many there are in all, and how many have neither outcome nor date: of loans that are still open.
    sha256 : str
        Of the file.
    warnings : list of str
        What to tell the sender beside.

    Raises
    ------
    Unreadable
        When it is no CSV, has none of the columns, or more than `MAX_ROWS` rows.
    """

    def __init__(self, data: Data) -> None:
        self._sheet = sheet = Sheet(data, COLUMNS)
        self.sha256 = hashlib.sha256(data).hexdigest()
        if not set(COLUMNS) & set(sheet.header):
            listed = shown(" ".join(sheet.header))
            raise Unreadable(
                f"the first line must name the columns {OUTCOME}, {DATE} and {DECISION_ID} or {CLIENT_ID}, but it has "
                f"none of them: {listed}"
            )
        self.n_rows = sheet.n_rows
        if self.n_rows > MAX_ROWS:
            raise Unreadable(f"the file has {self.n_rows:,} rows; send at most {MAX_ROWS:,} at a time")
        ignored = [name for name in sheet.header if name not in COLUMNS]
        self.warnings = list(sheet.notes)
        if ignored:
            self.warnings.append(f"{len(ignored)} columns ignored: {', '.join(map(shown, ignored[:20]))}")
        self._whole = _column_faults(sheet)
        self._wrong: list[Wrong] = [(n, "", None, Invalid("shape", text)) for n, text in sheet.ragged[:MAX_FAULTS]]
        self._reasons = {("", "shape"): len(sheet.ragged)} if sheet.ragged else {}
        self._most_kept = len(self._wrong) + MAX_FAULTS
        self.n_open = 0
        notes = Notes()
        self.rows: list[OutcomeRow] = [] if self._whole else list(self._read(notes))
        self.warnings += notes.warnings()

    def faults(self, wrong: Iterable[Wrong] = ()) -> tuple[list[Fault], dict[tuple[str, str], int]]:
        """Return what is told to be wrong with the file and its rows, and how many of each (column, reason).

        Parameters
        ----------
        wrong : iterable
            What was found wrong elsewhere: number of the row, column, value, why.
        """
        if self._whole:
            return self._whole, {(fault.column or "", "column"): 1 for fault in self._whole}
        elsewhere = list(wrong)
        reasons = dict(self._reasons)
        for _, column, _, error in elsewhere:
            reasons[column, error.reason] = reasons.get((column, error.reason), 0) + 1
        found = sorted([*self._wrong, *elsewhere], key=lambda w: (w[0], COLUMNS.index(w[1]) if w[1] else -1))
        told = chosen(found, lambda w: (w[1], w[3].reason))
        lines = self.lines({number for number, *_ in told})
        faults = [
            Fault.of(number, column or None, value, error, f"line {lines[number]}")
            for number, column, value, error in told
        ]
        return faults, reasons

    def lines(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return the line in the file of each of these rows."""
        return self._sheet.lines(numbers)

    def _read(self, notes: Notes) -> Iterable[OutcomeRow]:
        header, table = self._sheet.header, self._sheet.table
        nothing = [""] * table.num_rows
        columns = [table.column(header.index(c)).to_pylist() if c in header else nothing for c in COLUMNS]
        today = datetime.now(UTC).date()
        # Most files have few dates, and few faults, in many rows.
        dates: dict[str, tuple[date | Invalid, DateForm]] = {}
        unknown: dict[str, Invalid] = {}
        for number, *cells in zip(self._sheet.numbers.tolist(), *columns, strict=True):
            id, client, outcome, day = map(partial(_plain, notes), COLUMNS, cells)
            if not outcome and not day:
                self.n_open += 1
                continue
            if day not in dates:
                _room(dates)[day] = _date(day, today)
            if outcome not in WORDS and outcome not in unknown:
                _room(unknown)[outcome] = _no_outcome(outcome)
            parsed, form = dates[day]
            if form:
                notes.add(form, DATE, day)
            errors: list[tuple[str, str, Invalid | None]] = [
                (DECISION_ID, id, None if id or client else _NO_ID),
                (OUTCOME, outcome, unknown.get(outcome)),
                (DATE, day, parsed if isinstance(parsed, Invalid) else None),
            ]
            bad = [(number, column, value or None, error) for column, value, error in errors if error]
            self._note(bad)
            if not bad and not isinstance(parsed, Invalid):
                yield OutcomeRow(number, id, client, outcome, parsed)

    def _note(self, bad: Sequence[Wrong]) -> None:
        """Count what is wrong with a row, and keep the first thousand and the first of each kind."""
        for wrong in bad:
            kind = wrong[1], wrong[3].reason
            self._reasons[kind] = self._reasons.get(kind, 0) + 1
            if len(self._wrong) < self._most_kept or self._reasons[kind] <= FIRSTS:
                self._wrong.append(wrong)


def _plain(notes: Notes, column: str, cell: str) -> str:
    """Return what a cell says, and note where it says that in another form."""
    if column in (OUTCOME, DATE):
        said, form = plain(cell), form_of(cell)
    else:  # which may have quotes of its own
        said, form = ids.parsed(cell)
    if form:
        notes.add(form, column, cell)
    return said


def _room(judged: dict[str, Any]) -> dict[str, Any]:
    """Return what is remembered of words, emptied where it is too much."""
    if len(judged) >= _REMEMBERED:
        judged.clear()
    return judged


_NO_ID = Invalid("missing", f"the row has neither {DECISION_ID} nor {CLIENT_ID}")


def _no_outcome(value: str) -> Invalid:
    if not value:
        return Invalid("missing", f"{OUTCOME} has no value", list(WORDS))
    return Invalid("unknown_category", f"{OUTCOME} {shown(value)} is not one of {', '.join(WORDS)}", list(WORDS))


def _date(text: str, today: date) -> tuple[date | Invalid, DateForm]:
    allowed: Allowed = {"format": "date", "maximum": str(today)}
    if not text:
        return Invalid("missing", f"{DATE} has no value", allowed), ""
    day, form = day_of(text)
    if day is None:
        return Invalid("not_a_date", f"{DATE} {shown(text)} {why_not(text)}", allowed), ""
    if day > today:
        return Invalid("future", f"{DATE} {text} is in the future (today is {today}, UTC)", allowed), ""
    return day, form


def _column_faults(sheet: Sheet) -> list[Fault]:
    header = sheet.header
    faults = [
        Fault(None, name, None, f"column {name!r} stands {header.count(name)} times in the header; keep one")
        for name in COLUMNS
        if header.count(name) > 1
    ]
    faults += [
        Fault(None, name, None, f"column {name!r} is missing; add it to the header and give each row a value")
        for name in (OUTCOME, DATE)
        if name not in header
    ]
    if DECISION_ID not in header and CLIENT_ID not in header:
        faults.append(Fault(None, DECISION_ID, None, f"the header has neither {DECISION_ID!r} nor {CLIENT_ID!r}"))
    if not faults and not sheet.n_rows:
        faults.append(Fault(None, None, None, "the file has a header but no outcomes below it"))
    return faults
