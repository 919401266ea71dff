"""A credit application: its 20 attributes, and what makes one valid.

`ATTRIBUTES` is the one table that the JSON Schema, both validators (JSON rows and CSV columns) and the model's encoding
come from. Every value, from whichever door, goes through `Attribute.parse`, so a row gets the same verdict everywhere.
"""

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import compress
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema import ids, numerals, spelling, uci
from credit_risk.schema.code_book import MEANINGS
from credit_risk.schema.csv_reader import Data, Sheet, Unreadable, renamed, shown
from credit_risk.schema.faults import FIRSTS, MAX_FAULTS, Kind, chosen, kinds
from credit_risk.schema.notes import Form, Notes, form_of

GOOD = "good"
BAD = "bad"
LABEL = "class"
CLIENT_ID = "client_id"
MAX_CLIENT_ID = 64
_CODES = "see data/README.md"

_CACHE_SIZE = 100_000
# So few cells are parsed one by one: for one client pandas takes ten times as long to find which are alike.
_FEW = 20
_CACHED_LENGTH = 40
_NAN = float("nan")
# Up to so many faults are told one by one where applications had to be valid.
_ONE_BY_ONE = 5
_ABSENT = (_NAN, False)

Floats = NDArray[np.float64]
Allowed = list[str] | dict[str, Any] | None


