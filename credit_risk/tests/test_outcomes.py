"""Outcomes: of accepted clients only; the latest stands, all are kept, a file is taken whole."""

import time
from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc
import pytest

import credit_risk.decision_log.outcomes
from credit_risk.decision_log import codec, events, outcome_file, outcome_matching
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.outcomes import ingest, outcomes, read_outcomes
from credit_risk.decision_log.overrides import override
from credit_risk.schema.faults import MalformedFile
from credit_risk.storage.documents import LogUnavailable
from tests.support.batches import IN_AN_HOUR, at_once, batch
from tests.support.german_credit import OUTCOME_SCHEMA
from tests.support.outcomes import text

GREEN, RED = 0.1, 0.4
NOW = datetime.now(UTC)
TODAY = NOW.date().isoformat()
EARLIER = (NOW.date() - timedelta(days=20)).isoformat()
MADE = NOW - timedelta(days=40)


class Stopped(datetime):
    """A clock that stands at `NOW`."""

    @classmethod
    def now(cls, tz=None):
        return NOW.astimezone(tz)


@pytest.fixture(autouse=True)
def _same_day(monkeypatch):
    """Have files be read on the day `TODAY`, though midnight may have come since."""
    for module in (outcome_file, outcome_matching):
        monkeypatch.setattr(module, "datetime", Stopped)


def said(log, id):
    return [(o["outcome"], o["date"]) for o in outcomes(log, id)]


def counts(taken):
    return taken.n_added, taken.n_known, taken.n_rejected


@pytest.fixture
def granted(log):
    """The ids of three green decisions, made 40 days ago."""
    record = log.commit(batch(3, GREEN, time=MADE))
    return [f"{record.id}-{i}" for i in range(3)]


@pytest.fixture
def files(monkeypatch):
    """Have a batch of more than two decisions be one file."""
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 2)


def test_outcomes_are_taken_and_read_back(log, granted):
    taken = ingest(
        log, text((granted[0], "repaid", TODAY), (granted[2], "defaulted", TODAY)), "out.csv"
    )
    assert counts(taken) == (2, 0, 0)
    assert said(log, granted[0]) == [("repaid", TODAY)]
    assert said(log, granted[1]) == []
    (mark,) = log.events("outcomes", taken.upload)
    assert (mark["source"], mark["n_added"], mark["n_known"], mark["n_rejected"]) == (
        "out.csv",
        2,
        0,
        0,
    )


def test_decisions_in_files_are_found_like_those_in_documents(log, files):
    test_outcomes_are_taken_and_read_back(
        log, [f"{log.commit(batch(3, GREEN, time=MADE)).id}-{i}" for i in range(3)]
    )


def test_many_decisions_are_looked_up_by_their_batches(log, granted, monkeypatch):
    monkeypatch.setattr(events, "AT_ONCE", 2)
    more = [f"{log.commit(batch(1, GREEN, time=MADE)).id}-0" for _ in range(3)]
    taken = ingest(log, text(*((id, "repaid", TODAY) for id in granted + more)))
    assert counts(taken) == (6, 0, 0)
    assert [said(log, id) for id in granted + more] == [[("repaid", TODAY)]] * 6


def test_latest_outcome_stands_and_all_are_kept(log, granted):
    first = text((granted[0], "repaid", TODAY), (granted[1], "repaid", TODAY))
    correction = text((granted[0], "defaulted", TODAY))
    back = text((granted[0], "repaid", TODAY))
    assert counts(ingest(log, first)) == (2, 0, 0)
    assert counts(ingest(log, correction)) == (1, 0, 0)
    assert said(log, granted[0]) == [("repaid", TODAY), ("defaulted", TODAY)]
    assert counts(ingest(log, back)) == (1, 0, 0)
    assert [o["outcome"] for o in outcomes(log, granted[0])] == ["repaid", "defaulted", "repaid"]
    assert len({o["_id"] for o in outcomes(log, granted[0])}) == 3


