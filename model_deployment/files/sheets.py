"""The sheets of a workbook, and facts about their cells that a reader of values leaves out.

Workbooks come in two forms, transitional and strict, with different namespaces; only local names
are compared.
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

from model_deployment.files.limited import FileRefused
from model_deployment.files.parts import MAX_SHEET, SAVE, Parts

_BOOK = "xl/workbook.xml"
# Other sheets that are looked at, bytes of each, and bytes of their shared texts.
MAX_LOOKED_AT = 30
_START = 1 << 20
_SHARED = 4 << 20
_MAX_NAMES, _MAX_NAME = 200, 64

# Cells as programs write them; some prefix their tags with a namespace. Each pattern comes with a
# cheaper one that is searched first: most sheets have nothing of the kind.
_SPACE = re.compile(rb"<([A-Za-z]{1,9}:)?sheetData")
_CELL = rb'<%sc r="([A-Z]{1,3})([0-9]{1,7})"'
_VALUE = rb"(?:<%sf(?: [^>]{0,400})?>[^<]*</%sf>|<%sf[^>]{0,400}/>)?<%sv>"
_ERROR = (rb' t="e"', _CELL + rb'[^>]{0,40} t="e"[^>]{0,40}>' + _VALUE + rb"(#[^<]{1,20})<")
_LONG = (rb"v>-?[0-9]{16}", _CELL + rb"[^>]{0,40}><%sv>(-?[0-9]{16,40})<")
_STYLED = (
    rb' s="(?:STYLES)"',
    _CELL + rb'(?: t="n")? s="(STYLES)"(?: t="n")?>' + _VALUE + rb"[0-9]",
)
_HIDDEN = (rb'hidden="(?:1|true)"', rb'<%srow [^>]{0,200}hidden="(?:1|true)"')
# 0000000000, and 000-00-0000, which the list of formats writes as 000\-00\-0000.
_ZEROS = re.compile(
    r"(?:\[\$-[0-9A-Fa-f,]{1,12}\])?(0{1,64}(?:(?:\\[-/. ]|[- ])0{1,64}){0,8})(?:;.*)?", re.DOTALL
)

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
        The sheets of cells, in their order; charts and the like are left out.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        related = fromstring(bytes(parts.read("xl/_rels/workbook.xml.rels")))
        targets = {
            str(each.get("Id")): (str(each.get("Type")), _place(each.get("Target", "")))
            for each in related
        }
        self._by_kind = {kind.rpartition("/")[2]: part for kind, part in targets.values()}

        self.all: list[SheetPart] = []
        for sheet in fromstring(bytes(parts.read(_BOOK))).iter():
            if _local(sheet) != "sheet":
                continue
            id = next(value for name, value in sheet.items() if name.endswith("}id"))
            kind, part = targets[id]
            if kind.endswith("/worksheet"):
                visible = sheet.get("state", "visible") == "visible"
                self.all.append(SheetPart(sheet.get("name", ""), part, visible))

    def first_visible(self) -> SheetPart:
        """Return the first sheet that people see.

        Raises
        ------
        FileRefused
            When there is none.
        """
        if not self.all:
            raise FileRefused(f"the workbook has no sheet of cells; {SAVE}")
        found = next((sheet for sheet in self.all if sheet.visible), None)
        if found is None:
            raise FileRefused(
                "all sheets of the workbook are hidden; "
                "unhide the one with the clients and send it again"
            )
        return found

    def others(self, chosen: SheetPart) -> list[tuple[str, bool, list[str]]]:
        """Return name, visibility and first row of the other sheets, at most `MAX_LOOKED_AT`."""
        others = islice((sheet for sheet in self.all if sheet != chosen), MAX_LOOKED_AT)
        return [(sheet.name, sheet.visible, self._header(sheet)) for sheet in others]

    def _header(self, sheet: SheetPart) -> list[str]:
        """Return the first row that has values, if it is near the sheet's start."""
        # Where the text is cut off it is not XML any more, but that is after this row; a damaged
        # sheet was not meant.
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

    def beside_values(self, sheet: SheetPart) -> tuple[Cells, Cells, int]:
        """Return what a reader of values leaves out of a sheet.

        Returns
        -------
        texts : Cells
            The texts of errors, and of whole numbers that have more digits than a float.
        formats : Cells
            The formats of zeros that numbers are shown in (see `shown_in`).
        n_hidden : int
            How many rows are hidden, for example by a filter.
        """
        xml = self._parts.read(sheet.part, MAX_SHEET)
        texts, formats = defaultdict(list), defaultdict(list)

        for pattern in (_ERROR, _LONG):
            for cell in _found(pattern, xml):
                texts[int(cell[2]) - 1].append((_column(cell[1]), cell[3].decode()))

        if zeros := self._zeros():
            styles = "|".join(zeros).encode()
            first, whole = (one.replace(b"STYLES", styles) for one in _STYLED)
            for cell in _found((first, whole), xml):
                formats[int(cell[2]) - 1].append((_column(cell[1]), zeros[cell[3].decode()]))

        n_hidden = sum(1 for _ in _found(_HIDDEN, xml))
        return texts, formats, n_hidden

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
        found = {}
        for i, style in enumerate(used):
            code = codes.get(style.get("numFmtId"))
            if code is not None and code.count("0") > 1:
                found[str(i)] = code
        return found


def shown_in(digits: str, code: str) -> str:
    """Return a whole number as a format of zeros shows it.

    7 in 0000 is 0007, 1234567 in 000-00 is 12345-67.
    """
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
