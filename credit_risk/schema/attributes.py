"""One attribute of a credit application: its name, the values it may have, and what they mean.

A data set's definition lists its attributes (`credit_risk.schema.dataset`). Every value goes
through `Attribute.look`, wherever it comes from, so a row gets the same verdict everywhere.
"""

import math
import string
from collections import Counter
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from credit_risk.schema.faults import InvalidValue, shown
from credit_risk.schema.formulas import is_formula
from credit_risk.schema.spelling import numerals
from credit_risk.schema.spelling.words import normalised, unquoted

# The two classes of clients, and the two decisions: refused and accepted.
GOOD = "good"
BAD = "bad"
RED = "red"
GREEN = "green"
LABEL = "class"
CLIENT_ID = "client_id"
MAX_CLIENT_ID = 64

# What a flag's two values may also be called.
FLAG = {"no": ("0", "false", "False", "FALSE", "n"), "yes": ("1", "true", "True", "TRUE", "y")}
_MAX_VALUES = 1000

Floats = NDArray[np.float64]
# What people read of a recorded value first: what it means, or the word of the file.
Labels = Literal["meaning", "file"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds characters that cannot be printed")
    return text


# Texts of a definition, which comes with every stored version: no longer than people write them.
Text = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
LongText = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
# Names are columns of files, keys of documents, and names of LightGBM's features.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
# Beyond, whole numbers and floats are not the same.
Bound = Annotated[int | float, Field(ge=-1e15, le=1e15)]


class Definition(BaseModel):
    """A part of a data set's definition: immutable, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Category(Definition):
    """A value that a category may have."""

    value: Text = Field(
        min_length=1, description="As the training file has it; stored and exported so"
    )
    meaning: Text = Field("", description="What it means, where the file's word does not say so")
    spellings: tuple[Text, ...] = Field((), description="Other spellings, accepted with a warning")

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        # Exports have it as it is, so that they can be read again.
        if is_formula(self.value):
            raise ValueError(f"a spreadsheet would run {self.value!r} as a formula")
        return self


class Attribute(Definition):
    """One attribute of an application.

    A category's code is its place in `values`; a number's code is the number.
    """

    name: Name = Field(description="Column of files, key of JSON objects")
    label: Text = Field(min_length=1, description="What people read, such as Credit amount")
    kind: Literal["number", "category", "flag"] = Field(
        description="A flag is a category that is no or yes, unless `values` says otherwise"
    )
    headers: tuple[Text, ...] = Field(
        (), description="Other names that its column has in files, beside `name`"
    )
    unit: Text = Field("", description="Unit of a number, such as DM or months")
    minimum: Bound = Field(0, description="Hard lower bound of a number, inclusive")
    maximum: Bound = Field(0, description="Hard upper bound of a number, inclusive")
    decimals: int = Field(
        0,
        ge=0,
        le=9,
        description="0 for whole numbers; else the decimal places by which the form steps, of "
        "which files and JSON may have more",
    )
    decimal_mark: Literal[".", ","] = Field(".", description="What files write before decimals")
    values: tuple[Category, ...] = Field(
        (), max_length=_MAX_VALUES, description="The values of a category, in their order"
    )
    meanings: dict[Text, Text] = Field(
        {}, description="For a number that stands for classes: what each stands for"
    )
    order: Literal["natural", "listed", "bad rate"] = Field(
        "bad rate",
        description="Order of a category's values that the trees split by: `natural` and `listed` "
        "as in `values`, where they have a natural order or none; or by their bad rate in training",
    )
    missing: bool = Field(False, description="Whether a scored attribute may have no value")
    protected: bool = Field(False, description="Never scored; may be absent")
    direction: Literal["more", "less"] | None = Field(
        None, description="Whether the risk is known to rise or fall as the value goes up"
    )
    text: Text = Field("", description="A reason's sentence, with {value}")
    text_more: Text = Field("", description="How a quantity above most accepted clients' is called")
    text_less: Text = Field("", description="How a quantity below most accepted clients' is called")

    @model_validator(mode="before")
    @classmethod
    def _flag_values(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "flag" and not given.get("values"):
            values = [{"value": value, "spellings": also} for value, also in FLAG.items()]
            return {**given, "values": values}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "number":
            self._check_number()
        else:
            self._check_category()
        check_fields(self.text, {"value"})
        for text in (self.text_more, self.text_less):
            check_fields(text, set())
        return self

    def _check_number(self) -> None:
        if self.values:
            raise ValueError(f"{self.name} is a number, which has no `values`")
        if not self.minimum < self.maximum:
            raise ValueError(f"the minimum of {self.name} is not below its maximum")
        if not self.decimals and (self.minimum % 1 or self.maximum % 1):
            raise ValueError(f"{self.name} is whole, but its bounds are not; give it `decimals`")
        # The lengths first: the classes of a wide range are too many to write out.
        if self.meanings and (
            len(self.meanings) != len(self.classes)
            or set(self.meanings) != set(map(str, self.classes))
        ):
            raise ValueError(f"the meanings of {self.name} are not those of its whole numbers")

    def _check_category(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} is a {self.kind} without `values`")
        if self.meanings:
            raise ValueError(f"{self.name} has `meanings`, which only a number has")
        if self.minimum or self.maximum or self.decimals or self.unit:
            raise ValueError(f"{self.name} is a {self.kind}, which has no bounds, decimals or unit")
        if self.direction and self.order == "bad rate":
            raise ValueError(f"{self.name} has a direction, so its order is natural or listed")
        times = Counter(self.categories)
        if twice := [value for value, n in times.items() if n > 1]:
            raise ValueError(f"{self.name} has the value {twice[0]!r} twice")
        for category in self.values:
            for word in (category.value, *category.spellings):
                if (read := normalised(word)) != word:
                    as_what = repr(read) if read else "no value"
                    raise ValueError(f"{self.name}: {word!r} in a file is read as {as_what}")

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """A category's values; empty for a number."""
        return tuple(category.value for category in self.values)

    @property
    def classes(self) -> range:
        """The whole numbers from the minimum to the maximum."""
        return range(int(self.minimum), int(self.maximum) + 1)

    @property
    def title(self) -> str:
        """The label with the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def example(self) -> str | int | float:
        """A value that it may have."""
        if self.categories:
            return self.categories[0]
        middle = (self.minimum + self.maximum) / 2
        return round(middle, self.decimals) if self.decimals else int(middle)

    @property
    def has_meanings(self) -> bool:
        """Whether any of its values means something else than it says."""
        return bool(self._meanings)

    @property
    def is_quantity(self) -> bool:
        """Whether its values are amounts; other numbers stand for classes."""
        return self.kind == "number" and not self.meanings

    @property
    def may_be_absent(self) -> bool:
        """Whether an application may leave it out."""
        return self.missing or self.protected

    @cached_property
    def allowed(self) -> list[str] | dict[str, Any]:
        """The values that are allowed, in the form that answers have."""
        if self.categories:
            return list(self.categories)
        whole = not self.decimals
        return {"minimum": self.minimum, "maximum": self.maximum, "integer": whole}

    @cached_property
    def _codes(self) -> dict[str, float]:
        return {category: float(code) for code, category in enumerate(self.categories)}

    @cached_property
    def _spelled(self) -> dict[str, list[str]]:
        """The values that each other spelling may stand for."""
        meant: dict[str, list[str]] = {}
        for category in self.values:
            for spelling in category.spellings:
                if spelling not in self._codes:
                    meant.setdefault(spelling, []).append(category.value)
        return meant

    def look(self, value: object) -> tuple[float, str]:
        """Return the code of a value and an empty reason, or NaN and the reason it is invalid.

        The code is a category's place in the definition, or the number itself; it is NaN for an
        absent value of an attribute that may be absent. The reason is `missing`,
        `unknown_category`, `ambiguous`, `not_a_number` or `out_of_range`. `invalid` turns it into a
        message, which takes ten times as long: a body may hold millions of faults, of which only a
        thousand are reported.
        """
        if isinstance(value, str):
            value = normalised(value)
        if value is None or value == "" or value != value:
            return math.nan, "" if self.may_be_absent else "missing"
        return self._look_up(value) if self.categories else self._measure(value)

    def _look_up(self, value: object) -> tuple[float, str]:
        word = self._word(value)
        code = self._codes.get(word)
        if code is not None:
            return code, ""

        meant = self._spelled.get(word, [])
        if len(meant) == 1:
            return self._codes[meant[0]], ""
        return math.nan, "ambiguous" if meant else "unknown_category"

    def _word(self, value: object) -> str:
        """Return what stands for a value in files: true and 1 are words of some flags."""
        if isinstance(value, bool) and self.kind == "flag":
            return str(value).lower()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else ""

    def _measure(self, value: object) -> tuple[float, str]:
        number = _decimal(value, self.decimal_mark) if self.decimals else _whole(value)
        if number is None:
            ambiguous = isinstance(value, str) and self._is_ambiguous(value)
            return math.nan, "ambiguous" if ambiguous else "not_a_number"
        if not self.minimum <= number <= self.maximum:
            return math.nan, "out_of_range"
        return float(number), ""

    def _is_ambiguous(self, text: str) -> bool:
        if self.decimals:
            return numerals.is_ambiguous_decimal(text, self.decimal_mark)
        return numerals.is_ambiguous(text)

    def understood(self, value: object) -> str:
        """Return the category that another spelling was read as; empty where there is none."""
        word = normalised(value) if isinstance(value, str) else self._word(value)
        meant = self._spelled.get(word, [])
        return meant[0] if len(meant) == 1 else ""

    def invalid(self, value: object, reason: str) -> InvalidValue:
        """Return the error for a value that `look` found invalid for a reason."""
        text = unquoted(value) if isinstance(value, str) else ""
        value = text or value
        return InvalidValue(reason, f"{self.name} {self._wrong(value, text, reason)}", self.allowed)

    def _wrong(self, value: object, text: str, reason: str) -> str:
        """Return what is wrong with a value."""
        if reason == "missing":
            return f"has no value ({shown(value)})" if text else "has no value"
        if reason == "unknown_category":
            return f"{shown(value)} is not one of {', '.join(self.categories)}"
        if reason == "ambiguous" and self.categories:
            meant = " or ".join(map(repr, self._spelled[self._word(value)]))
            return f"{shown(value)} may be {meant}; write which"
        if reason == "ambiguous":
            return f"{shown(value)} {numerals.readings(text)}"
        if reason == "not_a_number":
            what = "number" if self.decimals else "whole number"
            return f"{shown(value)} is not a {what}{numerals.remedy(text)}"
        return f"{shown(value)} is outside {self.minimum} to {self.maximum}"

    def parse(self, value: object) -> float:
        """Return the code of a value, as `look` does.

        Raises
        ------
        InvalidValue
            When the value is not allowed.
        """
        code, reason = self.look(value)
        if reason:
            raise self.invalid(value, reason)
        return code

    def value(self, code: float) -> str | int | float | None:
        """Return the category or number that a code stands for; None for an absent value."""
        if code != code:
            return None
        if self.categories:
            return self.categories[int(code)]
        return float(code) if self.decimals else int(code)

    def recorded(self, code: float) -> str:
        """Return the value that a code stands for, as a text; empty for an absent value."""
        value = self.value(code)
        return "" if value is None else str(value)

    def shown(self, value: str, labels: Labels) -> tuple[str, str]:
        """Return what people read of a recorded value, and what stands behind it; maybe nothing.

        One is what the value means, the other the word of the file, as far as they differ. The
        number of a class stands first in both cases: sentences call it one.
        """
        meaning = self.meaning(value)
        if meaning in ("", value):
            return value, ""
        if labels == "file" or not self.categories:
            return value, meaning
        return meaning, value

    def meaning(self, value: str) -> str:
        """Return what a recorded value means; empty where it means itself."""
        return self._meanings.get(value, "")

    @cached_property
    def _meanings(self) -> dict[str, str]:
        meant = {category.value: category.meaning for category in self.values if category.meaning}
        return meant or self.meanings


def check_fields(text: str, allowed: set[str]) -> None:
    """Refuse a text of a definition with other places to fill than these.

    Raises
    ------
    ValueError
        When it has one, or a brace that is not closed.
    """
    for _, field, form, conversion in string.Formatter().parse(text):
        if field is not None and (field not in allowed or form or conversion):
            places = ", ".join(f"{{{name}}}" for name in sorted(allowed))
            raise ValueError(f"{text!r} may have no other places than {places}")


def _whole(value: object) -> int | None:
    """Return the whole number that a value is, or stands for as a text; None if there is none."""
    if isinstance(value, str):
        return numerals.whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _decimal(value: object, mark: str) -> float | None:
    """Return the number that a value is, or stands for as a text; None if there is none."""
    if isinstance(value, str):
        return numerals.decimal(value, mark)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 else None
    return None