def test_later_outcome_date_stands_in_any_row_order(log, granted):
    newest_first = text((granted[0], "defaulted", TODAY), (granted[0], "repaid", EARLIER))
    taken = ingest(log, newest_first)
    assert (counts(taken), taken.warnings) == ((2, 0, 0), [])
    assert said(log, granted[0]) == [("repaid", EARLIER), ("defaulted", TODAY)]
    (row,) = (
        read_outcomes(log, MADE - timedelta(1), MADE + timedelta(1))
        .filter(pc.field("id") == granted[0])
        .to_pylist()
    )
    assert (row["outcome"], str(row["outcome_date"])) == ("defaulted", TODAY)


def test_older_date_sent_later_is_kept_but_does_not_stand(log, granted):
    ingest(log, text((granted[0], "defaulted", TODAY)))
    late = text(
        (granted[1], "repaid", TODAY),
        (granted[0], "repaid", EARLIER),
        (granted[0], "repaid", EARLIER),
    )
    taken = ingest(log, late)
    assert counts(taken) == (2, 1, 0)
    (warning,) = taken.warnings
    assert "do not change it: line 3." in warning
    assert said(log, granted[0]) == [("repaid", EARLIER), ("defaulted", TODAY)]
    # What is in the log already says nothing new, in a file of its own neither.
    assert counts(ingest(log, text((granted[0], "repaid", EARLIER)))) == (0, 1, 0)


def test_contradicting_rows_are_both_reported_and_not_taken(log, granted):
    file = text(
        (granted[0], "defaulted", TODAY),
        (granted[1], "repaid", TODAY),
        (granted[0], "repaid", TODAY),
    )
    taken = ingest(log, file)
    assert counts(taken) == (1, 0, 2)
    assert [(fault.row, fault.column, fault.value) for fault in taken.faults] == [
        (0, "outcome", "defaulted"),
        (2, "outcome", "repaid"),
    ]
    assert taken.faults[0].message.startswith(
        "line 2: line 4 says repaid of the same decision on the same date"
    )
    assert taken.faults[1].message.startswith("line 4: line 2 says defaulted")
    assert said(log, granted[0]) == []


def test_repeated_file_adds_nothing_and_undoes_no_correction(log, granted):
    first = text(
        (granted[0], "repaid", EARLIER),
        (granted[0], "defaulted", TODAY),
        (granted[1], "repaid", TODAY),
    )
    assert counts(ingest(log, first)) == (3, 0, 0)
    assert counts(ingest(log, text((granted[1], "defaulted", TODAY)))) == (1, 0, 0)
    before = log.last_event()
    again = ingest(log, first)
    assert (counts(again), again.upload) == ((0, 3, 0), None)
    assert log.last_event() == before
    assert said(log, granted[1])[-1] == ("defaulted", TODAY)


def test_file_of_known_outcomes_undoes_no_correction(log, granted):
    known = text((granted[0], "repaid", TODAY), (granted[0], "repaid", TODAY))
    assert counts(ingest(log, text((granted[0], "repaid", TODAY)))) == (1, 0, 0)
    assert counts(ingest(log, known)) == (0, 2, 0)
    ingest(log, text((granted[0], "defaulted", TODAY)))
    assert counts(ingest(log, known)) == (0, 2, 0)
    assert said(log, granted[0])[-1] == ("defaulted", TODAY)


def test_repeated_file_adds_rows_that_were_refused_before(log):
    refused = log.commit(batch(1, RED, time=MADE)).id + "-0"
    file = text((refused, "repaid", TODAY))
    assert counts(ingest(log, file)) == (0, 0, 1)
    override(log, refused, "green", "Ann", "knows him")
    assert counts(ingest(log, file)) == (1, 0, 0)