class Invalid(ValueError):
    """One value that is not allowed; `reason` is a word for counting, `allowed` what would be right."""

    def __init__(self, reason: str, message: str, allowed: Allowed = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.allowed = allowed


@dataclass(frozen=True)
class Attribute:
    """One attribute of an application.

    `categories` are in the schema's order, which is the natural order where there is one; a category's code is its
    place there. `minimum` and `maximum` are hard bounds, both allowed.
    """

    name: str
    label: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    unit: str = ""
    ordered: bool = True
    protected: bool = False

    @cached_property
    def allowed(self) -> list[str] | dict[str, Any]:
        """What a value may be, in the form that answers carry."""
        if self.kind == "category":
            return list(self.categories)
        return {"minimum": self.minimum, "maximum": self.maximum, "integer": True}

    @cached_property
    def _codes(self) -> dict[str, float]:
        return {category: float(code) for code, category in enumerate(self.categories)}

    @cached_property
    def _uci(self) -> dict[str, str]:
        return uci.coded(self.name, NAMES.index(self.name) + 1, self.categories)

    def look(self, value: object) -> tuple[float, str]:
        """Return the code of a value and an empty word, or NaN and the word for what is wrong with it.

        The code is a category's place in the schema, or the number itself; NaN for an absent value that may be absent.
        What is wrong is `missing`, `unknown_category`, `ambiguous`, `not_a_number` or `out_of_range`; `invalid` has it
        in words, which take ten times as long: a body may hold millions of faults, of which a thousand are told.
        """
        if isinstance(value, str):
            value = spelling.plain(value)
        if value is None or value == "" or value != value:
            return _NAN, "" if self.protected else "missing"
        if self.kind == "category":
            code = self._codes.get(value) if isinstance(value, str) else None
            return (_NAN, "unknown_category") if code is None else (code, "")
        whole = _whole(value)
        if whole is None:
            ambiguous = isinstance(value, str) and numerals.is_ambiguous(value)
            return _NAN, "ambiguous" if ambiguous else "not_a_number"
        return (float(whole), "") if self.minimum <= whole <= self.maximum else (_NAN, "out_of_range")

    def invalid(self, value: object, reason: str) -> Invalid:
        """Return in words what is wrong with a value, by the word of `look`."""
        text = spelling.unquoted(value) if isinstance(value, str) else ""
        value = text or value
        if reason == "missing":
            wrong = f"has no value ({shown(value)})" if text else "has no value"
        elif reason == "unknown_category":
            wrong = f"{shown(value)} is not one of {', '.join(self.categories)}"
            if text in self._uci:
                wrong = f"{shown(value)} is a code of UCI's german.data; here that is {self._uci[text]!r} ({_CODES})"
        elif reason == "ambiguous":
            wrong = f"{shown(value)} {numerals.readings(text)}"
        elif reason == "not_a_number":
            wrong = f"{shown(value)} is not a whole number{numerals.remedy(text)}"
        else:
            wrong = f"{shown(value)} is outside {self.minimum} to {self.maximum}"
        return Invalid(reason, f"{self.name} {wrong}", self.allowed)

    def parse(self, value: object) -> float:
        """Return the code of a value, as `look` does.

        Raises
        ------
        Invalid
            When it is not allowed.
        """
        code, reason = self.look(value)
        if reason:
            raise self.invalid(value, reason)
        return code


def _whole(value: object) -> int | None:
    """Return the whole number that a value is or writes, if it does."""
    if isinstance(value, str):
        return numerals.whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _category(name: str, label: str, categories: str, *, ordered: bool = True, protected: bool = False) -> Attribute:
    return Attribute(name, label, "category", tuple(categories.split("|")), ordered=ordered, protected=protected)


def _number(name: str, label: str, minimum: int, maximum: int, unit: str = "", *, protected: bool = False) -> Attribute:
    return Attribute(name, label, "number", minimum=minimum, maximum=maximum, unit=unit, protected=protected)


# The data file's columns, in its order. Ordered categories stand from low to high. The hard bounds are the house's
# reading of what an application can be; the data's own ranges are narrower and travel with each model (`Domain`).
ATTRIBUTES: tuple[Attribute, ...] = (
    # 'no checking' (an account with 200 DM or more, by Grömping 2019) stands last: its order is by balance.
    _category("checking_status", "Checking account", "<0|0<=X<200|>=200|no checking"),
    _number("duration", "Duration", 1, 120, "months"),
    _category(
        "credit_history",
        "Credit history",
        "no credits/all paid|all paid|existing paid|delayed previously|critical/other existing credit",
    ),
    _category(
        "purpose",
        "Purpose",
        "new car|used car|furniture/equipment|radio/tv|domestic appliance|repairs|education|vacation|retraining"
        "|business|other",
        ordered=False,
    ),
    _number("credit_amount", "Credit amount", 1, 10_000_000, "DM"),
    _category("savings_status", "Savings", "<100|100<=X<500|500<=X<1000|>=1000|no known savings"),
    _category("employment", "Employed since", "unemployed|<1|1<=X<4|4<=X<7|>=7"),
    _number("installment_commitment", "Instalment rate class", 1, 4),
    _category(
        "personal_status",
        "Personal status",
        "male div/sep|female div/dep/mar|male single|male mar/wid|female single",
        ordered=False,
        protected=True,
    ),
    _category("other_parties", "Other parties", "none|co applicant|guarantor", ordered=False),
    _number("residence_since", "Residence class", 1, 4),
    _category("property_magnitude", "Property", "real estate|life insurance|car|no known property"),
    _number("age", "Age", 18, 100, "years", protected=True),
    _category("other_payment_plans", "Other payment plans", "bank|stores|none", ordered=False),
    _category("housing", "Housing", "rent|own|for free", ordered=False),
    _number("existing_credits", "Existing credits class", 1, 4),
    _category("job", "Job", "unemp/unskilled non res|unskilled resident|skilled|high qualif/self emp/mgmt"),
    _number("num_dependents", "Dependents class", 1, 2),
    _category("own_telephone", "Telephone", "none|yes"),
    _category("foreign_worker", "Foreign worker", "yes|no", ordered=False, protected=True),
)
NAMES = tuple(a.name for a in ATTRIBUTES)
ATTRIBUTE = {a.name: a for a in ATTRIBUTES}
SCORED = tuple(a.name for a in ATTRIBUTES if not a.protected)
PROTECTED = tuple(a.name for a in ATTRIBUTES if a.protected)
SCORED_COLUMNS = np.array([NAMES.index(name) for name in SCORED])


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one row (`row` None: with the whole file); `row` counts data rows from 0.

    `reason` is that of `Invalid`, and `at` the line or row that the message begins with.
    """

    row: int | None
    column: str | None
    value: object
    message: str
    allowed: Allowed = None
    reason: str = ""
    at: str = ""

    @classmethod
    def of(cls, row: int, column: str | None, value: object, error: Invalid, at: str) -> "Fault":
        """Return what is wrong with a row."""
        return cls(row, column, value, f"{at}: {error}", error.allowed, error.reason, at)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as answers carry it; a long or nested value is shortened."""
        value = self.value
        if isinstance(value, str):
            value = value if len(value) <= 200 else value[:197] + "..."
        elif not isinstance(value, bool | int | None) or abs(value or 0) > 2**53:
            value = shown(value)
        return {
            "row": self.row,
            "column": self.column,
            "value": value,
            "message": self.message,
            "allowed": self.allowed,
        }


class InvalidApplications(ValueError):
    """Applications that had to be valid are not; `faults` says where, `reasons` how many there are of each kind."""

    def __init__(
        self, faults: Sequence[Fault], source: str = "", reasons: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self.faults = list(faults)
        told = [fault.message for fault in faults]
        if len(told) > _ONE_BY_ONE:
            of_files = [fault.message for fault in faults if fault.row is None]
            told = [*of_files, *(kind.message for kind in kinds(faults, reasons or {}))]
        text = "; ".join(told)
        super().__init__(f"{source}: {text}" if source else text)


@dataclass(frozen=True)
class Domain:
    """What a model version saw in training: each number's range, each category that had a row."""

    ranges: Mapping[str, tuple[int, int]]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, codes: Floats) -> "Domain":
        """Return the domain of encoded applications, shape (n, 20)."""
        ranges: dict[str, tuple[int, int]] = {}
        categories: dict[str, tuple[str, ...]] = {}
        for attribute, column in zip(ATTRIBUTES, codes.T, strict=True):
            seen = np.unique(column[~np.isnan(column)])
            if not len(seen):
                continue
            if attribute.kind == "number":
                ranges[attribute.name] = (int(seen[0]), int(seen[-1]))
            else:
                categories[attribute.name] = tuple(attribute.categories[int(code)] for code in seen)
        return cls(ranges, categories)

    def as_dict(self) -> dict[str, Any]:
        """Return the domain as JSON-able words; `from_dict` reads it back."""
        return {
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "categories": {name: list(seen) for name, seen in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, words: Mapping[str, Any]) -> "Domain":
        """Return the domain that `as_dict` wrote."""
        return cls(
            {name: (int(low), int(high)) for name, (low, high) in words["ranges"].items()},
            {name: tuple(seen) for name, seen in words["categories"].items()},
        )

    def warning(self, name: str, value: float) -> str:
        """Return what to tell a person about a number outside the training range."""
        low, high = self.ranges[name]
        return f"{name} {int(value)} is outside {low} to {high}, the range seen in training"


_NO_COLUMNS = pa.table({})  # which no one can change


@dataclass
class Applications:
    """The valid applications of one request or file, and what was wrong with the others.

    Attributes
    ----------
    codes : array of shape (n, 20)
        The valid ones, encoded; NaN where a protected attribute is absent.
    rows : array of shape (n,)
        Which data row of the source each is, from 0.
    outside : array of shape (n, 20)
        Where a number lies outside the range that the model saw in training.
    reasons : dict
        How many faults of each (column, reason), over all rows.
    extra : pyarrow.Table
        The ignored columns of the valid rows, as text (empty for JSON).
    """

    codes: Floats
    rows: NDArray[np.int64]
    client_id: list[str | None]
    label: list[str | None]
    outside: NDArray[np.bool_]
    n_rows: int
    domain: Domain | None = None
    faults: list[Fault] = field(default_factory=list)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    extra: pa.Table = field(default_factory=lambda: _NO_COLUMNS)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_rejected(self) -> int:
        """How many rows were rejected."""
        return self.n_rows - len(self.rows)

    @property
    def kinds(self) -> list[Kind]:
        """What is wrong with rows, by kind."""
        return kinds(self.faults, self.reasons)

    @cached_property
    def row_warnings(self) -> dict[int, list[str]]:
        """Warnings by position among the valid rows; positions without one are left out."""
        found: dict[int, list[str]] = {}
        if self.domain is not None and self.outside.any():
            for position, column in np.argwhere(self.outside):
                text = self.domain.warning(NAMES[column], self.codes[position, column])
                found.setdefault(int(position), []).append(text)
        return found

    def warning_lists(self) -> pa.ListArray:
        """Return the warnings of each of the valid rows, as lists of text."""
        if self.domain is None or not self.outside.any():
            return pa.ListArray.from_arrays(pa.array(np.zeros(len(self) + 1, np.int32)), pa.array([], pa.string()))
        ends = pa.array(np.concatenate([[0], np.cumsum(self.outside.sum(axis=1))]).astype(np.int32))
        rows, columns = np.nonzero(self.outside)
        pairs, which = np.unique(np.column_stack([columns, self.codes[rows, columns]]), axis=0, return_inverse=True)
        texts = pa.array([self.domain.warning(NAMES[int(column)], value) for column, value in pairs])
        return pa.ListArray.from_arrays(ends, texts.take(pa.array(which.ravel())))

    def only(self, keep: NDArray[np.bool_]) -> "Applications":
        """Return those of the valid ones that are to be kept."""
        return replace(
            self,
            codes=self.codes[keep],
            rows=self.rows[keep],
            client_id=list(compress(self.client_id, keep)),
            label=list(compress(self.label, keep)),
            outside=self.outside[keep],
            extra=self.extra.filter(pa.array(keep)) if self.extra.num_columns else self.extra,
        )

    def part(self, start: int, stop: int) -> "Applications":
        """Return the valid ones from one place to another."""
        rows = slice(start, stop)
        return replace(
            self,
            codes=self.codes[rows],
            rows=self.rows[rows],
            client_id=self.client_id[rows],
            label=self.label[rows],
            outside=self.outside[rows],
            extra=self.extra.slice(start, stop - start),
        )


def decode(codes: Floats) -> pa.Table:
    """Return encoded applications, shape (n, 20), as the words and numbers that they stand for.

    Categories come as dictionary-encoded text, numbers as int64; absent values as null.
    """
    columns = []
    for attribute, column in zip(ATTRIBUTES, np.asarray(codes, np.float64).T, strict=True):
        absent = np.isnan(column)
        dtype = np.int8 if attribute.kind == "category" else np.int64
        if absent.any():
            values = pa.array(np.where(absent, 0, column).astype(dtype), mask=absent)
        else:  # as in most columns, in less time
            values = pa.array(column.astype(dtype))
        if attribute.kind == "category":
            values = pa.DictionaryArray.from_arrays(values, pa.array(attribute.categories))
        columns.append(values)
    return pa.table(columns, names=list(NAMES))


def codes_of(table: pa.Table) -> Floats:
    """Return what was decoded and stored as codes again, shape (n, 20); what the schema does not know becomes NaN."""
    codes = np.empty((table.num_rows, len(NAMES)))
    for place, attribute in enumerate(ATTRIBUTES):
        column = table[attribute.name]
        if attribute.kind == "category":
            column = pc.index_in(column.cast(pa.string()), value_set=pa.array(attribute.categories))
        codes[:, place] = column.cast(pa.float64()).to_numpy()
    return codes


def encode(frame: pd.DataFrame) -> Floats:
    """Return a frame's applications as codes, shape (n, 20); absent protected columns become NaN.

    Raises
    ------
    InvalidApplications
        When a column is missing or a cell is not valid.
    """
    missing = [name for name in SCORED if name not in frame.columns]
    if missing:
        raise InvalidApplications([Fault(None, n, None, f"column {n!r} is missing") for n in missing])
    codes = np.full((len(frame), len(NAMES)), np.nan)
    faults: list[Fault] = []
    for place, attribute in enumerate(ATTRIBUTES):
        if attribute.name not in frame.columns:
            continue
        column = frame[attribute.name]
        alike = pd.factorize(column, use_na_sentinel=False) if len(column) > _FEW else (np.arange(len(column)), column)
        positions, distinct = alike
        parsed = np.full(len(distinct), np.nan)
        for i, value in enumerate(distinct):
            value = value.item() if isinstance(value, np.generic) else value
            try:
                parsed[i] = attribute.parse(None if value is pd.NA else value)
            except Invalid as error:
                row = int(np.argmax(positions == i))
                faults.append(Fault.of(row, attribute.name, value, error, f"row {row}"))
        codes[:, place] = parsed[positions]
    if faults:
        raise InvalidApplications(sorted(faults, key=lambda f: f.row or 0))
    return codes


def _parse_client_id(value: object) -> tuple[str | None, Form]:
    if value is None or value != value:
        return None, ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Invalid("not_text", f"{CLIENT_ID} {shown(value)} is not a text")
    id, form = ids.parsed(value)
    if len(id) > MAX_CLIENT_ID:
        raise Invalid("too_long", f"{CLIENT_ID} has {len(id)} characters; {MAX_CLIENT_ID} are allowed")
    return id or None, form


def _parse_label(value: object) -> str | None:
    value = spelling.plain(value) if isinstance(value, str) else value
    if value is None or value == "" or value != value:
        return None
    if value in (GOOD, BAD):
        return str(value)
    coded = uci.LABELS.get(str(value)) if isinstance(value, str | int) else None
    why = (
        f"is a code of UCI's german.data; here that is {coded!r} ({_CODES})"
        if coded
        else f"is not one of {GOOD}, {BAD}"
    )
    raise Invalid("unknown_category", f"{LABEL} {shown(value)} {why}", [GOOD, BAD])


class _Faults:
    """Collects the faults of one body: all counted; the first thousand worded, and the first of each kind."""

    def __init__(self) -> None:
        self._kept: list[Fault] = []
        self.reasons: dict[tuple[str, str], int] = {}

    def add(self, row: int, column: str | None, value: object, reason: str, word: Callable[[], Invalid]) -> None:
        key = (column or "", reason)
        self.reasons[key] = self.reasons.get(key, 0) + 1
        if len(self._kept) < MAX_FAULTS or self.reasons[key] <= FIRSTS:
            self._kept.append(Fault.of(row, column, value, word(), f"row {row}"))

    def told(self) -> list[Fault]:
        """Return those that are told."""
        return chosen(self._kept, lambda fault: (fault.column, fault.reason))


class _Column(NamedTuple):
    """A parsed column of some rows.

    Attributes
    ----------
    values : pyarrow.Array
        Its distinct values.
    results : list
        What each of them came to.
    positions : array
        Where each row's value stands there.
    bad : array
        The rows that hold a bad one.
    reasons : dict
        How many rows are bad for which reason.
    texts : list of str or None
        Each row's result, of what is no attribute.
    firsts : list of (int, str)
        The first rows that are bad for each reason, and the reason.
    forms : list
        What was taken in another form than the contract's: the form, a value, in how many rows.
    """

    values: pa.Array
    results: list[Any]
    positions: NDArray[np.int64]
    bad: NDArray[np.int64]
    reasons: dict[str, int]
    texts: list[str | None]
    firsts: list[tuple[int, str]]
    forms: list[tuple[Form, object, int]]


class _Found(NamedTuple):
    """What the rows of a file came to, each part of them written by the thread that has parsed it."""

    codes: Floats
    outside: NDArray[np.bool_]
    bad: NDArray[np.bool_]


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
        self._labelled = labelled
        self._caches: dict[str, dict[Hashable, tuple[float, bool, str, Form]]] = {name: {} for name in NAMES}

    def _look(self, attribute: Attribute, value: object) -> tuple[float, bool, str, Form]:
        """Return a value's code, whether it lies outside the training range, what is wrong in a word, and its form."""
        # True == 1 == 1.0 as keys, so only text and ints are looked up.
        kept = type(value) is int or (type(value) is str and len(value) <= _CACHED_LENGTH)
        cache = self._caches[attribute.name]
        if kept and (known := cache.get(value)) is not None:  # type: ignore[arg-type]
            return known
        code, reason = attribute.look(value)
        outside = False
        if self.domain is not None and code == code:
            if attribute.kind == "number":
                low, high = self.domain.ranges.get(attribute.name, (code, code))
                outside = not low <= code <= high
            else:
                seen = self.domain.categories.get(attribute.name)
                if seen is not None and attribute.categories[int(code)] not in seen:
                    code, reason = _NAN, "unseen_category"
        form: Form = "" if reason else form_of(value)
        if kept and not reason and len(cache) < _CACHE_SIZE:
            cache[value] = code, outside, "", form  # type: ignore[index]
        return code, outside, reason, form

    def _text(self, name: str, value: object) -> tuple[str | None, Form]:
        """Return a client's id or label, and its form.

        Raises
        ------
        Invalid
            When it is not allowed.
        """
        if name == CLIENT_ID:
            return _parse_client_id(value)
        try:
            return _parse_label(value), form_of(value)
        except Invalid:
            if self._labelled:
                raise
            return None, "left out"

    def _invalid(self, attribute: Attribute, value: object, reason: str) -> Invalid:
        """Return in words what is wrong with a value, by the word of `_look`."""
        if reason != "unseen_category" or self.domain is None:
            return attribute.invalid(value, reason)
        seen = self.domain.categories[attribute.name]
        category = spelling.plain(str(value))
        message = f"{attribute.name} {category!r} was never seen in training; the model knows {', '.join(seen)}"
        return Invalid(reason, message, list(seen))

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
        faults = _Faults()
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
        self, i: int, row: dict[str, Any], codes: Floats, outside: NDArray[np.bool_], faults: _Faults, notes: Notes
    ) -> tuple[str | None, str | None, bool]:
        """Write one row's codes in place; return its client id, its label, and whether it is valid."""
        good = True
        for place, attribute in enumerate(ATTRIBUTES):
            value = row.get(attribute.name)
            code, is_outside, reason, form = self._look(attribute, value)
            if reason:
                good = False
                faults.add(i, attribute.name, value, reason, partial(self._invalid, attribute, value, reason))
                continue
            if form:
                notes.add(form, attribute.name, value)
            codes[place] = code
            if is_outside:
                outside[place] = True
        others: list[str | None] = []
        for name in (CLIENT_ID, LABEL):
            try:
                text, form = self._text(name, row.get(name))
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
        n = sheet.table.num_rows
        found = _Found(np.empty((n, len(NAMES))), np.zeros((n, len(NAMES)), dtype=bool), np.zeros(n, dtype=bool))
        columns = {name: places[name] for name in (*NAMES, CLIENT_ID, LABEL) if name in places}
        blocks = sheet.table.select(list(columns.values())).rename_columns(list(columns)).to_batches()
        starts = np.cumsum([0, *(len(block) for block in blocks)])
        # Its own threads each time: a pool would not survive the fork that makes a server's workers.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            parsed = list(pool.map(lambda block, start: self._block(block, int(start), found), blocks, starts[:-1]))
        reasons: dict[tuple[str, str], int] = {}
        notes = Notes()
        for name in columns:
            for block in parsed:
                for form, value, times in block[name].forms:
                    notes.add(form, name, value, times)
                for reason, times in block[name].reasons.items():
                    reasons[name, reason] = reasons.get((name, reason), 0) + times
        faults = self._first_faults(sheet, parsed, starts)
        if sheet.ragged:
            faults += [(number, -1, "", None, Invalid("shape", text)) for number, text in sheet.ragged]
            reasons["", "shape"] = len(sheet.ragged)
        ignored = [i for i, name in enumerate(sheet.header) if name not in _KNOWN]
        extra = sheet.table.select(ignored).rename_columns([sheet.header[i] for i in ignored])
        others: dict[str, list[str | None]] = {
            name: [value for block in parsed for value in block[name].texts] if name in columns else [None] * n
            for name in (CLIENT_ID, LABEL)
        }
        applications = Applications(
            codes=found.codes,
            rows=sheet.numbers,
            client_id=others[CLIENT_ID],
            label=others[LABEL],
            outside=found.outside,
            n_rows=sheet.n_rows,
            domain=self.domain,
            faults=_on_lines(sheet, faults),
            reasons=reasons,
            warnings=[*sheet.notes, *notes.warnings()],
            extra=extra,
        )
        applications = applications.only(~found.bad) if found.bad.any() else applications
        applications.warnings += ids.repeated(applications.client_id, applications.rows, "line", sheet.lines)
        applications.warnings += _ignored_warnings(sheet.header[i] for i in ignored)
        return applications

    def _block(self, block: pa.RecordBatch, start: int, found: "_Found") -> "dict[str, _Column]":
        """Parse some rows of a file, and write their codes in place."""
        rows = slice(start, start + len(block))
        found.codes[rows, [_PLACE[name] for name in NAMES if name not in block.schema.names]] = np.nan
        columns = {}
        for name, cells in zip(block.schema.names, block.columns, strict=True):
            column = columns[name] = self._column(name, cells)
            found.bad[rows][column.bad] = True
            if name in ATTRIBUTE:
                order = _PLACE[name]
                known = np.array(column.results, dtype=np.float64).reshape(-1, 2)
                found.codes[rows, order] = np.take(known[:, 0], column.positions)
                if known[:, 1].any():
                    found.outside[rows, order] = np.take(known[:, 1] > 0, column.positions)
        return columns

    def _column(self, name: str, cells: pa.Array) -> "_Column":
        """Parse a column's distinct values once each, and find the rows that hold a bad one."""
        if name == CLIENT_ID and ids.are_plain(cells):
            # Each client has its own; most files have nothing to parse there.
            none = np.empty(0, dtype=np.int64)
            return _Column(cells, [], none, none, {}, cells.to_pylist(), [], [])
        encoded = cells if pa.types.is_dictionary(cells.type) else pc.dictionary_encode(cells)
        positions = encoded.indices.to_numpy()
        # Those of the table are no copies: of a large file's distinct values only a part is ever held as Python's.
        values = encoded.dictionary
        results, reasons, formed = self._results(name, values)
        wrong = np.fromiter(map(bool, reasons), bool, len(reasons))
        bad = np.flatnonzero(wrong[positions]) if wrong.any() else np.empty(0, dtype=np.int64)
        times = np.bincount(positions[bad], minlength=len(values))
        counted: dict[str, int] = {}
        # In the order in which they are met, whatever the dictionary's is.
        for j in np.flatnonzero(times).tolist():
            counted[reasons[j]] = counted.get(reasons[j], 0) + int(times[j])
        texts = [] if name in ATTRIBUTE else [results[p] for p in positions]
        all_times = np.bincount(positions, minlength=len(values)) if formed else times
        forms = [(form, values[j].as_py(), int(all_times[j])) for j, form in formed.items() if all_times[j]]
        firsts = _firsts(bad, positions[bad], reasons) if counted else []
        return _Column(values, results, positions, bad, counted, texts, firsts, forms)

    def _results(self, name: str, values: pa.Array) -> tuple[list[Any], list[str], dict[int, Form]]:
        """Return what each of a column's distinct values came to, what is wrong with it, and those of another form."""
        results: list[Any] = []
        reasons: list[str] = []
        forms: dict[int, Form] = {}
        if name in ATTRIBUTE:
            for j, value in enumerate(values.to_pylist()):
                code, outside, reason, form = self._look(ATTRIBUTE[name], value)
                results.append(_ABSENT if reason else (code, outside))
                reasons.append(reason)
                if form:
                    forms[j] = form
            return results, reasons, forms
        for j, value in enumerate(values.to_pylist()):
            try:
                text, form = self._text(name, value)
                results.append(text)
                reasons.append("")
                if form:
                    forms[j] = form
            except Invalid as error:
                results.append(None)
                reasons.append(error.reason)
        return results, reasons, forms

    def _first_faults(
        self, sheet: Sheet, parsed: "list[dict[str, _Column]]", starts: NDArray[np.int64]
    ) -> list[tuple[int, int, str, object, Invalid]]:
        """Return the faults of the first rows that have any, a thousand at least, and the first of each kind."""
        found: list[tuple[int, int, str, object, Invalid]] = []
        seen: Counter[tuple[str, str]] = Counter()
        for start, block in zip(starts, parsed, strict=False):
            enough = len(found) >= MAX_FAULTS
            for name, column in block.items():
                rows = set() if enough else set(column.bad[:MAX_FAULTS].tolist())
                rows |= {row for row, reason in column.firsts if seen[name, reason] < FIRSTS}
                seen.update((name, reason) for _, reason in column.firsts)
                for k in rows:
                    value = column.values[int(column.positions[k])].as_py()
                    found.append((int(sheet.numbers[start + k]), _PLACE[name], name, value, self._error(name, value)))
        return found

    def _error(self, name: str, value: str) -> Invalid:
        """Return what is wrong with a value that was found wrong: kept for the first rows only, made again here."""
        if name in ATTRIBUTE:
            return self._invalid(ATTRIBUTE[name], value, self._look(ATTRIBUTE[name], value)[2])
        try:
            self._text(name, value)
        except Invalid as error:
            return error
        raise AssertionError(f"{name} was found wrong and is not")


_KNOWN = frozenset((*NAMES, CLIENT_ID, LABEL))
_PLACE = {name: place for place, name in enumerate((*NAMES, CLIENT_ID, LABEL))}
# So many keys of a body are looked at for another spelling.
_LOOKED_AT = 1000


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
            (name,) = spelling.named([key], _KNOWN)
            self._looked_at[key] = name if name in _KNOWN else None
        return self._looked_at.get(key)


def _firsts(bad: NDArray[np.int64], values: NDArray[np.int64], reasons: list[str]) -> list[tuple[int, str]]:
    """Return the first bad rows for each reason; `values` has where each one's value, and its reason, stands."""
    words = sorted(set(reasons) - {""})
    numbers = np.array([words.index(reason) if reason else -1 for reason in reasons])[values]
    return [(int(row), word) for i, word in enumerate(words) for row in bad[np.flatnonzero(numbers == i)[:FIRSTS]]]


def _no_object(row: object) -> Invalid:
    return Invalid("shape", f"an application must be an object, not {shown(row)}")


def _itself(error: Invalid) -> Invalid:
    return error


def _on_lines(sheet: Sheet, found: list[tuple[int, int, str, object, Invalid]]) -> list[Fault]:
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
    for name in (*NAMES, CLIENT_ID, LABEL):
        times = header.count(name)
        if times > 1:
            faults.append(Fault(None, name, None, f"column {name!r} stands {times} times in the header; keep one"))
        elif not times and name in SCORED:
            message = f"column {name!r} is missing; add it to the header and give each client a value"
            faults.append(Fault(None, name, None, message, ATTRIBUTE[name].allowed))
    return faults


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one application."""
    properties: dict[str, Any] = {}
    for a in ATTRIBUTES:
        title = f"{a.label} ({a.unit})" if a.unit else a.label
        schema: dict[str, Any] = {"title": title}
        if a.kind == "number":
            schema |= {"type": "integer", "minimum": a.minimum, "maximum": a.maximum}
        else:
            schema |= {"type": "string", "enum": list(a.categories)}
        notes = ["Never scored; may be absent."] if a.protected else []
        if a.name in MEANINGS:
            # A form that shows the labels alone would have clerks record the opposite of what a client says.
            meant = "; ".join(f"{value}: {words}" for value, words in MEANINGS[a.name].items())
            notes.append(f"What the values stand for in the training data (Grömping 2019): {meant}.")
        if notes:
            schema["description"] = " ".join(notes)
        properties[a.name] = schema
    properties[CLIENT_ID] = {
        "title": "Client",
        "type": ["string", "null"],
        "maxLength": MAX_CLIENT_ID,
        "description": "Handed back with the decision; never a model input.",
    }
    properties[LABEL] = {
        "title": "Outcome, where known",
        "enum": [GOOD, BAD, None],
        "description": "Stored as label; never shown to the model. Another value is left out, with a warning.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Credit application",
        "type": "object",
        "properties": properties,
        "required": list(SCORED),
    }
