"""The benchmark of the log's verification counts what it verified."""

from dataclasses import replace

import pytest

from benchmarks.log import verification
from benchmarks.scenarios import SMOKE, Place


def test_a_small_log_is_verified_in_both_forms(monkeypatch):
    monkeypatch.setattr(verification, "IN_A_FILE", 12_000)
    with Place.opened() as place:
        lines = list(verification.measure(place, replace(SMOKE, verified=12_000)))
    assert [line.scenario for line in lines] == [
        "make verify-log, 1,200 decisions in one-client batches",
        "make verify-log, 12,000 decisions in files",
    ]
    assert all(line.figure.median > 0 for line in lines)


def test_a_log_of_another_number_of_decisions_is_an_error(open_log_of_three):
    with pytest.raises(RuntimeError, match="3 of 4"):
        verification.verified(open_log_of_three, 4)


@pytest.fixture
def open_log_of_three(settings):
    from credit_risk.decision_log.log import open_log

    log = open_log(settings)
    verification.fill(log, 3, 1)
    return log