def test_faulty_rows_are_reported_and_the_others_taken(log, granted):
    refused = log.commit(batch(2, RED, time=MADE)).id
    preview = log.commit(batch(1, GREEN, kind="preview", time=MADE)).id
    override(log, granted[2], "red", "Ann", "income not proven")
    tomorrow = (NOW + timedelta(days=1)).date()
    taken = ingest(
        log,
        text(
            (granted[0], "repaid", TODAY),
            (f"{refused}-0", "repaid", TODAY),
            (granted[2], "repaid", TODAY),
            (f"{preview}-0", "repaid", TODAY),
            ("nonsense", "repaid", TODAY),
            (granted[1], "paid", TODAY),
            (granted[1], "", TODAY),
            (granted[1], "repaid", tomorrow),
            (granted[1], "repaid", "12/31/2025"),
            (granted[1], "repaid", "2020-01-31"),
            ("", "paid", "2026-02-30"),
            (f"{refused}-1",),
        ),
    )
    assert counts(taken) == (1, 0, 11)
    faults = [(f.row, f.column, f.value) for f in taken.faults]
    assert faults == [
        (1, "decision_id", f"{refused}-0"),
        (2, "decision_id", granted[2]),
        (3, "decision_id", f"{preview}-0"),
        (4, "decision_id", "nonsense"),
        (5, "outcome", "paid"),
        (6, "outcome", None),
        (7, "date", str(tomorrow)),
        (8, "date", "12/31/2025"),
        (9, "date", "2020-01-31"),
        (10, "decision_id", None),
        (10, "outcome", "paid"),
        (10, "date", "2026-02-30"),
        (11, None, None),
    ]
    by_row = {f.row: f for f in reversed(taken.faults)}
    assert (
        by_row[1].message == f"line 3: decision {refused}-0 is red: who was refused has no outcome"
    )
    assert by_row[5].allowed == ["repaid", "defaulted"]
    assert by_row[9].allowed == {"format": "date", "minimum": str(MADE.date()), "maximum": TODAY}
    assert taken.reasons["decision_id", "refused"] == 2
    assert taken.reasons["", "shape"] == 1
    (mark,) = log.events("outcomes")
    assert {"column": "date", "reason": "future", "n": 1} in mark["reasons"]
    assert "nonsense" not in str(mark)


CLIENT_HEADER = ("client_id", "outcome", "date")


def by_client(log, key: str = "c1", day: str = TODAY):
    return ingest(log, text((key, "repaid", day), header=CLIENT_HEADER))


def test_a_client_key_stands_for_the_one_accepted_decision(log, granted):
    log.commit(batch(3, RED, time=MADE))
    log.commit(batch(3, GREEN, time=MADE, kind="preview"))
    assert counts(by_client(log)) == (1, 0, 0)
    assert said(log, granted[1]) == [("repaid", TODAY)]
    assert counts(by_client(log, "  c1 ")) == (0, 1, 0)


@pytest.mark.parametrize("n", [2, 3], ids=["inline", "parquet"])
def test_a_score_in_a_portfolio_has_no_outcome(log, files, n):
    id = log.commit(batch(n, GREEN, kind="portfolio", time=MADE)).id
    taken = ingest(log, text((f"{id}-1", "repaid", TODAY)))
    assert counts(taken) == (0, 0, 1)
    assert "portfolio: it is not a decision on an application" in taken.faults[0].message
    assert counts(by_client(log)) == (0, 0, 1), "nor does its client stand for it"
    assert said(log, f"{id}-1") == []


def test_a_client_key_finds_a_decision_in_a_file(log, files):
    record = log.commit(batch(3, GREEN, time=MADE))
    log.commit(batch(2, RED, time=MADE))
    assert counts(by_client(log)) == (1, 0, 0)
    assert said(log, f"{record.id}-1") == [("repaid", TODAY)]


def test_ambiguous_client_key_is_refused(log, granted):
    later = log.commit(batch(3, GREEN, time=MADE + timedelta(days=20)))
    taken = by_client(log)
    assert counts(taken) == (0, 0, 1)
    assert "2 accepted decisions" in taken.faults[0].message
    assert taken.faults[0].allowed == [granted[1], f"{later.id}-1"]
    # By then there was only the first.
    assert counts(by_client(log, day=str(MADE.date() + timedelta(days=3)))) == (1, 0, 0)
    assert len(said(log, granted[1])) == 1


@pytest.mark.parametrize(
    ("key", "day", "risk", "column", "words"),
    [
        ("nobody", TODAY, GREEN, "client_id", "no decision on this client"),
        ("c1", TODAY, RED, "client_id", "every decision on this client is red"),
        ("c1", "2020-01-31", GREEN, "date", "before the decision"),
    ],
)
def test_client_key_without_an_accepted_decision_is_refused(log, key, day, risk, column, words):
    log.commit(batch(3, risk, time=MADE))
    (fault,) = by_client(log, key, day).faults
    assert (fault.row, fault.column) == (0, column)
    assert words in fault.message


