"""Validates applications, in a list of objects or in a file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import CLIENT_ID, LABEL, Floats
from credit_risk.schema.columns import Columns, Located
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import Faults, InvalidValue, MalformedFile, RowError, chosen, shown
from credit_risk.schema.sheets.arrow_table import ArrowTable
from credit_risk.schema.sheets.csv_table import CsvTable, Data
from credit_risk.schema.sheets.formats import Formats, Reading
from credit_risk.schema.sheets.names import unique_names
from credit_risk.schema.sheets.sheet import Sheet
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.notes import Notes, renamed_columns
from credit_risk.schema.spelling.words import named
from credit_risk.schema.values import Values

# Keys of a body that are checked for another spelling.
_MAX_KEYS = 1000
_MAX_NAMED = 20  # ignored columns


class Validator:
    """Distinguishes valid applications from others, for one model version.

    Parameters
    ----------
    dataset : Dataset
        What an application is; the version's own.
    domain : Domain, optional
        What the version saw in training. A number outside it gets a warning; a category that had no
        row is rejected, since the model can only guess there, and so is an absent value of an
        attribute that always had one.
    labelled : bool
        Whether a label that is neither good nor bad is a fault, as it is when a model learns from
        it. Otherwise it is ignored, since no decision needs a label.
    listed : bool
        Whether all rejected rows of a file are returned, `Applications.rejected`.
    """

    def __init__(
        self,
        dataset: Dataset,
        domain: Domain | None = None,
        *,
        labelled: bool = False,
        listed: bool = False,
    ) -> None:
        self.dataset = dataset
        self.domain = domain
        self._listed = listed
        self._labelled = labelled
        self._values = Values(dataset, domain, labelled=labelled)
        # A part of a file has the file's first line above it, which has to be a header.
        self._formats = None if listed else Formats(dataset)
        self._repetitive = frozenset(dataset.columns) - {CLIENT_ID}

    def rows(self, rows: object) -> Applications:
        """Validate a JSON list of applications.

        Raises
        ------
        MalformedFile
            When it is not a list, or is empty.
        """
        if not isinstance(rows, list):
            raise MalformedFile("the body must be a JSON list of applications, each an object")
        if not rows:
            raise MalformedFile("the list of applications is empty")

        codes = np.full((len(rows), len(self.dataset.names)), np.nan)
        outside = np.zeros(codes.shape, dtype=bool)
        client_ids: list[str | None] = []
        labels: list[str | None] = []
        valid: list[int] = []
        faults = Faults()
        notes, keys = Notes(), _Keys(self.dataset)

        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                faults.add(i, None, row, "shape", partial(_not_an_object, row))
                continue
            client_id, label, good = self._row(
                i, keys.named(row), codes[i], outside[i], faults, notes
            )
            if good:
                valid.append(i)
                client_ids.append(client_id)
                labels.append(label)

        repeated = ids.repeated(client_ids, valid, "row", lambda found: {row: row for row in found})
        warnings = [
            *renamed_columns(list(keys.taken.items())),
            *notes.warnings(),
            *repeated,
            *_ignored_warnings(keys.ignored),
        ]
        return Applications(
            dataset=self.dataset,
            codes=codes[valid],
            rows=np.array(valid, dtype=np.int64),
            client_id=client_ids,
            label=labels,
            outside=outside[valid],
            n_rows=len(rows),
            domain=self.domain,
            faults=faults.reported(),
            reasons=faults.reasons,
            warnings=warnings,
        )

    def _row(
        self,
        i: int,
        row: dict[str, Any],
        codes: Floats,
        outside: NDArray[np.bool_],
        faults: Faults,
        notes: Notes,
    ) -> tuple[str | None, str | None, bool]:
        """Write one row's codes in place; return its client id, label, and whether it is valid."""
        good = True
        for place, attribute in enumerate(self.dataset.attributes):
            value = row.get(attribute.name)
            code, is_outside, reason, form = self._values.look(attribute, value)
            if reason:
                good = False
                error = partial(self._values.invalid, attribute, value, reason)
                faults.add(i, attribute.name, value, reason, error)
                continue
            if form:
                notes.add(form, attribute.name, value, 1, attribute.understood(value))
            codes[place] = code
            if is_outside:
                outside[place] = True

        others: list[str | None] = []
        for name in (CLIENT_ID, LABEL):
            try:
                text, form = self._values.text(name, row.get(name))
                others.append(text)
                if form:
                    notes.add(form, name, row[name])
            except InvalidValue as invalid:
                good = False
                others.append(None)
                faults.add(i, name, row[name], invalid.reason, partial(_itself, invalid))
        return others[0], others[1], good

    def csv(self, data: Data, lines_above: int = 0) -> Applications:
        """Validate a CSV of applications.

        It is UTF-8, or UTF-16 with a byte order mark, and separated by `,`, `;` or tab, or is in
        one of the data set's formats. See `CsvTable` for `lines_above`.

        Raises
        ------
        MalformedFile
            When it is not a CSV of clients at all.
        """
        headers = self.dataset.headers
        sheet = CsvTable(data, headers, self._repetitive, lines_above, self._formats)
        return self._sheet(sheet, sheet.reading)

    def table(self, table: pa.Table, rows_above: int = 0) -> Applications:
        """Validate an Arrow table of applications; see `ArrowTable` for `rows_above`.

        Raises
        ------
        MalformedFile
            When it has none of the columns of an application.
        """
        return self._sheet(ArrowTable(table, self.dataset.headers, self._repetitive, rows_above))

    def _sheet(self, sheet: Sheet, reading: Reading | None = None) -> Applications:
        known = frozenset(self.dataset.columns)
        places = {name: i for i, name in enumerate(sheet.header) if name in known}
        if not places:
            examples = ", ".join(self.dataset.names[:2])
            raise MalformedFile(
                f"the first line must name the columns ({examples}, ...), "
                f"but it has none of them: {shown(' '.join(sheet.header))}"
            )

        faults = column_faults(sheet.header, self.dataset)
        if faults:
            reasons = {(f.column or "", "column"): 1 for f in faults}
            return self._no_applications(sheet, faults, reasons)
        if not sheet.n_rows and self._listed:  # a part of a file may be blank lines
            return self._no_applications(sheet, [], {})
        if not sheet.n_rows:
            fault = RowError(None, None, None, "the file has a header but no clients below it")
            return self._no_applications(sheet, [fault], {})
        values = self._values
        if reading is not None:
            values = Values(self.dataset, self.domain, labelled=self._labelled, reading=reading)
        return self._columns(sheet, places, values)

    def _columns(self, sheet: Sheet, places: dict[str, int], values: Values) -> Applications:
        columns = Columns(sheet, places, values)
        faults, reasons = columns.first_faults(), columns.reasons()
        if sheet.ragged:
            faults += [
                (number, -1, "", None, InvalidValue("shape", text)) for number, text in sheet.ragged
            ]
            reasons["", "shape"] = len(sheet.ragged)

        ignored = [i for i, name in enumerate(sheet.header) if name not in places]
        extra = sheet.table.select(ignored).rename_columns([sheet.header[i] for i in ignored])
        applications = Applications(
            dataset=self.dataset,
            codes=columns.codes,
            rows=sheet.numbers,
            client_id=columns.texts(CLIENT_ID),
            label=columns.texts(LABEL),
            outside=columns.outside,
            n_rows=sheet.n_rows,
            domain=self.domain,
            faults=_on_lines(sheet, faults),
            reasons=reasons,
            warnings=[*sheet.notes, *columns.notes().warnings()],
            extra=extra,
            rejected=_rejected(sheet, columns) if self._listed else None,
        )

        if columns.bad.any():
            applications = applications.only(~columns.bad)
        applications.warnings += ids.repeated(
            applications.client_id, applications.rows, sheet.unit, sheet.lines
        )
        applications.warnings += _ignored_warnings(sheet.header[i] for i in ignored)
        return applications

    def _no_applications(
        self, sheet: Sheet, faults: list[RowError], reasons: dict[tuple[str, str], int]
    ) -> Applications:
        shape = 0, len(self.dataset.names)
        return Applications(
            dataset=self.dataset,
            codes=np.empty(shape),
            rows=np.empty(0, dtype=np.int64),
            client_id=[],
            label=[],
            outside=np.empty(shape, dtype=bool),
            n_rows=sheet.n_rows,
            domain=self.domain,
            faults=faults,
            reasons=reasons,
            warnings=sheet.notes,
        )


