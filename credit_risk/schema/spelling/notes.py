"""Notes for the sender about values and names that were accepted in another form."""

from collections.abc import Sequence
from typing import Literal

from credit_risk.schema.faults import shown
from credit_risk.schema.spelling.words import normalised, unquoted

Form = Literal[
    "",
    "absent",
    "quoted",
    "spelled",
    "left out",
    "float",
    "scientific",
    "apostrophe",
    "day first",
    "time",
]
_MAX_NAMED = 20
_WORDS: dict[Form, str] = {
    "absent": "taken as no value",
    "quoted": "taken without the quotes around",
    "float": "taken without the zeros behind the mark",
    "scientific": (
        "in scientific notation, which loses digits: "
        "give the column the format 0 or text and send it again"
    ),
    "apostrophe": "taken without the apostrophe before it",
    "day first": "read as day.month.year",
    "time": "taken without the time",
    "left out": "left out: neither good nor bad, and not needed to decide",
}


def form_of(value: object) -> Form:
    """Return the form in which an accepted value was written; empty where it is the contract's."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if text and not normalised(text):
        return "absent"
    return "quoted" if unquoted(text) != text else ""


class Notes:
    """Counts the values that were accepted in another form, by column."""

    def __init__(self) -> None:
        self._counted: dict[tuple[Form, str], tuple[int, object]] = {}
        self._spelled: dict[str, dict[str, str]] = {}

    def add(
        self, form: Form, column: str, value: object, times: int = 1, understood: str = ""
    ) -> None:
        """Count a value; `understood` is what one that is spelled otherwise was read as."""
        if form == "spelled":
            self._spelled.setdefault(column, {})[shown(value)] = understood
            return
        n, first = self._counted.get((form, column), (0, value))
        self._counted[form, column] = n + times, first

    def warnings(self) -> list[str]:
        """Return one text for each column and form."""
        texts = []
        for (form, column), (n, first) in self._counted.items():
            values = shown(first) if n == 1 else f"{n:,} values like {shown(first)}"
            texts.append(f"{column}: {values} {_WORDS[form]}")
        return [*texts, *(f"{name}: {_read_as(words)}" for name, words in self._spelled.items())]


def _read_as(words: dict[str, str]) -> str:
    """Return what some spellings were read as."""
    listed = [f"{value} read as {meant!r}" for value, meant in words.items()]
    more = [f"and {len(listed) - _MAX_NAMED:,} more"] if len(listed) > _MAX_NAMED else []
    return ", ".join(listed[:_MAX_NAMED] + more)


def renamed_columns(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return a note about columns with another spelling, if any: names as written and as read."""
    if not names:
        return []

    listed = ", ".join(f"{shown(written)} as {name}" for written, name in names[:_MAX_NAMED])
    n_more = len(names) - _MAX_NAMED
    more = f" and {n_more:,} more" if n_more > 0 else ""
    return [f"columns read by the contract's names: {listed}{more}"]
