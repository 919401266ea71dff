"""A workbook is read by what it holds, within limits, whatever it says of itself."""

import contextlib
import datetime
import io
import re
import struct
import zipfile

import openpyxl
import pytest

from model_deployment.files import formats, workbook
from model_deployment.files.limited import MAX_ROWS, FileRefused
from tests.support.bad_input.cases import CLIENTS, NAMES
from tests.support.bad_input.workbooks import SHEET, edited, excel, saved, strings_of, with_strings
from tests.support.files import rezipped

SHEET_XML = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData>'


def rows_of(data):
    return workbook.as_csv(data).csv.decode().splitlines()


def refusal(data):
    with pytest.raises(FileRefused) as refused:
        workbook.as_csv(data)
    return str(refused.value)


def test_cell_values_are_what_people_see():
    book = openpyxl.Workbook()
    moment = datetime.datetime(2026, 1, 6, 12, 0, 1)  # noqa: DTZ001
    cells = [
        moment.replace(hour=0, second=0),
        moment,
        moment.time(),
        datetime.timedelta(hours=30),
        True,
        6.0,
        6.5,
        1e300,
    ]
    book.active.append(["a\r\nb", "  c "])
    book.active.append(cells)
    assert rows_of(saved(book)) == [
        "a b,  c ",
        '2026-01-06 00:00:00,2026-01-06 12:00:01,12:00:01,"1 day, 6:00:00",True,6,6.5,1e+300',
    ]


def test_rows_keep_their_place_in_the_sheet():
    book = openpyxl.Workbook()
    book.active["B3"], book.active["C3"], book.active["B4"] = "x", "y", 1
    assert rows_of(saved(book)) == ["", "", ",x,y", ",1,"]


def test_error_is_not_blank_and_long_number_keeps_its_digits():
    book = openpyxl.Workbook()
    book.active.append(["client_id", "age", "note"])
    book.active.append([1, "#N/A", "#DIV/0!"])
    number = "<v>12345678901234567</v>"
    data = rezipped(
        saved(book),
        lambda name, text: text.replace(b"<v>1</v>", number.encode()) if name == SHEET else text,
    )
    assert rows_of(data)[1] == "12345678901234567,#N/A,#DIV/0!"


def test_number_that_lost_digits_before_is_recognizable():
    data = edited(SHEET, lambda text: text.replace("<v>24</v>", "<v>1.2345678901234567E+17</v>", 1))
    assert "1.2345678901234566e+17" in rows_of(data)[1]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("xl/styles.xml", 5_000_001),
        ("xl/sharedStrings.xml", 50_000_001),
        ("xl/theme/theme1.xml", 20_000_001),
        ("docProps/core.xml", 20_000_001),
        ("xl/workbook.xml", 20_000_001),
        ("[Content_Types].xml", 20_000_001),
        (SHEET, 200_000_001),
    ],
)
def test_part_that_unpacks_to_too_much_is_refused(name, size):
    data = rezipped(
        with_strings(strings_of("x"), ""),
        lambda each, text: text + b" " * (size if each == name else 0),
    )
    assert len(data) < 1_000_000
    assert "too large once it is unpacked" in refusal(data)
    # The same, but that the directory says 100 bytes.
    lying = bytearray(data)
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        if data[at + 46 : at + 46 + len(name)] == name.encode():
            lying[at + 24 : at + 28] = struct.pack("<I", 100)
        at = data.find(b"PK\x01\x02", at + 4)
    assert bytes(lying) != data
    assert "too large once it is unpacked" in refusal(bytes(lying))


def test_workbook_with_too_many_rows_is_refused():
    row = b"<row><c><v>1</v></c></row>"
    sheet = (
        SHEET_XML.format("")
        .encode()
        .replace(b"</sheetData>", row * (MAX_ROWS + 1) + b"</sheetData></worksheet>")
    )
    data = rezipped(excel(CLIENTS), lambda name, text: sheet if name == SHEET else text)
    assert "200,000 rows" in refusal(data)


BOMB = '<!DOCTYPE x [<!ENTITY a "{}">{}]>'.format(
    "ha" * 1000, "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
)
AFAR = '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("before", [BOMB, AFAR, "<!DOCTYPE x>"], ids=["bomb", "afar", "doctype"])
@pytest.mark.parametrize(
    "name", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels", SHEET, "xl/sharedStrings.xml"]
)
def test_xml_entities_are_not_expanded(name, before):
    def change(each, text):
        if each != name:
            return text
        return before.encode() + text.replace(b"Sheet", b"&j;").replace(
            b">checking_status<", b">&j;<"
        )

    data = rezipped(
        with_strings(strings_of("checking_status"), '<row><c t="s"><v>0</v></c></row>'), change
    )
    text = b""
    with contextlib.suppress(formats.MalformedFile):
        text = bytes(formats.as_csv(data)[0])
    assert len(text) < 1000
    assert b"haha" not in text
    if name in (
        "xl/workbook.xml",
        "xl/_rels/workbook.xml.rels",
    ):  # what we read ourselves, by defusedxml
        assert text == b"" or before == "<!DOCTYPE x>"


def test_archive_that_is_not_a_plain_workbook_is_refused():
    whole = excel(CLIENTS)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = rezipped(whole, more=[(SHEET, b"<worksheet/>")])
    assert "no Excel workbook" in refusal(twice)
    assert "no Excel workbook" in refusal(
        rezipped(whole, more=[(f"x/{i}", b"") for i in range(2000)])
    )
    nested = rezipped(excel(CLIENTS), lambda name, text: whole if name == SHEET else text)
    assert "no Excel workbook" in refusal(nested)
    locked = bytearray(whole)
    at = whole.index(b"PK\x01\x02")
    locked[at + 8] |= 1
    assert "encrypted" in refusal(bytes(locked))


def test_entries_that_share_their_bytes_cost_no_more_than_one_archive(monkeypatch):
    """A directory that names one packed part a thousand times, each of 20 MB."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", b" " * 19_000_000)
        (info,) = archive.infolist()
        for i in range(1000):
            again = zipfile.ZipInfo(f"b{i}.xml")
            for each in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(again, each, getattr(info, each))
            archive.filelist.append(again)
    assert len(sink.getvalue()) < 200_000
    assert "too large once it is unpacked" in refusal(sink.getvalue())


def test_a_header_of_names_is_read_from_the_first_sheet_of_cells():
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    chart = book.create_chartsheet("chart", 0)
    assert book.sheetnames[0] == chart.title
    assert rows_of(saved(book)) == [",".join(NAMES)]


def test_error_of_a_filled_down_formula_is_not_blank():
    book = openpyxl.Workbook()
    book.active.append(["age"])
    book.active.append([1])
    shared = b' t="e"><f t="shared" ref="A2:A9" si="0">NA()</f><v>#N/A</v>'
    data = rezipped(saved(book), lambda name, text: re.sub(rb"(?: t=.n.)?><v>1</v>", shared, text))
    assert rows_of(data) == ["age", "#N/A"]
