import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk.schema.domain import Domain
from credit_risk.schema.faults import InvalidApplications, MalformedFile
from tests.support.clients import CLIENT, as_csv
from tests.support.german_credit import (
    ATTRIBUTES,
    GERMAN_CREDIT,
    NAMES,
    PROTECTED,
    SCORED,
    Validator,
    codes_of,
    decode,
    encode,
)
from tests.support.german_credit import application_schema as json_schema


def only_fault(applications):
    assert len(applications) == 0
    assert len(applications.faults) == 1
    return applications.faults[0].as_dict()


def test_a_valid_client_is_encoded_and_decoded_back():
    a = Validator().rows([CLIENT])
    assert a.codes.shape == (1, 20)
    assert decode(a.codes).to_pylist() == [CLIENT]
    bare = Validator().rows([{name: CLIENT[name] for name in SCORED}])
    for one in (a, bare):
        assert np.array_equal(codes_of(decode(one.codes)), one.codes, equal_nan=True)
    assert (a.n_rows, a.n_rejected, a.faults, a.warnings) == (1, 0, [], [])


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_attributes_may_be_absent(name):
    client = {k: v for k, v in CLIENT.items() if k != name}
    for a in (
        Validator().rows([client]),
        Validator().csv(as_csv(client)),
        Validator().csv(as_csv(client | {name: ""})),
    ):
        assert len(a) == 1
        assert np.isnan(a.codes[0, NAMES.index(name)])


@pytest.mark.parametrize(
    ("change", "reason", "allowed"),
    [
        ({"purpose": "yacht"}, "unknown_category", list(ATTRIBUTES[3].categories)),
        ({"purpose": ""}, "missing", list(ATTRIBUTES[3].categories)),
        ({"duration": "six"}, "not_a_number", {"minimum": 1, "maximum": 120, "integer": True}),
        ({"duration": "6.5"}, "not_a_number", {"minimum": 1, "maximum": 120, "integer": True}),
        ({"duration": "1.234,56"}, "not_a_number", {"minimum": 1, "maximum": 120, "integer": True}),
        ({"duration": -6}, "out_of_range", {"minimum": 1, "maximum": 120, "integer": True}),
        ({"duration": 121}, "out_of_range", {"minimum": 1, "maximum": 120, "integer": True}),
        (
            {"credit_amount": 10**400},
            "out_of_range",
            {"minimum": 1, "maximum": 10**7, "integer": True},
        ),
        ({"age": 17}, "out_of_range", {"minimum": 18, "maximum": 100, "integer": True}),
        ({"client_id": "x" * 65}, "too_long", None),
    ],
)
def test_a_bad_value_names_row_column_and_what_is_allowed(change, reason, allowed):
    name = next(iter(change))
    for a, where in (
        (Validator().rows([CLIENT, CLIENT | change]), "row 1: "),
        (Validator().csv(as_csv(CLIENT, CLIENT | change)), "line 3: "),
    ):
        assert a.rows.tolist() == [0]
        assert a.n_rejected == 1
        fault = a.faults[0].as_dict()
        assert (fault["row"], fault["column"], fault["allowed"]) == (1, name, allowed)
        assert fault["message"].startswith(where + name)
        assert a.reasons == {(name, reason): 1}
        json.dumps(fault)


@pytest.mark.parametrize("value", [True, [], {}, 6.5, float("nan"), float("inf"), "٦"])
def test_wrong_types_in_json_are_rejected(value):
    assert only_fault(Validator().rows([CLIENT | {"duration": value}]))["column"] == "duration"
    assert only_fault(Validator().rows([CLIENT | {"purpose": value}]))["column"] == "purpose"


@pytest.mark.parametrize("row", [None, 3, "x", []])
def test_only_rows_that_are_not_objects_are_rejected(row):
    a = Validator().rows([row, CLIENT])
    assert a.rows.tolist() == [1]
    assert a.faults[0].message.startswith("row 0: ")


@pytest.mark.parametrize("body", [{}, None, 3, "x", []])
def test_body_that_is_not_a_list_of_rows_is_unreadable(body):
    with pytest.raises(MalformedFile):
        Validator().rows(body)


def test_all_faults_are_counted_and_a_thousand_kept():
    rows = [CLIENT | {"duration": 0, "purpose": "yacht"}] * 600
    for a in (Validator().rows(rows), Validator().csv(as_csv(*rows))):
        assert a.n_rejected == 600
        assert len(a.faults) == 1000
        assert sum(a.reasons.values()) == 1200
        assert [f.row for f in a.faults[:4]] == [0, 0, 1, 1]


