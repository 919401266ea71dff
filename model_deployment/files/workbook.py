"""An Excel workbook's first visible sheet as CSV; run as a separate process (see `limited`).

    python -m model_deployment.files.workbook < clients.xlsx > clients.csv

calamine reads the cells, twenty times as fast as openpyxl. What it leaves out is taken from the
sheet's XML (see `sheets`): cells that hold an error (#N/A), which it reads as blank, whole numbers
of more digits than a float has, and the zeros that a format puts before a number.
"""

import csv
import datetime
import io
from collections.abc import Iterable, Iterator
from typing import Any

import python_calamine

from credit_risk.schema.spelling.numerals import unmistakable
from model_deployment.files.limited import (
    MAX_COLUMNS,
    MAX_ROWS,
    MAX_TEXT,
    TOO_LARGE,
    TOO_MANY,
    FileRefused,
    Read,
    run,
)
from model_deployment.files.parts import NO_BOOK, Parts
from model_deployment.files.sheets import Cells, Sheets, shown_in


def as_csv(data: bytes) -> Read:
    """Return the first visible sheet of a workbook as CSV.

    With it come its name, its number of hidden rows, and the first rows of the other sheets.

    Raises
    ------
    FileRefused
        When it is not a workbook, or has parts, columns, rows or texts beyond the limits.
    """
    try:
        parts = Parts(data)
        sheets = Sheets(parts)
        chosen = sheets.first_visible()
        others = sheets.others(chosen)
        texts, formats, n_hidden = sheets.beside_values(chosen)
        del parts, sheets

        with python_calamine.load_workbook(io.BytesIO(data)) as book:
            sheet = book.get_sheet_by_name(chosen.name)
        width = sheet.end[1] + 1 if sheet.end else 0
        if width > MAX_COLUMNS:
            raise FileRefused(f"the sheet has {width} columns; at most {MAX_COLUMNS} are read")

        about = {"sheet": chosen.name, "others": others, "n_hidden_rows": n_hidden}
        return Read(_text(_rows(sheet, texts, formats)), about)
    except (FileRefused, MemoryError):
        raise
    # A damaged workbook may raise any error, depending on the part that fails.
    except Exception:
        raise FileRefused(NO_BOOK) from None


def _rows(sheet: Any, texts: Cells, formats: Cells) -> Iterator[list[str]]:
    # calamine leaves out the columns before the first value.
    blank = [""] * (sheet.start[1] if sheet.start else 0)
    for number, row in enumerate(sheet.iter_rows()):
        cells = blank + [_cell(value) for value in row]
        for column, text in texts.get(number, ()):
            if column < len(cells):
                cells[column] = text
        for column, code in formats.get(number, ()):
            if column < len(cells) and cells[column].isdecimal():
                cells[column] = shown_in(cells[column], code)
        yield cells


def _text(rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width, room, n = 0, MAX_TEXT, 0
    for cells in rows:
        room -= sum(map(len, cells)) + 1
        # Each row of a workbook has as many cells as its widest one.
        while cells and not cells[-1]:
            cells.pop()
        n += bool(cells)

        if room < 0:
            raise FileRefused(TOO_LARGE)
        if n > MAX_ROWS:
            raise FileRefused(TOO_MANY)

        width = width or len(cells)
        writer.writerow(cells + [""] * (width - len(cells)))
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if type(value) is str and value.isprintable():
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, float):
        return unmistakable(value)
    if type(value) is datetime.date:
        value = datetime.datetime.combine(value, datetime.time())
    # A line break would make the rows after it look one line further down than they are.
    return str(value).replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


if __name__ == "__main__":
    run(as_csv)
