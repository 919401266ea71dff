"""Which sheets a workbook has, and what its own text says of their cells beside the values.

Workbooks come in two forms, transitional and strict, that differ in their namespaces; only local names are looked at.
"""

import io
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring, iterparse

from model_deployment.files.limited import Refused
from model_deployment.files.parts import MAX_SHEET, SAVE, Parts

_BOOK = "xl/workbook.xml"
# So many other sheets are looked at, so much of each, and so much of the texts that they share.
MAX_LOOKED_AT = 30
_START = 1 << 20
_SHARED = 4 << 20
_MAX_NAMES, _MAX_NAME = 200, 64

# As programs write cells; some name the space of their tags. Each pattern comes with what is looked for first, in a
# fraction of the time: most sheets have nothing of the kind.
_SPACE = re.compile(rb"<([A-Za-z]{1,9}:)?sheetData")
_CELL = rb'<%sc r="([A-Z]{1,3})([0-9]{1,7})"'
_VALUE = rb"(?:<%sf(?: [^>]{0,400})?>[^<]*</%sf>|<%sf[^>]{0,400}/>)?<%sv>"
_ERROR = (rb' t="e"', _CELL + rb'[^>]{0,40} t="e"[^>]{0,40}>' + _VALUE + rb"(#[^<]{1,20})<")
_LONG = (rb"v>-?[0-9]{16}", _CELL + rb"[^>]{0,40}><%sv>(-?[0-9]{16,40})<")
_STYLED = (rb' s="(?:STYLES)"', _CELL + rb'(?: t="n")? s="(STYLES)"(?: t="n")?>' + _VALUE + rb"[0-9]")
_HIDDEN = (rb'hidden="(?:1|true)"', rb'<%srow [^>]{0,200}hidden="(?:1|true)"')
# 0000000000, and 000-00-0000 as the list of formats has it: 000\-00\-0000.
_ZEROS = re.compile(r"(?:\[\$-[0-9A-Fa-f,]{1,12}\])?(0{1,64}(?:(?:\\[-/. ]|[- ])0{1,64}){0,8})(?:;.*)?", re.DOTALL)

# By row and column, from 0.
Cells = dict[int, list[tuple[int, str]]]


class SheetPart(NamedTuple):
    """A sheet of cells: its name, its part of the archive, and whether people see it."""

    name: str
    part: str
    visible: bool


