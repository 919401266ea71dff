"""Excel workbooks as they really come, and a few that were made on purpose."""

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl

from tests.support.bad_input.cases import (
    CLIENTS,
    MUST,
    NAMES,
    NOON,
    changed,
    fine,
    nothing,
    refused,
)
from tests.support.bad_input.csv_files import CSV, NOTED


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
    """Return a workbook with one of its parts edited."""
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(excel(rows))) as old,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new,
    ):
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
    """Return a workbook with more rows below its clients, with their texts in a separate part."""
    name = "/xl/sharedStrings.xml"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(excel(CLIENTS))) as old,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            text = old.read(part).decode()
            text = text.replace("</sheetData>", f"{cells}</sheetData>")
            new.writestr(
                part,
                text.replace(
                    "</Types>", f'<Override PartName="{name}" ContentType="{kind}"/></Types>'
                ),
            )
        new.writestr(name[1:], strings)
    return sink.getvalue()


def strings_of(text: str) -> str:
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<sst xmlns="{namespace}"><si><t>{text}</t></si></sst>'


NAMED = '<row><c t="s"><v>0</v></c></row>'


def shared_bomb() -> bytes:
    """Return a workbook of few kB in which 100,000 cells share a text of 100,000 letters: 10 GB."""
    return with_strings(strings_of("x" * 100_000), NAMED * 100_000)


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return with_strings(f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>' + strings_of("&l9;"), NAMED)


def from_afar() -> bytes:
    return with_strings(
        '<!DOCTYPE x [<!ENTITY far SYSTEM "file:///etc/hostname">]>' + strings_of("&far;"), NAMED
    )


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
            changed(
                1,
                duration=float(CLIENTS[1]["duration"]),
                credit_amount=str(CLIENTS[1]["credit_amount"]),
            )
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
    fine(
        "a carriage return in a cell",
        lambda: edited(SHEET, lambda t: t.replace("n1<", "n&#13;1<"), NOTED),
    ),
    fine(
        "an escaped carriage return in a cell",
        lambda: edited(SHEET, lambda t: t.replace("n1<", "n_x000D_1<"), NOTED),
    ),
    fine(
        "a date and a truth",
        lambda: excel(CLIENTS, dated),
        0,
        rejected={(1, "duration"), (2, "credit_amount")},
    ),
    fine(
        "a formula never calculated and an error",
        lambda: excel(CLIENTS, calculated),
        0,
        rejected={(1, "duration"), (2, "credit_amount")},
    ),
    fine(
        "merged cells",
        lambda: excel(CLIENTS, merged),
        0,
        rejected={(1, "duration"), (2, "duration")},
    ),
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
    fine(
        "a label that is a number",
        lambda: excel([c | {"class": 1} for c in CLIENTS]),
        says="left out: neither good",
    ),
    fine(
        "a word for no value",
        lambda: excel(changed(1, age="NULL")),
        says="age: 'NULL' taken as no value",
    ),
    fine(
        "quotes around a cell's text",
        lambda: excel(changed(1, housing=f"'{CLIENTS[1]['housing']}'")),
        says="quotes",
    ),
    fine(
        "names as words",
        lambda: excel([{k.replace("_", " ").title(): v for k, v in c.items()} for c in CLIENTS]),
        says="'Credit Amount' as credit_amount",
    ),
    fine(
        "a duration that is a half",
        lambda: excel(changed(1, duration=6.5)),
        0,
        2,
        rejected={(1, "duration")},
    ),
    fine(
        "too many values in a row",
        lambda: sheet_of(
            [NAMES, *([*c.values(), *("x" for _ in range(i % 2))] for i, c in enumerate(CLIENTS))]
        ),
        0,
        2,
        rejected={(1, None)},
    ),
    nothing(
        "a workbook of a header only", lambda: sheet_of([NAMES]), (None, None), says="no clients"
    ),
    nothing(
        "a workbook without a column",
        lambda: excel([{k: v for k, v in c.items() if k != "job"} for c in CLIENTS]),
        (None, "job"),
    ),
    refused("an empty workbook", lambda: sheet_of([]), "empty"),
    refused(
        "a title above the header",
        lambda: sheet_of([["Clients of November"], [], NAMES]),
        "must name the columns",
    ),
    refused("a workbook of a chart only", chart_only, "no sheet of cells"),
    refused("a workbook cut in the middle", lambda: excel(CLIENTS)[:3000], "no Excel workbook"),
    refused(
        "a workbook of XML that never ends",
        lambda: edited(SHEET, lambda t: t[: len(t) // 2]),
        "no Excel workbook",
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
    refused(
        "10,000 columns in a workbook",
        lambda: sheet_of([[f"c{i}" for i in range(10_000)]]),
        "columns",
    ),
    refused(
        "a bomb of blanks",
        lambda: edited(SHEET, lambda t: t + " " * 200_000_000),
        "too large once it is unpacked",
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
        lambda: edited(
            SHEET,
            lambda t: t.replace("</sheetData>", '<row><c r="XFD9"><v>1</v></c></row></sheetData>'),
        ),
        "16384 columns",
    ),
]
