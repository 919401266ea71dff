"""The order of a category's values, where the values themselves look ordered."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[0-9]{1,15}(?:[.,][0-9]{1,15})?")
# Ranges such as <1, 1-3, 1<=X<4, 10+ years, over 500; and texts around one number: 36 months.
_RANGE = re.compile(
    r"(?P<sign><=?|≤|>=?|≥|under |below |less than |up to |over |above |more than )? ?"
    r"(?P<low>[0-9]{1,15}(?:[.,][0-9]{1,15})?)"
    r"(?:(?: ?(?:-|–|to|\.\.) ?|<=?[A-Za-z]<=?)(?P<high>[0-9]{1,15}(?:[.,][0-9]{1,15})?))?"
    r"(?P<more>\+| or more| and more| and over)?(?P<unit> ?[^\W\d]+)?",
    re.IGNORECASE,
)
_BELOW = ("<", "≤", "under", "below", "less", "up")
# Codes that only look like numbers, such as 007, and postcodes.
_CODE = re.compile(r"0[0-9]")
_GRADE = re.compile(r"([A-Z])([0-9]?)")
_FEWEST_GRADES = 3
_SCALES = tuple(
    tuple(scale.split("|"))
    for scale in (
        "none|very low|low|medium low|medium|moderate|medium high|high|very high",
        "none|tiny|small|medium|large|huge",
        "none|little|moderate|quite rich|rich",
        "never|rarely|sometimes|often|always",
        "none|few|some|many",
        "very poor|very bad|poor|bad|fair|average|good|very good|excellent",
        "none|primary|secondary|tertiary",
        "junior|middle|senior",
        "first|second|third|fourth|fifth",
    )
)


def ordered(values: Sequence[str]) -> list[str] | None:
    """Return values in their natural order, or None where they do not look ordered."""
    if len(values) < 2:
        return None
    for ranks in (
        _by_number(values),
        _by_grade(values),
        *(_on(scale, values) for scale in _SCALES),
    ):
        if ranks and len(set(ranks)) == len(ranks):
            return [value for _, value in sorted(zip(ranks, values, strict=True))]
    return None


def nearly_ordered(values: Sequence[str]) -> str:
    """Return the one value without which the others look ordered; empty where there is none."""
    if len(values) < 4:
        return ""
    strange = [value for value in values if _RANGE.fullmatch(value) is None]
    others = [value for value in values if value not in strange]
    return strange[0] if len(strange) == 1 and ordered(others) else ""


def listed(values: Sequence[str]) -> list[str]:
    """Return values in an order in which people find them: 2 before 10."""
    return sorted(values, key=lambda value: (_NUMBER.sub(_padded, value).casefold(), value))


def _padded(number: re.Match[str]) -> str:
    return number[0].zfill(30)


def _by_number(values: Sequence[str]) -> list[tuple[float, int]]:
    """Return the ranks of values that are ranges or numbers of one unit; empty if they are not."""
    ranks, units = [], set()
    for value in values:
        match = _RANGE.fullmatch(value)
        if match is None or _CODE.match(value):
            return []
        sign = (match["sign"] or "").casefold()
        side = -1 if sign.startswith(_BELOW) else int(bool(sign or match["more"]))
        ranks.append((float(match["low"].replace(",", ".")), side))
        units.add((match["unit"] or "").strip().casefold().removesuffix("s"))
    return ranks if len(units) == 1 else []


def _by_grade(values: Sequence[str]) -> list[tuple[float, int]]:
    """Return the ranks of grades from A on, such as A to G or A1 to G5; empty if they are not."""
    matches = [match for value in values if (match := _GRADE.fullmatch(value))]
    letters = sorted({ord(match[1]) for match in matches})
    in_a_row = letters == list(range(ord("A"), ord("A") + len(letters)))
    if len(matches) < len(values) or len(letters) < _FEWEST_GRADES or not in_a_row:
        return []
    return [(float(ord(match[1])), int(match[2] or -1)) for match in matches]


def _on(scale: Sequence[str], values: Sequence[str]) -> list[tuple[float, int]]:
    """Return the ranks of values that are words of a scale; empty if they are not."""
    words = [re.sub(r"[\s_\-]+", " ", value).casefold() for value in values]
    return [(float(scale.index(word)), 0) for word in words] if {*words} <= {*scale} else []
