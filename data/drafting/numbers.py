"""Columns of numbers: how they are written, and what bounds they may have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from credit_risk.schema.faults import shown
from credit_risk.schema.spelling import numerals

# What is a number to people, with a sign of a currency or a percentage, and thousands apart.
_ROUGHLY = re.compile(
    r"[-+(]?\s?[$€£¥₹]?\s?[-+]?(?:[0-9][0-9.,'’_\s]*|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?\s?[%$€£¥₹]?\)?"
)
_CODE = re.compile(r"-?0[0-9]")
_SEPARATED = re.compile(r"[^.,]*([.,])([^.,]*)")
_LIKE_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}[.,][0-9]{3}")
_MAX_DECIMALS = 9
# Above, neighbouring whole numbers have the same double.
_TOO_LARGE = 10**15
_ROOM = Decimal("1.25")
_FEW = 10


@dataclass(frozen=True)
class Numbers:
    """The numbers that a column's values stand for, and how they are written."""

    values: tuple[float, ...]
    decimals: int
    mark: str

    @property
    def least(self) -> float:
        """The lowest."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The highest."""
        return max(self.values)

    @property
    def are_few(self) -> bool:
        """Whether they are so few whole numbers that they may stand for classes."""
        return not self.decimals and len(self.values) <= _FEW

    def fields(self) -> dict[str, Any]:
        """Return the fields of a definition, with round bounds that leave room."""
        least, most = self.least, self.most
        found: dict[str, Any] = {
            "unit": "",
            "minimum": 0 if least >= 0 else -_round_above(-least),
            "maximum": 0 if least < 0 and most <= 0 else _round_above(most),
        }
        if self.decimals:
            found["decimals"] = self.decimals
            if self.mark == ",":
                found["decimal_mark"] = self.mark
        return found


def numbers_in(values: Sequence[str]) -> Numbers | None:
    """Return the numbers that all the values stand for; None where some stand for none, or two."""
    if any(map(_CODE.match, values)) or why_unclear(values):
        return None
    whole = [numerals.whole(value) for value in values]
    if None not in whole:
        numbers = tuple(number for number in whole if number is not None)
        return Numbers(numbers, 0, ".") if max(map(abs, numbers)) < _TOO_LARGE else None

    for mark in _marks(values):
        parsed = [numerals.decimal(value, mark) for value in values]
        decimals = tuple(number for number in parsed if number is not None)
        if len(decimals) == len(parsed) and max(map(abs, decimals)) < _TOO_LARGE:
            return Numbers(decimals, _places(values), mark)
    return None


def why_unclear(values: Sequence[str]) -> str:
    """Return why each separator may be of thousands or decimals; empty where one of them tells."""
    separated = [value for value in values if "." in value or "," in value]
    if not separated or not all(map(_LIKE_THOUSANDS.fullmatch, separated)):
        return ""
    return (
        f"each separator has three digits after it, so {shown(separated[0])} may be thousands or "
        "decimals; write numbers without a separator for thousands, decimals with other than three "
        "places"
    )


def is_roughly(value: str) -> bool:
    """Return whether a value is a number to people, however it is written."""
    return _ROUGHLY.fullmatch(value) is not None


def _marks(values: Sequence[str]) -> list[str]:
    """Return the decimal marks, that which the values have more often first."""
    commas = sum("," in value for value in values)
    dots = sum("." in value for value in values)
    return [",", "."] if commas > dots else [".", ","]


def _places(values: Sequence[str]) -> int:
    places = [len(match[2]) for value in values if (match := _SEPARATED.fullmatch(value))]
    return min(max(1, *places, 1), _MAX_DECIMALS)


def _round_above(number: float) -> int | float:
    """Return a round number that is a quarter above, or more; 1 above 0."""
    if number == 0:
        return 1
    enough = Decimal(repr(number)) * _ROOM
    unit = Decimal(1).scaleb(enough.adjusted())
    above = next(step * unit for step in (1, 2, 5, 10) if step * unit >= enough)
    return int(above) if above == above.to_integral_value() else float(above)
