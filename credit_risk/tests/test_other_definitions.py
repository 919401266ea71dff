"""Decisions by earlier definitions of a data set are read together with those of today's."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from credit_risk.decision_log import codec
from credit_risk.decision_log.batch import (
    Batch,
    BatchRecord,
    decision_schema,
    summary_schema,
)
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcomes import ingest
from credit_risk.decision_log.proof.verify import verify
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.spelling.numerals import unmistakable
from credit_risk.schema.validation import Validator
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.training_data.snapshots import fits, make, read
from tests.support import outcomes


def number(name, **more):
    bounds = {"minimum": 0, "maximum": 1000}
    return {"name": name, "label": name, "kind": "number", "missing": True} | bounds | more


def category(name, *values, missing=True):
    listed = [{"value": value} for value in values]
    return {"name": name, "label": name, "kind": "category", "values": listed, "missing": missing}


def loans(*attributes) -> Dataset:
    return Dataset.model_validate({"name": "loans", "title": "Loans", "attributes": attributes})


BEFORE = loans(
    number("amount"),
    category("purpose", "car", "tv"),  # renamed
    number("rooms"),  # removed
    number("share", decimals=2),  # removed
    category("home", "own", "rent"),  # removed
    number("income"),  # a category today
    category("children", "0", "1", "many"),  # a number today
    number("rate"),  # has decimals today
    number("years", decimals=1),  # is whole today
)
AFTER = loans(
    number("amount"),
    category("use", "car", "tv"),
    category("city", "Rome", "Oslo"),
    category("income", "low", "high"),
    number("children"),
    number("rate", decimals=1),
    number("years"),
)
OLD = {
    "amount": 100,
    "purpose": "car",
    "rooms": 3,
    "share": 0.25,
    "home": "own",
    "income": 900,
    "children": "many",
    "rate": 5,
    "years": 1.5,
}
NEW = {
    "amount": 200,
    "use": "tv",
    "city": "Rome",
    "income": "high",
    "children": 2,
    "rate": 2.5,
    "years": 3,
}


def batch(dataset: Dataset, *rows: dict) -> Batch:
    applications = Validator(dataset).rows(list(rows))
    assert not applications.faults
    risks = np.full(len(rows), 0.1)
    return Batch(applications, Decisions(risks, risks > 1, confidence(risks)), "7", "abc", 1 / 6)


@pytest.fixture
def old_log(log) -> DecisionLog:
    return DecisionLog(log.storage.documents, log.storage.blobs, BEFORE)


@pytest.fixture
def new_log(log) -> DecisionLog:
    return DecisionLog(log.storage.documents, log.storage.blobs, AFTER)


@pytest.fixture
def records(old_log, new_log, form) -> list[BatchRecord]:
    """One batch of each definition, old first, with two decisions each."""
    del form
    empty = dict.fromkeys(OLD)
    made = [old_log.commit(batch(BEFORE, OLD, empty)), new_log.commit(batch(AFTER, NEW, NEW))]
    assert [(r.dataset, r.definition) for r in made] == [
        ("loans", BEFORE.digest),
        ("loans", AFTER.digest),
    ]
    return made


def test_batches_of_two_definitions_are_read_together(new_log, records):
    found = new_log.read(*records)
    attributes = decision_schema(AFTER).names[6:-5]
    assert found.column_names[6:-5] == [*attributes, "purpose", "rooms", "share", "home"]
    old, empty, new, _ = found.select(found.column_names[6:-5]).to_pylist()
    assert new == NEW | {"purpose": None, "rooms": None, "share": None, "home": None}
    assert {name: old[name] for name in ("amount", "purpose", "rooms", "share", "home")} == {
        name: OLD[name] for name in ("amount", "purpose", "rooms", "share", "home")
    }
    assert (old["use"], old["city"], old["rate"]) == (None, None, 5.0)
    assert set(empty.values()) == {None}


def test_what_became_another_kind_is_null_or_the_same_value(new_log, records):
    old = new_log.read(*records).to_pylist()[0]
    assert old["income"] in (None, "900")
    assert (old["children"], old["years"]) == (None, None)


def test_a_value_is_read_whatever_the_others_of_its_batch_are(new_log, old_log, form):
    del form
    whole = OLD | {"children": "1", "years": 2.0}
    record = old_log.commit(batch(BEFORE, OLD, whole))
    found = new_log.read(record).to_pylist()
    assert [(row["children"], row["years"]) for row in found] == [(None, None), (1, 2)]
    assert [new_log.decision(row["id"]) for row in found] == found


def test_each_form_reads_the_same(new_log, old_log, monkeypatch):
    rows = []
    for most in ({}, {"MAX_INLINE": 0}, {"MAX_DOCUMENTS": 0}):
        for name, n in most.items():
            monkeypatch.setattr(codec, name, n)
        record = old_log.commit(batch(BEFORE, OLD, OLD | {"children": "1", "years": 2.0}))
        table = new_log.read(record)
        rows.append(table.select(table.column_names[6:-5]))
        assert record.stored == ("inline", "documents", "parquet")[len(rows) - 1]
    assert rows[0].schema == rows[1].schema == rows[2].schema
    assert rows[0].to_pylist() == rows[1].to_pylist() == rows[2].to_pylist()


def test_an_earlier_definition_reads_its_own(old_log, records):
    rows = old_log.read(records[0]).to_pylist()
    assert {name: rows[0][name] for name in OLD} == OLD
    assert {rows[1][name] for name in OLD} == {None}


def test_one_decision_has_what_was_removed(new_log, records):
    for record, row, expected in ((records[0], 0, OLD), (records[1], 1, NEW)):
        found = new_log.decision(f"{record.id}-{row}")
        same = {name for name in expected if name not in ("income", "children", "years")}
        assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    old = new_log.decision(f"{records[0].id}-0")
    assert old == new_log.read(records[0]).to_pylist()[0]
    empty = new_log.decision(f"{records[0].id}-1")
    assert empty["rooms"] is empty["purpose"] is empty["use"] is None
    assert "rooms" not in new_log.decision(f"{records[1].id}-0")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_removed_attribute_without_a_value_in_one_batch_keeps_that_of_another(
    new_log, old_log, form, order
):
    del form
    rows = [(OLD, OLD), (dict.fromkeys(OLD),) * 2]
    records = [old_log.commit(batch(BEFORE, *rows[place])) for place in order]
    found = new_log.read(*records).select(["rooms", "share", "home"]).to_pylist()
    given = {name: OLD[name] for name in ("rooms", "share", "home")}
    assert found[2 * order.index(0)] == given


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_an_attribute_that_changed_before_it_was_removed_keeps_its_values(
    log, new_log, form, order
):
    del form
    kinds = (
        (number("rooms"), 3),
        (number("rooms", decimals=1), 2.5),
        (category("rooms", "few", "many"), "many"),
    )
    records, expected = [], []
    for place in order:
        attribute, value = kinds[place]
        dataset = loans(number("amount"), attribute)
        a_log = DecisionLog(log.storage.documents, log.storage.blobs, dataset)
        records.append(a_log.commit(batch(dataset, *[{"amount": 1, "rooms": value}] * 2)))
        expected += [str(value)] * 2
    found = new_log.read(*records)["rooms"].to_pylist()
    assert found == expected


def test_two_numbers_of_one_name_are_read_as_decimals(log, new_log, form):
    del form
    records = []
    for attribute, value in ((number("rooms"), 3), (number("rooms", decimals=1), 2.5)):
        dataset = loans(number("amount"), attribute)
        a_log = DecisionLog(log.storage.documents, log.storage.blobs, dataset)
        records.append(a_log.commit(batch(dataset, *[{"amount": 1, "rooms": value}] * 2)))
    for found in (new_log.read(*records), new_log.read(*records[::-1])):
        assert found["rooms"].to_pylist() == [3.0, 3.0, 2.5, 2.5]


COMMA = loans(
    number("rate", decimals=3, decimal_mark=","), category("home", "own", "rent"), number("rooms")
)


def test_a_snapshot_of_decimals_and_gaps_is_read_as_it_was(log):
    base = pd.DataFrame(
        {
            "rate": [None, *(5 + i / 8 for i in range(99))],
            "home": ["own", None] * 50,
            "rooms": pd.array([None, *range(99)], "Int64"),
            "class": ["good", "good", "bad", "good"] * 25,
        }
    )
    a_log = DecisionLog(log.storage.documents, log.storage.blobs, COMMA)
    clients = [{"rate": 2.125, "home": None, "rooms": i} for i in range(10)]
    long_ago = datetime.now(UTC) - timedelta(days=900)
    record = a_log.commit(replace(batch(COMMA, *clients), time=long_ago))
    day = (long_ago + timedelta(days=400)).date().isoformat()
    ingest(a_log, outcomes.text(*((f"{record.id}-{i}", "repaid", day) for i in range(10))))

    snapshot, _ = make(a_log, log.storage.blobs, base, "base.csv", 12)
    found = pd.concat(read(log.storage.blobs, snapshot, COMMA)).sort_index()
    expected = pd.concat([base, pd.DataFrame(clients).assign(**{"class": "good"})])
    np.testing.assert_array_equal(encode(found, COMMA), encode(expected, COMMA))
    assert list(found["class"]) == list(expected["class"])


def test_numbers_of_a_table_are_not_ambiguous():
    rates = [5.125, 1.0, 12.5, None]
    for column in (pa.array(rates), pa.array(rates).dictionary_encode()):
        found = Validator(COMMA).table(
            pa.table(
                {"rate": column, "home": ["own"] * 4, "rooms": [1] * 4, "note": pa.array(rates)}
            )
        )
        assert not found.faults
        assert found.extra["note"].to_pylist() == ["5.125", "1", "12.5", ""]
        np.testing.assert_array_equal(found.codes[:, 0], [5.125, 1, 12.5, np.nan])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_of_a_table_may_be_ambiguous(kind):
    column = pa.array(["5.125"], kind)
    found = Validator(COMMA).table(pa.table({"rate": column, "home": ["own"], "rooms": [1]}))
    assert [fault.message for fault in found.faults] == [
        "row 1: rate '5.125' may be 5125 or 5.125; write 5125 or 5.1250"
    ]


def test_numbers_that_pandas_writes_are_not_ambiguous():
    clients = pd.DataFrame({"rate": [5.125, 1.0, None], "home": ["own"] * 3, "rooms": [1] * 3})
    text = clients.to_csv(index=False, float_format=unmistakable)
    found = Validator(COMMA).csv(text.encode())
    assert not found.faults
    np.testing.assert_array_equal(found.codes[:, 0], [5.125, 1, np.nan])


NARROWER = loans(
    number("amount", maximum=500),
    category("purpose", "car", missing=False),
    number("children", missing=False),
    category("income", "low", "high"),
)


@pytest.fixture
def of_then(log):
    """A snapshot's base data and the log of today, which has four clients of another definition."""
    base = pd.DataFrame(
        {
            "amount": range(100, 200),
            "purpose": "car",
            "children": 1,
            "income": ["low", "high"] * 50,
            "class": ["good", "good", "bad", "good"] * 25,
        }
    )
    then = DecisionLog(log.storage.documents, log.storage.blobs, BEFORE)
    clients = [
        {"amount": 10, "purpose": "car", "children": "1"},
        {"amount": 900, "purpose": "tv", "children": "0"},
        {"amount": 20, "purpose": "tv", "children": "many"},
        {"amount": 30, "purpose": "car", "children": "0", "income": 900},
    ]
    long_ago = datetime.now(UTC) - timedelta(days=900)
    record = then.commit(replace(batch(BEFORE, *clients), time=long_ago))
    day = (long_ago + timedelta(days=400)).date().isoformat()
    ingest(then, outcomes.text(*((f"{record.id}-{i}", "repaid", day) for i in range(4))))
    return base, DecisionLog(log.storage.documents, log.storage.blobs, NARROWER)


