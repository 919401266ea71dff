"""Writes a definition as TOML, with comments. The standard library only reads it."""

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

_WIDTH = 98


def comment(text: str) -> list[str]:
    """Return a text as lines of a comment.

    A text of a file must have gone through `shown`, which escapes what TOML does not allow here.
    """
    assert text.isprintable(), "a comment would end where a line does"
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def table(name: str, fields: Mapping[str, Any], comments: Iterable[str] = ()) -> list[str]:
    """Return the lines of a table, such as [[attributes]], below its comments."""
    lines = [line for text in comments for line in comment(text)]
    return [*lines, name, *pairs(fields)]


def commented_out(lines: Iterable[str]) -> list[str]:
    """Return lines with a `#` before each that is none yet, to be removed by whoever wants them."""
    return [line if line.startswith("# ") else f"#{line}" for line in lines]


def pairs(fields: Mapping[str, Any]) -> list[str]:
    """Return the lines `key = value`; a category's values take one each."""
    lines = []
    for key, value in fields.items():
        if key == "values":
            lines.append("values = [")
            lines += [f"    {{ value = {_written(text)} }}," for text in value]
            lines.append("]")
        else:
            hint = "  # fill in, such as EUR or months" if (key, value) == ("unit", "") else ""
            lines.append(f"{key} = {_written(value)}{hint}")
    return lines


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # A printable text has only quotes and backslashes to escape, as in JSON.
        assert value.isprintable()
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    raise TypeError(f"{type(value).__name__} is not a value of a definition")
