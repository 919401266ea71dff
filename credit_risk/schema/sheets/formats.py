"""Recognizes files of the same data in other words, by their columns.

A definition's `formats` say what such a file calls columns and values. None is looked for where a
file has the definition's own names, so what a plain file means does not depend on them. Where a
file fits several formats, a value that these understand differently is refused.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from credit_risk.schema.attributes import CLIENT_ID, LABEL
from credit_risk.schema.dataset import Dataset, Format
from credit_risk.schema.faults import InvalidValue, shown
from credit_risk.schema.sheets.csv_table import MAX_COLUMNS
from credit_risk.schema.spelling.words import named, normalised

_SEPARATORS = (",", ";", "\t", " ")
# Stands before names that a format understands; no column has it.
_MARK = "\n"

# The values that each word may stand for, by attribute.
Words = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Reading:
    """How to read a file in other words.

    Attributes
    ----------
    names : tuple of str
        The formats that its columns fit.
    separator : str
        The character between its values; empty for a table.
    written : tuple of str
        The names of its columns as the file has them; empty if it has none.
    header : tuple of str
        The names of its columns as the definition has them.
    words : mapping
        The values that each of its words may stand for, by attribute.
    """

    names: tuple[str, ...]
    separator: str
    written: tuple[str, ...]
    header: tuple[str, ...]
    words: Words

    @property
    def name(self) -> str:
        """The formats, for messages."""
        return " or ".join(self.names)

    def meant(self, name: str, value: object) -> tuple[object, str]:
        """Return a value as the definition has it, and why it cannot be read.

        The reason is empty, `unknown_category` or `ambiguous`. An absent value stays as it is, and
        so does each value of an attribute for which the format has no words.
        """
        words = self.words.get(name)
        text = normalised(value) if isinstance(value, str) else ""
        if words is None or not text:
            return value, ""
        found = words.get(text, ())
        if len(found) == 1:
            return found[0], ""
        return value, "ambiguous" if found else "unknown_category"

    def invalid(self, name: str, value: object, reason: str) -> InvalidValue:
        """Return the error for a value that `meant` cannot read for a reason."""
        words = self.words[name]
        if reason == "ambiguous":
            choice = " or ".join(map(repr, words[normalised(str(value))]))
            both = " and of ".join(self.names)
            why = (
                f"may be {choice}: the columns are those of {both}, "
                "which only the order of all their columns tells apart"
            )
        else:
            why = f"is not one of {', '.join(words)}, the values of {self.name}"
        return InvalidValue(reason, f"{name} {shown(value)} {why}", list(words))

    def notes(self) -> list[str]:
        """Return what a sender is told: how columns are read, and how values."""
        pairs = zip(self.written, self.header, strict=False)
        columns = ", ".join(
            f"{shown(one)} as {name}" for one, name in pairs if name not in (one, _foreign(one))
        )
        if not self.written:
            columns = f"a file without column names, as {', '.join(self.header)}"
        values = "; ".join(
            f"{name} {_first(words)}" for name, words in self.words.items() if name in self.header
        )
        notes = [f"read as {self.name}: {columns}"]
        return [*notes, f"values read as {self.name} has them: {values}"] if values else notes


class Formats:
    """Recognizes the formats of a data set."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._required = {a.name for a in dataset.attributes if not a.may_be_absent}

    def of_line(self, line: str, header: Iterable[str]) -> Reading | None:
        """Return how to read a file by its first line, if it is in another format.

        Parameters
        ----------
        line : str
        header : iterable of str
            The names of columns that it has without formats.
        """
        if not self._dataset.formats or self._required <= set(header):
            return None
        for separator in _SEPARATORS:
            cells = _cells(line, separator)
            reading = self._named(cells, separator) or self._unnamed(cells, separator)
            if reading is not None:
                return reading
        return None

    def _named(self, written: list[str], separator: str) -> Reading | None:
        """Return how to read a file with these names of columns."""
        fitting = [_Fit(form, _header(written, form)) for form in self._dataset.formats]
        fitting = [fit for fit in fitting if fit.form.header and self._required <= fit.found]
        if not fitting:
            return None

        chosen = [fit for fit in fitting if fit.is_in_order] or fitting
        forms = [fit.form for fit in chosen]
        names = tuple(form.name for form in forms)
        return Reading(names, separator, tuple(written), chosen[0].header, _words(forms))

    def _unnamed(self, cells: list[str], separator: str) -> Reading | None:
        """Return how to read a file whose first line has these values; the class may be absent."""
        for form in self._dataset.formats:
            names = tuple(form.columns.values())
            may_end = {len(names), len(names) - (names[-1:] == (LABEL,))}
            if form.header or len(cells) not in may_end:
                continue
            words = _words([form])
            reading = Reading((form.name,), separator, (), names[: len(cells)], words)
            if all(self._is_valid(reading, *pair) for pair in zip(names, cells, strict=False)):
                return reading
        return None

    def _is_valid(self, reading: Reading, name: str, cell: str) -> bool:
        value, reason = reading.meant(name, cell)
        if name == LABEL:
            return not reason and value in (*self._dataset.target.good, *self._dataset.target.bad)
        return not reason and not self._dataset.by_name[name].look(value)[1]


class _Fit(NamedTuple):
    """A format, and the names of a file's columns if the file is in it."""

    form: Format
    header: tuple[str, ...]

    @property
    def found(self) -> set[str]:
        return set(self.header) & set(self.form.columns.values())

    @property
    def is_in_order(self) -> bool:
        order = list(dict.fromkeys(self.form.columns.values()))
        here = [name for name in self.header if name in self.found]
        return here == [name for name in order if name in self.found]


def _header(written: Sequence[str], form: Format) -> tuple[str, ...]:
    """Return names of columns as the definition has them, if the file is in a format.

    A column that has the name of an attribute without the format calling it so is not taken for it:
    its values would be read in the words of the format. It is told as a column of the file.
    """
    known = {CLIENT_ID: CLIENT_ID, **form.columns}
    marked = named(written, {name: _MARK + meant for name, meant in known.items()})
    ours = set(form.columns.values())
    return tuple(
        name.removeprefix(_MARK) if name.startswith(_MARK) or name not in ours else _foreign(name)
        for name in marked
    )


def _foreign(name: str) -> str:
    """Return how a column is called that has the name of an attribute and is none."""
    return f"{name} (of the file)"


def _words(forms: Iterable[Format]) -> Words:
    """Return the values that each word stands for in any of these formats."""
    merged: dict[str, dict[str, list[str]]] = {}
    for form in forms:
        for name, words in form.values.items():
            for word, value in words.items():
                meant = merged.setdefault(name, {}).setdefault(word, [])
                if value not in meant:
                    meant.append(value)
    return merged


def _first(words: Mapping[str, Sequence[str]]) -> str:
    """Return the first of some words and what it stands for."""
    word, meant = next(iter(words.items()))
    dots = ", ..." if len(words) > 1 else ""
    return f"{shown(word)} as {' or '.join(map(repr, meant))}{dots}"


def _cells(line: str, separator: str) -> list[str]:
    """Return the values in a line; none where it cannot be split so, or into too many."""
    try:
        cells = next(csv.reader([line.strip(" ")], delimiter=separator))
    except (csv.Error, StopIteration):
        return []
    return [cell.strip() for cell in cells] if len(cells) <= MAX_COLUMNS else []
