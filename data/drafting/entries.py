"""What a draft says of each column: an attribute, or why it is none yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.schema.dataset import MAX_ATTRIBUTES
from credit_risk.schema.faults import shown
from credit_risk.schema.spelling.words import named, only
from data.drafting import names
from data.drafting.kinds import MAX_TEXT, Kind, kind_of
from data.drafting.leaks import why_suspected
from data.drafting.outcome import Outcome
from data.drafting.protection import groups_of
from data.drafting.table import Column, Refused, Table


@dataclass
class Entry:
    """What a draft says of a column.

    Attributes
    ----------
    place : int
        Of the column in the file.
    header : str
    fields : dict
        Of its `[[attributes]]`.
    notes : list of str
        Comments above it.
    aside, suspected : str
        Why it is commented out: since it can be no attribute as it is, or since it may tell the
        outcome. Empty where it is an attribute.
    proxy : bool
        Whether it may stand for a protected attribute.
    n_missing : int
        How many rows have no value.
    groups : list of dict
        Of its `[[groups]]`.
    """

    place: int
    header: str
    fields: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    aside: str = ""
    suspected: str = ""
    proxy: bool = False
    n_missing: int = 0
    groups: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The attribute's name."""
        return str(self.fields["name"])

    @property
    def is_active(self) -> bool:
        """Whether it is an attribute."""
        return not (self.aside or self.suspected)

    @property
    def is_protected(self) -> bool:
        """Whether it is a protected attribute."""
        return self.is_active and "protected" in self.fields

    @property
    def is_number(self) -> bool:
        """Whether it is an attribute that is a number."""
        return self.is_active and self.fields["kind"] == "number"


def entries_of(table: Table, outcome: Outcome) -> list[Entry]:
    """Return an entry for each column but the target.

    Raises
    ------
    Refused
        When no column is left that a model could learn from.
    """
    given = names.names_of(table.headers, outcome.header)
    entries = [
        _entry(place, table.column(place), name, outcome)
        for place, name in enumerate(given)
        if place != outcome.place
    ]
    for entry in [entry for entry in entries if entry.is_active][MAX_ATTRIBUTES:]:
        entry.groups.clear()
        entry.aside = (
            f"A definition has at most {MAX_ATTRIBUTES} attributes. To have this one, comment "
            "another out."
        )
    if not any(entry.is_active and not entry.is_protected for entry in entries):
        raise Refused(f"{table.file}: no column is left to learn from{_reasons(entries)}")
    return entries


def _reasons(entries: Sequence[Entry]) -> str:
    """Return what was found of the first columns."""
    found = [
        f"{shown(entry.header)}: {entry.aside or entry.suspected or 'It is protected.'}"
        for entry in entries[:5]
    ]
    return "; " + " ".join(found) if found else ": the file has only the target"


def _entry(place: int, column: Column, name: str, outcome: Outcome) -> Entry:
    header, said = column.header, names.snake(column.header)
    label = names.label_of(said) or (header if _fits(header) else "") or f"Column {place + 1}"
    fields: dict[str, Any] = {"name": name, "label": label}
    if _fits(header) and header != name:
        fields["headers"] = [header]
    entry = Entry(place, header, fields, n_missing=column.n_missing)

    kind = kind_of(column, said)
    fields.update(kind.fields or {"kind": ""})
    entry.aside = _no_header(header) or kind.why_not
    entry.notes = list(kind.notes)
    if column.n_missing and column.values:
        entry.notes.append(f"Missing in {column.n_missing:,} of {len(column.codes):,} rows.")
    _judge(entry, column, kind, said, outcome)
    return entry


def _judge(entry: Entry, column: Column, kind: Kind, said: str, outcome: Outcome) -> None:
    """Mark what is protected, may tell the outcome, or may be absent."""
    if names.is_protected(said):
        entry.fields["protected"] = True
        entry.notes.append(
            "Sounds like what the law protects: models never see it. A person has to confirm it."
        )
        if not entry.aside:
            entry.groups = groups_of(column, entry.name, kind)
        return

    if column.n_missing:
        entry.fields["missing"] = True
    if names.is_proxy(said):
        entry.proxy = True
        entry.notes.append(
            "May stand for what the law protects, such as where people of one origin live. A "
            "person has to decide."
        )
    if not entry.aside:
        entry.suspected = why_suspected(column, said, kind.numbers, outcome.bad)


def _fits(header: str) -> bool:
    return header.isprintable() and 0 < len(header) <= MAX_TEXT


def _no_header(header: str) -> str:
    """Return why a column's name keeps it from being an attribute; empty where it does not."""
    if not header:
        return "Its column has no name. Give it one in the file, and draft again."
    if not _fits(header):
        return (
            f"Its name, {shown(header)}, is too long or has characters that cannot be printed. "
            "Rename it in the file, and draft again."
        )
    if named([header], only([CLIENT_ID])) == [CLIENT_ID]:
        return "It is the clients' id, which needs no entry: it stands beside each decision."
    if named([header], only([LABEL])) == [LABEL]:
        return f"Files here call the outcome {LABEL}. Rename it in the file, and draft again."
    return ""