def quoted_names(data: bytes) -> bytes:
    header, rest = data.split(b"\n", 1)
    return b'"' + header.replace(b",", b'","') + b'"\n' + rest


def variants() -> dict[str, bytes]:
    plain = as_csv(CLIENT, CLIENT).replace(b"\r\n", b"\n")
    return {
        "crlf": as_csv(CLIENT, CLIENT),
        "no last newline": plain[:-1],
        "blank lines": b"\n\n" + plain.replace(b"\n", b"\n\n   \n") + b"\n,,,\n",
        "bom": b"\xef\xbb\xbf" + plain,
        "utf-16": plain.decode().encode("utf-16"),
        "utf-16 be": b"\xfe\xff" + plain.decode().encode("utf-16-be"),
        "semicolons": as_csv(CLIENT, CLIENT, separator=";"),
        "tabs": as_csv(CLIENT, CLIENT, separator="\t"),
        "spaces": plain.replace(b",", b" , "),
        "other order": as_csv(dict(reversed(CLIENT.items())), CLIENT),
        "quoted": b"\n".join(
            b",".join(b'"' + c + b'"' for c in line.split(b",")) for line in plain.splitlines()
        ),
        "quoted names": quoted_names(plain),
        "zero fractions": plain.replace(b",6,", b",6.0,").replace(b",67,", b",67.00,"),
        "old mac": plain.replace(b"\n", b"\r"),
    }


@pytest.mark.parametrize("name", variants())
def test_csv_dialects_are_read_alike(name):
    data = variants()[name]
    for a in (Validator().csv(data), Validator().csv(memoryview(data))):
        assert decode(a.codes).to_pylist() == [CLIENT, CLIENT]
        assert a.rows.tolist() == [0, 1]
        assert a.faults == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"hello world\n", "first line must name the columns"),
        (b"<html><body>no</body></html>", "first line must name the columns"),
        (b"PK\x03\x04 and so on", "Excel"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "UTF-8"),
        (as_csv(CLIENT).replace(b"radio", "Küche".encode("latin-1")), "line 2 is not UTF-8"),
        (as_csv(CLIENT).replace(b"radio", b"ra\x00dio"), "line 2 holds a NUL"),
        (as_csv(CLIENT, CLIENT).replace(b"radio", b'"radio', 1), "never closed"),
        (b",".join(f"c{i}".encode() for i in range(10_000)) + b"\n1\n", "10000 columns"),
        (b"\xff\xfe\x00", "UTF-16"),
    ],
)
def test_file_that_is_not_a_csv_of_clients_is_unreadable(data, says):
    with pytest.raises(MalformedFile, match=says):
        Validator().csv(data)


def test_a_missing_and_a_doubled_column_are_named():
    a = Validator().csv(as_csv({k: v for k, v in CLIENT.items() if k != "housing"}))
    fault = only_fault(a)
    assert (fault["row"], fault["column"]) == (None, "housing")
    assert "missing" in fault["message"]
    a = Validator().csv(as_csv(CLIENT).replace(b"housing", b"job"))
    assert {f.column for f in a.faults} == {"housing", "job"}
    assert a.n_rejected == 1


def test_csv_of_a_header_only_is_reported_as_empty():
    assert "no clients" in only_fault(Validator().csv(as_csv(CLIENT).splitlines()[0]))["message"]


def test_lines_are_named_as_an_editor_counts_them():
    good = as_csv(CLIENT).decode().splitlines()
    bad = good[1].replace("radio/tv", "yacht")
    text = "\n".join(
        [good[0] + ",note", "", good[1] + ',"two\nlines"', "   ", bad + ",x", good[1], bad + ",y"]
    )
    a = Validator().csv(text.encode())
    assert [(f.row, f.message.split(":")[0]) for f in a.faults] == [
        (1, "line 6"),
        (2, "line 7"),
        (3, "line 8"),
    ]
    assert "20 values, but the header has 21 columns" in a.faults[1].message
    assert a.rows.tolist() == [0]
    assert a.extra.to_pydict() == {"note": ["two\nlines"]}
    assert a.warnings == ["column 'note' ignored"]


def test_names_in_quotes_change_no_line(monkeypatch):
    good = as_csv(CLIENT).decode().splitlines()
    bad = good[1].replace("radio/tv", "yacht")
    data = "\n".join([good[0], good[1], bad, "", "too,few", *good[1:] * 40, bad]).encode()
    monkeypatch.setattr("credit_risk.schema.sheets.csv_table._BLOCK", 3000)
    one, other = Validator().csv(data), Validator().csv(quoted_names(data))
    assert [f.message.split(":")[0] for f in one.faults] == ["line 3", "line 5", "line 46"]
    assert (one.faults, one.rows.tolist()) == (other.faults, other.rows.tolist())


