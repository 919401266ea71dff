"""Vintages by hand: equal age, all funded clients, estimates named so, and the bound."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from credit_risk.months import month_name, month_of
from monitoring.performance.loan_book import DTYPE, LoanBook, Month
from monitoring.performance.poisson_binomial import upper_bound
from monitoring.performance.vintages import (
    OverrideOutcomes,
    Vintages,
    defaulted,
    estimate,
    overridden,
    vintage,
)
from tests.support.german_credit import GERMAN_CREDIT

COSTS = GERMAN_CREDIT.costs
JANUARY = month_of(datetime(2025, 1, 1, tzinfo=UTC))


def rows(*clients):
    """Return decisions: day, risk, what the model said, what holds, outcome, its day."""
    made = np.zeros(len(clients), DTYPE)
    made["weight"] = 1
    for one, (day, risk, green, final, *outcomes) in zip(made, clients, strict=True):
        outcome, when = outcomes or (0, day)
        one["day"], one["outcome_day"] = (np.datetime64(d, "D").astype(int) for d in (day, when))
        one["risk"], one["green"], one["final"], one["outcome"] = risk, green, final, outcome
    return made


def funded(n, risk=0.1, day="2025-01-15", **columns):
    made = rows(*[(day, risk, True, True)] * n)
    for name, value in columns.items():
        made[name] = value
    return made


def day(text):
    return np.datetime64(text, "D").astype(int)


def test_months_are_written_as_year_and_month():
    assert month_name(JANUARY) == "2025-01"
    assert month_name(month_of(datetime(2024, 12, 31, 23, 59, tzinfo=UTC))) == "2024-12"


@pytest.mark.parametrize(
    ("decided", "came", "age", "within"),
    [
        ("2025-01-15", "2025-04-15", 3, True),
        ("2025-01-15", "2025-04-16", 3, False),
        ("2025-11-30", "2026-02-28", 3, True),  # there is no 30 February
        ("2025-11-30", "2026-03-01", 3, False),
        ("2024-01-31", "2024-02-29", 1, True),
        ("2025-01-15", "2025-01-15", 1, True),
    ],
)
def test_age_is_counted_in_calendar_months(decided, came, age, within):
    assert defaulted(rows((decided, 0.1, True, True, 2, came)), age).tolist() == [within]


def test_a_repaid_loan_never_defaulted():
    assert not defaulted(rows(("2025-01-15", 0.1, True, True, 1, "2025-02-01")), 12).any()


def test_all_funded_clients_count_and_not_those_with_an_outcome_alone():
    """Ten defaults are all that is known of a hundred: the bad rate is .1, not 1."""
    made = funded(100)
    made["outcome"][:10], made["outcome_day"][:10] = 2, day("2025-03-01")
    found = vintage(JANUARY, made, age=4, maturity=12, costs=COSTS)
    assert found.observed[3].bad == pytest.approx(0.1)
    assert found.predicted.bad == pytest.approx(0.1)
    assert (found.funded, found.open, sorted(found.observed)) == (100, 90, [3])
    assert (found.defaults, found.defaults_bound) == (None, None)


def test_vintages_are_compared_at_equal_age():
    """Both default alike; the older one has more defaults by now, and as many by the same age."""
    old, young = funded(100), funded(100, day="2025-07-15")
    old["outcome"][:12] = young["outcome"][:4] = 2
    old["outcome_day"][:4], young["outcome_day"][:4] = day("2025-03-01"), day("2025-09-01")
    old["outcome_day"][4:12] = day("2025-06-20")
    first = vintage(JANUARY, old, 10, 12, COSTS)
    second = vintage(JANUARY + 6, young, 4, 12, COSTS)
    assert first.observed[3].bad == second.observed[3].bad == 0.04
    assert first.observed[6].bad == 0.12
    assert 6 not in second.observed


def test_a_matured_vintage_has_its_defaults_and_their_bound():
    made = funded(200, risk=0.1)
    made["outcome"][:40] = 2
    made["outcome_day"][:30], made["outcome_day"][30:40] = day("2025-12-01"), day("2026-03-01")
    found = vintage(JANUARY, made, 14, 12, COSTS)
    assert (found.defaults, found.defaults_bound) == (30, upper_bound(np.full(200, 0.1)))
    assert found.defaults > found.defaults_bound  # 28
    assert sorted(found.observed) == [3, 6, 12]


def test_rating_by_hand():
    made = np.concatenate([funded(15, 0.1), funded(15, 0.2)])
    made["outcome"][[0, 20, 21]], made["outcome_day"] = 2, day("2025-02-01")
    rating = vintage(JANUARY, made, 3, 12, COSTS).observed[3]
    assert rating.bad == pytest.approx(0.1)
    assert rating.brier == pytest.approx((0.81 + 14 * 0.01 + 2 * 0.64 + 13 * 0.04) / 30)
    # 81 pairs of a bad and a good client: the two of .2 are above 14 and tie with 13, the one of .1
    # ties with 14.
    assert rating.auc == pytest.approx((2 * (14 + 6.5) + 7) / 81)
    predicted = vintage(JANUARY, made, 3, 12, COSTS).predicted
    assert predicted.bad == pytest.approx(0.15)
    assert predicted.brier == pytest.approx((0.1 * 0.9 + 0.2 * 0.8) / 2)


def test_refused_clients_are_estimated_from_their_risks():
    # Accepted: one good, one defaulted. Refused: risks .4 and .6.
    made = rows(
        ("2025-01-10", 0.1, True, True),
        ("2025-01-10", 0.1, True, True, 2, "2025-02-10"),
        ("2025-01-10", 0.4, False, False),
        ("2025-01-10", 0.6, False, False),
    )
    found = estimate(made, 3, COSTS)
    assert found.recall == pytest.approx(1 / (1 + 0.6 + 0.4))
    assert found.specificity == pytest.approx(1 / (1 + 1))
    assert found.cost == pytest.approx((0 + 5 + 0.6 + 0.4) / 4)
    # The one who defaulted has borrowed four times as much as each other.
    made["weight"][1] = 4
    assert estimate(made, 3, COSTS).cost == pytest.approx((0 + 4 * 5 + 0.6 + 0.4) / 7)


def test_few_clients_are_not_rated():
    found = vintage(JANUARY, funded(29, groups=1), 14, 12, COSTS, [("age", "60 or older")])
    assert (found.predicted, found.observed, found.estimated, found.defaults) == (
        None,
        {},
        {},
        None,
    )
    assert (found.acceptance, found.funded) == ({}, 29)
    assert vintage(JANUARY, funded(30), 14, 12, COSTS).defaults == 0


def test_acceptance_is_given_by_protected_group():
    made = np.concatenate([funded(40), rows(*[("2025-01-10", 0.4, False, False)] * 40)])
    made["groups"][:60], made["groups"][60:] = 0b01, 0b10
    found = vintage(JANUARY, made, None, 12, COSTS, [("age", "26 to 59"), ("age", "60 or older")])
    assert found.acceptance == {
        ("age", "26 to 59"): pytest.approx(40 / 60)
    }  # of the others there are only 20
    assert found.observed == {}


def book(outcomes_as_of, **months):
    made = {}
    for name, some in months.items():
        month = Month()
        month.append(some)
        made[month_of(datetime.strptime(name, "m%Y_%m").replace(tzinfo=UTC))] = month
    return SimpleNamespace(months=made, groups=[], outcomes_as_of=outcomes_as_of)


def test_without_outcomes_nothing_is_observed_and_nothing_ages_after_they_stop():
    now = datetime(2026, 3, 10, tzinfo=UTC)
    (unknown,) = Vintages(12, COSTS).of(book(None, m2025_01=funded(50)), now)
    assert (unknown.age, unknown.observed, unknown.defaults) == (None, {}, None)
    (stopped,) = Vintages(12, COSTS).of(
        book(datetime(2025, 6, 2, tzinfo=UTC), m2025_01=funded(50)), now
    )
    assert (stopped.age, sorted(stopped.observed)) == (4, [3])


def test_only_what_changed_is_rated_again():
    subject, now = Vintages(12, COSTS), datetime(2026, 3, 10, tzinfo=UTC)
    both = book(now, m2025_01=funded(50), m2025_02=funded(50, day="2025-02-03"))
    first = subject.of(both, now)
    both.months[JANUARY].append(funded(5))
    second = subject.of(both, now)
    assert [v.month for v in second] == ["2025-01", "2025-02"]
    assert (second[0].funded, second[1] is first[1]) == (55, True)


def test_overrides_are_counted_as_right_wrong_and_open():
    made = rows(
        ("2025-01-10", 0.4, False, True, 1, "2025-06-01"),
        ("2025-01-10", 0.5, False, True, 2, "2025-06-01"),
        ("2025-01-10", 0.3, False, True),
        ("2025-01-10", 0.1, True, False),
        ("2025-01-10", 0.1, True, True, 2, "2025-06-01"),
    )
    found = overridden(book(None, m2025_01=made))
    assert found["green"] == OverrideOutcomes(
        right=1, wrong=1, open=1, predicted_wrong=pytest.approx(1.2)
    )
    assert found["red"] == OverrideOutcomes(
        right=None, wrong=None, open=1, predicted_wrong=pytest.approx(0.9)
    )
    assert overridden(LoanBook(GERMAN_CREDIT, 12)) == {}
