"""What makes applications valid, in a list of objects or in a file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_risk.schema.applications import Applications
from credit_risk.schema.attributes import ATTRIBUTE, ATTRIBUTES, CLIENT_ID, COLUMNS, LABEL, NAMES, SCORED, Floats
from credit_risk.schema.columns import Columns, Located
from credit_risk.schema.csv_reader import Data, Sheet, renamed
from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import Fault, Faults, Invalid, Unreadable, chosen, shown
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.notes import Notes
from credit_risk.schema.spelling.words import named
from credit_risk.schema.values import Values

_KNOWN = frozenset(COLUMNS)
# So many keys of a body are looked at for another spelling.
_LOOKED_AT = 1000


class Validator:
    """Tells valid applications from others, for one model version.

    Parameters
    ----------
    domain : Domain, optional
        What the version saw in training. A number outside it gets a warning; a category that had no row is rejected,
        for a model can only guess there.
    labelled : bool
        Whether a label that is neither good nor bad is a fault, as where a model is to learn from it. No decision needs
        one: else it is left out.
    """

    def __init__(self, domain: Domain | None = None, *, labelled: bool = False) -> None:
        self.domain = domain
        self._values = Values(domain, labelled=labelled)

    def rows(self, rows: object) -> Applications:
        """Validate a JSON list of applications.

        Raises
        ------
        Unreadable
            When it is no list, or an empty one.
        """
        if not isinstance(rows, list):
            raise Unreadable("the body must be a JSON list of applications, each an object")
        if not rows:
            raise Unreadable("the list of applications is empty")
        codes = np.full((len(rows), len(NAMES)), np.nan)
        outside = np.zeros((len(rows), len(NAMES)), dtype=bool)
        client_ids: list[str | None] = []
        labels: list[str | None] = []
        valid: list[int] = []
        faults = Faults()
        notes, keys = Notes(), _Keys()
        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                faults.add(i, None, row, "shape", partial(_no_object, row))
                continue
            client_id, label, good = self._row(i, keys.named(row), codes[i], outside[i], faults, notes)
            if good:
                valid.append(i)
                client_ids.append(client_id)
                labels.append(label)
        repeated = ids.repeated(client_ids, valid, "row", lambda found: {row: row for row in found})
        return Applications(
            codes=codes[valid],
            rows=np.array(valid, dtype=np.int64),
            client_id=client_ids,
            label=labels,
            outside=outside[valid],
            n_rows=len(rows),
            domain=self.domain,
            faults=faults.told(),
            reasons=faults.reasons,
            warnings=[
                *renamed(list(keys.taken.items())),
                *notes.warnings(),
                *repeated,
                *_ignored_warnings(keys.ignored),
            ],
        )

    def _row(
        self, i: int, row: dict[str, Any], codes: Floats, outside: NDArray[np.bool_], faults: Faults, notes: Notes
    ) -> tuple[str | None, str | None, bool]:
        """Write one row's codes in place; return its client id, its label, and whether it is valid."""
        good = True
        for place, attribute in enumerate(ATTRIBUTES):
            value = row.get(attribute.name)
            code, is_outside, reason, form = self._values.look(attribute, value)
            if reason:
                good = False
                faults.add(i, attribute.name, value, reason, partial(self._values.invalid, attribute, value, reason))
                continue
            if form:
                notes.add(form, attribute.name, value)
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
            except Invalid as error:
                good = False
                others.append(None)
                faults.add(i, name, row[name], error.reason, partial(_itself, error))
        return others[0], others[1], good

    def csv(self, data: Data) -> Applications:
        """Validate a CSV of applications: UTF-8, or UTF-16 with a byte order mark; separated by `,`, `;` or tab.

        Raises
        ------
        Unreadable
            When it is no CSV of clients at all.
        """
        sheet = Sheet(data, _KNOWN, _KNOWN - {CLIENT_ID})
        places = {name: i for i, name in enumerate(sheet.header) if name in _KNOWN}
        if not places:
            raise Unreadable(
                "the first line must name the columns (duration, credit_amount, ...), but it has none of them: "
                f"{shown(' '.join(sheet.header))}"
            )
        faults = _column_faults(sheet.header)
        if faults:
            reasons = {(f.column or "", "column"): 1 for f in faults}
            return _nothing(sheet, faults, reasons, self.domain)
        if not sheet.n_rows:
            fault = Fault(None, None, None, "the file has a header but no clients below it")
            return _nothing(sheet, [fault], {}, self.domain)
        return self._columns(sheet, places)

    def _columns(self, sheet: Sheet, places: dict[str, int]) -> Applications:
        columns = Columns(sheet, places, self._values)
        faults, reasons = columns.first_faults(), columns.reasons()
        if sheet.ragged:
            faults += [(number, -1, "", None, Invalid("shape", text)) for number, text in sheet.ragged]
            reasons["", "shape"] = len(sheet.ragged)
        ignored = [i for i, name in enumerate(sheet.header) if name not in _KNOWN]
        extra = sheet.table.select(ignored).rename_columns([sheet.header[i] for i in ignored])
        applications = Applications(
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
        )
        applications = applications.only(~columns.bad) if columns.bad.any() else applications
        applications.warnings += ids.repeated(applications.client_id, applications.rows, "line", sheet.lines)
        applications.warnings += _ignored_warnings(sheet.header[i] for i in ignored)
        return applications


