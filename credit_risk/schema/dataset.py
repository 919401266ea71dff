"""A data set: the one object that says what an application is, and what its outcome may be.

It is read from a definition, `data/NAME/dataset.toml` (`credit_risk.schema.dataset_file`), and each
registered version carries the one that it was trained by. These models are the definition's
documentation and its JSON Schema.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from credit_risk.schema.attributes import (
    BAD,
    CLIENT_ID,
    GOOD,
    LABEL,
    Attribute,
    Definition,
    LongText,
    Name,
    Text,
    check_fields,
)
from credit_risk.schema.spelling.words import normalised

# Columns and keys that results, answers, logs and training snapshots have beside the attributes.
RESERVED = frozenset(
    {
        CLIENT_ID,
        LABEL,
        *("batch", "confidence", "decision_id", "faults", "final", "id", "label", "line"),
        *("model_version", "outcome", "outcome_date", "outcome_number", "override", "part"),
        *("prediction", "reasons", "risk", "row", "time", "warnings", "what_is_wrong"),
        *("override_by", "override_reason", "override_time", "decided_at", "base_rate", "branch"),
        *("caller", "kind", "outcomes", "overrides", "source", "standing", "threshold"),
        "what_would_change_it",
        # Keys of a version's texts, beside the attributes.
        *("often", "seldom", "version"),
    }
)
MAX_ATTRIBUTES = 200


class Target(Definition):
    """The column that says how a client's loan went."""

    column: Text = Field(LABEL, min_length=1, description="Its name in the training file")
    bad: tuple[Text, ...] = Field(("bad",), min_length=1, description="Its values for a bad client")
    good: tuple[Text, ...] = Field(
        ("good",), min_length=1, description="Its values for a good client"
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if both := {*self.bad, BAD} & {*self.good, GOOD}:
            raise ValueError(f"{sorted(both)[0]!r} cannot mean both bad and good")
        if absent := [word for word in (*self.bad, *self.good) if normalised(word) != word]:
            raise ValueError(f"{absent[0]!r} is read as another value, or as none")
        return self


class Costs(Definition):
    """What wrong decisions cost; the threshold follows from the ratio."""

    bad: float = Field(5.0, gt=0, le=1e9, description="Cost of accepting a client who turns bad")
    good: float = Field(1.0, gt=0, le=1e9, description="Cost of refusing a good client")
    by: Literal["client", "amount"] = Field(
        "client",
        description="`amount`: both are times the attribute `amount` of the client. Mean costs are "
        "then per unit of it, so that a large loan counts for more than a small one",
    )

    @property
    def unit(self) -> str:
        """What a mean cost is per, in words."""
        return "client" if self.by == "client" else "unit of amount"

    def __str__(self) -> str:
        times = "" if self.by == "client" else ", each times the amount"
        return f"a bad client accepted costs {self.bad:g}, a good one refused {self.good:g}{times}"


class Group(Definition):
    """Clients for whom fairness is measured.

    Of a number: those from `minimum` to `maximum`, inclusive. Of a category: those with each of its
    values, a group each.
    """

    attribute: Name
    name: Text = ""
    minimum: float | None = None
    maximum: float | None = None


class Lever(Definition):
    """A change of an application that a client can make, for "what would change it"."""

    attribute: Name
    way: Literal["lower", "next", "set"] = Field(
        description="A lower number, the next value in order, or the value `to`"
    )
    of: Text = Field("", description="With `set`: only where this is the value now; any if empty")
    to: Text = Field("", description="With `set`: the value that it becomes")
    text: Text = Field(
        description="The change in words, with {new}, {old} and {other}: new in its other words"
    )

    @model_validator(mode="after")
    def _places(self) -> Self:
        check_fields(self.text, {"new", "old", "other"})
        return self


class Format(Definition):
    """A file of the same data in other words, recognized by its columns."""

    name: Text = Field(min_length=1, description="As messages call it")
    columns: dict[Text, Name | Literal["class"]] = Field(
        {},
        description="Attributes by the names that its columns have, several where they differ; "
        "`class` is the target. Formats with the same names are told apart by the order",
    )
    header: bool = Field(
        True,
        description="Whether its first line has the names; if not, `columns` is in their order",
    )
    values: dict[Name | Literal["class"], dict[Text, Text]] = Field(
        {},
        description="Values by attribute, as it has them and as the definition has them; those of "
        "an attribute that is listed are understood in no other way",
    )


class Dataset(Definition):
    """What an application is, and what its outcome may be.

    Raises
    ------
    pydantic.ValidationError
        When a part of the definition is missing, unknown, or contradicts another.
    """

    name: Name = Field(description="Its folder's name")
    title: Text = Field(min_length=1, description="As people call it")
    file: Text = Field("", description="Training data, relative to the definition; a CSV file")
    sample: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$")] = Field(
        "", description="A CSV of made-up clients beside the definition, which anybody may read"
    )
    meanings_from: Text = Field("", description="Who says what the values mean")
    target: Target = Target()
    costs: Costs = Costs()
    amount: Name | Literal[""] = Field("", description="Attribute that is the amount lent")
    term: Name | Literal[""] = Field("", description="Attribute that is the term in months")
    attributes: tuple[Attribute, ...] = Field(min_length=1, max_length=MAX_ATTRIBUTES)
    groups: tuple[Group, ...] = ()
    groups_note: LongText = Field("", description="What to know of the groups, for model cards")
    limits: tuple[LongText, ...] = Field(
        (), description="What a model of these data cannot know, for model cards"
    )
    levers: tuple[Lever, ...] = Field((), max_length=6)
    formats: tuple[Format, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        times = Counter(self.names)
        if twice := [name for name, n in times.items() if n > 1]:
            raise ValueError(f"there are two attributes {twice[0]!r}")
        if reserved := RESERVED.intersection(self.names):
            raise ValueError(
                f"{sorted(reserved)[0]!r} is a name of ours; give the attribute another and put "
                "the file's in its `headers`"
            )
        self._check_columns()
        if not self.scored:
            raise ValueError("every attribute is protected; there is nothing to score")
        if self.sample and self.sample == self.file.rpartition("/")[2]:
            raise ValueError("the sample is the training file, which must not be published")
        for name in (self.amount, self.term):
            if name and not self._named(name).is_quantity:
                raise ValueError(f"{name} is not a number, so it cannot be the amount or the term")
        if self.costs.by == "amount":
            self._check_weight()
        for group in self.groups:
            self._check_group(group)
        levers = Counter(lever.attribute for lever in self.levers)
        if twice := [name for name, n in levers.items() if n > 1]:
            raise ValueError(f"there are two levers of {twice[0]}")
        for lever in self.levers:
            self._check_lever(lever)
        for form in self.formats:
            self._check_format(form)
        return self

    def _check_columns(self) -> None:
        columns = [(header, a.name) for a in self.attributes for header in (a.name, *a.headers)]
        columns += [(CLIENT_ID, CLIENT_ID), (LABEL, LABEL), (self.target.column, LABEL)]
        _check_distinct(columns)

    def _named(self, name: str) -> Attribute:
        if name not in self.by_name:
            raise ValueError(f"there is no attribute {name!r}")
        return self.by_name[name]

    def _check_weight(self) -> None:
        if not self.amount:
            raise ValueError("costs are by amount, but no attribute is said to be the `amount`")
        attribute = self.by_name[self.amount]
        if attribute.may_be_absent:
            raise ValueError(f"costs are by {self.amount}, which an application may leave out")
        if attribute.minimum <= 0:
            raise ValueError(f"costs are by {self.amount}, so its minimum must be above 0")

    def _check_group(self, group: Group) -> None:
        has_ends = group.minimum is not None or group.maximum is not None
        if self._named(group.attribute).categories:
            if has_ends:
                raise ValueError(f"a group of {group.attribute}, a category, has no ends")
        elif not group.name or not has_ends:
            raise ValueError(f"a group of {group.attribute} needs a name, and an end or two")

    def _check_lever(self, lever: Lever) -> None:
        attribute = self._named(lever.attribute)
        if attribute.protected:
            raise ValueError(f"{lever.attribute} is protected; it cannot be a lever")
        if lever.way == "lower" and not attribute.is_quantity:
            raise ValueError(f"{lever.attribute} is not a quantity, so it cannot be lowered")
        if lever.way == "next" and not attribute.categories:
            raise ValueError(
                f"{lever.attribute} has no ordered values, so it cannot move to the next one"
            )
        if lever.way == "set":
            for value in filter(None, (lever.to, lever.of)):
                if value not in attribute.categories:
                    raise ValueError(f"{value!r} is not a value of {lever.attribute}")
            if not lever.to:
                raise ValueError(f"the lever of {lever.attribute} does not say what to set it `to`")

    def _check_format(self, form: Format) -> None:
        _check_distinct(form.columns.items())
        for name in {*form.columns.values(), *form.values} - {LABEL}:
            self._named(name)
        for name in {*form.values} - {LABEL}:
            for value in form.values[name].values():
                if self.by_name[name].look(value)[1]:
                    raise ValueError(f"{form.name}: {value!r} is not a value of {name}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The attributes' names, in their order."""
        return tuple(attribute.name for attribute in self.attributes)

    @cached_property
    def by_name(self) -> dict[str, Attribute]:
        """The attributes by name."""
        return {attribute.name: attribute for attribute in self.attributes}

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """The names of the attributes that models see."""
        return tuple(a.name for a in self.attributes if not a.protected)

    @cached_property
    def protected(self) -> tuple[str, ...]:
        """The names of the attributes that models never see."""
        return tuple(a.name for a in self.attributes if a.protected)

    @cached_property
    def scored_attributes(self) -> tuple[Attribute, ...]:
        """The attributes that models see."""
        return tuple(a for a in self.attributes if not a.protected)

    @cached_property
    def scored_columns(self) -> NDArray[np.int64]:
        """The places of the scored attributes among all, shape (n_scored,)."""
        return np.array([self.names.index(name) for name in self.scored])

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns or keys that a file or an object may have."""
        return (*self.names, CLIENT_ID, LABEL)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The contract's name by each name that a column may have, for `spelling.words.named`."""
        others = {header: a.name for a in self.attributes for header in a.headers}
        return {**others, self.target.column: LABEL, **{name: name for name in self.columns}}

    @cached_property
    def cost_columns(self) -> tuple[str, ...]:
        """The attributes that the cost of a decision depends on."""
        return (self.amount,) if self.costs.by == "amount" else ()

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """The names of the attributes that are amounts."""
        return tuple(a.name for a in self.attributes if a.is_quantity)

    @cached_property
    def text(self) -> str:
        """The definition as JSON, without what is as by default."""
        plain = self.model_dump(mode="json", exclude_defaults=True)
        # Not sorted: the columns of a file without a header are in their order.
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the definition."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def _check_distinct(columns: Iterable[tuple[str, str]]) -> None:
    """Refuse names of columns, with what each means, of which one means two things."""
    owners: dict[str, str] = {}
    for column, name in columns:
        if (other := owners.setdefault(column, name)) != name:
            raise ValueError(f"{column!r} is a column of {other} and of {name}")