def test_clients_whose_values_are_not_allowed_any_more_are_in_no_snapshot(of_then, log):
    (base, today), said = of_then, []
    snapshot, _ = make(today, log.storage.blobs, base, "base.csv", 12, said.append)
    assert said[-1] == (
        "3 clients left out, of an earlier definition: they have no value of these, or one that "
        "is not allowed today: amount (1), purpose (2), children (1), income (1)"
    )
    manifest = json.loads(log.storage.blobs.get(snapshot.name.replace(".csv", ".json")))
    assert manifest["left_out"] == {"amount": 1, "purpose": 2, "children": 1, "income": 1}
    assert (snapshot.n_base, snapshot.n_funded) == (100, 1)
    everyone = pd.concat(read(log.storage.blobs, snapshot, NARROWER)).sort_index()
    assert list(everyone["amount"]) == [*range(100, 200), 10]


def test_a_snapshot_from_before_values_were_dropped_does_not_fit(of_then, log):
    base, today = of_then
    snapshot, _ = make(today, log.storage.blobs, base, "base.csv", 12)
    assert fits(log.storage.blobs, snapshot, NARROWER)
    amount, *others = NARROWER.attributes
    narrower = loans(amount.model_copy(update={"minimum": 100}), *others)
    assert not fits(log.storage.blobs, snapshot, narrower)


@pytest.mark.parametrize(
    "schema",
    [
        lambda: summary_schema("id", "risk"),
        lambda: decision_schema(AFTER, ["id", "city"]),
        lambda: decision_schema(BEFORE),
        lambda: pa.schema([("rooms", pa.int64())]),
    ],
)
def test_the_columns_that_are_asked_for_are_read(new_log, records, schema: Callable[[], pa.Schema]):
    found = new_log.read(*records, schema=schema())
    assert found.schema == schema()
    assert len(found) == 4


def test_decisions_of_all_definitions_verify(new_log, old_log, records):
    for one in (new_log, old_log):
        verify(one)


def test_the_log_of_one_caller_is_of_the_same_data_set(new_log):
    assert new_log.of("Ann").dataset is AFTER
