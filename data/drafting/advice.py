"""What a person is told after a draft: what to look at, and what to do next."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from credit_risk.schema.dataset_file import FOLDER
from credit_risk.schema.faults import shown
from data.drafting.definition import amount_of, term_of
from data.drafting.entries import Entry
from data.drafting.outcome import Outcome
from data.drafting.table import Table

# With fewer clients of a class, training refuses a file.
_FEWEST = 20
_LISTED = 10
# What differs between columns that are left out for the same reason.
_EXAMPLE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[0-9][0-9.,]*")


def lines(path: Path, table: Table, outcome: Outcome, entries: Sequence[Entry]) -> list[str]:
    """Return what a person is told after a draft was written to a path."""
    active = sum(entry.is_active for entry in entries)
    found = [*_of_rows(table, outcome), *_of_columns(entries), *_of_guesses(entries)]
    chosen = path.parent.name if path.parent.resolve().parent == FOLDER.resolve() else path.parent
    return [
        f"{path}: {active} of {len(entries)} columns are attributes, from {table.n_rows:,} rows "
        f"({outcome.n_bad:,} bad, {outcome.n_good:,} good)",
        "",
        "What to look at:",
        *(f"{number}. {text}" for number, text in enumerate(found, start=1)),
        "",
        f"Next: edit {path}, then",
        f"  make run DATASET={chosen}",
    ]


def _of_rows(table: Table, outcome: Outcome) -> list[str]:
    found = []
    if table.ragged:
        n = len(table.ragged)
        found.append(
            f"{_rows(n)} more or fewer values than the header has columns (line "
            f"{_listed(map(str, table.ragged), n)}); training refuses the file until they are "
            "mended."
        )
    if outcome.n_unknown:
        found.append(
            f"{_rows(outcome.n_unknown)} no value of {shown(outcome.header)}; training refuses the "
            "file until they have one or are taken out."
        )
    if min(outcome.n_bad, outcome.n_good) < _FEWEST:
        found.append(f"Training needs {_FEWEST} bad and {_FEWEST} good clients at least.")
    return found


def _of_columns(entries: Sequence[Entry]) -> list[str]:
    found = _alike("Left out", [(e.header, e.aside) for e in entries if e.aside])
    found += _alike("Suspected leak", [(e.header, e.suspected) for e in entries if e.suspected])
    protected = [entry.name for entry in entries if entry.is_protected]
    if protected:
        found.append(
            f"Protected, so no model sees them: {_names(protected)}. A person has to confirm "
            "these, and that no other is."
        )
    else:
        found.append("No column sounds protected (age, sex, nationality ...). Is that so?")
    if proxies := [entry.name for entry in entries if entry.proxy and entry.is_active]:
        found.append(f"May stand for what the law protects: {_names(proxies)}. Decide on each.")
    return found


def _alike(what: str, reasons: Sequence[tuple[str, str]]) -> list[str]:
    """Return a sentence for each reason; those that differ only by examples get one together."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for header, why in reasons:
        groups.setdefault(_EXAMPLE.sub("", why), []).append((shown(header), why))

    found = []
    for alike in groups.values():
        header, why = alike[0]
        if len(alike) > 1:
            header = _listed((header for header, _ in alike), len(alike))
            why = f"The first: {why[0].lower()}{why[1:]}"
        found.append(f"{what}: {header}. {why}")
    return found


def _of_guesses(entries: Sequence[Entry]) -> list[str]:
    found = []
    if missing := [e.name for e in entries if e.is_active and e.n_missing]:
        found.append(f"Values are missing in: {_names(missing)}. May they be, at an application?")
    if numbers := [entry.name for entry in entries if entry.is_number]:
        found.append(f"Fill in the units, and check the bounds, of: {_names(numbers)}.")
    if ordered := [e.name for e in entries if e.is_active and e.fields.get("order") == "natural"]:
        found.append(f"Check the order of the values of: {_names(ordered)}.")
    amount, term = amount_of(entries), term_of(entries)
    found.append(
        f"The amount lent is taken to be {amount or 'in no column'}, the term in months "
        f"{term or 'in no column'}."
    )
    found.append("A bad client is taken to cost five times a good one refused: say in [costs].")
    return found


def _rows(n: int) -> str:
    return f"{n:,} row has" if n == 1 else f"{n:,} rows have"


def _names(names: Sequence[str]) -> str:
    return _listed(names, len(names))


def _listed(texts: Iterable[str], n: int) -> str:
    """Return the first of n texts."""
    first = [text for text, _ in zip(texts, range(_LISTED), strict=False)]
    more = [f"{n - _LISTED} more"] if n > _LISTED else []
    return ", ".join(first + more)
