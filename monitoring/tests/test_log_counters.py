"""The counts over the log: of decisions, rejected rows and files."""

import pyarrow as pa

from monitoring.exporter.log_counters import LogCounters
from tests.support.exporter import make_collector, samples


def test_counters_count_records_without_a_log(log, draw, decide):
    record = decide(log, draw(20))
    counters = LogCounters()
    counters.ingest([record], pa.table({}))
    counters.ingest([record], pa.table({}))
    totals = counters.totals("2")
    assert totals.decisions["red", "1"] == 2 * record.n_red
    assert totals.decisions["green", "2"] == 0
    assert totals.batches["request", "decided"] == 2


def test_rejected_rows_are_counted_by_reason(served, log, draw, decide):
    bad = draw(5).assign(purpose="yacht", duration=[-1, -1, 6, 6, 6])
    record = decide(log, bad)
    assert (record.n_decided, record.n_rejected) == (0, 5)
    assert make_collector(served).refresh().totals.rejected == {
        "unknown_category": 5,
        "out_of_range": 2,
    }


def test_files_rows_and_faults_are_counted(served, log, draw, decide):
    decide(log, draw(4), source="a.csv")
    decide(
        log,
        draw(4).assign(purpose=["yacht", "yacht", "business", "business"], duration=-1),
        source="b.csv",
    )
    decide(log, draw(4).assign(housing=[None, "rent", "rent", "rent"]))
    decide(log, draw(4).assign(purpose="yacht"), kind="preview", source="preview.csv")
    found = samples(make_collector(served).refresh())
    assert {
        key[1:]: n for key, n in found.items() if key[0] == "credit_risk_rejected_values_total"
    } == {
        ("purpose", "unknown_category"): 2,
        ("duration", "out_of_range"): 4,
        ("housing", "missing"): 1,
    }
    assert (
        found["credit_risk_rows_total", "decided"],
        found["credit_risk_rows_total", "rejected"],
    ) == (7, 5)
    assert {key[1:]: n for key, n in found.items() if key[0] == "credit_risk_batches_total"} == {
        ("decided", "file"): 1,
        ("partly rejected", "file"): 0,
        ("rejected", "file"): 1,
        ("decided", "request"): 0,
        ("partly rejected", "request"): 1,
        ("rejected", "request"): 0,
    }
