"""What kind of attribute a column may be, or why it can be none yet."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from credit_risk.schema.attributes import FLAG
from credit_risk.schema.faults import shown
from credit_risk.schema.formulas import is_formula
from credit_risk.schema.spelling.dates import day_of
from credit_risk.schema.spelling.words import normalised
from data.drafting import names, orders
from data.drafting.numbers import Numbers, is_roughly, numbers_in, why_unclear
from data.drafting.table import Column

MAX_TEXT = 200
_MAX_CATEGORIES = 1000
# Texts of which more than half are distinct, and these many, are written freely.
_FREE_SHARE = 0.5
_MANY = 20
# Ids are nearly all distinct; fewer rows may be so by chance.
_DISTINCT_SHARE = 0.95
_FEWEST_IDS = 3
_FEWEST_IN_A_ROW = 10

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])|[0-9]{4}-(?:0[1-9]|1[0-2])"
    r"|(?:[0-9]{1,2}/)?[0-9]{1,2}/(?:[0-9]{2}){1,2}(?: .*)?|[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}(?: .*)?"
    rf"|(?:[0-9]{{1,2}}[- ])?{_MONTH}[- ,]+(?:[0-9]{{1,2}}[ ,]+)?(?:[0-9]{{2}}){{1,2}}",
    re.IGNORECASE,
)
_DATE_SHARE = 0.95
_NO, _YES = frozenset({"0", "false", "f", "no", "n"}), frozenset({"1", "true", "t", "yes", "y"})
# The spellings that a flag has without being told.
_KNOWN = frozenset(word for value, others in FLAG.items() for word in (value, *others))


@dataclass(frozen=True)
class Kind:
    """What a column may be.

    Attributes
    ----------
    fields : dict
        Of an attribute's definition, beside its names; empty where it can have none.
    notes : list of str
        What a person should look at, in sentences.
    why_not : str
        Why it is no attribute yet and what to do to have it; empty where it is one.
    numbers : Numbers or None
        A number's values.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    why_not: str = ""
    numbers: Numbers | None = None


def kind_of(column: Column, name: str) -> Kind:
    """Return what a column may be.

    Parameters
    ----------
    column : Column
    name : str
        Its header in snake case.
    """
    values = column.values
    if not values:
        return Kind(why_not="It has no value in any row, so there is nothing to learn from it.")
    if len(values) == 1 and not column.n_missing:
        return Kind(
            why_not=f"Every row has {shown(values[0])}, so there is nothing to learn from it."
        )
    if why := _unreadable(values):
        return Kind(why_not=why)
    return _flag(values) or _date(values) or _number(column, name) or _text(column, name)


def _unreadable(values: Sequence[str]) -> str:
    """Return why values cannot stand in a definition; empty where they can."""
    strange = [value for value in values if not value.isprintable()]
    if strange:
        return (
            f"{_times(len(strange), 'value')} with characters that cannot be printed, such as "
            f"{shown(strange[0])}. Clean them in the file, and draft again."
        )
    quoted = [value for value in values if normalised(value) != value]
    if quoted:
        return (
            f"{_times(len(quoted), 'value')} with quotes within quotes, such as "
            f"{shown(quoted[0])}. Remove the inner quotes in the file, and draft again."
        )
    formulas = [value for value in values if is_formula(value)]
    if formulas:
        return (
            f"{_times(len(formulas), 'value')} that a spreadsheet would run as a formula, such as "
            f"{shown(formulas[0])}. Write them otherwise in the file, and draft again."
        )
    return ""


def _flag(values: Sequence[str]) -> Kind | None:
    if len({value.casefold() in _YES for value in values}) < 2:
        return None
    if not {value.casefold() for value in values} <= _NO | _YES:
        return None
    if {*values} <= _KNOWN:
        return Kind({"kind": "flag"})
    if len(values) > 2:
        return None

    no, yes = sorted(values, key=lambda value: value.casefold() in _YES)
    return Kind({"kind": "flag", "values": [no, yes]}, ["The first value is no, the second yes."])


def _date(values: Sequence[str]) -> Kind | None:
    n = sum(_DATE.fullmatch(value) is not None or day_of(value)[0] is not None for value in values)
    if n < _DATE_SHARE * len(values):
        return None
    return Kind(
        why_not=f"It has dates, such as {shown(values[0])}. A model needs the time between two "
        "days that are known at the application, such as an age or a length of employment: put it "
        "into the file as a number, and draft again."
    )


