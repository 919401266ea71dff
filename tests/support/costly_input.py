"""Inputs of up to 10 MB that are costly by design or by size, each with the expected answer."""

import io
import itertools
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.bad_input.cases import CLIENTS, NAMES
from tests.support.bad_input.csv_files import text_of
from tests.support.bad_input.workbooks import NAMED, SHEET, excel, strings_of, with_strings
from tests.support.files import parquet, rezipped

SIZE = 10_000_000
HEADER = (",".join(NAMES) + "\n").encode()
SHORTEST = b"<0,6,all paid,other,1,<100,<1,1,,none,1,car,,bank,own,1,skilled,1,none,\n"
BAD = b"x" + b",x" * 19 + b"\n"
JSON = "application/json"
CSV = "text/csv"
SCORE, FILES, OUTCOMES, PAGE = (
    "/api/v1/score",
    "/api/v1/files",
    "/api/v1/outcomes",
    "/_dash-update-component",
)
OVERRIDE = "/api/v1/decisions/x/override"


def fill(unit: bytes, size: int = SIZE) -> bytes:
    return unit * (size // len(unit))


def list_of(item: bytes, size: int = SIZE) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def spellings() -> bytes:
    """Return an object of a thousand names that could each be `purpose`."""
    letters = ([letter, letter.upper()] for letter in "purpose")
    names = [
        "".join(name) + "." * dots for name in itertools.product(*letters) for dots in range(1, 9)
    ]
    return json.dumps(dict.fromkeys(names[:1000], 0)).encode()


def distinct(column: int, size: int = SIZE, width: int = 20, word: str = "{:x}") -> bytes:
    """Return rows in which each value stands once."""
    rows, n, i = [HEADER], 0, 0
    while n < size:
        rows.append((",".join(word.format(i + j * 7) for j in range(width)) + "\n").encode())
        n, i = n + len(rows[-1]), i + 1
    return b"".join(rows)


def honest_csv(size: int = SIZE) -> bytes:
    lines = text_of(CLIENTS).encode().splitlines(keepends=True)[1:]
    return (
        b"client_id,"
        + HEADER
        + b"".join(b"C%07d,%s" % (i, lines[i % 3]) for i in range(size // 142))
    )


def honest_workbook(n: int) -> bytes:
    """Return so many clients, their texts in the cells, as openpyxl writes them."""

    def row(number: str, values: list[Any]) -> str:
        cells = []
        for i, value in enumerate(values):
            place = f'<c r="{chr(65 + i)}{number}"'
            if isinstance(value, int):
                cells.append(f'{place} t="n"><v>{value}</v></c>')
            else:
                text = value.replace("<", "&lt;").replace(">", "&gt;")
                cells.append(f'{place} t="inlineStr"><is><t>{text}</t></is></c>')
        return f'<row r="{number}">{"".join(cells)}</row>'

    rows = [row("@", [*client.values(), "C@"]) for client in CLIENTS]
    text = row("1", [*NAMES, "client_id"]) + "".join(
        rows[i % 3].replace("@", str(i + 2)) for i in range(n)
    )
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{space}"><sheetData>{text}</sheetData></worksheet>'.encode()
    return rezipped(excel(CLIENTS), lambda name, part: sheet if name == SHEET else part)


def book(name: str, text: bytes) -> Callable[[], bytes]:
    """Return a workbook one of whose parts is this."""
    return lambda: rezipped(
        with_strings(strings_of("x"), NAMED), lambda each, part: text if each == name else part
    )


def styles(size: int) -> Callable[[], bytes]:
    space = b'"http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return book(
        "xl/styles.xml",
        b"<styleSheet xmlns=%s><cellXfs>%s</cellXfs></styleSheet>" % (space, fill(b"<xf/>", size)),
    )


def cells(row: str, n: int, strings: str = strings_of("x")) -> Callable[[], bytes]:
    return lambda: with_strings(strings, row * n)


def liar(columns: int, size: int) -> bytes:
    """Return a Parquet file whose footer says 1,000 bytes of columns that have many millions."""
    table = pa.table({f"c{i}": ["x" * size] for i in range(columns)})
    data = parquet(table, compression="zstd", use_dictionary=False, write_statistics=False)
    end = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    footer = data[end:-8]
    about = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    for true in {
        about.total_byte_size,
        *(about.column(i).total_uncompressed_size for i in range(columns)),
    }:
        number = varint(true << 1)
        footer = footer.replace(number, varint(1000 << 1, len(number)))
    return data[:end] + footer + data[-8:]


def varint(number: int, length: int = 0) -> bytes:
    """Return a number as Thrift has it, padded to so many bytes."""
    found = bytearray()
    while number >= 128 or len(found) + 1 < length:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def parts(n: int, head: bytes = b"") -> bytes:
    return b"".join(
        b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n%s\r\nx\r\n' % (i, head)
        for i in range(n)
    )


class Input(NamedTuple):
    name: str
    body: Callable[[], bytes]
    statuses: tuple[int, ...]
    path: str = FILES
    type: str = ""  # none: it is sent as a file
    quick: bool = False


CALLBACK = b'{"output":"banner.children","inputs":%s}'
INPUTS = [
    # JSON
    Input(
        "a quarter of a MB of {}", lambda: list_of(b"{}", 240_000), (413,), SCORE, JSON, quick=True
    ),
    Input("10 MB of {}", lambda: list_of(b"{}"), (413,), SCORE, JSON, quick=True),
    Input("10 MB of []", lambda: list_of(b"[]"), (413,), SCORE, JSON),
    Input("10 MB of 0", lambda: list_of(b"0"), (413,), SCORE, JSON),
    Input("10 MB of objects in objects", lambda: list_of(b'{"a":{"a":{}}}'), (413,), SCORE, JSON),
    Input(
        "the most rows, all empty",
        lambda: list_of(b"{}", 3 * 20_000),
        (422,),
        SCORE,
        JSON,
        quick=True,
    ),
    Input(
        "the most values, in one row",
        lambda: b"[{" + b",".join(b'"%d":0' % i for i in range(660_000)) + b"}]",
        (422,),
        SCORE,
        JSON,
    ),
    Input(
        "a thousand spellings of one name",
        lambda: list_of(spellings(), 9_000_000),
        (422,),
        SCORE,
        JSON,
    ),
    Input(
        "the most values, in lists",
        lambda: list_of(b"[[[[]]]]" * 1, 9 * 20_000),
        (422,),
        SCORE,
        JSON,
    ),
    Input(
        "a text of 10 MB",
        lambda: b'[{"purpose":"' + "\u00e9".encode() * 4_900_000 + b'"}]',
        (422,),
        SCORE,
        JSON,
    ),
    Input(
        "a number of 10 MB", lambda: b'[{"duration":0.' + b"0" * SIZE + b"1}]", (422,), SCORE, JSON
    ),
    Input(
        "10 MB of escapes",
        lambda: b'[{"purpose":"' + fill(rb"\u00e9") + b'"}]',
        (422,),
        SCORE,
        JSON,
    ),
    Input("numbers of 4,000 digits", lambda: list_of(b"9" * 4000), (422,), SCORE, JSON),
    Input("10 MB of brackets", lambda: b"[" * SIZE, (413,), SCORE, JSON),
    Input("10 MB of blanks", lambda: b" " * SIZE, (400,), SCORE, JSON),
    Input(
        "20,000 clients as JSON",
        lambda: json.dumps((CLIENTS * 7000)[:20_000]).encode(),
        (200,),
        SCORE,
        JSON,
    ),
    Input(
        "their reasons",
        lambda: json.dumps((CLIENTS * 7000)[:10_000]).encode(),
        (200,),
        f"{SCORE}?reasons=true",
        JSON,
    ),
    Input(
        "what would change 251",
        lambda: json.dumps((CLIENTS * 84)[:251]).encode(),
        (413,),
        f"{SCORE}?what_would_change_it=true",
        JSON,
    ),
    Input(
        "what would change 250",
        lambda: json.dumps(CLIENTS[:1] * 250).encode(),
        (200,),
        f"{SCORE}?what_would_change_it=true",
        JSON,
    ),
    Input("an override of 10 MB of []", lambda: list_of(b"[]"), (413,), OVERRIDE, JSON),
    Input(
        "an override by a name of 10 MB",
        lambda: b'{"by":"' + b"x" * SIZE + b'"}',
        (413,),
        OVERRIDE,
        JSON,
    ),
    # The page
    Input("a callback of 10 MB of []", lambda: list_of(b"[]"), (413,), PAGE, JSON, quick=True),
    Input(
        "a callback with inputs of 4 MB of []",
        lambda: CALLBACK % list_of(b"[]", 3_900_000),
        (413,),
        PAGE,
        JSON,
    ),
    Input(
        "a callback with the most inputs",
        lambda: CALLBACK % list_of(b"[]", 147_000),
        (400,),
        PAGE,
        JSON,
    ),
    Input("a callback that is none", lambda: b'{"output":["x"],"inputs":[]}', (400,), PAGE, JSON),
    # CSV
    Input("75,000 clients as CSV", honest_csv, (200,), quick=True),
    Input("the shortest clients", lambda: HEADER + fill(SHORTEST), (200,)),
    Input(
        "with old Mac line ends", lambda: (HEADER + fill(SHORTEST)).replace(b"\n", b"\r"), (200,)
    ),
    Input("10 MB of quotes", lambda: b'"' * SIZE, (400,)),
    Input("quotes below the header", lambda: HEADER + b'"' * SIZE, (400,)),
    Input("10 MB of separators", lambda: b"," * SIZE, (400,)),
    Input("separators below the header", lambda: HEADER + b"," * SIZE, (400,)),
    Input(
        "a separator behind all rows but one",
        lambda: HEADER + fill(SHORTEST.strip() + b",\n") + SHORTEST,
        (400,),
    ),
    Input("blank rows", lambda: HEADER + fill(b"," * 19 + b"\n"), (422,)),
    Input("10 MB of line ends", lambda: b"\n" * SIZE, (400,)),
    Input("line ends above the header", lambda: b"\r\n" * (SIZE // 2) + HEADER + SHORTEST, (200,)),
    Input("5 million rows of one value", lambda: HEADER + fill(b"1\n"), (400,), quick=True),
    Input("100,000 rows of one value", lambda: HEADER + b"1\n" * 100_000, (422,)),
    Input("rows of nothing but quotes", lambda: HEADER + fill(b'"",""\n'), (400,)),
    Input("one line of 10 MB", lambda: b"x" * SIZE, (400,)),
    Input("one value of 10 MB", lambda: HEADER + b"x" * SIZE, (400,)),
    Input("a million columns", lambda: b",".join(b"c%d" % i for i in range(1_200_000)), (400,)),
    Input(
        "1,000 columns of nothing",
        lambda: HEADER.strip() + b",x" * 980 + b"\n" + fill(b"," * 999 + b"\n"),
        (422,),
    ),
    Input("10 MB of NUL", lambda: bytes(SIZE), (400,)),
    Input("2 million distinct words", lambda: distinct(0), (422,)),
    Input("distinct words of 40 letters", lambda: distinct(0, word="{:x<40x}"), (422,)),
    Input(
        "distinct ways to write 6",
        lambda: (
            HEADER
            + b"".join(
                SHORTEST.replace(b",6,", b",6.%s," % (b"0" * (i % 9000))) for i in range(2200)
            )
        ),
        (200,),
    ),
    Input(
        "distinct client ids that are too long",
        lambda: (
            b"client_id," + HEADER + b"".join(b"%065d,%s" % (i, SHORTEST) for i in range(70_000))
        ),
        (422,),
    ),
    Input("one bad value in each row", lambda: HEADER + fill(b"x" + b"," * 19 + b"\n"), (422,)),
    Input("every value bad", lambda: HEADER + fill(BAD), (422,)),
    Input(
        "every value bad, to be mended",
        lambda: HEADER + fill(BAD),
        (422,),
        f"{FILES}?decisions=none",
    ),
    Input("values of two lines", lambda: HEADER + fill(b'"a\nb"' + b"," * 19 + b"\n"), (422,)),
    Input(
        "UTF-16 of Chinese", lambda: b"\xff\xfe" + ("中" * (SIZE // 2)).encode("utf-16-le"), (400,)
    ),
    Input("no UTF-8 at the end", lambda: HEADER + fill(SHORTEST) + b"\xff", (400,)),
    # Workbooks
    Input("1 MB of styles", styles(1_000_000), (200,), quick=True),
    Input("6 MB of styles", styles(6_000_000), (400,)),
    Input("200 MB of styles", styles(200_000_000), (400,)),
    Input(
        "8 million shared strings",
        lambda: with_strings(f'<sst xmlns="x">{"<si><t/></si>" * 8_000_000}</sst>', NAMED),
        (400,),
    ),
    Input(
        "one text in 100,000 cells",
        cells(NAMED, 100_000, strings_of("x" * 100_000)),
        (400,),
        quick=True,
    ),
    Input("5 million cells", cells("<row><c><v>1</v></c></row>", 5_000_000), (400,)),
    Input(
        "a value at the end of all rows",
        cells('<row><c r="T1048576"><v>1</v></c></row>', 1),
        (400, 422, 200),
    ),
    Input(
        "a value at the end of all", cells('<row><c r="XFD1048576"><v>1</v></c></row>', 1), (400,)
    ),
    Input(
        "errors in 500,000 cells",
        cells('<row><c r="A9" t="e"><v>#N/A</v></c></row>', 500_000),
        (200, 400),
    ),
    Input("formats by the thousand", book("xl/theme/theme1.xml", b"<a>" * 6_000_000), (200, 400)),
    Input("100,000 clients as a workbook", lambda: honest_workbook(100_000), (200,)),
    # Parquet
    Input(
        "200 columns of one text of 3 MB",
        lambda: parquet(
            pa.table({f"c{i}": ["x" * 3_000_000] for i in range(200)}), compression="zstd"
        ),
        (400,),
    ),
    Input("30 columns of 60 MB that say 1,000 bytes", lambda: liar(30, 60_000_000), (400,)),
    Input("2 columns of 400 MB that say 1,000 bytes", lambda: liar(2, 400_000_000), (400,)),
    Input(
        "a million rows of NULL",
        lambda: parquet(pa.table(dict.fromkeys(NAMES, pa.nulls(1_000_000)))),
        (400,),
    ),
    Input(
        "100,000 clients as Parquet",
        lambda: parquet(pa.Table.from_pylist((CLIENTS * 33_334)[:100_000])),
        (200,),
    ),
    # Outcomes
    Input(
        "half a million outcomes",
        lambda: b"decision_id,outcome,date\n" + fill(b"x,repaid,2026-01-31\n"),
        (400,),
        OUTCOMES,
        CSV,
    ),
    Input(
        "outcomes that are none",
        lambda: (
            b"decision_id,outcome,date\n"
            + b"".join(b"%d,%d,%d\n" % (i, i, i) for i in range(250_000))
        ),
        (422,),
        OUTCOMES,
        CSV,
    ),
    Input(
        "outcomes of nobody",
        lambda: (
            b"client_id,outcome,date\n"
            + b"".join(b"%d,repaid,2026-01-31\n" % i for i in range(250_000))
        ),
        (422,),
        OUTCOMES,
        CSV,
    ),
    Input(
        "outcomes of an id of 10 MB",
        lambda: b"decision_id,outcome,date\n" + b"x" * 3_000_000 + b",repaid,2026-01-31\n",
        (422,),
        OUTCOMES,
        CSV,
    ),
    # Forms
    Input(
        "a form of 100,000 parts",
        lambda: parts(100_000) + b"--b--",
        (413,),
        FILES,
        "multipart/form-data; boundary=b",
        quick=True,
    ),
    Input(
        "a part with a head of 10 MB",
        lambda: parts(1, b"X: " + b"x" * SIZE + b"\r\n"),
        (400, 413),
        FILES,
        "multipart/form-data; boundary=b",
    ),
    Input(
        "a form of nothing but boundaries",
        lambda: fill(b"--b\r\n"),
        (400, 413),
        FILES,
        "multipart/form-data; boundary=b",
    ),
    Input(
        "a form of almost boundaries",
        lambda: parts(1)[:-3] + fill(b"\r\n--"),
        (400, 413),
        FILES,
        "multipart/form-data; boundary=b",
    ),
    Input(
        "a body that says it is gzip",
        lambda: b"\x1f\x8b" + bytes(1000),
        (400,),
        SCORE,
        "application/json",
    ),
]
