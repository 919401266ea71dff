"""Validates single values of an application, for one model version.

The verdict on a value is the same wherever it comes from.
"""

import math
from collections.abc import Hashable

from credit_risk.schema.attributes import (
    ATTRIBUTE,
    BAD,
    CLIENT_ID,
    GOOD,
    LABEL,
    MAX_CLIENT_ID,
    NAMES,
    Attribute,
)
from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import InvalidValue, shown
from credit_risk.schema.spelling import ids, uci
from credit_risk.schema.spelling.notes import Form, form_of
from credit_risk.schema.spelling.words import plain

_CACHE_SIZE = 100_000
_CACHED_LENGTH = 40


class Values:
    """Distinguishes allowed values from others, for one model version.

    Parameters
    ----------
    domain, labelled
        See `validation.Validator`.
    """

    def __init__(self, domain: Domain | None = None, *, labelled: bool = False) -> None:
        self._domain = domain
        self._labelled = labelled
        self._caches: dict[str, dict[Hashable, tuple[float, bool, str, Form]]] = {
            name: {} for name in NAMES
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

        code, reason = attribute.look(value)
        outside = False
        if self._domain is not None and code == code:
            if attribute.kind == "number":
                low, high = self._domain.ranges.get(attribute.name, (code, code))
                outside = not low <= code <= high
            else:
                seen = self._domain.categories.get(attribute.name)
                if seen is not None and attribute.categories[int(code)] not in seen:
                    code, reason = math.nan, "unseen_category"

        form: Form = "" if reason else form_of(value)
        if cacheable and not reason and len(cache) < _CACHE_SIZE:
            cache[value] = code, outside, "", form  # type: ignore[index]
        return code, outside, reason, form

    def invalid(self, attribute: Attribute, value: object, reason: str) -> InvalidValue:
        """Return the error for a value that `look` found invalid for a reason."""
        if reason != "unseen_category" or self._domain is None:
            return attribute.invalid(value, reason)

        seen = self._domain.categories[attribute.name]
        category = plain(str(value))
        message = (
            f"{attribute.name} {category!r} was never seen in training; "
            f"the model knows {', '.join(seen)}"
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
            return _parse_label(value), form_of(value)
        except InvalidValue:
            if self._labelled:
                raise
            return None, "left out"

    def error(self, name: str, value: str) -> InvalidValue:
        """Return the error for a value that was found invalid.

        Errors are not kept for all rows, so it is made again here.
        """
        if name in ATTRIBUTE:
            return self.invalid(ATTRIBUTE[name], value, self.look(ATTRIBUTE[name], value)[2])
        try:
            self.text(name, value)
        except InvalidValue as error:
            return error
        raise AssertionError(f"{name} was found wrong and is not")


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


def _parse_label(value: object) -> str | None:
    value = plain(value) if isinstance(value, str) else value
    if value is None or value == "" or value != value:
        return None
    if value in (GOOD, BAD):
        return str(value)

    coded = uci.LABELS.get(str(value)) if isinstance(value, str | int) else None
    if coded:
        why = f"is a code of UCI's german.data; here that is {coded!r} ({uci.SEE})"
    else:
        why = f"is not one of {GOOD}, {BAD}"
    raise InvalidValue("unknown_category", f"{LABEL} {shown(value)} {why}", [GOOD, BAD])
