"""JSON bodies, whose cost is bounded from their bytes before any of them becomes an object.

Each value but the first follows a `[`, a `,` or a `:`, and each name follows a `{` or a `,`. So
counting these bytes, which takes next to no time, gives an upper bound of what a parser can make of
a body. Those in texts count too: the limits leave room for them.
"""

import json
from typing import Any, NamedTuple

from credit_risk.schema.faults import MalformedFile
from model_deployment.http.problem import Problem, size_text

# Longer lists go to /files, which takes a million.
MAX_ROWS = 20_000


class Bounds(NamedTuple):
    """The most bytes of a body, and the most values and names in it."""

    size: int
    values: int


LIST = Bounds(50_000_000, 100 * MAX_ROWS)
SMALL = Bounds(1_000_000, 20_000)


def applications(data: bytes) -> object:
    """Parse a list of applications, which is still to be validated; see `parse`.

    Raises
    ------
    MalformedFile
        When it is not JSON.
    Problem
        When it is too long (413).
    """
    rows = parse(data, "list of applications", LIST)
    if isinstance(rows, list) and len(rows) > MAX_ROWS:
        why = f"The list has {len(rows):,} applications; at most {MAX_ROWS:,} are decided at a time"
        raise _too_large(why)
    return rows


def parse(data: bytes, what: str, bounds: Bounds) -> object:
    """Parse a JSON body strictly: UTF-8, no NaN, no name twice, no broken text.

    Raises
    ------
    MalformedFile
        When it is not the `what` that is expected.
    Problem
        When it is out of bounds (413).
    """
    check_size(len(data), bounds)
    if sum(map(data.count, (b"[", b"{", b",", b":"))) > bounds.values:
        raise _too_large(f"The body has too many values; at most {bounds.values:,} are read")
    try:
        value = _strict.decode(data.decode())
        if b"\\u" in data:
            # Half of a surrogate pair is not text, and the log cannot store it.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedFile(f"The body is no JSON {what}: {_why(error)}.") from None
    return value


def check_size(size: int, bounds: Bounds) -> None:
    """Refuse a body by its size, before it is read into memory.

    Raises
    ------
    Problem
        When it is out of bounds (413).
    """
    if size > bounds.size:
        limit = size_text(bounds.size)
        raise _too_large(f"The body has {size_text(size)}; at most {limit} of JSON are read")


def _too_large(why: str) -> Problem:
    return Problem(413, "too-large", f"{why}. Send many clients as a file, to /api/v1/files.")


def _refuse_constant(name: str) -> None:
    raise MalformedFile(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedFile("an object has the same name twice")
    return found


# `json.loads` would make a decoder for each body.
_strict = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_once)


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, MalformedFile):
        return str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text"
    return "a number has too many digits"
