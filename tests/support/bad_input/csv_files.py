"""CSV files as they really come, and a few that were made on purpose."""

import csv
import gzip
import io
import json
from typing import Any

from tests.support.bad_input.cases import (
    CLIENTS,
    MUST,
    NAMES,
    Case,
    changed,
    fine,
    nothing,
    refused,
)


def text_of(rows: list[dict[str, Any]], separator: str = ",", end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_of(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    return text_of(rows, separator).encode()


TEXT = text_of(CLIENTS)
CSV = TEXT.encode()
HEADER, *LINES = TEXT.splitlines()
NOTED = [client | {"note": f"n{i}"} for i, client in enumerate(CLIENTS)]


def lines(*texts: str) -> bytes:
    return "\n".join(texts).encode() + b"\n"


def number(text: str) -> Case:
    """Return a case with a text that is not a whole number, or not a possible duration."""
    return fine(
        f"duration {text[:20]!r}",
        csv_of(changed(1, duration=text)),
        0,
        2,
        rejected={(1, "duration")},
    )


def category(text: str) -> Case:
    return fine(
        f"purpose {text[:20]!r}", csv_of(changed(1, purpose=text)), 0, 2, rejected={(1, "purpose")}
    )


def whole(end: str) -> Case:
    """Return a case with another way to write a whole number."""
    text = f"{CLIENTS[1]['duration']}{end}"
    return fine(f"a whole number with {end!r} behind it", csv_of(changed(1, duration=text)))


NO_DURATIONS = (
    "1.234,56", "1,234", "6.000", "6,000", "1 234", "1'234",
    "1e309", "1e1", "NaN", "nan", "Infinity", "-inf", "-5", "-0", "0", "121", "6.5", "6,0", "+6",
    "0x10", "1_0", "six", "6 months", "٦", "６", "¼", "TRUE", "NULL", "None", "N/A", "?", "", " ",
    "=6", "'6", "6-7", "12/2026", "9" * 5000, "6." + "0" * 5000 + "1", "-" + "9" * 400,
)  # fmt: skip

NO_PURPOSES = (
    "yacht", "Radio/TV", "radio / tv", "radio/tv;", "rad\u200bio/tv", "\u202eradio/tv",
    "radio/tv\x07", "<script>alert(1)</script>", '=HYPERLINK("http://evil")', "=cmd|' /C calc'!A0",
    "@SUM(1)", "0", "nan", "'; DROP TABLE decisions; --", "{{7*7}}", "${jndi:ldap://x}",
    "x" * 300_000,
)  # fmt: skip
_QUOTES = 'an odd " in the middle'
CSV_FILES = [
    refused("empty", b"", "empty"),
    refused("blank", b" \n\t\r\n ", "empty"),
    refused("byte order mark alone", b"\xef\xbb\xbf\n", "empty"),
    nothing("header only", lines(HEADER), (None, None), says="no clients"),
    nothing("header only, without a line end", HEADER.encode(), (None, None), says="no clients"),
    nothing(
        "header and blank lines", lines(HEADER, "", "  ", ",,,"), (None, None), says="no clients"
    ),
    fine("no last line end", CSV[:-1]),
    fine("blank last lines", CSV + b"\n\r\n  \n"),
    fine("blank first lines", b"\n\n" + CSV),
    fine("lines of separators only", lines(HEADER, "," * 19, *LINES, "," * 19, ",,")),
    fine("quoted blanks only", lines(HEADER, ",".join(['""'] * 20), *LINES)),
    fine("Windows line ends", text_of(CLIENTS, end="\r\n").encode()),
    fine("old Mac line ends", text_of(CLIENTS, end="\r").encode()),
    fine("mixed line ends", f"{HEADER}\r\n{LINES[0]}\n{LINES[1]}\r{LINES[2]}".encode()),
    # The header
    nothing(
        "a column twice",
        lines(HEADER + ",job", *(line + ",skilled" for line in LINES)),
        (None, "job"),
    ),
    nothing(
        "a column renamed to another",
        CSV.replace(b"housing", b"job"),
        (None, "housing"),
        (None, "job"),
    ),
    nothing(
        "two columns missing",
        csv_of([{k: v for k, v in c.items() if k not in ("housing", "duration")} for c in CLIENTS]),
        (None, "housing"),
        (None, "duration"),
    ),
    nothing(
        "client_id twice",
        lines(HEADER + ",client_id,client_id", LINES[0] + ",a,b"),
        (None, "client_id"),
    ),
    fine(
        "upper case header",
        lines(HEADER.upper(), *LINES),
        says="'CHECKING_STATUS' as checking_status",
    ),
    fine(
        "words for a header",
        lines(HEADER.replace("_", " ").title(), *LINES),
        says="'Credit Amount' as credit_amount",
    ),
    nothing(
        "two spellings of one name",
        lines(HEADER.replace("housing", "Job").replace("job", "JOB"), *LINES),
        (None, "housing"),
        (None, "job"),
    ),
    fine("no header", lines(*LINES), says="a file without column names, as checking_status"),
    refused(
        "no header, and another order",
        lines(*(",".join(reversed(line.split(","))) for line in LINES)),
        "must name the columns",
    ),
    fine(
        "Excel's own first line",
        lines("sep=;", *text_of(CLIENTS, ";").splitlines()),
        says="'sep=;' skipped",
    ),
    refused("a header of one word", lines("hello", "world"), "must name the columns"),
    refused(
        "10,000 columns", lines(",".join(f"c{i}" for i in range(10_000)), "1"), "10000 columns"
    ),
    refused(
        "1,001 columns",
        lines(HEADER + "," * 981, *(line + "," * 981 for line in LINES)),
        "1001 columns",
    ),
    fine(
        "1,000 columns",
        lines(HEADER + "," * 980, *(line + "," * 980 for line in LINES)),
        says="more columns",
    ),
    fine(
        "a note twice",
        lines(HEADER + ",note,note", *(line + ",a,b" for line in LINES)),
        says="'note' ignored",
    ),
    fine(
        "a column without a name",
        lines(HEADER + ",", *(line + ",x" for line in LINES)),
        says="without a name",
    ),
    fine("spaces around names", lines(HEADER.replace(",", " , "), *LINES)),
    fine("quoted header", lines(",".join(f'"{name}"' for name in NAMES), *LINES)),
    refused(
        "a line break in a name",
        lines(HEADER + ',"my\nnote"', *(line + ",x" for line in LINES)),
        "first line",
    ),
    refused(
        "an open quote in the header",
        lines(HEADER + ',"note', *(line + ",x" for line in LINES)),
        "first line",
    ),
    fine(
        "$ and . in names",
        csv_of([c | {"$where": "1", "a.b": 2, "__proto__": 3} for c in CLIENTS]),
        says="'$where'",
    ),
    fine("a formula as a name", csv_of([c | {"=1+1": 1} for c in CLIENTS]), says="'=1+1' ignored"),
    fine(
        "a name of 100,000 letters",
        csv_of([c | {"n" * 100_000: 1} for c in CLIENTS]),
        says="nnn...",
    ),
    # Encodings
    fine("UTF-8 with byte order mark", b"\xef\xbb\xbf" + CSV),
    fine("UTF-16, as Excel's 'Unicode text'", text_of(CLIENTS, "\t").encode("utf-16")),
    fine("UTF-16, big end first", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    refused("UTF-16 without byte order mark", TEXT.encode("utf-16-le"), "NUL"),
    refused("UTF-16 cut in a letter", TEXT.encode("utf-16")[:-1], "UTF-16"),
    refused("UTF-32", TEXT.encode("utf-32"), "NUL"),
    refused("latin-1", TEXT.replace("skilled", "Küche", 1).encode("latin-1"), "is not UTF-8"),
    refused("cp1252", csv_of(NOTED).replace(b"n1", "5 €".encode("cp1252")), "Line 3 is not UTF-8"),
    refused(
        "half a surrogate pair",
        csv_of(NOTED).replace(b"n1", b"\xed\xa0\x80"),
        "Line 3 is not UTF-8",
    ),
    refused(
        "two byte order marks",
        b"\xef\xbb\xbf\xef\xbb\xbf" + lines("duration"),
        "must name the columns",
    ),
    refused("NUL in a cell", csv_of(NOTED).replace(b"n1", b"n\0"), "Line 3 holds a NUL"),
    refused("NULs after the end", CSV + bytes(1000), "Line 5 holds a NUL"),
    fine("umlauts, Greek, emoji", csv_of([c | {"note": "Käße, ω, 🙂"} for c in CLIENTS])),
    # Separators
    fine("semicolons", csv_of(CLIENTS, ";")),
    fine("tabs", csv_of(CLIENTS, "\t")),
    refused("bars", csv_of(CLIENTS, "|"), "must name the columns"),
    nothing(
        "header by comma, rows by semicolon",
        lines(HEADER, *(line.replace(",", ";") for line in LINES)),
        *((i, None) for i in range(3)),
        says="1 values",
    ),
    # Quotes
    fine("a quoted line break in a note", csv_of([c | {"note": "two\nlines"} for c in CLIENTS])),
    fine("escaped quotes", csv_of([c | {"note": 'he said ""no""'} for c in CLIENTS])),
    fine(
        "a quote within a note", lines(HEADER + ",note", *(f"{line},{_QUOTES}" for line in LINES))
    ),
    fine(
        "spaces after quotes",
        lines(HEADER, *(",".join(f'"{v}"  ' for v in line.split(",")) for line in LINES)),
    ),
    fine(
        "a category of two lines",
        csv_of(changed(1, purpose="radio\ntv")),
        0,
        2,
        rejected={(1, "purpose")},
    ),
    fine("a line break after a category", csv_of(changed(1, housing=f"{CLIENTS[1]['housing']}\n"))),
    refused(
        "a quote never closed",
        lines(HEADER + ",note", LINES[0] + ',"n', *(x + ",n" for x in LINES)),
        "never",
    ),
    # Even in number, these would make one client's note of all clients between them.
    refused(
        "two quotes never closed",
        lines(
            HEADER + ",note", LINES[0] + ',"not sure', LINES[1] + ",n", LINES[2] + ',"call again'
        ),
        "never",
    ),
    # Rows
    fine(
        "a value too few",
        lines(HEADER, LINES[0], LINES[1].rpartition(",")[0], LINES[2]),
        0,
        2,
        rejected={(1, None)},
    ),
    fine(
        "a value too many",
        lines(HEADER, LINES[0], LINES[1] + ",1", LINES[2]),
        0,
        2,
        rejected={(1, None)},
    ),
    fine("a row of 10,000 values", lines(HEADER, *LINES, "1," * 9_999 + "1"), rejected={(3, None)}),
    fine(
        "a total below",
        lines(HEADER, *LINES, "total,3" + "," * 18),
        rejected={(3, name) for name in MUST if name != "duration"},
    ),
    fine(
        "the header again",
        lines(HEADER, LINES[0], HEADER, LINES[1]),
        as_client={0: 0, 2: 1},
        rejected={(1, name) for name in NAMES},
    ),
    fine("a client twice", lines(HEADER, LINES[0], LINES[0]), as_client={0: 0, 1: 0}),
    # Numbers
    *map(number, NO_DURATIONS),
    *map(whole, [".", ".0", ".00", ".0000", " ", "\t", "\xa0"]),
    fine("no word for no value", csv_of(changed(1, age="NA")), says="age: 'NA' taken as no value"),
    fine(
        "quotes around values",
        csv_of(changed(1, housing=f"'{CLIENTS[1]['housing']}'")),
        says="without the quotes",
    ),
    fine(
        "a separator behind each row",
        lines(HEADER, *(line + "," for line in LINES)),
        says="of each row left out",
    ),
    # Categories
    *map(category, NO_PURPOSES),
    fine(
        "spaces that do not break around a category",
        csv_of(changed(1, housing=f"\xa0{CLIENTS[1]['housing']} ")),
    ),
    # Who they are
    fine(
        "a client_id of 65 letters",
        csv_of([c | {"client_id": "x" * (64 + i % 2)} for i, c in enumerate(CLIENTS)]),
        0,
        2,
        rejected={(1, "client_id")},
    ),
    fine(
        "hostile client_ids",
        csv_of(
            [c | {"client_id": id} for c, id in zip(CLIENTS, ("=1+1", "$a.b", "<b>"), strict=True)]
        ),
    ),
    fine(
        "a class that is none",
        csv_of([c | {"class": k} for c, k in zip(CLIENTS, ("good", "GOOD", ""), strict=True)]),
        says="class: 'GOOD' left out",
    ),
    fine(
        "a quoted note of 300,000 letters above a bad row",
        csv_of([c | {"note": "n" * 300_000 + ' ","'} for c in changed(2, duration=0)][:3]),
        0,
        1,
        rejected={(2, "duration")},
    ),
    # What is not a CSV at all
    refused(
        "HTML",
        b"<!doctype html><html><body><table><tr><td>duration</td></tr></table>",
        "must name the columns",
    ),
    refused("JSON", json.dumps(CLIENTS).encode(), "must name the columns"),
    refused("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not UTF-8"),
    refused("PNG", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
    refused("gzip of a CSV", lambda: gzip.compress(CSV), "not UTF-8"),
    refused(
        "an old Excel workbook, or an encrypted one",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        "Excel",
    ),
]
