"""JSON bodies as they really come, and a few that were made on purpose."""

import gzip
import json
from typing import Any

from tests.support.bad_input.cases import (
    CLIENTS,
    DURATIONS,
    MUST,
    Case,
    changed,
    fine,
    nothing,
    refused,
)
from tests.support.bad_input.csv_files import CSV


def body(rows: Any) -> bytes:
    return json.dumps(rows).encode()


def raw(name: str, text: str, row: int = 1) -> bytes:
    """Return the clients as JSON, with one value of one of them written exactly like this."""
    return body(changed(row, **{name: "@@"})).replace(b'"@@"', text.encode())


def value(name: str, text: str) -> Case:
    return fine(f"{name} {text[:30]}", raw(name, text), 0, 2, rejected={(1, name)})


NO_JSONDURATIONS = (
    "null", "true", "false", "[]", "[6]", "{}", '{"$gt": 0}', "6.5", "-6", "-0", "0", "1e309",
    "-1e309", "1e308", "1" * 400, "9" * 4000, '"1e309"', '"NaN"', '"1.234,56"', '"=1+1"',
    '"6\\u0000"', f"{2**53 + 1}", "[[[[1]]]]",
    '"' + "6" * 500_000 + '"',
)  # fmt: skip

NO_JSON_PURPOSES = (
    "null", "7", "true", '["radio/tv"]', '{"a.b": "$x"}', '"<script>alert(1)</script>"',
    '"Radio/TV"', r'"\u202e"',
    '"' + "x" * 500_000 + '"',
)  # fmt: skip
JSON_BODIES = [
    fine("a list", body(CLIENTS)),
    fine("numbers as texts and floats", raw("duration", f'" {DURATIONS[1]}.0 "')),
    fine("a float that is whole", raw("duration", f"{DURATIONS[1]}.0")),
    fine("a whole number with an exponent", raw("duration", f"{DURATIONS[1]}e0")),
    fine(
        "$ and . keys",
        body([c | {"$where": "1", "a.b": 2, "__proto__": {"x": 1}} for c in CLIENTS]),
        says="'$where'",
    ),
    fine("an empty key", body([c | {"": 1} for c in CLIENTS]), says="without a name"),
    fine(
        "5,000 unknown keys",
        body([CLIENTS[0] | {f"k{i}": i for i in range(5000)}]),
        0,
        says="4980 more columns",
    ),
    fine(
        "a key of 100,000 letters", body([c | {"k" * 100_000: 1} for c in CLIENTS]), says="kkk..."
    ),
    fine("whole surrogate pairs", raw("client_id", r'"\ud83d\ude00"')),
    fine("an escaped NUL in a client_id", raw("client_id", r'"a\u0000b"')),
    fine("a number as client_id", raw("client_id", "4711")),
    fine("null where it may be absent", raw("age", "null")),
    fine("an empty text where it may be absent", raw("age", '" "')),
    fine("deep nesting in an unknown key", raw("note", "[" * 500 + "]" * 500)),
    *(value("duration", text) for text in NO_JSONDURATIONS),
    *(value("purpose", text) for text in NO_JSON_PURPOSES),
    *(value("client_id", text) for text in ("true", "[1]", "{}", "9" * 65, '"' + "x" * 65 + '"')),
    *(
        fine(f"class {text}", raw("class", text), says="left out: neither good nor bad")
        for text in ("1", "true", '["good"]', '"GOOD"')
    ),
    fine(
        "rows that are no objects",
        body([None, CLIENTS[1], 7, "x", [], True, [CLIENTS[0]]]),
        1,
        rejected={(i, None) for i in (0, 2, 3, 4, 5, 6)},
    ),
    nothing("an empty object", b"[{}]", *((0, name) for name in MUST)),
    nothing("only null", b"[null]", (0, None)),
    nothing("a list in a list", body([CLIENTS]), (0, None)),
    refused("no bytes", b"", "no JSON list"),
    refused("an empty list", b"[]", "empty"),
    refused("one client, not in a list", body(CLIENTS[0]), "must be a JSON list"),
    refused("a list in an object", body({"clients": CLIENTS}), "must be a JSON list"),
    refused("a text", b'"duration"', "must be a JSON list"),
    refused("a number", b"6", "must be a JSON list"),
    refused("null", b"null", "must be a JSON list"),
    refused("a CSV", CSV, "no JSON list"),
    refused("JSON Lines", b"\n".join(map(body, CLIENTS)), "no JSON list"),
    refused("cut in the middle", body(CLIENTS)[:500], "no JSON list"),
    refused("a comma too many", body(CLIENTS)[:-1] + b",]", "no JSON list"),
    refused("single quotes", body(CLIENTS).replace(b'"', b"'"), "no JSON list"),
    refused("a comment", b"/* clients */ " + body(CLIENTS), "no JSON list"),
    refused("something after the end", body(CLIENTS) + b"[]", "no JSON list"),
    refused("NaN", raw("duration", "NaN"), "NaN is no JSON"),
    refused("Infinity", raw("duration", "-Infinity"), "-Infinity is no JSON"),
    refused("a hexadecimal number", raw("duration", "0x10"), "no JSON list"),
    refused("a number with a leading zero", raw("duration", "06"), "no JSON list"),
    refused("a number of 5,000 digits", raw("duration", "9" * 5000), "too many digits"),
    refused("a key twice", raw("duration", '6, "duration": 7'), "the same name twice"),
    refused("an unknown key twice", raw("note", '{"a": 1, "a": 2}'), "the same name twice"),
    refused("nested a million times", b"[" * 1_000_000, "nested too deeply"),
    refused("objects nested 100,000 times", b'[{"a":' * 100_000, "nested too deeply"),
    refused("half a surrogate pair", raw("client_id", r'"\ud800"'), "UTF-8"),
    refused("half a surrogate pair in a key", raw("note", r'1, "\udc00": 1'), "UTF-8"),
    refused("half a surrogate pair in a category", raw("purpose", r'"\ud83d"'), "UTF-8"),
    refused("a line break in a text", raw("purpose", '"radio\ntv"'), "no JSON list"),
    refused("UTF-16 JSON", json.dumps(CLIENTS).encode("utf-16"), "UTF-8"),
    refused(
        "latin-1 JSON",
        json.dumps([CLIENTS[0] | {"note": "Küche"}], ensure_ascii=False).encode("latin-1"),
        "UTF-8",
    ),
    refused("JSON with byte order mark", b"\xef\xbb\xbf" + body(CLIENTS), "no JSON list"),
    refused("gzip of JSON", lambda: gzip.compress(body(CLIENTS)), "UTF-8"),
    refused("NULs around JSON", bytes(10) + body(CLIENTS), "no JSON list"),
]
