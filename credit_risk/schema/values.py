"""Validates single values of an application, for one model version.

The verdict on a value is the same wherever it comes from.
"""

import math
from collections.abc import Hashable

from credit_risk.schema.attributes import (
    BAD,
    CLIENT_ID,
    GOOD,
    MAX_CLIENT_ID,
    Attribute,
)
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import InvalidValue, shown
from credit_risk.schema.sheets.formats import Reading
from credit_risk.schema.spelling import ids
from credit_risk.schema.spelling.notes import Form, form_of
from credit_risk.schema.spelling.words import normalised

# Distinct values that are remembered, of all attributes together.
_CACHE_SIZE = 2_000_000
_CACHED_LENGTH = 40


class Values:
    """Distinguishes allowed values from others, for one model version.

    Parameters
    ----------
    dataset, domain, labelled
        See `validation.Validator`.
    reading : Reading, optional
        How to read the values of a file in other words.
    """

    def __init__(
        self,
        dataset: Dataset,
        domain: Domain | None = None,
        *,
        labelled: bool = False,
        reading: Reading | None = None,
    ) -> None:
        self.dataset = dataset
        self._reading = reading
        self._domain = domain
        self._cache_size = _CACHE_SIZE // len(dataset.names)
        self._labelled = labelled
        self._caches: dict[str, dict[Hashable, tuple[float, bool, str, Form]]] = {
            name: {} for name in dataset.names
        }

    def look(self, attribute: Attribute, value: object) -> tuple[float, bool, str, Form]:
        """Return a value's code, whether it is outside the training range, a reason, and its form.

        The reason says why the value is invalid; the form says how it is written, if not as in the
        contract. Either may be empty.
        """
        # As keys, True == 1 == 1.0, so only texts and ints are cached.
        cacheable = type(value) is int or (type(value) is str and len(value) <= _CACHED_LENGTH)
        cache = self._caches[attribute.name]
        if cacheable and (known := cache.get(value)) is not None:  # type: ignore[arg-type]
            return known

        meant, reason = self._meant(attribute.name, value)
        code, reason = (math.nan, reason) if reason else attribute.look(meant)
        outside = False
        if self._domain is not None and not reason:
            outside, reason = _unseen(attribute, code, self._domain)
            if reason:
                code = math.nan

        form = "" if reason else self._form(attribute, value, meant)
        if cacheable and not reason and len(cache) < self._cache_size:
            cache[value] = code, outside, "", form  # type: ignore[index]
        return code, outside, reason, form

    def _meant(self, name: str, value: object) -> tuple[object, str]:
        """Return a value as the definition has it, and why the file's format cannot tell it."""
        return (value, "") if self._reading is None else self._reading.meant(name, value)

    @staticmethod
    def _form(attribute: Attribute, value: object, meant: object) -> Form:
        if attribute.categories and attribute.understood(meant):
            return "spelled"
        return form_of(value)

    def understood(self, name: str, value: object) -> str:
        """Return the category that another spelling was read as; empty where there is none."""
        attribute = self.dataset.by_name.get(name)
        return attribute.understood(value) if attribute is not None else ""

    def invalid(self, attribute: Attribute, value: object, reason: str) -> InvalidValue:
        """Return the error for a value that `look` found invalid for a reason."""
        meant, untold = self._meant(attribute.name, value)
        if untold and self._reading is not None:
            return self._reading.invalid(attribute.name, value, untold)
        value = meant
        if reason == "unseen_missing":
            message = f"{attribute.name} has no value, and always had one in training"
            return InvalidValue(reason, message, attribute.allowed)
        if reason != "unseen_category" or self._domain is None:
            return attribute.invalid(value, reason)

        seen = self._domain.categories.get(attribute.name, ())
        category = attribute.understood(value) or normalised(str(value))
        message = (
            f"{attribute.name} {category!r} was never seen in training; "
            f"the model knows {', '.join(seen) or 'no value of it'}"
        )
        return InvalidValue(reason, message, list(seen))

    def text(self, name: str, value: object) -> tuple[str | None, Form]:
        """Return a client's id or label, and its form.

        Raises
        ------
        InvalidValue
            When it is not allowed.
        """
        if name == CLIENT_ID:
            return _parse_client_id(value)
        try:
            meant, untold = self._meant(name, value)
            if untold and self._reading is not None:
                raise self._reading.invalid(name, value, untold)
            return _parse_label(meant, self.dataset), form_of(value)
        except InvalidValue:
            if self._labelled:
                raise
            return None, "left out"

    def error(self, name: str, value: str) -> InvalidValue:
        """Return the error for a value that was found invalid.

        Errors are not kept for all rows, so it is made again here.
        """
        attribute = self.dataset.by_name.get(name)
        if attribute is not None:
            return self.invalid(attribute, value, self.look(attribute, value)[2])
        try:
            self.text(name, value)
        except InvalidValue as error:
            return error
        raise AssertionError(f"{name} was found wrong and is not")


def _unseen(attribute: Attribute, code: float, domain: Domain) -> tuple[bool, str]:
    """Return whether a valid value is outside the training range, and a reason if it is refused."""
    if code != code:
        refused = not attribute.protected and attribute.name not in domain.missing
        return False, "unseen_missing" if refused else ""
    if not attribute.categories:
        # An attribute of which no client had a value has no range.
        nothing = attribute.name not in domain.ranges and attribute.name in domain.missing
        low, high = domain.ranges.get(attribute.name, (code, code))
        return nothing or not low <= code <= high, ""

    everything = () if attribute.name in domain.missing else attribute.categories
    seen = domain.categories.get(attribute.name, everything)
    return False, "" if attribute.categories[int(code)] in seen else "unseen_category"


def _parse_client_id(value: object) -> tuple[str | None, Form]:
    if value is None or value != value:
        return None, ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise InvalidValue("not_text", f"{CLIENT_ID} {shown(value)} is not a text")

    id, form = ids.parsed(value)
    if len(id) > MAX_CLIENT_ID:
        raise InvalidValue(
            "too_long", f"{CLIENT_ID} has {len(id)} characters; {MAX_CLIENT_ID} are allowed"
        )
    return id or None, form


def _parse_label(value: object, dataset: Dataset) -> str | None:
    value = normalised(value) if isinstance(value, str) else value
    if value is None or value == "" or value != value:
        return None
    if value in (GOOD, BAD):
        return str(value)

    target = dataset.target
    for word in _written(value):
        if word in target.bad:
            return BAD
        if word in target.good:
            return GOOD
    words = [*target.good, *target.bad]
    message = f"{target.column} {shown(value)} is not one of {', '.join(words)}"
    raise InvalidValue("unknown_category", message, words)


def _written(value: object) -> tuple[str, ...]:
    """Return the words that files may have for a value of JSON: True and true, 1.0 and 1."""
    if isinstance(value, bool):
        return str(value), str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(value), str(int(value))
    return (str(value),)