def test_decision_id_and_client_key_must_agree(log, granted):
    header = ("decision_id", "client_id", "outcome", "date", "risk", "note")
    rows = [
        (granted[0], "c0", "repaid", TODAY, 1, 2),
        (granted[1], "", "repaid", TODAY, 1, 2),
        (granted[2], "c1", "repaid", TODAY, 1, 2),
        ("", "c2", "repaid", TODAY, 1, 2),
    ]
    taken = ingest(log, text(*rows, header=header))
    assert counts(taken) == (3, 0, 1)
    assert "another client" in taken.faults[0].message
    assert taken.warnings == ["2 columns ignored: 'risk', 'note'"]


@pytest.mark.parametrize(
    "data", [b"", b"hello,world\n1,2\n", b"PK\x03\x04", b"\xff\xfe", b'outcome\n"']
)
def test_file_that_is_not_of_outcomes_is_refused(log, data):
    with pytest.raises(MalformedFile):
        ingest(log, data)


def test_a_file_of_too_many_rows_is_refused(log, granted, monkeypatch):
    monkeypatch.setattr(outcome_file, "MAX_ROWS", 2)
    with pytest.raises(MalformedFile, match="the file has 3 rows; send at most 2 at a time"):
        ingest(log, text(*((id, "repaid", TODAY) for id in granted)))


@pytest.mark.parametrize(
    ("data", "column", "words"),
    [
        (b"decision_id,outcome\nx,repaid\n", "date", "'date' is missing"),
        (b"outcome,date\nrepaid,2026-01-01\n", "decision_id", "neither"),
        (
            b"decision_id,outcome,outcome,date\nx,repaid,repaid,2026-01-01\n",
            "outcome",
            "stands 2 times",
        ),
        (b"decision_id,outcome,date\n", None, "no outcomes below"),
    ],
)
def test_file_with_wrong_columns_is_refused(log, data, column, words):
    taken = ingest(log, data)
    assert (taken.n_added, [f.row for f in taken.faults]) == (0, [None])
    assert (taken.faults[0].column, words in taken.faults[0].message) == (column, True)


def test_same_file_sent_concurrently_is_taken_once(log, stores, granted):
    file = text(*((id, "repaid", TODAY) for id in granted))
    at_once(4, lambda: ingest(open_log(stores), file))
    assert [said(log, id) for id in granted] == [[("repaid", TODAY)]] * 3
    assert len(log.events("outcomes")) == 1


def test_an_override_of_another_decision_does_not_matter(log, granted, monkeypatch):
    meant = credit_risk.decision_log.outcomes._new_outcomes

    def overriding(*arguments, **more):
        override(log, granted[1], "red", "Ann", "income not proven")
        return meant(*arguments, **more)

    monkeypatch.setattr(credit_risk.decision_log.outcomes, "_new_outcomes", overriding)
    monkeypatch.setattr(credit_risk.decision_log.outcomes, "ATTEMPTS", 1)
    assert counts(ingest(log, text((granted[0], "repaid", TODAY)))) == (1, 0, 0)


def test_override_during_an_upload_counts(log, granted, monkeypatch):
    meant = credit_risk.decision_log.outcomes._new_outcomes

    def overriding(*arguments, **more):
        override(log, granted[0], "red", "Ann", "income not proven")
        return meant(*arguments, **more)

    monkeypatch.setattr(credit_risk.decision_log.outcomes, "_new_outcomes", overriding)
    monkeypatch.setattr(credit_risk.decision_log.outcomes, "ATTEMPTS", 1)
    with pytest.raises(LogUnavailable):
        ingest(log, text((granted[0], "repaid", TODAY)))
    monkeypatch.undo()
    assert said(log, granted[0]) == []
    assert counts(ingest(log, text((granted[0], "repaid", TODAY)))) == (0, 0, 1)


