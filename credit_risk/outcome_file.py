"""A CSV of outcomes, row by row: what can be told without the decision log."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

from credit_risk.application import CLIENT_ID, MAX_FAULTS, Allowed, Fault, Invalid
from credit_risk.sheet import Data, Sheet, Unreadable, shown

DECISION_ID = "decision_id"
OUTCOME = "outcome"
DATE = "date"
COLUMNS = (DECISION_ID, CLIENT_ID, OUTCOME, DATE)

REPAID = "repaid"
DEFAULTED = "defaulted"
WORDS = (REPAID, DEFAULTED)

# A row takes about 4 kB of memory while its file is taken.
MAX_ROWS = 250_000

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
    n_rows : int
        How many there are in all.
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
        self.warnings = [f"{len(ignored)} columns ignored: {', '.join(map(shown, ignored[:20]))}"] if ignored else []
        self._whole = _column_faults(sheet)
        self._wrong: list[Wrong] = [(n, "", None, Invalid("shape", text)) for n, text in sheet.ragged]
        self.rows: list[OutcomeRow] = [] if self._whole else list(self._read())

    def faults(self, wrong: Iterable[Wrong] = ()) -> tuple[list[Fault], dict[tuple[str, str], int]]:
        """Return what is wrong with the file and its rows, the first thousand, and how many of each (column, reason).

        Parameters
        ----------
        wrong : iterable
            What was found wrong elsewhere: number of the row, column, value, why.
        """
        if self._whole:
            return self._whole, {(fault.column or "", "column"): 1 for fault in self._whole}
        found = sorted([*self._wrong, *wrong], key=lambda w: (w[0], COLUMNS.index(w[1]) if w[1] else -1))
        reasons: dict[tuple[str, str], int] = {}
        for _, column, _, error in found:
            reasons[column, error.reason] = reasons.get((column, error.reason), 0) + 1
        lines = self._sheet.lines({number for number, *_ in found[:MAX_FAULTS]})
        faults = [
            Fault(number, column or None, value, f"line {lines[number]}: {error}", error.allowed)
            for number, column, value, error in found[:MAX_FAULTS]
        ]
        return faults, reasons

    def _read(self) -> Iterable[OutcomeRow]:
        header, table = self._sheet.header, self._sheet.table
        nothing = [""] * table.num_rows
        columns = [table.column(header.index(c)).to_pylist() if c in header else nothing for c in COLUMNS]
        today = datetime.now(UTC).date()
        dates: dict[str, date | Invalid] = {}
        for number, *cells in zip(self._sheet.numbers.tolist(), *columns, strict=True):
            id, client, outcome, day = (cell.strip() for cell in cells)
            if day not in dates:
                dates[day] = _date(day, today)
            parsed = dates[day]
            errors: list[tuple[str, str, Invalid | None]] = [
                (DECISION_ID, id, None if id or client else _no_id()),
                (OUTCOME, outcome, None if outcome in WORDS else _no_outcome(outcome)),
                (DATE, day, parsed if isinstance(parsed, Invalid) else None),
            ]
            bad = [(number, column, value or None, error) for column, value, error in errors if error]
            self._wrong += bad
            if not bad and not isinstance(parsed, Invalid):
                yield OutcomeRow(number, id, client, outcome, parsed)


def _no_id() -> Invalid:
    return Invalid("missing", f"the row has neither {DECISION_ID} nor {CLIENT_ID}")


def _no_outcome(value: str) -> Invalid:
    if not value:
        return Invalid("missing", f"{OUTCOME} has no value", list(WORDS))
    return Invalid("unknown_category", f"{OUTCOME} {shown(value)} is not one of {', '.join(WORDS)}", list(WORDS))


def _date(text: str, today: date) -> date | Invalid:
    allowed: Allowed = {"format": "date", "maximum": str(today)}
    if not text:
        return Invalid("missing", f"{DATE} has no value", allowed)
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-01-31") else None
    except ValueError:
        day = None
    # 2026-W01-1 is an ISO date as well, but none that people write.
    if day is None or day.isoformat() != text:
        return Invalid("not_a_date", f"{DATE} {shown(text)} is no date like 2026-01-31 (year-month-day)", allowed)
    if day > today:
        return Invalid("future", f"{DATE} {text} is in the future (today is {today}, UTC)", allowed)
    return day


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