class _Keys:
    """Finds the contract's names in the objects of one body.

    Attributes
    ----------
    taken : dict
        The names that were taken for the contract's, as written and as read.
    ignored : dict
        The others, in their order.
    """

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}
        self.ignored: dict[str, None] = {}
        self._looked_at: dict[str, str | None] = {}

    def named(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an object by the contract's names; of several keys that one could be, none is taken."""
        if row.keys() <= _KNOWN:
            return row
        others = [key for key in row if key not in _KNOWN]
        meant = {key: name for key in others if (name := self._meant(key)) and name not in row}
        times = Counter(meant.values())
        taken = {key: name for key, name in meant.items() if times[name] == 1}
        self.taken.update(taken)
        self.ignored.update(dict.fromkeys(key for key in others if key not in taken))
        return row | {name: row[key] for key, name in taken.items()} if taken else row

    def _meant(self, key: str) -> str | None:
        if key not in self._looked_at and len(self._looked_at) < _LOOKED_AT:
            (name,) = named([key], _KNOWN)
            self._looked_at[key] = name if name in _KNOWN else None
        return self._looked_at.get(key)


def _no_object(row: object) -> Invalid:
    return Invalid("shape", f"an application must be an object, not {shown(row)}")


def _itself(error: Invalid) -> Invalid:
    return error


def _on_lines(sheet: Sheet, found: list[Located]) -> list[Fault]:
    """Return the faults that are told, by row and column, each message led by its line in the file."""
    first = chosen(sorted(found, key=lambda f: f[:2]), lambda f: (f[2], f[4].reason))
    lines = sheet.lines({number for number, *_ in first})
    return [
        Fault.of(number, name or None, value, error, f"line {lines[number]}") for number, _, name, value, error in first
    ]


def _nothing(
    sheet: Sheet, faults: list[Fault], reasons: dict[tuple[str, str], int], domain: Domain | None
) -> Applications:
    return Applications(
        codes=np.empty((0, len(NAMES))),
        rows=np.empty(0, dtype=np.int64),
        client_id=[],
        label=[],
        outside=np.empty((0, len(NAMES)), dtype=bool),
        n_rows=sheet.n_rows,
        domain=domain,
        faults=faults,
        reasons=reasons,
        warnings=sheet.notes,
    )


def _ignored_warnings(names: Iterable[str]) -> list[str]:
    listed = [f"column {shown(name)} ignored" if name else "a column without a name ignored" for name in names]
    if len(listed) > 20:
        listed = [*listed[:20], f"{len(listed) - 20} more columns ignored"]
    return listed


def _column_faults(header: Sequence[str]) -> list[Fault]:
    faults = []
    for name in COLUMNS:
        times = header.count(name)
        if times > 1:
            faults.append(Fault(None, name, None, f"column {name!r} stands {times} times in the header; keep one"))
        elif not times and name in SCORED:
            message = f"column {name!r} is missing; add it to the header and give each client a value"
            faults.append(Fault(None, name, None, message, ATTRIBUTE[name].allowed))
    return faults
