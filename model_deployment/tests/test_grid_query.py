"""The pages of a batch that the table of the page asks for."""

import pytest

from credit_risk.decision_log.overrides import override
from model_deployment.ui import grid_query as module
from model_deployment.ui.grid_query import MAX_PAGE, Rows


@pytest.fixture
def record(send_file, as_csv, client_rows, log):
    sent = [row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows)]
    sent[5] |= {"credit_amount": 9_000_000, "age": ""}
    return log.batch(send_file(as_csv(sent)).get_json()["batch"])


@pytest.fixture
def ask(log, record):
    rows = Rows(log, "meaning")

    def ask(start=0, end=100, sort=(), filters=None):
        model = [{"colId": name, "sort": way} for name, way in sort]
        asked = {"startRow": start, "endRow": end, "sortModel": model, "filterModel": filters or {}}
        return rows.page(record, asked)

    return ask


def text(kind, value=None):
    return {"filterType": "text", "type": kind, "filter": value}


def number(kind, value=None, to=None):
    return {"filterType": "number", "type": kind, "filter": value, "filterTo": to}


def test_pages_hold_rows_in_the_order_of_the_file(ask):
    first, n = ask(0, 100)
    second, _ = ask(100, 200)
    assert n == 200
    assert [row["client_id"] for row in first + second] == [f"C-{i}" for i in range(200)]
    assert [row["row"] for row in first[:3]] == [1, 2, 3], "people count from 1"
    assert "outside" in first[5]["warnings"]
    assert ask(200, 300) == ([], 200)
    assert len(ask(0, 10**9)[0]) == min(200, MAX_PAGE)


def test_rows_are_sorted_by_several_columns_then_by_file_order(ask):
    found, _ = ask(sort=[("purpose", "asc"), ("duration", "desc")], end=200)
    assert found == sorted(found, key=lambda row: (row["purpose"], -row["duration"], row["row"]))
    risks = [row["risk"] for row in ask(sort=[("risk", "desc")], start=50, end=60)[0]]
    assert risks == sorted((row["risk"] for row in ask(end=200)[0]), reverse=True)[50:60]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"prediction": text("equals", "RED")}, lambda row: row["prediction"] == "red"),
        ({"prediction": text("notEqual", "red")}, lambda row: row["prediction"] != "red"),
        ({"purpose": text("contains", "CAR")}, lambda row: "car" in row["purpose"]),
        ({"purpose": text("notContains", "car")}, lambda row: "car" not in row["purpose"]),
        ({"purpose": text("startsWith", "used")}, lambda row: row["purpose"].startswith("used")),
        ({"purpose": text("endsWith", "tv)")}, lambda row: row["purpose"].endswith("tv)")),
        ({"warnings": text("notBlank")}, lambda row: row["warnings"]),
        ({"age": number("blank")}, lambda row: row["age"] is None),
        ({"age": number("greaterThan", 50)}, lambda row: row["age"] and row["age"] > 50),
        ({"age": number("notEqual", 30)}, lambda row: row["age"] and row["age"] != 30),
        ({"duration": number("inRange", 10, 12)}, lambda row: 10 <= row["duration"] <= 12),
        ({"duration": number("equals", 12)}, lambda row: row["duration"] == 12),
        ({"risk": number("greaterThan", 50)}, lambda row: round(100 * row["risk"], 1) > 50),
        ({"confidence": number("equals", 75)}, lambda row: f"{row['confidence']:.0%}" == "75%"),
        (
            {"duration": number("lessThan", 12), "prediction": text("equals", "green")},
            lambda row: row["duration"] < 12 and row["prediction"] == "green",
        ),
        (
            {
                "duration": {
                    "operator": "OR",
                    "conditions": [number("equals", 6), number("equals", 24)],
                }
            },
            lambda row: row["duration"] in (6, 24),
        ),
    ],
)
def test_filters_keep_the_matching_rows(ask, filters, kept):
    everything, _ = ask(end=200)
    wanted = [row for row in everything if kept(row)]
    assert 0 < len(wanted) < 200
    assert ask(end=200, filters=filters) == (wanted, len(wanted))


def test_values_are_shown_and_filtered_by_meaning_or_by_the_word_of_the_file(log, record):
    purposes = {}
    for labels in ("meaning", "file"):
        asked = {"startRow": 0, "endRow": 200}
        asked["filterModel"] = {"purpose": text("contains", "radio, television")}
        rows, n = Rows(log, labels).page(record, asked)
        assert n == len(rows) > 0
        purposes[labels] = {row["purpose"] for row in rows}
    assert purposes == {
        "meaning": {"radio, television (domestic appliance)"},
        "file": {"domestic appliance (radio, television)"},
    }


def test_overrides_appear_at_once_and_can_be_filtered(ask, log, record):
    (first, *_), _ = ask(filters={"prediction": text("equals", "red")})
    override(log, first["id"], "green", "Ann", "knows the client")
    (found,), n = ask(filters={"override": text("contains", "ann")})
    assert n == 1
    assert (found["id"], found["override"], found["prediction"]) == (
        first["id"],
        "green by Ann",
        "red",
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"sortModel": [{"colId": "no such column", "sort": "asc"}]},
        {"sortModel": [{"colId": "risk", "sort": "sideways"}]},
        {
            "filterModel": {
                "duration": {"operator": "OR", "conditions": [number("equals", 6)] * 1000}
            }
        },
        {"filterModel": {"no such column": text("equals", "x")}},
        {"filterModel": {"risk": number("like", 1)}},
        {"filterModel": {"risk": number("equals", None)}},
        {"startRow": "many"},
    ],
)
def test_query_that_no_table_sends_is_refused(log, record, asked):
    with pytest.raises((LookupError, TypeError, ValueError)):
        Rows(log, "meaning").page(record, asked)


def test_large_batches_are_read_again_with_the_same_result(log, record, ask, monkeypatch):
    everything = ask(end=200)
    monkeypatch.setattr(module, "KEPT_ROWS", 10)
    assert ask(end=200) == everything