def test_log_that_fails_halfway_stores_none_of_a_file(log, granted, monkeypatch):
    insert = log._documents.insert

    def fail_at_the_mark(collection, found):
        if collection == "events":
            raise LogUnavailable("the disk is full")
        insert(collection, found)

    file = text(*((id, "repaid", TODAY) for id in granted))
    with monkeypatch.context() as patch:
        patch.setattr(log._documents, "insert", fail_at_the_mark)
        with pytest.raises(LogUnavailable):
            ingest(log, file)
    assert [said(log, id) for id in granted] == [[]] * 3
    assert read_outcomes(log, MADE, datetime.now(UTC))["outcome"].null_count == 3
    assert log.sweep(older_than=IN_AN_HOUR) == 1
    assert list(log._documents.find("outcomes", {})) == []
    assert counts(ingest(log, file)) == (3, 0, 0)


@pytest.mark.parametrize("most", [2, 10_000])
def test_period_is_read_with_final_decisions_and_outcomes(log, monkeypatch, most):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", most)
    ids = []
    for days, risk in ((40, GREEN), (30, GREEN), (20, RED), (10, GREEN)):
        record = log.commit(batch(3, risk, time=datetime.now(UTC) - timedelta(days=days)))
        ids += [f"{record.id}-{i}" for i in range(3)]
    log.commit(batch(3, GREEN, time=MADE + timedelta(days=15), kind="preview"))
    override(log, ids[6], "green", "Ann", "knows him")
    ingest(
        log,
        text((ids[0], "repaid", TODAY), (ids[3], "repaid", TODAY), (ids[6], "defaulted", TODAY)),
    )
    last = ingest(log, text((ids[3], "defaulted", TODAY)))
    override(log, ids[4], "red", "Ann", "income not proven")
    assert counts(ingest(log, text((ids[4], "repaid", TODAY)))) == (0, 0, 1)

    now = datetime.now(UTC)
    table = read_outcomes(log, now - timedelta(days=35), now - timedelta(days=15))
    assert table.schema == OUTCOME_SCHEMA
    assert table["id"].to_pylist() == ids[3:9]
    assert table["prediction"].to_pylist() == ["green"] * 3 + ["red"] * 3
    assert table["final"].to_pylist() == ["green", "red", "green", "green", "red", "red"]
    assert table["outcome"].to_pylist() == ["defaulted", None, None, "defaulted", None, None]
    assert table["outcome_date"].to_pylist()[0] == date.fromisoformat(TODAY)
    assert table.filter(pc.equal(table["id"], ids[3]))["outcome_number"].to_pylist() == [
        log.events("outcomes", last.upload)[0]["_id"]
    ]
    assert read_outcomes(log, now, now + timedelta(days=1)).num_rows == 0


def test_many_rows_of_one_client_cost_linear_time(log, granted):
    """10,000 rows that name one client with 3,000 decisions were minutes."""
    many = batch(3000, GREEN, time=MADE)
    many.applications.client_id[:] = ["c"] * 3000
    record = log.commit(many)
    began = time.process_time()
    found = ingest(
        log, text(*[("c", "repaid", TODAY)] * 10_000, header=("client_id", "outcome", "date"))
    )
    assert time.process_time() - began < 10
    assert found.n_rejected == 10_000
    assert found.reasons == {("client_id", "ambiguous_client"): 10_000}
    assert f"{record.id}-2999" in found.faults[0].allowed


def test_many_rows_of_one_day_cost_linear_time(log, granted):
    rows = [(granted[0], word, TODAY) for word in ("repaid", "defaulted") for _ in range(15_000)]
    began = time.process_time()
    found = ingest(log, text(*rows))
    assert time.process_time() - began < 10
    assert counts(found) == (0, 0, 30_000)
    assert found.faults[0].message == (
        "line 2: line 15002 says defaulted of the same decision on the same date; "
        "keep the line that is true"
    )


def test_long_id_is_shortened_in_messages(log):
    found = ingest(log, text(("x" * 1_000_000, "repaid", TODAY)))
    assert len(found.faults[0].message) < 200


