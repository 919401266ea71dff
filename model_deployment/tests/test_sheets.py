"""Which sheet of a workbook is read, and what is reported about it and the others."""

import io
import json
import re
from datetime import UTC, datetime

import openpyxl
import pytest

from model_deployment.files import workbook
from model_deployment.files.formats import UploadedFile
from tests.support.bad_input.cases import CLIENTS, NAMES
from tests.support.bad_input.workbooks import saved
from tests.support.files import rezipped
from tests.support.problems import is_problem

LEFT_OUT = "has such columns and was not read; if it is meant,"
STRICT = {
    b"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    b"http://schemas.openxmlformats.org/officeDocument/2006/relationships": (
        b"http://purl.oclc.org/ooxml/officeDocument/relationships"
    ),
}


def book_of(*sheets):
    """Return a workbook of sheets: name, state, rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, state, rows in sheets:
        sheet = book.create_sheet(name)
        sheet.sheet_state = state
        for row in rows:
            sheet.append(row)
    return saved(book)


def clients(prefix, n=3):
    return [["client_id", *NAMES], *([f"{prefix}-{i}", *CLIENTS[i].values()] for i in range(n))]


COVER = [["Applications of branch 12"], ["for Monday"]]


def strict(name, text):
    """Write a part as Excel does that saves as "Strict Open XML Spreadsheet"."""
    for usual, other in STRICT.items():
        text = text.replace(usual, other)
    return text


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_hidden_sheet_is_named_but_not_decided(send_file, state):
    data = book_of(("Last month", state, clients("OLD")), ("March", "visible", clients("NEW", 2)))
    body = send_file(data, "clients.xlsx").get_json()
    assert [d["client_id"] for d in body["decisions"]] == ["NEW-0", "NEW-1"]
    assert body["warnings"] == [
        "sheet 'March' read",
        f"sheet 'Last month', which is hidden, {LEFT_OUT} unhide and move it to the front",
    ]


def test_a_second_sheet_of_clients_is_named_and_others_are_not(send_file):
    data = book_of(
        ("A", "visible", clients("A")),
        ("B", "visible", [[], *clients("B")]),
        ("Notes", "visible", COVER),
        ("Empty", "visible", []),
    )
    body = send_file(data, "clients.xlsx").get_json()
    assert [d["client_id"] for d in body["decisions"]] == ["A-0", "A-1", "A-2"]
    assert body["warnings"] == ["sheet 'A' read", f"sheet 'B' {LEFT_OUT} move it to the front"]


def test_a_cover_sheet_is_refused_by_its_name_beside_that_of_the_clients(send_file):
    data = book_of(("Cover", "visible", COVER), ("Clients", "visible", clients("C")))
    detail = is_problem(send_file(data, "clients.xlsx"), 400)["detail"]
    assert (
        "none of them: 'Applications of branch 12'; sheet 'Cover' read; sheet 'Clients' " + LEFT_OUT
        in detail
    )


def test_answer_without_a_decision_names_the_sheet(send_file):
    data = book_of(
        ("Cut", "visible", [row[:-1] for row in clients("C")]), ("All", "visible", clients("C"))
    )
    data = rezipped(
        data, lambda name, text: text.replace(b"housing", b"house") if "sheet1" in name else text
    )
    body = is_problem(send_file(data, "clients.xlsx"), 422)
    assert [warning[:12] for warning in body["warnings"]] == ["sheet 'Cut' ", "sheet 'All' "]


def test_csv_answer_names_the_sheet_in_a_header(client):
    data = book_of(("Café", "visible", clients("C")), ("B", "hidden", clients("B")))
    form = {"file": (io.BytesIO(data), "clients.xlsx")}
    answer = client.post("/api/v1/files", data=form, headers={"Accept": "text/csv"})
    first, second = json.loads(answer.headers["Warnings"])
    assert (first, LEFT_OUT in second) == ("sheet 'Café' read", True)


def test_warnings_header_stays_short(client, as_csv):
    text = as_csv([CLIENTS[0] | {f"{i}" + "ü" * 50: "x" for i in range(60)}])
    form = {"file": (io.BytesIO(text.encode()), "clients.csv")}
    said = client.post("/api/v1/files", data=form, headers={"Accept": "text/csv"}).headers[
        "Warnings"
    ]
    assert len(said) <= 4000
    assert len(json.loads(said)) > 5


def shared(data):
    """Return a workbook with its texts in a part of their own, as Excel writes them."""
    texts = []

    def change(name, part):
        if name == "xl/_rels/workbook.xml.rels":
            kind = (
                b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
            )
            more = (
                b'<Relationship Id="texts" Type="%s" Target="/xl/sharedStrings.xml"/>'
                b"</Relationships>" % kind
            )
            return part.replace(b"</Relationships>", more)
        if name.startswith("xl/worksheets/"):
            return re.sub(rb't="inlineStr"><is><t>([^<]*)</t></is>', number, part)
        return part

    def number(match):
        texts.append(b"<si><r><t>%s</t></r></si>" % match[1])
        return b't="s"><v>%d</v>' % (len(texts) - 1)

    without = rezipped(data, change)
    space = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return rezipped(
        without,
        more=[("xl/sharedStrings.xml", b'<sst xmlns="%s">%s</sst>' % (space, b"".join(texts)))],
    )


def test_sheets_are_recognized_by_shared_strings(send_file):
    data = shared(book_of(("Cover", "visible", COVER), ("Clients", "visible", clients("C"))))
    detail = is_problem(send_file(data, "clients.xlsx"), 400)["detail"]
    assert f"'Applications of branch 12'; sheet 'Cover' read; sheet 'Clients' {LEFT_OUT}" in detail


def test_hidden_rows_are_read_and_reported(send_file):
    book = openpyxl.Workbook()
    for row in clients("C"):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    body = send_file(saved(book), "clients.xlsx").get_json()
    assert (body["n_decided"], body["warnings"]) == (
        3,
        ["sheet 'Sheet' read, 1 hidden rows of it too"],
    )


def test_chart_sheet_is_skipped():
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.create_chartsheet("Chart", 0)
    assert bytes(UploadedFile(saved(book)).csv) == b"a,b\n"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda name, text: text.replace(b'state="visible"', b'state="hidden"'),
            "all sheets of the workbook are hidden",
        ),
        (lambda name, text: text.replace(b'/worksheet"', b'/chartsheet"'), "no sheet of cells"),
        (
            lambda name, text: b"<x/>" if name.endswith("workbook.xml") else text,
            "no sheet of cells",
        ),
        (lambda name, text: b"<x>" if name.endswith("workbook.xml") else text, "no excel workbook"),
        (
            lambda name, text: (
                text.replace(b"rId", b"r\xc3\xa4Id") if name.endswith(".rels") else text
            ),
            "no excel workbook",
        ),
    ],
)
def test_workbook_without_a_readable_sheet_is_refused(send_file, change, why):
    data = rezipped(book_of(("Clients", "visible", clients("C"))), change)
    detail = is_problem(send_file(data, "clients.xlsx"), 400)["detail"]
    assert why in detail.lower()


def test_strict_workbook_is_read_like_any_other(send_file):
    usual = book_of(("March", "visible", clients("C")), ("B", "hidden", clients("B")))
    other = rezipped(usual, strict)
    assert strict("", usual) != other
    answers = [send_file(data, "clients.xlsx").get_json() for data in (usual, other)]
    for answer in answers:
        del answer["batch"]
        for decision in answer["decisions"]:
            del decision["id"]
    assert answers[0] == answers[1]
    assert len(answers[0]["warnings"]) == 2


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("0000000000", "0001952489"),
        ("00000", "1952489"),
        ("0000000000;-0000000000;@", "0001952489"),
        ("[$-407]00000000", "01952489"),
        (r"000\-00\-0000", "001-95-2489"),
        ("0000 0000", "0195 2489"),
        # Nothing of these is part of an id.
        ("0", "1952489"),
        ("0.00", "1952489"),
        ("#,##0", "1952489"),
        ('0 "DM"', "1952489"),
        ("0.00E+00", "1952489"),
        ("General", "1952489"),
    ],
)
@pytest.mark.parametrize("value", ["1952489", "=1952488+1"])
def test_format_of_zeros_pads_a_number(code, shown, value):
    book = openpyxl.Workbook()
    book.active.append(["client_id", "note"])
    book.active["A2"], book.active["B2"] = value if value.startswith("=") else int(value), "as text"
    book.active["A2"].number_format = book.active["B2"].number_format = code

    def computed(name, part):  # as Excel writes it; openpyxl computes nothing
        return part.replace(b"<v/>", b"<v>1952489</v>").replace(b"<v />", b"<v>1952489</v>")

    data = workbook.as_csv(rezipped(saved(book), computed)).csv
    assert data.decode().splitlines()[1] == f"{shown},as text"


def test_format_of_zeros_leaves_other_numbers_unchanged():
    book = openpyxl.Workbook()
    book.active.append(["a", "b", "c", "d"])
    book.active.append([-5, 6.5, "7", True])
    for cell in book.active[2]:
        cell.number_format = "0000"
    assert workbook.as_csv(saved(book)).csv.decode().splitlines()[1] == "-5,6.5,7,True"


@pytest.mark.parametrize("form", [lambda name, text: text, strict], ids=["usual", "strict"])
def test_zero_padded_id_finds_its_outcome(send_file, client, form):
    book = openpyxl.Workbook()
    best = dict(CLIENTS[2], client_id=1952489)
    book.active.append(list(best))
    book.active.append(list(best.values()))
    book.active.cell(2, len(best)).number_format = "0000000000"
    (decision,) = send_file(rezipped(saved(book), form), "clients.xlsx").get_json()["decisions"]
    assert (decision["client_id"], decision["prediction"]) == ("0001952489", "green")
    text = f"client_id;outcome;date\n0001952489;repaid;{datetime.now(UTC).date()}\n"
    assert (
        client.post("/api/v1/outcomes", data=text, content_type="text/csv").get_json()["n_added"]
        == 1
    )