class _Keys:
    """Finds the contract's names in the objects of one body.

    Attributes
    ----------
    taken : dict
        The keys that were read as the contract's names: as written, as read.
    ignored : dict
        The other keys, in their order.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.taken: dict[str, str] = {}
        self.ignored: dict[str, None] = {}
        self._contract = frozenset(dataset.columns)
        self._headers = dataset.headers
        self._meanings: dict[str, str | None] = {}

    def named(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an object by the contract's names.

        Where several keys could stand for one name, none of them is taken.
        """
        if row.keys() <= self._contract:
            return row

        others = [key for key in row if key not in self._contract]
        meant = {key: name for key in others if (name := self._meant(key)) and name not in row}
        times = Counter(meant.values())
        taken = {key: name for key, name in meant.items() if times[name] == 1}

        self.taken.update(taken)
        self.ignored.update(dict.fromkeys(key for key in others if key not in taken))
        if not taken:
            return row
        return {**row, **{name: row[key] for key, name in taken.items()}}

    def _meant(self, key: str) -> str | None:
        """Return the contract's name that a key stands for, if any."""
        if key not in self._meanings and len(self._meanings) < _MAX_KEYS:
            (name,) = named([key], self._headers)
            self._meanings[key] = name if name in self._contract else None
        return self._meanings.get(key)


