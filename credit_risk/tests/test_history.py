"""Past decisions are found by file, client, date and id; previews are not."""

from datetime import UTC, datetime, timedelta

import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.history import PAGE, search
from tests.support.batches import batch

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def at(log, day, n=2, **more):
    return log.commit(batch(n, time=DAY + timedelta(days=day, hours=12), **more))


def files(found):
    return [record.source for record in found.batches]


def test_files_are_found_by_part_of_their_name_the_newest_first(log):
    for day, name in enumerate(["Monday.csv", "tuesday.csv", "friday.xlsx"]):
        at(log, day, source=name)
    at(log, 3, source="sample day.csv", kind="preview")
    assert files(search(log)) == ["friday.xlsx", "tuesday.csv", "Monday.csv"]
    assert files(search(log, " DAY.csv ")) == ["tuesday.csv", "Monday.csv"]
    assert search(log, "nothing so named").batches == []


@pytest.mark.parametrize("text", ["ÄRZTE", "ärzte", "%", "a.c", "_", ".*", "\\", "$"])
def test_a_name_is_searched_for_as_it_is_written(log, text):
    names = ["Ärzte.csv", "100%.csv", "a.csv", "abc.csv", "a_b.csv", "x.*", "a\\b", "$1"]
    for day, name in enumerate(names):
        at(log, day, source=name)
    at(log, 9, source=None)
    expected = [name for name in reversed(names) if text.lower() in name.lower()]
    assert expected
    assert files(search(log, text)) == expected


def test_portfolios_are_found_beside_decisions(log):
    decision = at(log, 0, source="clients.csv")
    portfolio = at(log, 1, source="book.csv", kind="portfolio")
    found = search(log)
    assert [record.kind for record in found.batches] == ["portfolio", "decision"]
    assert search(log, "book").batches == [portfolio]
    assert [d["batch"] for d in search(log, "c1").decisions] == [portfolio.id, decision.id]
    assert search(log, portfolio.id).batches == [portfolio]


def test_search_is_limited_to_the_given_days(log):
    for day in range(4):
        at(log, day, source=f"{day}.csv")
    assert files(search(log, since=DAY + timedelta(days=1), until=DAY + timedelta(days=3))) == [
        "2.csv",
        "1.csv",
    ]
    assert files(search(log, since=DAY + timedelta(days=3))) == ["3.csv"]
    assert files(search(log, until=DAY + timedelta(days=1))) == ["0.csv"]


@pytest.mark.parametrize("big", [False, True])
def test_a_clients_decisions_are_found_in_documents_and_files(log, monkeypatch, big):
    monkeypatch.setattr(codec, "MAX_DOCUMENTS", 1 if big else 100)
    first, second = at(log, 0), at(log, 1)
    at(log, 2, kind="preview")
    found = search(log, "c1")
    assert [d["id"] for d in found.decisions] == [f"{second.id}-1", f"{first.id}-1"]
    assert {d["client_id"] for d in found.decisions} == {"c1"}
    assert search(log, "c1", until=DAY + timedelta(days=1)).decisions[0]["id"] == f"{first.id}-1"
    assert search(log, "c9").decisions == []


def test_search_within_a_branch_finds_nothing_of_another(log):
    north = at(log, 0, source="north.csv", branch="north")
    south = at(log, 1, source="south.csv", branch="south")
    older = [at(log, -day, n=0, branch="north") for day in range(1, PAGE + 3)]
    of_north = log.of(branch="north")
    first = search(of_north)
    assert first.batches == [north, *older[: PAGE - 1]]
    assert search(of_north, before=first.before).batches == older[PAGE - 1 :]
    assert [d["batch"] for d in search(of_north, "c1").decisions] == [north.id]
    assert files(search(of_north, ".csv")) == ["north.csv"]
    nothing = search(of_north, "no such thing")
    for text in (south.id, f"{south.id}-1", "south"):
        assert search(of_north, text) == nothing


def test_id_finds_its_batch_or_decision_of_any_time(log):
    record = at(log, 0, source="a.csv")
    preview = at(log, 0, kind="preview")
    later = DAY + timedelta(days=9)
    assert search(log, record.id, since=later).batches == [record]
    (decision,) = search(log, f"{record.id}-1", since=later).decisions
    assert decision["client_id"] == "c1"
    for text in (f"{record.id}-9", preview.id, f"{preview.id}-0", "-", "'; drop table"):
        assert search(log, text) == search(log, "no such thing")


def test_long_results_are_found_page_by_page(log):
    for n in range(PAGE + 5):
        at(log, 0, n=0, source=f"{n}.csv")
    first = search(log)
    assert len(first.batches) == PAGE
    assert files(search(log, "3.CSV", before=first.before)) == ["3.csv"]
    rest = search(log, before=first.before)
    assert files(rest) == [f"{n}.csv" for n in reversed(range(5))]
    assert rest.before is None
