"""A draft of a data set's definition, written as a text, and checked against its file."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from credit_risk.schema.attributes import LABEL
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import shown
from credit_risk.schema.spelling.words import named
from data.drafting import names, toml
from data.drafting.entries import Entry
from data.drafting.outcome import Outcome
from data.drafting.table import Refused, Table

_ABOUT = (
    "Units, bounds, orders and what is protected are guessed from names and values: a person has "
    "to check them. The bounds are hard: an application outside them is refused."
)
_HOW = (
    "What is commented out without a space behind the # is an attribute that was left out, with "
    "the reason above it; remove these # to have it."
)


def amount_of(entries: Sequence[Entry]) -> str:
    """Return the attribute that sounds like the amount lent; empty where none does."""
    return _first(entry.name for entry in _quantities(entries) if names.is_amount(entry.name))


def term_of(entries: Sequence[Entry]) -> str:
    """Return the attribute that sounds like the term of a loan; empty where none does."""
    return _first(entry.name for entry in _quantities(entries) if names.is_term(entry.name))


def _quantities(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.is_number and not entry.is_protected]


def _first(found: Any) -> str:
    return next(iter(found), "")


def written(entries: Sequence[Entry], outcome: Outcome, name: str, file: str, about: str) -> str:
    """Return a definition as TOML, with comments.

    Parameters
    ----------
    entries : sequence of Entry
    outcome : Outcome
    name : str
        The data set's.
    file : str
        The training data, as seen from the definition's folder; empty where that cannot be said.
    about : str
        A sentence that says where the draft comes from.
    """
    blocks = [_top(entries, name, file, about), _target(outcome)]
    blocks += [_attribute(entry) for entry in entries]
    blocks += _groups(entries)
    blocks.append(
        toml.comment(
            "What a client can change is listed as [[levers]]; data/german_credit/dataset.toml has "
            "some."
        )
    )
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _top(entries: Sequence[Entry], name: str, file: str, about: str) -> list[str]:
    lines = [line for text in (about, _ABOUT, _HOW) for line in [*toml.comment(text), "#"]][:-1]
    fields: dict[str, Any] = {"name": name, "title": names.label_of(name)}
    if file:
        fields["file"] = file
    lines += ["", *toml.pairs(fields)]
    if not file:
        lines += toml.comment("The training data's name cannot stand here; set DATA to its path.")

    guesses = (
        ("amount", amount_of(entries), "the amount lent"),
        (
            "term",
            term_of(entries),
            "the term in months",
        ),
    )
    for key, guess, what in guesses:
        if guess:
            lines += [*toml.comment(f"Guessed by its name: {what}."), *toml.pairs({key: guess})]
        else:
            lines += [*toml.comment(f"No number sounds like {what}."), f'#{key} = ""']
    return lines


def _target(outcome: Outcome) -> list[str]:
    fields = {
        "column": outcome.header,
        "bad": outcome.bad_values,
        "good": outcome.good_values,
    }
    note = f"{outcome.n_bad:,} clients are bad, {outcome.n_good:,} good"
    if outcome.n_unknown:
        note += f"; {outcome.n_unknown:,} rows have no outcome and teach nothing"
    costs = toml.table(
        "[costs]",
        {"bad": 5, "good": 1},
        [
            "What a wrong decision costs: accepting a bad client, refusing a good one. Yours to "
            "say.",
            'With by = "amount" both are times the amount of the loan.',
        ],
    )
    return [*toml.table("[target]", fields, [f"{note}."]), "", *costs]


def _attribute(entry: Entry) -> list[str]:
    notes = list(entry.notes)
    if entry.aside:
        notes = [f"Left out: {shown(entry.header)}. {entry.aside}", *notes]
    elif entry.suspected:
        notes = [
            f"Suspected leak: {shown(entry.header)}. {entry.suspected} A person has to decide: "
            "whoever knows that it is known before the decision removes the #.",
            *notes,
        ]
    # The values, which may be many, stand last.
    fields = dict(sorted(entry.fields.items(), key=lambda field: field[0] == "values"))
    lines = toml.table("[[attributes]]", fields, notes)
    return lines if entry.is_active else toml.commented_out(lines)


def _groups(entries: Sequence[Entry]) -> list[list[str]]:
    found = [group for entry in entries if entry.is_protected for group in entry.groups]
    blocks = [toml.table("[[groups]]", group) for group in found]
    if blocks:
        blocks[0] = [*toml.comment("Groups for which fairness is measured."), *blocks[0]]
    return blocks


def checked(text: str, table: Table, entries: Sequence[Entry]) -> Dataset:
    """Return what a draft says, after a look at every cell of its file.

    Raises
    ------
    Refused
        When two columns of the file would be read as the same attribute.
    AssertionError
        When the draft contradicts its file, which is a fault of this program.
    """
    dataset = Dataset.model_validate(tomllib.loads(text))
    _check_headers(dataset, table)
    places = {entry.name: entry.place for entry in entries}
    for attribute in dataset.attributes:
        for cell in table.cells(places[attribute.name]):
            _, reason = attribute.look(cell)
            assert not reason, f"{attribute.name} refuses {shown(cell)}: {reason}"
    return dataset


def _check_headers(dataset: Dataset, table: Table) -> None:
    read = named(table.headers, dataset.headers)
    times = Counter(read)
    twice = [name for name in (*dataset.columns, LABEL) if times[name] > 1]
    if twice:
        same = [
            header for header, name in zip(table.headers, read, strict=True) if name == twice[0]
        ]
        raise Refused(
            f"{table.file}: the columns {', '.join(map(shown, same))} would all be read "
            f"as {twice[0]}; rename all but one in the file"
        )