def _not_an_object(row: object) -> InvalidValue:
    return InvalidValue("shape", f"an application must be an object, not {shown(row)}")


def _itself(error: InvalidValue) -> InvalidValue:
    return error


def _on_lines(sheet: Sheet, found: list[Located]) -> list[RowError]:
    """Return the faults to report, by row and column; each message begins with its line or row."""
    first = chosen(sorted(found, key=lambda f: f[:2]), lambda f: (f[2], f[4].reason))
    lines = sheet.lines({number for number, *_ in first})
    return [
        RowError.of(number, name or None, value, error, f"{sheet.unit} {lines[number]}")
        for number, _, name, value, error in first
    ]


def _rejected(sheet: Sheet, columns: Columns) -> pa.Table:
    """Return the rejected rows as they were read, each with its place in the file and its faults.

    Of a row with more or fewer values than the header there are only these two. A column that has
    the name of one of these, or of another column, is renamed.
    """
    bad = columns.bad
    numbers = [*sheet.numbers[bad].tolist(), *(number for number, _ in sheet.ragged)]
    lines = sheet.lines(numbers)
    faults = pa.array([text for _, text in sheet.ragged], pa.string())
    absent = pa.nulls(len(sheet.ragged), pa.string())
    cells = [
        pa.concat_arrays([*column.cast(pa.string()).chunks, absent])
        for column in sheet.table.filter(pa.array(bad)).columns
    ]
    places = np.array([lines[number] for number in numbers], dtype=np.int64)
    listed = {sheet.unit: places, "faults": pa.concat_arrays([columns.messages(), faults])}
    names = unique_names(sheet.header[: len(cells)], list(listed))
    table = pa.table([*listed.values(), *cells], names=[*listed, *names])
    return table.take(np.argsort(places, kind="stable"))


def _ignored_warnings(names: Iterable[str]) -> list[str]:
    listed = [
        f"column {shown(name)} ignored" if name else "a column without a name ignored"
        for name in names
    ]
    if len(listed) > _MAX_NAMED:
        n_more = len(listed) - _MAX_NAMED
        listed = [*listed[:_MAX_NAMED], f"{n_more} more columns ignored"]
    return listed


def column_faults(header: Sequence[str], dataset: Dataset) -> list[RowError]:
    """Return what is wrong with the names of a file's columns."""
    faults = []
    for name in dataset.columns:
        times = header.count(name)
        if times > 1:
            message = f"column {name!r} stands {times} times in the header; keep one"
            faults.append(RowError(None, name, None, message))
        elif not times and name in dataset.scored:
            message = (
                f"column {name!r} is missing; add it to the header and give each client a value"
            )
            allowed = dataset.by_name[name].allowed
            faults.append(RowError(None, name, None, message, allowed))
    return faults