@pytest.mark.parametrize("logged", ["1952489", "1952489.0"])
@pytest.mark.parametrize("sent", ["1952489", "1952489.0", "1952489,00"])
def test_numeric_id_is_found_when_written_as_a_float(log, logged, sent):
    made = batch(3, GREEN, time=MADE)
    made.applications.client_id[1] = logged  # as the log has those of before
    record = log.commit(made)
    assert counts(by_client(log, sent)) == (1, 0, 0)
    assert said(log, f"{record.id}-1") == [("repaid", TODAY)]
    rows = [(f"{record.id}-1", sent, "repaid", TODAY)]
    assert counts(
        ingest(log, text(*rows, header=("decision_id", "client_id", "outcome", "date")))
    ) == (0, 1, 0)


def test_id_in_scientific_notation_is_not_found_but_reported(log, granted):
    assert "in scientific notation" in by_client(log, "1,95249E+09").warnings[0]


@pytest.mark.parametrize("nothing", ["", "  ", "NA", "NULL"])
def test_rows_without_outcome_and_date_are_open_loans(log, granted, nothing):
    rows = [
        (granted[0], "repaid", TODAY),
        (granted[1], nothing, nothing),
        ("x", nothing, nothing),
        ("y", "", ""),
    ]
    taken = ingest(log, text(*rows))
    assert (counts(taken), taken.n_open, taken.faults) == ((1, 0, 0), 3, [])
    (mark,) = log.events("outcomes")
    assert (mark["n_open"], mark["n_rejected"]) == (3, 0)
    half = ingest(log, text((granted[1], nothing, TODAY), (granted[1], "repaid", nothing)))
    assert (counts(half), half.n_open) == ((0, 0, 2), 0)
    assert [fault.column for fault in half.faults] == ["outcome", "date"]


def test_file_of_open_loans_only_leaves_no_mark(log, granted):
    taken = ingest(log, text(*((id, "", "") for id in granted)))
    assert (taken.upload, taken.n_open, taken.faults) == (None, 3, [])
    assert log.events("outcomes") == []


def test_rare_fault_is_reported_beside_thousands_of_others(log, granted):
    flood = [(granted[0], "paid", TODAY)] * 1500 + [("nobody", "repaid", TODAY)] * 1500
    taken = ingest(
        log,
        text(
            *flood, (granted[0], "repaid", "1/2/2026"), (granted[0], "repaid", TODAY), (granted[1],)
        ),
    )
    assert counts(taken) == (1, 0, 3002)
    assert len(taken.faults) == 1000
    assert [fault.row for fault in taken.faults[-7:]] == [1500, 1501, 1502, 1503, 1504, 3000, 3002]
    assert [(kind.column, kind.reason, kind.n, kind.rows) for kind in taken.kinds] == [
        ("outcome", "unknown_category", 1500, [0, 1, 2, 3, 4]),
        ("decision_id", "unknown_decision", 1500, [1500, 1501, 1502, 1503, 1504]),
        ("date", "not_a_date", 1, [3000]),
        (None, "shape", 1, [3002]),
    ]
    assert taken.kinds[1].message == (
        "1,500 times (line 1502, 1503, 1504, 1505, 1506, ...), the first: "
        "there is no decision nobody"
    )
    assert taken.kinds[2].message.startswith("line 3002: date '1/2/2026' has slashes")


def test_unambiguous_dates_are_taken_with_a_warning(log):
    record = log.commit(batch(6, GREEN, time=MADE))
    day = date.fromisoformat(EARLIER)
    ways = [
        EARLIER,
        f"{day:%d.%m.%Y}",
        f"{day.day}.{day.month}.{day.year}",
        f"{EARLIER}T13:45:00+02:00",
        f"{EARLIER} 23:59:59",
        f"{EARLIER} 00:00:00",
    ]
    taken = ingest(log, text(*((f"{record.id}-{i}", "repaid", way) for i, way in enumerate(ways))))
    assert counts(taken) == (6, 0, 0)
    assert [said(log, f"{record.id}-{i}") for i in range(6)] == [[("repaid", EARLIER)]] * 6
    assert taken.warnings == [
        f"date: 2 values like '{ways[1]}' read as day.month.year",
        f"date: 2 values like '{ways[3]}' taken without the time",
    ]
