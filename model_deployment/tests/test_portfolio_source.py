"""The parts of a portfolio's files: every row is in one, whole, with its place in the file."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_risk.schema.faults import MalformedFile
from credit_risk.storage.backends import open_blobs
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.source import Source
from tests.support.german_credit import GERMAN_CREDIT, Validator


@pytest.fixture
def read_in_parts(tmp_path):
    """A function that writes a file and reads it in parts of so many rows."""

    def read(name, data, rows):
        (tmp_path / name).write_bytes(data)
        source = Source(str(tmp_path / name))
        parts = list(source.parts(*source.files(), rows))
        validator = Validator(listed=True)
        return parts, [source.read(part, validator)[0] for part in parts]

    return read


@pytest.fixture
def clients(client_rows):
    return [{**row, "client_id": f"C{i}"} for i, row in enumerate(client_rows[:25])]


def parquet(rows, **options):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


def ids(applications):
    return [id for part in applications for id in part.client_id]


@pytest.mark.parametrize("rows", [1, 7, 24, 25, 26, 1000])
def test_parts_of_a_csv_have_each_row_once(read_in_parts, clients, as_csv, rows):
    parts, applications = read_in_parts("book.csv", as_csv(clients).encode(), rows)
    assert ids(applications) == [row["client_id"] for row in clients]
    assert [len(part) for part in applications[:-1]] == [rows] * (len(parts) - 1)
    assert len({part.name for part in parts}) == len(parts)


@pytest.mark.parametrize("blocks", [7, 64, 1000])
def test_parts_of_a_csv_do_not_depend_on_the_blocks_that_are_searched(
    read_in_parts, clients, as_csv, monkeypatch, blocks
):
    monkeypatch.setattr("model_deployment.portfolio.source._BLOCK", blocks)
    rows = [row | {"note": f'"{i}, two\nlines"'} for i, row in enumerate(clients)]
    _, applications = read_in_parts("book.csv", as_csv(rows).encode(), 4)
    assert ids(applications) == [row["client_id"] for row in clients]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: "sep=,\n" + text, id="line that names the separator"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="line ends of Windows"),
        pytest.param(lambda text: text.rstrip("\n"), id="no line end at the end"),
        pytest.param(lambda text: text.replace("\nC", "\n\nC") + "\n\n", id="blank lines"),
        pytest.param(lambda text: text.replace(",", ";"), id="semicolons"),
    ],
)
def test_each_way_to_write_a_csv_is_read_in_parts(read_in_parts, clients, as_csv, change):
    _, applications = read_in_parts("book.csv", change(as_csv(clients)).encode(), 10)
    assert ids(applications) == [row["client_id"] for row in clients]


def test_rejected_rows_of_a_csv_are_named_by_their_line_in_the_file(read_in_parts, clients, as_csv):
    clients[13]["purpose"] = "yacht"
    clients[24]["age"] = "old"
    _, applications = read_in_parts("book.csv", as_csv(clients).encode() + b"1,2\n", 10)
    rejected = [row for part in applications for row in part.rejected.to_pylist()]
    assert [row["line"] for row in rejected] == [15, 26, 27]
    assert [row["client_id"] for row in rejected] == ["C13", "C24", None]
    assert "purpose 'yacht' is not one of" in rejected[0]["faults"]
    assert "age 'old' is not a whole number" in rejected[1]["faults"]
    assert rejected[2]["faults"] == "2 values, but the header has 21 columns"
    assert applications[1].faults[0].message.startswith("line 15: ")


@pytest.mark.parametrize("group", [5, 10, 25])
@pytest.mark.parametrize("rows", [1, 7, 10, 1000])
def test_parts_of_a_parquet_file_have_each_row_once(read_in_parts, clients, group, rows):
    _, applications = read_in_parts("book.parquet", parquet(clients, row_group_size=group), rows)
    assert ids(applications) == [row["client_id"] for row in clients]
    assert max(map(len, applications)) <= rows


def test_rejected_rows_of_a_parquet_file_are_named_by_their_row(read_in_parts, clients):
    clients[13]["purpose"] = None
    _, applications = read_in_parts("book.parquet", parquet(clients, row_group_size=6), 10)
    (rejected,) = [row for part in applications for row in part.rejected.to_pylist()]
    assert (rejected["row"], rejected["client_id"]) == (14, "C13")
    assert "purpose" in rejected["faults"]


def test_the_same_rows_are_the_same_applications_in_both_formats(read_in_parts, clients, as_csv):
    _, (csv,) = read_in_parts("book.csv", as_csv(clients).encode(), 100)
    _, (table,) = read_in_parts("book.parquet", parquet(clients), 100)
    assert (csv.codes == table.codes).all()
    assert csv.client_id == table.client_id


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("book.csv", b"", "the first line must name the columns"),
        ("book.csv", b"duration,age", "the first line must name the columns"),
        ("book.csv", "duration,age\n".encode("utf-16"), "save it as CSV \\(UTF-8\\)"),
        ("book.parquet", b"PAR1 but not really PAR1", "not a Parquet file"),
        ("book.parquet", b"", "not a Parquet file"),
    ],
)
def test_a_file_that_is_not_of_clients_is_refused(tmp_path, name, data, why):
    (tmp_path / name).write_bytes(data)
    source = Source(str(tmp_path))
    with pytest.raises(MalformedFile, match=why):
        source.columns(name, GERMAN_CREDIT)


@pytest.mark.parametrize("name", ["book.csv", "book.parquet"])
def test_a_file_without_rows_has_no_parts(read_in_parts, clients, as_csv, name):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(clients).slice(0, 0), sink)
    header = as_csv(clients).splitlines(keepends=True)[0].encode()
    data = header if name == "book.csv" else sink.getvalue()
    assert read_in_parts(name, data, 10) == ([], [])


@pytest.mark.parametrize("blank", ["\n\n", ",,,\n" * 25], ids=["lines", "separators"])
def test_a_part_of_blank_lines_alone_has_no_rows(read_in_parts, clients, as_csv, blank):
    text = as_csv(clients[:20]) + blank
    _, applications = read_in_parts("book.csv", text.encode(), 10)
    assert ids(applications) == [row["client_id"] for row in clients[:20]]
    assert sum(part.n_rejected for part in applications) == 0


@pytest.mark.parametrize(
    ("bad", "why"), [(b"\xe9", "is not UTF-8 text"), (b"\0", "holds a NUL byte")]
)
@pytest.mark.parametrize("block", [50, 1000, 1 << 20])
def test_bytes_that_are_not_text_are_found_at_planning_with_their_line(
    tmp_path, clients, as_csv, monkeypatch, bad, why, block
):
    monkeypatch.setattr("model_deployment.portfolio.source._BLOCK", block)
    lines = as_csv(clients).encode().splitlines(keepends=True)
    lines[17] = lines[17].replace(b"C16", b"C" + bad)
    (tmp_path / "book.csv").write_bytes(b"".join(lines))
    source = Source(str(tmp_path / "book.csv"))
    with pytest.raises(MalformedFile, match=f"line 18 {why}"):
        list(source.parts(*source.files(), 10))


def test_letters_on_the_edge_of_a_block_are_text(read_in_parts, clients, as_csv, monkeypatch):
    monkeypatch.setattr("model_deployment.portfolio.source._BLOCK", 7)
    rows = [row | {"note": "äöü€" * 3} for row in clients]
    _, applications = read_in_parts("book.csv", as_csv(rows).encode(), 10)
    assert ids(applications) == [row["client_id"] for row in clients]


def test_a_stray_quote_does_not_make_the_rest_one_part(tmp_path, clients, as_csv):
    rows = [row | {"note": "plain"} for row in clients] * 10
    text = as_csv(rows).replace("plain", '5" in', 1)
    (tmp_path / "book.csv").write_text(text)
    source = Source(str(tmp_path / "book.csv"))
    with pytest.raises(MalformedFile, match=r"a quote above line .* is never closed or stands"):
        list(source.parts(*source.files(), 2))


def test_a_big_row_group_is_read_row_by_row(read_in_parts, clients):
    rows = [{**clients[i % 25], "client_id": f"C{i}"} for i in range(300)]
    _, applications = read_in_parts("book.parquet", parquet(rows, row_group_size=300), 7)
    assert ids(applications) == [row["client_id"] for row in rows]


def test_columns_of_lists_objects_and_bytes_are_left_out(read_in_parts, clients):
    more = {"tags": ["a"], "more": {"x": 1}, "raw": b"\xff\xfe"}
    _, applications = read_in_parts("book.parquet", parquet([r | more for r in clients]), 10)
    assert ids(applications) == [row["client_id"] for row in clients]
    assert applications[0].extra.column_names == []


@pytest.mark.parametrize("name", ["book.csv", "book.parquet"])
def test_columns_named_like_ours_stay_readable_among_rejected_rows(
    read_in_parts, clients, as_csv, name
):
    odd = [row | {"line": "1", "row": "2", "faults": "3"} for row in clients]
    odd[3]["purpose"] = "yacht"
    data = as_csv(odd).encode() if name.endswith("csv") else parquet(odd)
    _, (applications,) = read_in_parts(name, data, 100)
    sink = io.BytesIO()
    pq.write_table(applications.rejected, sink)
    (rejected,) = pq.read_table(sink).to_pylist()
    assert "purpose" in rejected["faults"]
    assert rejected["faults (uploaded)"] == "3"


def test_a_file_that_changes_while_it_is_scored_is_refused(tmp_path, clients, as_csv):
    path = tmp_path / "book.csv"
    path.write_text(as_csv(clients))
    source = Source(str(path))
    first, second, *_ = source.parts(*source.files(), 10)
    source.read(first, Validator())
    path.write_text(as_csv(clients[:-1]))
    with pytest.raises(NotScored, match=r"book.csv has changed since the run began"):
        source.read(second, Validator())


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotScored, match=r"there is no nope.csv in"):
        Source(str(tmp_path / "nope.csv")).files()


def test_a_folder_named_as_a_file_is_read_as_folder(tmp_path):
    (tmp_path / "book.parquet").mkdir()
    (tmp_path / "book.parquet" / "part-0.parquet").write_bytes(b"x")
    assert [f.name for f in Source(str(tmp_path / "book.parquet")).files()] == ["part-0.parquet"]


def test_a_folder_in_a_bucket_that_is_named_as_a_file_is_read_as_folder(gcs_url):
    for name in ("_SUCCESS", "part-0.parquet", "year=2026/part-1.parquet"):
        open_blobs(f"{gcs_url}/book.parquet").put(name, b"x")
    files = Source(f"{gcs_url}/book.parquet").files()
    assert [file.name for file in files] == ["part-0.parquet", "year=2026/part-1.parquet"]
    with pytest.raises(NotScored, match=r"there is no book.csv in"):
        Source(f"{gcs_url}/book.csv").files()


def test_a_file_in_a_bucket_is_that_file_whatever_lies_below_its_name(gcs_url):
    for name in ("book.csv", "book.csv/part-0.csv"):
        open_blobs(gcs_url).put(name, b"x\n")
    assert [file.name for file in Source(f"{gcs_url}/book.csv").files()] == ["book.csv"]


def test_a_folder_without_files_of_clients_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotScored, match=r"has no CSV or Parquet file \(.csv, .parquet\)"):
        Source(str(tmp_path)).files()


def test_one_file_is_found_by_its_address_and_others_by_their_folder(tmp_path):
    for name in ("a.csv", "deep/b.PARQUET", "c.xlsx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x\n")
    assert [f.name for f in Source(str(tmp_path)).files()] == ["a.csv", "deep/b.PARQUET"]
    assert [f.name for f in Source(str(tmp_path / "a.csv")).files()] == ["a.csv"]