class Sheets:
    """The sheets of a workbook.

    Attributes
    ----------
    all : list of SheetPart
        Those of cells, in their order; charts and the like are left out.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        related = fromstring(bytes(parts.read("xl/_rels/workbook.xml.rels")))
        targets = {str(each.get("Id")): (str(each.get("Type")), _place(each.get("Target", ""))) for each in related}
        self._by_kind = {kind.rpartition("/")[2]: part for kind, part in targets.values()}
        self.all: list[SheetPart] = []
        for sheet in fromstring(bytes(parts.read(_BOOK))).iter():
            if _local(sheet) != "sheet":
                continue
            kind, part = targets[next(value for name, value in sheet.items() if name.endswith("}id"))]
            if kind.endswith("/worksheet"):
                self.all.append(SheetPart(sheet.get("name", ""), part, sheet.get("state", "visible") == "visible"))

    def first_visible(self) -> SheetPart:
        """Return the first sheet that people see.

        Raises
        ------
        Refused
            When there is none.
        """
        if not self.all:
            raise Refused(f"the workbook has no sheet of cells; {SAVE}")
        found = next((sheet for sheet in self.all if sheet.visible), None)
        if found is None:
            raise Refused("all sheets of the workbook are hidden; unhide the one with the clients and send it again")
        return found

    def others(self, chosen: SheetPart) -> list[tuple[str, bool, list[str]]]:
        """Return the name, the visibility and the first row of the sheets beside the chosen one, at most 30."""
        others = islice((sheet for sheet in self.all if sheet != chosen), MAX_LOOKED_AT)
        return [(sheet.name, sheet.visible, self._header(sheet)) for sheet in others]

    def _header(self, sheet: SheetPart) -> list[str]:
        """Return the first row that has values, as far as it stands near the sheet's start."""
        # What is cut off is no XML any more, behind that row; a sheet that is damaged is nobody's choice.
        with suppress(ParseError, KeyError):
            for _, row in iterparse(io.BytesIO(self._parts.start(sheet.part, _START))):
                if _local(row) == "row":
                    texts = [self._text(cell) for cell in row]
                    if any(texts):
                        return [text[:_MAX_NAME] for text in texts[:_MAX_NAMES]]
        return []

    def _text(self, cell: Element) -> str:
        text = _joined(cell)
        if cell.get("t") != "s":
            return text
        number = int(text) if text.isdecimal() and len(text) < 10 else len(self._shared)
        return self._shared[number] if number < len(self._shared) else ""

    @cached_property
    def _shared(self) -> list[str]:
        found: list[str] = []
        part = self._by_kind.get("sharedStrings", "")
        if part in self._parts:
            with suppress(ParseError):
                for _, item in iterparse(io.BytesIO(self._parts.start(part, _SHARED))):
                    if _local(item) == "si":
                        found.append(_joined(item))
        return found

    def not_told(self, sheet: SheetPart) -> tuple[Cells, Cells, int]:
        """Return what a reader of values does not tell of a sheet.

        First, by row, the texts of errors and of whole numbers that have more digits than a float; then the formats of
        zeros that numbers are shown in (see `shown_in`); then how many rows are hidden, by a filter perhaps.
        """
        text = self._parts.read(sheet.part, MAX_SHEET)
        told, formats = defaultdict(list), defaultdict(list)
        for each in (_ERROR, _LONG):
            for cell in _found(each, text):
                told[int(cell[2]) - 1].append((_column(cell[1]), cell[3].decode()))
        if zeros := self._zeros():
            styles = "|".join(zeros).encode()
            first, pattern = (one.replace(b"STYLES", styles) for one in _STYLED)
            for cell in _found((first, pattern), text):
                formats[int(cell[2]) - 1].append((_column(cell[1]), zeros[cell[3].decode()]))
        return told, formats, sum(1 for _ in _found(_HIDDEN, text))

    def _zeros(self) -> dict[str, str]:
        """Return the formats of zeros by the number of the style that has them."""
        part = self._by_kind.get("styles", "")
        if part not in self._parts:
            return {}
        styles = fromstring(bytes(self._parts.read(part)))
        codes = {}
        for each in styles.iter():
            if _local(each) == "numFmt" and (match := _ZEROS.fullmatch(each.get("formatCode", ""))):
                codes[each.get("numFmtId")] = match[1].replace("\\", "")
        used = next((each for each in styles if _local(each) == "cellXfs"), ())
        found = {str(i): codes.get(style.get("numFmtId")) for i, style in enumerate(used)}
        return {style: code for style, code in found.items() if code is not None and code.count("0") > 1}


def shown_in(digits: str, code: str) -> str:
    """Return a whole number as a format of zeros shows it: 7 in 0000 is 0007, 1234567 in 000-00 is 12345-67."""
    left, text = list(digits), ""
    for mark in reversed(code):
        text = (left.pop() if left else "0") + text if mark == "0" else mark + text
    return "".join(left) + text


def _found(pattern: tuple[bytes, bytes], text: bytearray) -> Iterator[re.Match[bytes]]:
    first, whole = pattern
    if not re.search(first, text):
        return iter(())
    space = _SPACE.search(text)
    return re.finditer(whole.replace(b"%s", (space and space[1]) or b""), text)


def _place(target: str) -> str:
    return posixpath.normpath(posixpath.join("/xl", target))[1:]


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _joined(element: Element) -> str:
    return "".join(each.text or "" for each in element.iter() if _local(each) in ("t", "v")).strip()


def _column(letters: bytes) -> int:
    place = 0
    for letter in letters:
        place = 26 * place + letter - 64
    return place - 1