def _number(column: Column, name: str) -> Kind | None:
    values = column.values
    numbers = numbers_in(values)
    if numbers is None:
        return _no_number(column, name)

    fields = {"kind": "number", **numbers.fields()}
    if not numbers.decimals and _identifies(column, name, numbers):
        return Kind(fields, why_not=_id_sentence(column), numbers=numbers)
    notes = [f"The file has {numbers.least} to {numbers.most}."]
    if numbers.are_few:
        notes.append("If the numbers stand for classes, say in `meanings` what each stands for.")
    return Kind(fields, notes, numbers=numbers)


def _no_number(column: Column, name: str) -> Kind | None:
    """Return what keeps a column of numbers from being one; None where it is a category."""
    values = column.values
    others = [value for value in values if not is_roughly(value)]
    if not others and (why := why_unclear(values)):
        return Kind(why_not=f"In its numbers {why}. Then draft again.")
    # Few values are a category, however they are written: 0, 1, 2, 3+.
    if len(values) <= _MANY or 2 * len(others) > len(values):
        return None
    if names.is_id(name) and len(values) >= _DISTINCT_SHARE * column.n_present:
        return Kind(why_not=_id_sentence(column))
    if others:
        return Kind(
            why_not=f"Most of its values are numbers, but not all: {shown(others[0])}"
            f"{f' and {len(others) - 1:,} more' if len(others) > 1 else ''}. Leave a cell empty "
            "where there is no number, and draft again."
        )
    first = next((value for value in values if numbers_in([value]) is None), values[0])
    return Kind(
        why_not=f"Its numbers are written in a way that is not read, such as {shown(first)}. Write "
        "them as 1234.5, without an exponent, leading zeros, a separator for thousands or a sign "
        "of a currency, and draft again; codes have to begin with a letter."
    )


def _identifies(column: Column, name: str, numbers: Numbers) -> bool:
    n = column.n_present
    if names.is_id(name) and n >= _FEWEST_IDS and len(column.values) >= _DISTINCT_SHARE * n:
        return True
    if column.n_missing or len(column.values) < n or n < _FEWEST_IN_A_ROW:
        return False
    return bool((np.diff(numbers.values) > 0).all())


def _text(column: Column, name: str) -> Kind:
    values = column.values
    n, many = column.n_present, len(values) > _MANY
    is_distinct = len(values) >= _DISTINCT_SHARE * n
    if is_distinct and n >= _FEWEST_IDS and (names.is_id(name) or (many and _are_codes(values))):
        return Kind(why_not=_id_sentence(column))
    if (
        len(values) > _MAX_CATEGORIES
        or (many and len(values) > _FREE_SHARE * n)
        or max(map(len, values)) > MAX_TEXT
    ):
        return Kind(
            why_not=f"It has free text: {_times(len(values), 'distinct value')} in {n:,} rows, "
            f"such as {shown(values[0])}. Sort the texts into a few categories in the file, and "
            "draft again."
        )
    return _category(values)


def _category(values: Sequence[str]) -> Kind:
    if in_order := orders.ordered(values):
        note = "The values look ordered; check their order, and that it is the risk's too."
        return Kind({"kind": "category", "order": "natural", "values": in_order}, [note])

    strange = orders.nearly_ordered(values)
    fields = {"kind": "category", "order": "bad rate", "values": orders.listed(values)}
    if not strange:
        return Kind(fields)

    others = orders.ordered([value for value in values if value != strange]) or []
    note = (
        f"The values look ordered but for {shown(strange)}; if that has a place among them, put it "
        'there and write order = "natural".'
    )
    return Kind({**fields, "values": [*others, strange]}, [note])


def _are_codes(values: Sequence[str]) -> bool:
    return all(any(map(str.isdigit, value)) and " " not in value for value in values)


def _id_sentence(column: Column) -> str:
    return (
        f"It looks like an identifier: {len(column.values):,} distinct values in "
        f"{column.n_present:,} rows. A model must not learn it. To have it beside each decision, "
        "call the column client_id in the file."
    )


def _times(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