def test_csv_read_in_many_blocks_gets_the_same_verdict(monkeypatch):
    rows = [CLIENT | {"client_id": f"c{i}", "note": f" {i}", "class": "good"} for i in range(200)]
    for i in range(3, 200, 7):
        rows[i] |= {"purpose": "yacht", "client_id": "x" * 70 if i % 2 else " c "}
    rows[150] |= {"duration": 7.5}
    lines = as_csv(*rows).decode().splitlines(keepends=True)
    data = "".join([*lines[:60], "\n", "too,few\n", *lines[60:]]).encode()
    domain = Domain({"credit_amount": (1, 2)}, {})

    def verdict():
        a = Validator(domain).csv(data)
        assert len(a) == a.n_rows - a.n_rejected == 171
        texts = [a.client_id, a.label, a.extra.to_pydict(), a.warning_lists().to_pylist()]
        return [
            a.codes.tolist(),
            a.rows.tolist(),
            a.outside.tolist(),
            a.faults,
            a.reasons,
            a.warnings,
            *texts,
        ]

    whole = verdict()
    monkeypatch.setattr("credit_risk.schema.sheets.csv_table._BLOCK", 3000)
    assert verdict() == whole


def test_unknown_columns_keep_words_for_missing_values():
    for word in ("NA", "NULL", "null", "nan", "#N/A", "n/a"):
        a = Validator().csv(as_csv(CLIENT | {"note": word}))
        assert a.extra.to_pydict() == {"note": [word]}


def test_ignored_columns_are_handed_back_for_the_valid_rows():
    a = Validator().csv(
        as_csv(
            CLIENT | {"note": "=1+1"},
            CLIENT | {"duration": "x", "note": "b"},
            CLIENT | {"note": " c "},
        )
    )
    assert a.extra.to_pydict() == {"note": ["=1+1", " c "]}


def test_training_domain_warns_about_numbers_and_rejects_unseen_categories():
    domain = Domain.of(
        Validator().rows([CLIENT, CLIENT | {"duration": 48, "purpose": "repairs"}]).codes,
        GERMAN_CREDIT,
    )
    assert Domain.from_dict(json.loads(json.dumps(domain.as_dict()))) == domain
    for check in (
        lambda r: Validator(domain).rows([r]),
        lambda r: Validator(domain).csv(as_csv(r)),
    ):
        a = check(CLIENT | {"duration": 60})
        assert a.row_warnings == {0: ["duration 60 is outside 6 to 48, the range seen in training"]}
        fault = only_fault(check(CLIENT | {"purpose": "vacation"}))
        assert fault["allowed"] == ["radio/tv", "repairs"]
        assert "never seen in training" in fault["message"]


def test_encode_names_the_bad_cell():
    frame = pd.DataFrame([CLIENT, CLIENT | {"purpose": "yacht"}])
    with pytest.raises(InvalidApplications, match="row 1: purpose 'yacht'"):
        encode(frame)
    with pytest.raises(InvalidApplications, match="'housing' is missing"):
        encode(frame.drop(columns="housing"))
    assert encode(frame[:1]).tolist() == Validator().rows([CLIENT]).codes.tolist()


def test_schema_names_every_attribute():
    schema = json_schema()
    assert set(schema["properties"]) == {*NAMES, "client_id", "class"}
    assert schema["required"] == list(SCORED)
    assert schema["properties"]["duration"]["maximum"] == 120


words = st.one_of(
    st.sampled_from([c for a in ATTRIBUTES for c in a.categories]),
    st.integers(-5, 10**8),
    st.integers(-5, 200).map(float),
    st.integers(-5, 200).map(lambda n: f" {n}.0 "),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=70),
    st.none(),
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*NAMES, "client_id", "class"]), words, max_size=6))
def test_row_gets_the_same_verdict_as_json_and_as_csv(change):
    row = CLIENT | change
    as_json = Validator().rows([row, CLIENT])
    as_file = Validator().csv(as_csv(row, CLIENT))
    assert as_json.rows.tolist() == as_file.rows.tolist()
    assert as_json.reasons == as_file.reasons
    np.testing.assert_array_equal(as_json.codes, as_file.codes)
    assert as_json.client_id == as_file.client_id


@settings(max_examples=300)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused(data, with_header):
    if with_header:
        data = as_csv(CLIENT) + data
    try:
        a = Validator().csv(data)
    except MalformedFile:
        return
    assert len(a) + a.n_rejected == a.n_rows
    assert all(not np.isnan(a.codes[:, NAMES.index(name)]).any() for name in SCORED)
